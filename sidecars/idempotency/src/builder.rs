use std::sync::Arc;

use outrigger_chassis::{Builder, Function, Functions, InvalidDocument, Secrets};
use outrigger_control::parameters::Idempotency;
use outrigger_control::{Document, FunctionKind};
use prometheus_client::registry::Registry;

use crate::body::Memory;
use crate::entries::Entries;
use crate::metrics::Metrics;
use crate::store::{Scope, Store, Stores, Target};

/// Makes idempotency functions. One that lives as long as the worker keeps its connections to
/// PostgreSQL through changes of configuration.
#[derive(Debug, Default)]
pub struct IdempotencyBuilder {
    stores: Stores,
    memory: Memory,
    metrics: Metrics,
}

impl IdempotencyBuilder {
    /// A builder without connections.
    pub fn new() -> IdempotencyBuilder {
        IdempotencyBuilder::default()
    }

    fn store(&self, document: &Document, secrets: &Secrets) -> Result<Arc<Store>, InvalidDocument> {
        let sidecar = &document.sidecar;
        let Some(postgresql) = &document.postgresql else {
            return Err(InvalidDocument(format!(
                "IntegrationSidecar {sidecar}: store.postgresql is missing; idempotency functions need it"
            )));
        };
        let secret = secrets
            .read(&postgresql.credentials.secret_name)
            .map_err(|error| {
                InvalidDocument(format!(
                    "IntegrationSidecar {sidecar}: store.postgresql.credentials: {error}"
                ))
            })?;
        // Applications that share the sidecar share its connections.
        let name = format!("outrigger {}/{sidecar}", document.application.namespace);
        Target::new(postgresql, secret, name)
            .and_then(|target| self.stores.at(target))
            .map_err(|error| InvalidDocument(format!("IntegrationSidecar {sidecar}: {error}")))
    }
}

impl Builder for IdempotencyBuilder {
    fn build(&self, document: &Document, secrets: &Secrets) -> Result<Functions, InvalidDocument> {
        let mut functions = Functions::new();
        if document.functions.is_empty() {
            return Ok(functions);
        }
        let store = self.store(document, secrets)?;
        for function in &document.functions {
            let FunctionKind::Idempotency(layers) = &function.kind else {
                return Err(InvalidDocument(format!(
                    "function {} is custom; this image knows functions of kind idempotency only",
                    function.name
                )));
            };
            let parameters = Idempotency::resolve(layers, &|name| secrets.read(name))
                .map_err(|error| InvalidDocument(format!("function {}: {error}", function.name)))?;
            let scope = Scope {
                namespace: document.application.namespace.clone(),
                application: document.application.name.clone(),
                function: function.name.clone(),
                member: store.join(&document.application.name),
            };
            let application = &document.application.name;
            let budget = self
                .memory
                .budget(application, parameters.max_document_bytes);
            let store = Arc::clone(&store);
            let entries = Entries::new(scope, parameters, budget, store, self.metrics.clone());
            let entries: Arc<dyn Function> = Arc::new(entries);
            functions.insert(function.name.clone(), entries);
        }
        Ok(functions)
    }

    fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry, self.stores.clone());
    }
}
