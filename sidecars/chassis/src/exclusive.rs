//! What only one worker may have at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::body::{Holding, refuse};
use crate::tenancy::Hosted;
use crate::{
    BoxError, Exclusive, Function, Functions, HandOver, NotWarm, Problem, RequestBody,
    ResponseBody, State, Upgraded,
};

/// Longest time of a function to open or to close what is its own.
pub(crate) const STEP: Duration = Duration::from_secs(5);
/// Longest time for requests in progress to end before a function closes.
pub(crate) const QUIET: Duration = Duration::from_secs(5);
/// Longest time that a request waits for a function that is not open.
const PATIENCE: Duration = Duration::from_secs(20);
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

/// What is open in this worker.
pub(crate) struct Exclusives {
    functions: Arc<ArcSwap<Hosted>>,
    open: BTreeMap<String, Arc<dyn Exclusive>>,
    /// What those that were closed last remember, for whoever opens them next.
    states: BTreeMap<String, State>,
}

impl Exclusives {
    pub(crate) fn new(functions: Arc<ArcSwap<Hosted>>) -> Exclusives {
        Exclusives {
            functions,
            open: BTreeMap::new(),
            states: BTreeMap::new(),
        }
    }

    /// Those of the functions in use.
    fn in_use(&self) -> BTreeMap<String, Arc<dyn Exclusive>> {
        let functions = self.functions.load();
        let all = functions.all().iter();
        all.filter_map(|(name, function)| Some((name.clone(), Arc::clone(function).exclusive()?)))
            .collect()
    }

    /// Whether the functions in use are open, and no others.
    pub(crate) fn are_in_use(&self) -> bool {
        let in_use = self.in_use();
        in_use.len() == self.open.len()
            && in_use
                .iter()
                .all(|(name, exclusive)| self.is_open(name, exclusive))
    }

    fn is_open(&self, name: &str, exclusive: &Arc<dyn Exclusive>) -> bool {
        let open = self.open.get(name);
        open.is_some_and(|open| Arc::ptr_eq(open, exclusive))
    }

    /// Whether there is nothing to hand over.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.states.is_empty()
    }

    /// Opens those of the functions in use, after others were closed. What one remembered is given
    /// to the one of the same name.
    pub(crate) async fn renew(&mut self) -> Result<(), String> {
        let in_use = self.in_use();
        let others: Vec<_> = self.open.iter().collect();
        let others: Vec<_> = others
            .into_iter()
            .filter(|(name, open)| {
                in_use
                    .get(*name)
                    .is_none_or(|used| !Arc::ptr_eq(used, open))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in others {
            self.close_one(&name).await?;
        }
        for (name, exclusive) in in_use {
            if self.is_open(&name, &exclusive) {
                continue;
            }
            let not_open = |reason: BoxError| format!("function {name} cannot be opened: {reason}");
            let state = self.states.get(&name).map(State::duplicate).transpose();
            let state = state.map_err(|error| not_open(error.into()))?;
            // Before it is: whoever is interrupted has to close it.
            self.open.insert(name.clone(), Arc::clone(&exclusive));
            let opened = timeout(STEP, exclusive.open(state)).await;
            let opened = opened.unwrap_or_else(|_| Err("it took too long".into()));
            if let Err(reason) = opened {
                self.open.remove(&name);
                return Err(not_open(reason));
            }
        }
        self.states.clear();
        Ok(())
    }

    /// Closes all that are open. If one cannot be closed, those that were closed before stay so,
    /// for [`Exclusives::renew`] to open them again.
    pub(crate) async fn close(&mut self) -> Result<(), String> {
        let names: Vec<_> = self.open.keys().cloned().collect();
        for name in names {
            self.close_one(&name).await?;
        }
        Ok(())
    }

    async fn close_one(&mut self, name: &str) -> Result<(), String> {
        let Some(exclusive) = self.open.get(name) else {
            return Ok(());
        };
        let not_closed = |reason: BoxError| format!("function {name} cannot be closed: {reason}");
        let state = Arc::clone(exclusive).close().await.map_err(not_closed)?;
        self.open.remove(name);
        if let Some(state) = state {
            state.seal().map_err(|error| not_closed(error.into()))?;
            self.states.insert(name.to_owned(), state);
        }
        Ok(())
    }

    /// What those that were closed remember.
    pub(crate) fn states(&self) -> &BTreeMap<String, State> {
        &self.states
    }

    /// Takes what a function of another worker remembers.
    pub(crate) fn remember(&mut self, name: String, state: State) {
        self.states.insert(name, state);
    }

    /// Another worker has the states, or goes on with its own.
    pub(crate) fn forget(&mut self) {
        self.states.clear();
    }

    /// Closes all that are open, for good.
    pub(crate) async fn give_up(&mut self) {
        if let Err(reason) = self.close().await {
            tracing::error!(reason, "Function may still have what another worker needs");
            self.open.clear();
        }
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http_body_util::Empty;
    use parking_lot::Mutex;

    use super::*;

    /// Notes what happens to it. A request takes as many seconds as its path says.
    #[derive(Default)]
    struct Store(Mutex<Vec<String>>);

    impl Store {
        fn note(&self, what: impl Into<String>) {
            self.0.lock().push(what.into());
        }

        fn noted(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock())
        }
    }

    impl Function for Store {
        fn call(
            self: Arc<Self>,
            request: Request<RequestBody>,
        ) -> BoxFuture<'static, Response<ResponseBody>> {
            async move {
                let seconds = request.uri().path()[1..].parse().unwrap();
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                self.note("answered");
                crate::json(StatusCode::OK, &())
            }
            .boxed()
        }

        fn exclusive(self: Arc<Self>) -> Option<Arc<dyn Exclusive>> {
            Some(self)
        }
    }

    impl Exclusive for Store {
        fn open(self: Arc<Self>, state: Option<State>) -> BoxFuture<'static, Result<(), BoxError>> {
            async move {
                let state = state.map(|state| state.to_bytes()).transpose()?;
                self.note(format!("opened with {:?}", state.map(String::from_utf8)));
                Ok(())
            }
            .boxed()
        }

        fn close(self: Arc<Self>) -> BoxFuture<'static, Result<Option<State>, BoxError>> {
            async move {
                self.note("closed");
                Ok(Some(State::from_bytes(b"kept")?))
            }
            .boxed()
        }
    }

    /// The function `store`, the one behind its gate, and what is open of it.
    fn exclusives() -> (Arc<Store>, Arc<dyn Function>, Exclusives) {
        let store = Arc::new(Store::default());
        let function = Arc::clone(&store) as Arc<dyn Function>;
        let functions = gated([("store".to_owned(), function)].into());
        let function = Arc::clone(&functions["store"]);
        let hosted = Arc::new(ArcSwap::from_pointee(Hosted::own(functions)));
        (store, function, Exclusives::new(hosted))
    }

    fn request(seconds: u32) -> Request<RequestBody> {
        let body = Empty::new().map_err(|never| match never {});
        let mut request = Request::new(body.boxed_unsync());
        *request.uri_mut() = format!("/{seconds}").parse().unwrap();
        request
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_until_their_function_is_open() {
        let (store, function, mut exclusives) = exclusives();
        let waiting = tokio::spawn(Arc::clone(&function).call(request(0)));
        tokio::time::sleep(PATIENCE / 2).await;
        exclusives.renew().await.unwrap();
        assert!(exclusives.are_in_use());
        assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
        assert_eq!(store.noted(), ["opened with None", "answered"]);
        exclusives.close().await.unwrap();
        let refused = function.call(request(0)).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(store.noted(), ["closed"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_is_closed_after_its_requests_and_opened_with_what_it_remembered() {
        let (store, function, mut exclusives) = exclusives();
        exclusives.renew().await.unwrap();
        let slow = tokio::spawn(Arc::clone(&function).call(request(3)));
        tokio::task::yield_now().await;
        let answer = async { drop(slow.await) };
        let (closed, ()) = tokio::join!(exclusives.close(), answer);
        closed.unwrap();
        exclusives.renew().await.unwrap();
        assert_eq!(
            store.noted(),
            [
                "opened with None",
                "answered",
                "closed",
                r#"opened with Some(Ok("kept"))"#
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_with_a_request_without_end_stays_open() {
        let (_, function, mut exclusives) = exclusives();
        exclusives.renew().await.unwrap();
        let endless = tokio::spawn(Arc::clone(&function).call(request(1_000)));
        tokio::task::yield_now().await;
        let reason = exclusives.close().await.unwrap_err();
        assert_eq!(
            reason,
            "function store cannot be closed: its requests did not end in time"
        );
        let answer = function.call(request(0)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        endless.abort();
    }
}
