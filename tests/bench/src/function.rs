//! The function of the sidecar: it reads a request to its end, notes its id, and answers with what
//! it has read. Or it is asked for [messages](crate::messages), each of which it notes.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use outrigger_chassis::{
    Builder, Exclusive, Function, HandOver, NotWarm, Problem, RequestBody, ResponseBody, Upgraded,
    custom,
};
use outrigger_control::layout;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::counter::Counter;
use crate::ledger::{self, Ledger};
use crate::messages;

/// Header with the request's id.
pub const ID: &str = "x-id";
/// Header with the milliseconds that the answer is to take.
pub const DELAY: &str = "x-delay-ms";
/// Environment: seconds after which the process aborts, for an image that is to fail.
pub const ENV_ABORT_AFTER: &str = "OUTRIGGER_BENCH_ABORT_AFTER";

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// Whether each request gets a number too, from a count in memory that only one worker has.
    #[serde(default)]
    numbers: bool,
}

/// Makes the functions of the sidecar, which share a ledger.
pub fn builder() -> impl Builder {
    abort_later();
    custom(|parameters| Ok(Noting::new(&shared_directory(), parameters)))
}

/// The directory that both slots share.
pub(crate) fn shared_directory() -> PathBuf {
    let directory = std::env::var_os("OUTRIGGER_SHARED_DIR");
    directory.map_or_else(|| layout::SHARED_DIR.into(), PathBuf::from)
}

/// Lets the process abort some time after its start, if that is asked for.
fn abort_later() {
    let seconds = std::env::var(ENV_ABORT_AFTER).ok();
    if let Some(seconds) = seconds.and_then(|text| text.parse().ok()) {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(seconds));
            std::process::abort();
        });
    }
}

/// Notes each request.
#[derive(Debug)]
pub(crate) struct Noting {
    path: PathBuf,
    /// Opened by the first request: a preflight has no place for it.
    ledger: Mutex<Option<Ledger>>,
    counter: Option<Arc<Counter>>,
}

impl Noting {
    /// With the ledger in a directory.
    pub(crate) fn new(directory: &Path, Parameters { numbers }: Parameters) -> Noting {
        Noting {
            path: directory.join(ledger::FILE),
            ledger: Mutex::default(),
            counter: numbers.then(|| Arc::new(Counter::new(directory))),
        }
    }

    pub(crate) fn note(&self, id: u64) -> io::Result<()> {
        if let Some(counter) = &self.counter {
            counter.count()?;
        }
        let mut ledger = self.ledger.lock();
        match &*ledger {
            Some(ledger) => ledger.append(id),
            None => ledger.insert(Ledger::open(&self.path)?).append(id),
        }
    }

    /// Answers a request, whichever server it came through.
    pub(crate) async fn respond<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes, Error: Display> + Unpin,
    {
        match self.answer(request).await {
            Ok(text) => Response::new(
                Full::new(Bytes::from(text))
                    .map_err(|never| match never {})
                    .boxed_unsync(),
            ),
            Err(problem) => problem.into_response(),
        }
    }

    async fn answer<B>(&self, request: Request<B>) -> Result<String, Problem>
    where
        B: Body<Data = Bytes, Error: Display> + Unpin,
    {
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
            let detail = format!("cannot note it at {}: {error}", self.path.display());
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
            match messages::are_asked_for(&request) {
                true => messages::switch(),
                false => self.respond(request).await,
            }
        }
        .boxed()
    }

    fn upgraded(
        self: Arc<Self>,
        state: Bytes,
        connection: Upgraded,
    ) -> BoxFuture<'static, Option<HandOver>> {
        async move { messages::answer_all(&self, state, connection).await }.boxed()
    }

    fn exclusive(self: Arc<Self>) -> Option<Arc<dyn Exclusive>> {
        let counter = self.counter.clone()?;
        Some(counter)
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
