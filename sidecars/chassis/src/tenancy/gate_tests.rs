use std::time::Duration;

use tokio::sync::Notify;

use super::*;
use crate::full;

/// Reads the body, then waits until it is let go.
#[derive(Default)]
struct Held(Arc<Notify>);

impl Function for Held {
    fn call(
        self: Arc<Self>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        async move {
            let read = crate::read_body(request.into_body(), usize::MAX).await;
            self.0.notified().await;
            match read {
                Ok(_) => Response::new(full("")),
                Err(problem) => problem.into_response(),
            }
        }
        .boxed()
    }
}

fn limits() -> Limits {
    Limits {
        max_body_bytes: None,
        max_concurrent_requests: 1,
        requests_per_second: None,
    }
}

fn guarded(limits: Limits) -> (Arc<Guarded>, Arc<Notify>) {
    let held = Arc::new(Held::default());
    let go = Arc::clone(&held.0);
    let gates = Gates::default().of(BTreeMap::from([("shop".to_owned(), limits)]));
    let gate = Arc::clone(&gates["shop"]);
    (
        Arc::new(Guarded {
            function: held,
            gate,
        }),
        go,
    )
}

fn request(body: &'static str) -> Request<RequestBody> {
    Request::new(full(body))
}

#[tokio::test]
async fn as_many_requests_wait_as_are_answered_and_further_ones_are_refused() {
    let (guarded, go) = guarded(limits());
    let mut first = Arc::clone(&guarded).call(request(""));
    let mut second = Arc::clone(&guarded).call(request(""));
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    let third = Arc::clone(&guarded).call(request("")).await;
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(third.headers()["retry-after"], "1");
    go.notify_one();
    let first = first.await;
    // The place is free when the answer has been sent, not before.
    go.notify_one();
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    assert_eq!(second.await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_request_that_is_given_up_gives_its_place_or_turn_back() {
    let (guarded, go) = guarded(limits());
    for _ in 0..3 {
        let mut first = Arc::clone(&guarded).call(request(""));
        let mut second = Arc::clone(&guarded).call(request(""));
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
    }
    go.notify_one();
    assert_eq!(
        Arc::clone(&guarded).call(request("")).await.status(),
        StatusCode::OK
    );
}

#[tokio::test(start_paused = true)]
async fn a_rate_allows_bursts_of_a_second_and_not_more() {
    let mut bucket = Bucket::full(2);
    let taken = |bucket: &mut Bucket| (0..5).filter(|_| bucket.take(Instant::now())).count();
    assert_eq!(taken(&mut bucket), 2);
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(taken(&mut bucket), 1);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(taken(&mut bucket), 2);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_whether_it_says_so_or_not() {
    let bounded = Limits {
        max_body_bytes: Some(4),
        ..limits()
    };
    let (guarded, go) = guarded(bounded);
    go.notify_one();
    let fits = Arc::clone(&guarded).call(request("four")).await;
    assert_eq!(fits.status(), StatusCode::OK);
    drop(fits);
    go.notify_one();
    let silent = Arc::clone(&guarded).call(request("fives")).await;
    assert_eq!(silent.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(silent.headers()["connection"], "close");
    drop(silent);
    let mut told = request("fives");
    told.headers_mut()
        .insert(CONTENT_LENGTH, http::HeaderValue::from_static("5"));
    let told = Arc::clone(&guarded).call(told).await;
    assert_eq!(told.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn a_gate_lives_as_long_as_its_limits() {
    let gates = Gates::default();
    let of = |most| {
        let limits = Limits {
            max_concurrent_requests: most,
            ..limits()
        };
        let found = gates.of(BTreeMap::from([("shop".to_owned(), limits)]));
        Arc::clone(&found["shop"])
    };
    let first = of(1);
    assert!(Arc::ptr_eq(&first, &of(1)));
    assert!(!Arc::ptr_eq(&first, &of(2)));
}

#[tokio::test(start_paused = true)]
async fn refusals_are_late_and_those_of_one_moment_do_not_come_together() {
    let (guarded, _go) = guarded(Limits {
        requests_per_second: Some(0),
        ..limits()
    });
    let begun = Instant::now();
    let calls = (0..STEPS).map(|_| {
        let call = Arc::clone(&guarded).call(request(""));
        call.map(|refused| (refused.status(), begun.elapsed().as_millis() / 10))
    });
    let refused = futures::future::join_all(calls).await;
    let mut at = BTreeMap::<_, u32>::new();
    for (status, tenth) in refused {
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        *at.entry(tenth).or_default() += 1;
    }
    assert!(at.keys().all(|tenth| (10..=20).contains(tenth)), "{at:?}");
    assert!(at.values().all(|together| *together <= 12), "{at:?}");
}
