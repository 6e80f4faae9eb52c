//! The function of the sidecar: it reads a request to its end, notes its id, and answers with what
//! it has read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use outrigger_chassis::{
    Builder, Function, Functions, InvalidDocument, NotWarm, Problem, RequestBody, ResponseBody,
    Secrets,
};
use outrigger_control::{Document, layout};
use parking_lot::Mutex;

use crate::ledger::{self, Ledger};

/// Header with the request's id.
pub const ID: &str = "x-id";
/// Header with the milliseconds that the answer is to take.
pub const DELAY: &str = "x-delay-ms";

/// Makes the functions of the sidecar, which share a ledger.
#[derive(Debug)]
pub struct BenchBuilder {
    noting: Arc<Noting>,
}

impl Default for BenchBuilder {
    fn default() -> BenchBuilder {
        let directory = std::env::var_os("OUTRIGGER_SHARED_DIR");
        let directory = directory.map_or_else(|| layout::SHARED_DIR.into(), PathBuf::from);
        BenchBuilder {
            noting: Arc::new(Noting {
                path: directory.join(ledger::FILE),
                ledger: Mutex::default(),
            }),
        }
    }
}

impl Builder for BenchBuilder {
    fn build(&self, document: &Document, _: &Secrets) -> Result<Functions, InvalidDocument> {
        let functions = document.functions.iter().map(|function| {
            let noting: Arc<dyn Function> = Arc::<Noting>::clone(&self.noting);
            (function.name.clone(), noting)
        });
        Ok(functions.collect())
    }
}

/// Notes each request.
#[derive(Debug)]
struct Noting {
    path: PathBuf,
    /// Opened by the first request: a preflight has no place for it.
    ledger: Mutex<Option<Ledger>>,
}

impl Noting {
    fn note(&self, id: u64) -> std::io::Result<()> {
        let mut ledger = self.ledger.lock();
        match &*ledger {
            Some(ledger) => ledger.append(id),
            None => ledger.insert(Ledger::open(&self.path)?).append(id),
        }
    }

    async fn answer(&self, request: Request<RequestBody>) -> Result<String, Problem> {
        let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail);
        let (head, mut body) = request.into_parts();
        let id = number(&head.headers, ID).ok_or_else(|| bad(format!("{ID} must be a number")))?;
        let delay = number(&head.headers, DELAY);
        let mut read = Content::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| bad(error.to_string()))?;
            read.add(frame.data_ref().unwrap_or(&Bytes::new()));
        }
        if let Some(delay) = delay {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        self.note(id).map_err(|error| {
            let detail = format!("cannot write {}: {error}", self.path.display());
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no-ledger", detail)
        })?;
        Ok(read.answer(id))
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

impl Function for Noting {
    fn call(
        self: Arc<Self>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        async move {
            match self.answer(request).await {
                Ok(text) => Response::new(
                    Full::new(Bytes::from(text))
                        .map_err(|never| match never {})
                        .boxed_unsync(),
                ),
                Err(problem) => problem.into_response(),
            }
        }
        .boxed()
    }

    fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
        async { Ok(()) }.boxed()
    }
}

/// What of a body is told in the answer, so that a changed or shortened one is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    length: u64,
    hash: u64,
}

impl Default for Content {
    fn default() -> Content {
        // FNV-1a, over words: it tells the order of pieces too.
        Content {
            length: 0,
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }
}

impl Content {
    /// Adds the next piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        for byte in piece {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The body of the answer to a request with this content.
    pub fn answer(&self, id: u64) -> String {
        format!("{id} {} {:016x}\n", self.length, self.hash)
    }
}
