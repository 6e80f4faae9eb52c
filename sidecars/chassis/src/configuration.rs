//! The configuration in use: taken completely or not at all, and kept through restarts.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use outrigger_control::{AnyDocument, ConfigurationReport, Document, Refusal, SharedDocument};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::ownership::replace_file;
use crate::settings::FunctionPort;
use crate::tenancy::{Gates, Guarded, Hosted};
use crate::{Builder, Function, Functions, NotWarm, Problem, RequestBody, ResponseBody, Secrets};

/// What clients of an unconfigured function are told to wait, in seconds.
const RETRY_AFTER: u32 = 1;

/// The functions in use, and the means to replace them.
pub(crate) struct Configuration {
    builder: Arc<dyn Builder>,
    secrets: Secrets,
    sidecar: String,
    ports: Vec<FunctionPort>,
    last_good: PathBuf,
    functions: Arc<ArcSwap<Hosted>>,
    gates: Gates,
    /// The hash of the document tried last and the fingerprint of the Secrets at that time.
    tried: Option<(String, String, u64)>,
    report: ConfigurationReport,
}

/// What became of an offered document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is in use from now on.
    Taken,
    /// The former one goes on.
    Refused,
    /// It was tried before, with the same Secrets.
    Known,
}

/// A document that was once good, with its hash.
#[derive(Serialize, Deserialize)]
struct LastGood {
    hash: String,
    document: AnyDocument,
}

impl Configuration {
    pub(crate) fn new(
        builder: Arc<dyn Builder>,
        secrets: Secrets,
        sidecar: String,
        ports: Vec<FunctionPort>,
        last_good: PathBuf,
        gates: Gates,
    ) -> Configuration {
        let functions = Hosted::own(complete(Functions::new(), &ports));
        Configuration {
            builder,
            secrets,
            sidecar,
            ports,
            last_good,
            functions: Arc::new(ArcSwap::from_pointee(functions)),
            gates,
            tried: None,
            report: ConfigurationReport::default(),
        }
    }

    /// The functions in use, one for each listening port.
    pub(crate) fn functions(&self) -> Arc<ArcSwap<Hosted>> {
        Arc::clone(&self.functions)
    }

    pub(crate) fn report(&self) -> &ConfigurationReport {
        &self.report
    }

    /// Uses the document that this slot took last, if it still can.
    pub(crate) fn restore(&mut self) -> Option<Offer> {
        let text = match std::fs::read(&self.last_good) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(%error, "Last good configuration could not be read");
                return None;
            }
        };
        let restored = serde_json::from_slice(&text)
            .map_err(|error| error.to_string())
            .and_then(|LastGood { hash, document }| {
                let functions = self.build(&document)?;
                Ok((hash, functions))
            });
        match restored {
            Ok((hash, functions)) => {
                tracing::info!(hash, "Last good configuration was restored");
                self.put_in_use(hash, functions);
                Some(Offer::Taken)
            }
            Err(error) => {
                tracing::error!(error, "Last good configuration could not be used");
                None
            }
        }
    }

    /// Takes a document, or refuses it and goes on with the former one.
    pub(crate) fn offer(&mut self, hash: &str, text: &str, secrets: u64) -> Offer {
        let attempt = (hash.to_owned(), text.to_owned(), secrets);
        if self.tried.as_ref() == Some(&attempt) {
            return Offer::Known;
        }
        self.tried = Some(attempt);
        let built = read(text).and_then(|document| Ok((self.build(&document)?, document)));
        match built {
            Ok((functions, document)) => {
                tracing::info!(hash, "Configuration was taken");
                self.put_in_use(hash.to_owned(), functions);
                self.report.refused = None;
                self.keep(hash, document);
                Offer::Taken
            }
            Err(message) => {
                tracing::error!(hash, error = message, "Configuration was refused");
                self.report.refused = Some(Refusal {
                    hash: hash.to_owned(),
                    message,
                });
                Offer::Refused
            }
        }
    }

    fn build(&self, document: &AnyDocument) -> Result<Hosted, String> {
        match document {
            AnyDocument::Own(document) => {
                check(document, &self.sidecar, Some(&self.ports))?;
                Ok(Hosted::own(self.functions_of(document)?))
            }
            AnyDocument::Shared(shared) => {
                check_shared(shared, &self.sidecar, Some(&self.ports))?;
                let tenants = shared.tenants.iter().map(|tenant| {
                    let name = tenant.document.application.name.clone();
                    let functions = self.functions_of(&tenant.document);
                    let functions = functions.map_err(|reason| of_tenant(&name, &reason))?;
                    Ok((name, functions))
                });
                let mut tenants = tenants.collect::<Result<BTreeMap<_, _>, String>>()?;
                // Nothing can be refused any more.
                let limits = shared.tenants.iter();
                let limits = limits.map(|tenant| {
                    (
                        tenant.document.application.name.clone(),
                        tenant.limits.clone(),
                    )
                });
                for (name, gate) in self.gates.of(limits.collect()) {
                    for function in tenants
                        .get_mut(&name)
                        .into_iter()
                        .flat_map(Functions::values_mut)
                    {
                        *function = Arc::new(Guarded {
                            function: Arc::clone(function),
                            gate: Arc::clone(&gate),
                        });
                    }
                }
                Ok(Hosted::shared(tenants))
            }
        }
    }

    fn functions_of(&self, document: &Document) -> Result<Functions, String> {
        let functions = build(self.builder.as_ref(), document, &self.secrets)?;
        Ok(complete(functions, &self.ports))
    }

    fn put_in_use(&mut self, hash: String, functions: Hosted) {
        self.functions.store(Arc::new(functions));
        self.report.hash = Some(hash);
    }

    fn keep(&self, hash: &str, document: AnyDocument) {
        let good = LastGood {
            hash: hash.to_owned(),
            document,
        };
        let kept = serde_json::to_vec(&good)
            .map_err(io::Error::from)
            .and_then(|text| replace_file(&self.last_good, &text));
        if let Err(error) = kept {
            tracing::error!(%error, "Configuration could not be kept for a restart");
        }
    }
}

/// Reads a document of either form.
pub(crate) fn read(text: &str) -> Result<AnyDocument, String> {
    /// What tells the forms apart, so that a message speaks of the form that was meant.
    #[derive(Deserialize)]
    struct Form {
        tenants: Option<IgnoredAny>,
    }
    let document = serde_json::from_str(text).and_then(|Form { tenants }| match tenants {
        Some(_) => serde_json::from_str(text).map(AnyDocument::Shared),
        None => serde_json::from_str(text).map(AnyDocument::Own),
    });
    document.map_err(|error| format!("document is not readable: {error}"))
}

/// Checks the document of a sidecar that several applications share.
pub(crate) fn check_shared(
    shared: &SharedDocument,
    sidecar: &str,
    ports: Option<&[FunctionPort]>,
) -> Result<(), String> {
    if shared.v != Document::VERSION {
        return Err(format!(
            "document has version {}; allowed is {}",
            shared.v,
            Document::VERSION
        ));
    }
    if shared.sidecar != sidecar {
        return Err(format!(
            "document is for sidecar {:?}; this is sidecar {sidecar:?}",
            shared.sidecar
        ));
    }
    for (index, tenant) in shared.tenants.iter().enumerate() {
        let name = &tenant.document.application.name;
        let mut former = shared.tenants[..index].iter();
        if former.any(|tenant| &tenant.document.application.name == name) {
            return Err(format!("tenants[{index}]: {name:?} is listed twice"));
        }
        check(&tenant.document, sidecar, ports).map_err(|reason| of_tenant(name, &reason))?;
    }
    Ok(())
}

/// A reason with the application that it is about.
pub(crate) fn of_tenant(application: &str, reason: &str) -> String {
    format!("application {application}: {reason}")
}

/// Checks what every document must keep, whatever its functions are. Without ports, as in a
/// preflight, any port will do.
pub(crate) fn check(
    document: &Document,
    sidecar: &str,
    ports: Option<&[FunctionPort]>,
) -> Result<(), String> {
    if document.v != Document::VERSION {
        return Err(format!(
            "document has version {}; allowed is {}",
            document.v,
            Document::VERSION
        ));
    }
    if document.sidecar != sidecar {
        return Err(format!(
            "document is for sidecar {:?}; this is sidecar {sidecar:?}",
            document.sidecar
        ));
    }
    for (index, function) in document.functions.iter().enumerate() {
        let name = &function.name;
        if document.functions[..index].iter().any(|f| &f.name == name) {
            return Err(format!("functions[{index}]: {name:?} is listed twice"));
        }
        let Some(ports) = ports else { continue };
        match ports.iter().find(|known| &known.function == name) {
            None => {
                let known: Vec<_> = ports.iter().map(|known| known.function.as_str()).collect();
                return Err(format!(
                    "functions[{index}]: {name:?} has no port in this pod, which serves {}; a function is added only when a pod is created",
                    known.join(", ")
                ));
            }
            Some(known) if known.port != function.port => {
                return Err(format!(
                    "functions[{index}]: {name:?} has port {}, but listens on {} in this pod; a port is changed only when a pod is created",
                    function.port, known.port
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Builds the functions of a document. One on which the builder panics is refused like any other
/// that is no good.
pub(crate) fn build(
    builder: &dyn Builder,
    document: &Document,
    secrets: &Secrets,
) -> Result<Functions, String> {
    catch_unwind(AssertUnwindSafe(|| builder.build(document, secrets)))
        .map_err(|_| "the program failed on this document; its log has the place".to_owned())?
        .map_err(|error| error.to_string())
}

/// Adds a stand-in for every port without a configured function.
fn complete(mut functions: Functions, ports: &[FunctionPort]) -> Functions {
    for FunctionPort { function, .. } in ports {
        functions.entry(function.clone()).or_insert_with(|| {
            Arc::new(Unconfigured {
                function: function.clone(),
            })
        });
    }
    functions
}

/// Answers for a function that has no configuration.
struct Unconfigured {
    function: String,
}

impl Function for Unconfigured {
    fn call(
        self: Arc<Self>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        async move {
            // Read to the end, so that the connection can be kept.
            let mut body = request.into_body();
            while let Some(Ok(_)) = http_body_util::BodyExt::frame(&mut body).await {}
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-configured",
                format!("function {} has no configuration yet", self.function),
            )
            .retry_after(RETRY_AFTER)
            .into_response()
        }
        .boxed()
    }

    fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
        // A document need not configure every port: the others are as warm as they ever will be.
        async { Ok(()) }.boxed()
    }
}
