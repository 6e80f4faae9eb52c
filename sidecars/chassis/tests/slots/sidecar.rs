//! The sidecar under test: it answers with what it saw and who it is.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use outrigger_chassis::{
    Builder, Function, Functions, InvalidDocument, NotWarm, RequestBody, ResponseBody, Secrets,
};
use outrigger_control::{Document, layout};
use serde::{Deserialize, Serialize};

/// How long the path `/slow` takes.
const SLOW: Duration = Duration::from_millis(200);

/// Whether this process is a slot's supervisor or worker.
pub(crate) fn is_this() -> bool {
    std::env::var_os(layout::ENV_SLOT).is_some()
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) slot: String,
    pub(crate) worker: u32,
    /// The request's query.
    pub(crate) tag: String,
    /// Length of the request's body.
    pub(crate) length: usize,
}

#[derive(Default)]
pub(crate) struct Echo;

impl Builder for Echo {
    fn build(&self, document: &Document, _: &Secrets) -> Result<Functions, InvalidDocument> {
        let names = document.functions.iter().map(|function| &function.name);
        Ok(names
            .map(|name| (name.clone(), Arc::new(Echo) as Arc<dyn Function>))
            .collect())
    }
}

impl Function for Echo {
    fn call(
        self: Arc<Self>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        async move {
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
                length: body.to_bytes().len(),
            };
            let text = serde_json::to_vec(&seen).unwrap();
            let body = Full::new(text.into()).map_err(|never| match never {});
            Response::new(body.boxed_unsync())
        }
        .boxed()
    }

    fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
        async { Ok(()) }.boxed()
    }
}
