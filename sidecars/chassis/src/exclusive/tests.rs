//! The promises to a function with something exclusive.

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use parking_lot::Mutex;

use super::gate::PATIENCE;
use super::*;
use crate::{Function, RequestBody, ResponseBody};

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
