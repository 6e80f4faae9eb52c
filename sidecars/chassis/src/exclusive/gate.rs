//! Keeps requests from a function that is not open.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{QUIET, STEP};
use crate::body::{Holding, refuse};
use crate::{
    BoxError, Exclusive, Function, Functions, HandOver, NotWarm, Problem, RequestBody,
    ResponseBody, State, Upgraded,
};

/// Longest time that a request waits for a function that is not open.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// What clients are told to wait then, in seconds.
const RETRY_AFTER: u32 = 1;

/// Puts each function that has something exclusive behind a gate.
pub(crate) fn gated(functions: Functions) -> Functions {
    let gated = functions.into_iter().map(|(name, function)| {
        let function = match Arc::clone(&function).exclusive() {
            Some(exclusive) => Arc::new(Gated {
                function,
                exclusive,
                gate: watch::Sender::new(Gate::default()),
            }),
            None => function,
        };
        (name, function)
    });
    gated.collect()
}

/// A function that answers only while it is open.
struct Gated {
    function: Arc<dyn Function>,
    exclusive: Arc<dyn Exclusive>,
    gate: watch::Sender<Gate>,
}

#[derive(Default)]
struct Gate {
    is_open: bool,
    /// Requests in progress and upgraded connections.
    busy: u64,
}

/// A request or an upgraded connection in progress.
struct Pass(Arc<Gated>);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.gate.send_modify(|gate| gate.busy -= 1);
    }
}

impl Gated {
    /// Waits until the function is open; `None` if that takes too long.
    async fn enter(self: &Arc<Self>) -> Option<Pass> {
        let mut gate = self.gate.subscribe();
        let entered = async {
            loop {
                let entered = self.gate.send_if_modified(|gate| {
                    gate.busy += u64::from(gate.is_open);
                    gate.is_open
                });
                // The sender lives as long as `self`.
                if entered || gate.changed().await.is_err() {
                    return Pass(Arc::clone(self));
                }
            }
        };
        timeout(PATIENCE, entered).await.ok()
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
            let Some(pass) = self.enter().await else {
                let detail = "the function has not got what only one worker may have";
                let unavailable = StatusCode::SERVICE_UNAVAILABLE;
                let problem =
                    Problem::new(unavailable, "not-open", detail).retry_after(RETRY_AFTER);
                return refuse(request.into_body(), problem).await;
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
            let _pass = self.enter().await?;
            Arc::clone(&self.function).upgraded(state, connection).await
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
            Arc::clone(&self.exclusive).open(state).await?;
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
            let closed = timeout(STEP, Arc::clone(&self.exclusive).close()).await;
            let closed = closed.unwrap_or_else(|_| Err("it took too long".into()));
            if closed.is_err() {
                self.admit();
            }
            closed
        }
        .boxed()
    }
}
