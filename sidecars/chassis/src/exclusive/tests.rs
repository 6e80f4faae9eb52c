//! The promises to a function with something exclusive.

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::gate::PATIENCE;
use super::*;
use crate::{Function, Functions, RequestBody, ResponseBody};

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
    let waiting = Waiting::default();
    let functions = gated([("store".to_owned(), function)].into(), "shop", &waiting);
    let function = Arc::clone(&functions["store"]);
    let hosted = Arc::new(ArcSwap::from_pointee(Hosted::own(functions)));
    (store, function, Exclusives::new(hosted, waiting))
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
async fn requests_for_a_function_that_was_replaced_wait_for_the_one_in_its_place() {
    let waiting = Waiting::default();
    let functions = |application: &str| {
        let store: Arc<dyn Function> = Arc::new(Store::default());
        gated([("store".to_owned(), store)].into(), application, &waiting)
    };
    let (former, used, other) = (functions("shop"), functions("shop"), functions("bank"));
    let ask =
        |functions: &Functions| tokio::spawn(Arc::clone(&functions["store"]).call(request(0)));
    let (moved, gone) = (ask(&former), ask(&other));
    tokio::task::yield_now().await;
    waiting.move_to(&used);
    let refused = gone.await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let open = Arc::clone(&used["store"]).exclusive().unwrap();
    open.open(None).await.unwrap();
    assert_eq!(moved.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_to_wait_no_longer_are_answered_at_once() {
    let (_, function, exclusives) = exclusives();
    let waiting = tokio::spawn(function.call(request(0)));
    tokio::task::yield_now().await;
    let before = Instant::now();
    exclusives.dismiss_waiting();
    let refused = waiting.await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(before.elapsed(), Duration::ZERO);
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

type Opening = dyn Fn(Option<State>) -> Result<(), BoxError> + Send + Sync;
type Closing = dyn Fn() -> Result<Option<State>, BoxError> + Send + Sync;

/// Opens and closes as it is told.
struct Scripted {
    open: Box<Opening>,
    close: Box<Closing>,
}

impl Function for Scripted {
    fn call(
        self: Arc<Self>,
        _: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        async { crate::json(StatusCode::OK, &()) }.boxed()
    }

    fn exclusive(self: Arc<Self>) -> Option<Arc<dyn Exclusive>> {
        Some(self)
    }
}

impl Exclusive for Scripted {
    fn open(self: Arc<Self>, state: Option<State>) -> BoxFuture<'static, Result<(), BoxError>> {
        async move { (self.open)(state) }.boxed()
    }

    fn close(self: Arc<Self>) -> BoxFuture<'static, Result<Option<State>, BoxError>> {
        async move { (self.close)() }.boxed()
    }
}

fn scripted(
    open: impl Fn(Option<State>) -> Result<(), BoxError> + Send + Sync + 'static,
    close: impl Fn() -> Result<Option<State>, BoxError> + Send + Sync + 'static,
) -> Arc<dyn Function> {
    Arc::new(Scripted {
        open: Box::new(open),
        close: Box::new(close),
    })
}

fn exclusives_of(functions: Functions) -> Exclusives {
    let waiting = Waiting::default();
    let hosted = Hosted::own(gated(functions, "shop", &waiting));
    Exclusives::new(Arc::new(ArcSwap::from_pointee(hosted)), waiting)
}

#[tokio::test]
async fn a_function_that_panics_as_it_opens_or_closes_has_failed() {
    let opening = scripted(|_| panic!("on purpose"), || Ok(None));
    let mut exclusives = exclusives_of([("store".to_owned(), opening)].into());
    let panicked = "it panicked; its log has the place";
    assert_eq!(
        exclusives.renew().await.unwrap_err(),
        format!("function store cannot be opened: {panicked}")
    );
    let closing = scripted(|_| Ok(()), || panic!("on purpose"));
    let mut exclusives = exclusives_of([("store".to_owned(), closing)].into());
    exclusives.renew().await.unwrap();
    assert_eq!(
        exclusives.close().await.unwrap_err(),
        format!("function store cannot be closed: {panicked}")
    );
}

#[tokio::test]
async fn a_state_that_was_received_may_be_returned() {
    let kept: Arc<Mutex<Option<State>>> = Arc::default();
    let taken = Arc::clone(&kept);
    let store = scripted(
        move |state| {
            *taken.lock() = state;
            Ok(())
        },
        move || Ok(kept.lock().take()),
    );
    let mut exclusives = exclusives_of([("store".to_owned(), store)].into());
    let state = State::from_bytes(b"kept").unwrap();
    state.seal().unwrap();
    exclusives.remember("store".to_owned(), state);
    exclusives.renew().await.unwrap();
    exclusives.close().await.unwrap();
    assert_eq!(exclusives.states()["store"].to_bytes().unwrap(), b"kept");
}

#[tokio::test]
async fn what_a_function_no_longer_remembers_is_not_handed_on() {
    let first = scripted(|_| Ok(()), || Ok(None));
    let second = scripted(|_| Err("not yet".into()), || Ok(None));
    let functions = [("first".to_owned(), first), ("second".to_owned(), second)];
    let mut exclusives = exclusives_of(functions.into());
    let old = State::from_bytes(b"old").unwrap();
    exclusives.remember("first".to_owned(), old);
    exclusives.renew().await.unwrap_err();
    exclusives.close().await.unwrap();
    assert!(exclusives.states().is_empty());
}
