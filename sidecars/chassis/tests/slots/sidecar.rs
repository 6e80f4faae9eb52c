//! The sidecar under test: it answers with what it saw and who it is. The parameter `refuse` makes
//! it refuse its document, `fail` makes it panic instead, `abort` ends the whole process, `cold` keeps it from ever being warm,
//! `stall` lets it be warm once and then give no more answer, `ledger` makes it count requests; their
//! values are the reasons.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use outrigger_chassis::{
    Builder, Exclusive, Function, Functions, HandOver, InvalidDocument, NotWarm, RequestBody,
    ResponseBody, Secrets, Upgraded,
};
use outrigger_control::{Document, FunctionDocument, FunctionKind, Values, layout};
use serde::{Deserialize, Serialize};

use crate::ledger::Ledger;
use crate::lines;

/// How long the path `/slow` takes.
const SLOW: Duration = Duration::from_millis(200);

/// Whether this process is a sidecar's, rather than that of the tests.
pub(crate) fn is_this() -> bool {
    std::env::var_os(layout::ENV_SIDECAR).is_some()
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) slot: String,
    pub(crate) worker: u32,
    /// The request's query.
    pub(crate) tag: String,
    /// The application that the function is of.
    pub(crate) application: String,
    /// The parameter `flavour`, or nothing.
    #[serde(default)]
    pub(crate) flavour: String,
    /// Length of the request's body.
    pub(crate) length: usize,
    /// Which it is of all requests, if they are counted.
    pub(crate) count: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Echo {
    application: String,
    flavour: String,
    cold: Option<String>,
    stalls: bool,
    was_warm: AtomicBool,
    ledger: Option<Arc<Ledger>>,
}

/// A parameter of a function.
fn parameter(function: &FunctionDocument, name: &str) -> Option<String> {
    let (FunctionKind::Idempotency(layers) | FunctionKind::Custom(layers)) = &function.kind;
    layers.iter().find_map(|layer| match &layer.values {
        Values::Parameters(parameters) => Some(parameters.get(name)?.as_str()?.to_owned()),
        Values::Text(_) | Values::Secret(_) => None,
    })
}

impl Builder for Echo {
    fn build(&self, document: &Document, _: &Secrets) -> Result<Functions, InvalidDocument> {
        let mut functions = Functions::new();
        for function in &document.functions {
            if let Some(reason) = parameter(function, "refuse") {
                return Err(InvalidDocument(reason));
            }
            if let Some(reason) = parameter(function, "fail") {
                panic!("{reason}");
            }
            if parameter(function, "abort").is_some() {
                std::process::abort();
            }
            let echo = Echo {
                application: document.application.name.clone(),
                flavour: parameter(function, "flavour").unwrap_or_default(),
                cold: parameter(function, "cold"),
                stalls: parameter(function, "stall").is_some(),
                was_warm: AtomicBool::new(false),
                ledger: parameter(function, "ledger").map(|_| Arc::default()),
            };
            functions.insert(function.name.clone(), Arc::new(echo));
        }
        Ok(functions)
    }
}

impl Function for Echo {
    fn call(
        self: Arc<Self>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        async move {
            if let Some(switched) = lines::switch(&request) {
                return switched;
            }
            let uri = request.uri().clone();
            if uri.path() == "/slow" {
                tokio::time::sleep(SLOW).await;
            }
            // If the client goes away amid its body, nobody reads the answer.
            let body = request.into_body().collect().await.unwrap_or_default();
            let seen = Seen {
                slot: std::env::var(layout::ENV_SLOT).unwrap_or_default(),
                worker: std::process::id(),
                tag: uri.query().unwrap_or_default().to_owned(),
                application: self.application.clone(),
                flavour: self.flavour.clone(),
                length: body.to_bytes().len(),
                count: self.ledger.as_ref().map(|ledger| ledger.add()),
            };
            let text = serde_json::to_vec(&seen).unwrap();
            let body = Full::new(text.into()).map_err(|never| match never {});
            Response::new(body.boxed_unsync())
        }
        .boxed()
    }

    fn upgraded(
        self: Arc<Self>,
        state: Bytes,
        connection: Upgraded,
    ) -> BoxFuture<'static, Option<HandOver>> {
        lines::speak(state, connection).boxed()
    }

    fn exclusive(self: Arc<Self>) -> Option<Arc<dyn Exclusive>> {
        Some(Arc::clone(self.ledger.as_ref()?) as Arc<dyn Exclusive>)
    }

    fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
        async move {
            if self.was_warm.swap(true, Ordering::Relaxed) && self.stalls {
                std::future::pending::<()>().await;
            }
            self.cold
                .clone()
                .map_or(Ok(()), |reason| Err(NotWarm(reason)))
        }
        .boxed()
    }
}
