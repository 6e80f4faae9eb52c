//! The configuration in use: taken completely or not at all, and kept through restarts.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use outrigger_control::{
    AnyDocument, ConfigurationReport, Document, Refusal, SharedDocument, TenantDocument,
    told_of_tenants,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::body::refuse;
use crate::exclusive::{Waiting, gated};
use crate::ownership::replace_file;
use crate::settings::FunctionPort;
use crate::tenancy::{Gates, Guarded, Hosted, Parts};
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
    waiting: Waiting,
    gates: Gates,
    parts: Parts,
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

/// What was made of a document.
struct Built {
    hosted: Hosted,
    /// As much of the document as is good, with former parts in place of the others.
    good: AnyDocument,
    /// Why applications keep their former parts.
    refused: BTreeMap<String, String>,
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
            waiting: Waiting::default(),
            gates,
            parts: Parts::default(),
            tried: None,
            report: ConfigurationReport::default(),
        }
    }

    /// The functions in use, one for each listening port.
    pub(crate) fn functions(&self) -> Arc<ArcSwap<Hosted>> {
        Arc::clone(&self.functions)
    }

    /// The requests that wait for one of them to be opened.
    pub(crate) fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }

    pub(crate) fn report(&self) -> &ConfigurationReport {
        &self.report
    }

    /// Uses the document that this slot took last, if it still can.
    pub(crate) fn restore(&mut self) -> Option<Offer> {
        let LastGood { hash, document } = match self.read_last_good() {
            Ok(kept) => kept?,
            Err(error) => {
                tracing::error!(%error, "Last good configuration could not be read");
                return None;
            }
        };
        match self.build(document) {
            Ok(built) => {
                tracing::info!(hash, "Last good configuration was restored");
                self.put_in_use(hash, built.hosted);
                self.tell_of_tenants(built.refused);
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
        match read(text).and_then(|document| self.build(document)) {
            Ok(built) => {
                tracing::info!(hash, "Configuration was taken");
                self.put_in_use(hash.to_owned(), built.hosted);
                self.report.refused = None;
                self.tell_of_tenants(built.refused);
                self.keep(hash, built.good);
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

    /// Builds what a document describes; with what of it can be used, and the reasons against the
    /// rest.
    fn build(&mut self, document: AnyDocument) -> Result<Built, String> {
        match document {
            AnyDocument::Own(document) => {
                check(&document, &self.sidecar, Some(&self.ports))?;
                let functions = self.functions_of(&document)?;
                self.parts = Parts::default();
                Ok(Built {
                    hosted: Hosted::own(functions),
                    good: AnyDocument::Own(document),
                    refused: BTreeMap::new(),
                })
            }
            AnyDocument::Shared(shared) => {
                check_shared(&shared, &self.sidecar)?;
                let mut parts = std::mem::take(&mut self.parts);
                let kept = LazyCell::new(|| self.kept_parts());
                let refused = parts.take(
                    &shared,
                    |document| {
                        check(document, &self.sidecar, Some(&self.ports))?;
                        self.functions_of(document)
                    },
                    |application| kept.get(application).cloned(),
                );
                self.parts = parts;
                Ok(Built {
                    hosted: Hosted::shared(self.guarded(&shared)),
                    good: AnyDocument::Shared(self.parts.good(&shared)),
                    refused,
                })
            }
        }
    }

    /// The functions of each application behind its gate. An application without any has stand-ins.
    fn guarded(&self, shared: &SharedDocument) -> BTreeMap<String, Functions> {
        let tenants = shared.tenants.iter();
        let limits = tenants.map(|TenantDocument { document, limits }| {
            (document.application.name.clone(), limits.clone())
        });
        let gates = self.gates.of(limits.collect()).into_iter();
        let guarded = gates.map(|(application, gate)| {
            let functions = self.parts.functions(&application).cloned();
            let functions = functions.unwrap_or_else(|| complete(Functions::new(), &self.ports));
            let guarded = functions.into_iter().map(|(name, function)| {
                let gate = Arc::clone(&gate);
                let function: Arc<dyn Function> = Arc::new(Guarded { function, gate });
                (name, function)
            });
            (application, guarded.collect())
        });
        guarded.collect()
    }

    /// The parts of applications that were good before this worker began.
    fn kept_parts(&self) -> BTreeMap<String, Document> {
        let Ok(Some(LastGood { document, .. })) = self.read_last_good() else {
            return BTreeMap::new();
        };
        let AnyDocument::Shared(shared) = document else {
            return BTreeMap::new();
        };
        let documents = shared.tenants.into_iter().map(|tenant| tenant.document);
        documents
            .map(|document| (document.application.name.clone(), document))
            .collect()
    }

    fn read_last_good(&self) -> io::Result<Option<LastGood>> {
        match std::fs::read(&self.last_good) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn functions_of(&self, document: &Document) -> Result<Functions, String> {
        let functions = build(self.builder.as_ref(), document, &self.secrets)?;
        let gated = gated(functions, &document.application.name, &self.waiting);
        Ok(complete(gated, &self.ports))
    }

    fn put_in_use(&mut self, hash: String, functions: Hosted) {
        self.functions.store(Arc::new(functions));
        self.waiting.move_to(self.functions.load().all());
        self.report.hash = Some(hash);
    }

    fn tell_of_tenants(&mut self, refused: BTreeMap<String, String>) {
        for (application, error) in &refused {
            tracing::error!(application, error, "Part of the configuration was refused");
        }
        self.report.refused_tenants = told_of_tenants(&refused);
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

/// Checks the document of a sidecar that several applications share, but not their parts.
pub(crate) fn check_shared(shared: &SharedDocument, sidecar: &str) -> Result<(), String> {
    check_form(shared.v, &shared.sidecar, sidecar)?;
    for (index, tenant) in shared.tenants.iter().enumerate() {
        let name = &tenant.document.application.name;
        let mut former = shared.tenants[..index].iter();
        if former.any(|tenant| &tenant.document.application.name == name) {
            return Err(format!("tenants[{index}]: {name:?} is listed twice"));
        }
    }
    Ok(())
}

fn check_form(version: u32, found: &str, sidecar: &str) -> Result<(), String> {
    if version != Document::VERSION {
        return Err(format!(
            "document has version {version}; allowed is {}",
            Document::VERSION
        ));
    }
    if found != sidecar {
        return Err(format!(
            "document is for sidecar {found:?}; this is sidecar {sidecar:?}"
        ));
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
    check_form(document.v, &document.sidecar, sidecar)?;
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
            let problem = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-configured",
                format!("function {} has no configuration yet", self.function),
            )
            .retry_after(RETRY_AFTER);
            refuse(request.into_body(), problem).await
        }
        .boxed()
    }

    fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
        // A document need not configure every port: the others are as warm as they ever will be.
        async { Ok(()) }.boxed()
    }
}
