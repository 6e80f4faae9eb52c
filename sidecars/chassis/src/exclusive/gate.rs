//! Keeps requests from a function that is not open.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{QUIET, STEP};
use crate::body::{Holding, refuse};
use crate::{
    BoxError, Exclusive, Function, Functions, HandOver, Leave, NotWarm, Problem, RequestBody,
    ResponseBody, State, Upgraded,
};

/// Longest time that a request waits for a function that is not open.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// What clients are told to wait then, in seconds.
const RETRY_AFTER: u32 = 1;

/// The requests that wait for functions to be opened.
#[derive(Clone, Default)]
pub(crate) struct Waiting(Arc<Mutex<Vec<Weak<Gated>>>>);

impl Waiting {
    fn add(&self, gated: &Arc<Gated>) {
        let mut all = self.0.lock();
        all.retain(|gated| gated.strong_count() > 0);
        all.push(Arc::downgrade(gated));
    }

    fn all(&self) -> Vec<Arc<Gated>> {
        self.0.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Has them answered at once.
    pub(super) fn dismiss(&self) {
        for gated in self.all() {
            gated.gate.send_modify(|gate| gate.dismissals += 1);
        }
    }

    /// Has those that wait for a function which is not among those in use wait for the one in its
    /// place, if there is one.
    pub(crate) fn move_to(&self, in_use: &Functions) {
        let in_use = in_use
            .values()
            .filter_map(|used| Arc::clone(used).exclusive());
        let in_use: Vec<_> = in_use.map(|used| Arc::as_ptr(&used).cast::<()>()).collect();
        let (used, retired): (Vec<_>, Vec<_>) = self
            .all()
            .into_iter()
            .partition(|gated| in_use.contains(&Arc::as_ptr(gated).cast()));
        for gated in retired {
            let successor = used.iter().find(|used| used.name == gated.name);
            gated.gate.send_modify(|gate| {
                gate.is_retired = true;
                gate.successor = successor.cloned();
            });
        }
    }
}

/// Puts each function of an application that has something exclusive behind a gate.
pub(crate) fn gated(functions: Functions, application: &str, waiting: &Waiting) -> Functions {
    let gated = functions.into_iter().map(|(name, function)| {
        let function = match Arc::clone(&function).exclusive() {
            Some(exclusive) => {
                let gated = Arc::new(Gated {
                    name: (application.to_owned(), name.clone()),
                    function,
                    exclusive,
                    gate: watch::Sender::new(Gate::default()),
                });
                waiting.add(&gated);
                gated
            }
            None => function,
        };
        (name, function)
    });
    gated.collect()
}

/// A function that answers only while it is open.
struct Gated {
    /// Its application's, and its own.
    name: (String, String),
    function: Arc<dyn Function>,
    exclusive: Arc<dyn Exclusive>,
    gate: watch::Sender<Gate>,
}

#[derive(Default)]
struct Gate {
    is_open: bool,
    /// Requests in progress and upgraded connections.
    busy: u64,
    /// How often those that waited were told to wait no longer.
    dismissals: u64,
    /// It is not in use any more; this one is in its place, if any.
    is_retired: bool,
    successor: Option<Arc<Gated>>,
}

impl Gate {
    /// Why nobody waits here who came after so many dismissals; `None` if it is worth while.
    fn shut_for(&self, dismissals: u64) -> Option<Shut> {
        if let Some(successor) = &self.successor {
            return Some(Shut::Replaced(Arc::clone(successor)));
        }
        (self.is_retired || self.dismissals != dismissals).then_some(Shut::Dismissed)
    }
}

/// Why a function cannot be entered.
enum Shut {
    /// It was not opened in time.
    Late,
    /// It is not to be waited for.
    Dismissed,
    /// This one is in its place.
    Replaced(Arc<Gated>),
}

/// A request or an upgraded connection in progress.
struct Pass(Arc<Gated>);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.gate.send_modify(|gate| gate.busy -= 1);
    }
}

impl Gated {
    /// Waits until the function is open.
    async fn enter(self: &Arc<Self>) -> Result<Pass, Shut> {
        let mut gate = self.gate.subscribe();
        let dismissals = gate.borrow().dismissals;
        let entered = async {
            loop {
                // Before the attempt: what changes after it is waited for.
                let shut = gate.borrow_and_update().shut_for(dismissals);
                let entered = self.gate.send_if_modified(|gate| {
                    gate.busy += u64::from(gate.is_open);
                    gate.is_open
                });
                if entered {
                    return Ok(Pass(Arc::clone(self)));
                }
                if let Some(shut) = shut {
                    return Err(shut);
                }
                // The sender lives as long as `self`.
                let _ = gate.changed().await;
            }
        };
        timeout(PATIENCE, entered).await.unwrap_or(Err(Shut::Late))
    }

    /// Closes the gate in a moment in which nobody is behind it; false if there is none in time.
    async fn shut(&self) -> bool {
        let mut gate = self.gate.subscribe();
        let shut = async {
            loop {
                let mut shut = false;
                self.gate.send_if_modified(|gate| {
                    shut = gate.busy == 0;
                    gate.is_open &= !shut;
                    false
                });
                if shut || gate.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(QUIET, shut).await.is_ok()
    }

    fn admit(&self) {
        self.gate.send_modify(|gate| gate.is_open = true);
    }
}

impl Function for Gated {
    fn call(
        self: Arc<Self>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        async move {
            let pass = match self.enter().await {
                Ok(pass) => pass,
                Err(Shut::Replaced(successor)) => return successor.call(request).await,
                Err(Shut::Late | Shut::Dismissed) => return not_open(request).await,
            };
            let response = Arc::clone(&self.function).call(request).await;
            response.map(|body| Holding::new(body, pass).boxed_unsync())
        }
        .boxed()
    }

    fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
        Arc::clone(&self.function).warm()
    }

    fn upgraded(
        self: Arc<Self>,
        state: Bytes,
        connection: Upgraded,
    ) -> BoxFuture<'static, Option<HandOver>> {
        async move {
            let pass = tokio::select! {
                biased;
                leave = connection.leaving() => return match leave {
                    Leave::HandOver => Some(connection.hand_over(state, Bytes::new())),
                    Leave::Close => None,
                },
                entered = self.enter() => match entered {
                    Ok(pass) => pass,
                    Err(Shut::Replaced(successor)) => {
                        return successor.upgraded(state, connection).await;
                    }
                    // Whoever is to open it goes on.
                    Err(Shut::Dismissed) => return Some(connection.hand_over(state, Bytes::new())),
                    Err(Shut::Late) => return None,
                },
            };
            let left = Arc::clone(&self.function).upgraded(state, connection).await;
            drop(pass);
            left
        }
        .boxed()
    }

    fn exclusive(self: Arc<Self>) -> Option<Arc<dyn Exclusive>> {
        Some(self)
    }
}

impl Exclusive for Gated {
    fn open(self: Arc<Self>, state: Option<State>) -> BoxFuture<'static, Result<(), BoxError>> {
        async move {
            let exclusive = Arc::clone(&self.exclusive);
            caught(async move { exclusive.open(state).await }).await?;
            self.admit();
            Ok(())
        }
        .boxed()
    }

    fn close(self: Arc<Self>) -> BoxFuture<'static, Result<Option<State>, BoxError>> {
        async move {
            if !self.shut().await {
                return Err("its requests did not end in time".into());
            }
            let exclusive = Arc::clone(&self.exclusive);
            let closing = caught(async move { exclusive.close().await });
            let closed = timeout(STEP, closing).await;
            let closed = closed.unwrap_or_else(|_| Err("it took too long".into()));
            if closed.is_err() {
                self.admit();
            }
            closed
        }
        .boxed()
    }
}

/// The answer of a function that nobody could enter.
async fn not_open(request: Request<RequestBody>) -> Response<ResponseBody> {
    let detail = "the function has not got what only one worker may have";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-open", detail);
    refuse(request.into_body(), problem.retry_after(RETRY_AFTER)).await
}

/// A step of a function. One that panics has failed, and its worker goes on.
async fn caught<T>(step: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    let done = AssertUnwindSafe(step).catch_unwind().await;
    done.unwrap_or_else(|_| Err("it panicked; its log has the place".into()))
}
