//! The election, in simulated time.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use http::Method;
use outrigger_runtime::{ElectionError, ElectionMetrics, Elector, Timing};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::api_server::{ApiServer, Fault};

/// What a replica says of its terms, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Leads,
    Stopped,
}

struct Replica {
    said: mpsc::UnboundedReceiver<(Said, Instant)>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), ElectionError>>,
}

fn elector(api: &ApiServer, name: &'static str) -> Elector {
    let metrics = ElectionMetrics::default();
    Elector::new(
        api.client(name),
        "outrigger-system",
        name,
        Timing::default(),
        metrics,
    )
}

impl Replica {
    fn start(api: &ApiServer, name: &'static str) -> Replica {
        let (sender, said) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let (elector, end) = (elector(api, name), stop.clone());
        let running = tokio::spawn(async move {
            let work = |term: CancellationToken| {
                let sender = sender.clone();
                async move {
                    let _ = sender.send((Said::Leads, Instant::now()));
                    term.cancelled().await;
                    let _ = sender.send((Said::Stopped, Instant::now()));
                    Ok::<(), Infallible>(())
                }
            };
            elector.run(work, end).await
        });
        Replica {
            said,
            stop,
            running,
        }
    }

    /// Waits for the next thing it says.
    async fn next(&mut self) -> (Said, Instant) {
        timeout(Duration::from_secs(120), self.said.recv())
            .await
            .unwrap()
            .unwrap()
    }

    async fn leads(&mut self) -> Instant {
        let (said, at) = self.next().await;
        assert_eq!(said, Said::Leads);
        at
    }

    async fn stopped(&mut self) -> Instant {
        let (said, at) = self.next().await;
        assert_eq!(said, Said::Stopped);
        at
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn the_first_replica_leads_at_once_and_the_second_waits() {
    let api = ApiServer::new();
    let begun = Instant::now();
    let mut first = Replica::start(&api, "first");
    assert!(first.leads().await - begun < seconds(1));
    let mut second = Replica::start(&api, "second");
    sleep(seconds(600)).await;
    assert!(second.said.try_recv().is_err());
    assert!(first.said.try_recv().is_err(), "one term for ten minutes");
    let lease = api.lease().unwrap();
    assert_eq!(lease["spec"]["leaseTransitions"], 0);
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 15);
    assert!(api.holder().unwrap().starts_with("first_"));
}

#[tokio::test(start_paused = true)]
async fn another_leads_when_the_holder_stops_renewing() {
    let api = ApiServer::new();
    let mut first = Replica::start(&api, "first");
    first.leads().await;
    let mut second = Replica::start(&api, "second");
    sleep(seconds(61)).await;
    first.running.abort();
    let died = Instant::now();
    let waited = second.leads().await - died;
    assert!(waited > seconds(12) && waited <= seconds(15), "{waited:?}");
    assert_eq!(api.lease().unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_stops_before_another_may_lead() {
    let api = ApiServer::new();
    let mut first = Replica::start(&api, "first");
    first.leads().await;
    let mut second = Replica::start(&api, "second");
    sleep(seconds(60)).await;
    api.cut_off("first");
    let cut = Instant::now();
    let stopped = first.stopped().await;
    let leads = second.leads().await;
    assert!(stopped - cut <= seconds(10), "{:?}", stopped - cut);
    // What a machine that runs 10 % slower would still make.
    assert!(leads - stopped >= seconds(4), "{:?}", leads - stopped);
    api.cut_off("second");
    second.stopped().await;
    first.leads().await;
}

#[tokio::test(start_paused = true)]
async fn a_release_at_shutdown_lets_another_lead_at_once() {
    let api = ApiServer::new();
    let mut first = Replica::start(&api, "first");
    first.leads().await;
    let mut second = Replica::start(&api, "second");
    sleep(seconds(31)).await;
    first.stop.cancel();
    let stopping = Instant::now();
    let stopped = first.stopped().await;
    let leads = second.leads().await;
    assert!(stopped <= leads);
    assert!(leads - stopping < Duration::from_millis(100));
    first.running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_release_meets_conflicts_and_lost_answers_and_is_made_all_the_same() {
    for fault in [
        Fault {
            refuse: Some(409),
            ..Fault::default()
        },
        Fault {
            lose: true,
            ..Fault::default()
        },
    ] {
        let api = ApiServer::new();
        let mut first = Replica::start(&api, "first");
        first.leads().await;
        let mut faults = 2;
        api.plan(move |_, method| {
            let faulty = *method == Method::PUT && faults > 0;
            faults -= usize::from(faulty);
            match faulty {
                true => fault,
                false => Fault::default(),
            }
        });
        first.stop.cancel();
        first.running.await.unwrap().unwrap();
        assert_eq!(api.holder(), None, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_after_the_write_does_not_end_the_term() {
    let api = ApiServer::new();
    let mut first = Replica::start(&api, "first");
    first.leads().await;
    let mut writes = 0;
    api.plan(move |_, method| {
        writes += usize::from(*method == Method::PUT);
        Fault {
            lose: *method == Method::PUT && writes % 3 == 0,
            ..Fault::default()
        }
    });
    sleep(seconds(300)).await;
    assert!(first.said.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_label_on_the_lease_does_not_end_the_term() {
    let api = ApiServer::new();
    let mut first = Replica::start(&api, "first");
    first.leads().await;
    for count in 0..50 {
        let mut lease = api.lease().unwrap();
        lease["metadata"]["labels"] = serde_json::json!({"count": count.to_string()});
        api.put(Some(lease));
        sleep(seconds(3)).await;
    }
    assert!(first.said.try_recv().is_err());
    assert_eq!(api.lease().unwrap()["metadata"]["labels"]["count"], "49");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_to_another_or_deleted_ends_the_term_at_the_next_renewal() {
    let api = ApiServer::new();
    let mut first = Replica::start(&api, "first");
    first.leads().await;
    let mut lease = api.lease().unwrap();
    lease["spec"]["holderIdentity"] = "somebody".into();
    api.put(Some(lease));
    let taken = Instant::now();
    assert!(first.stopped().await - taken <= seconds(2));
    assert!(first.leads().await - taken >= seconds(15));
    api.put(None);
    let deleted = Instant::now();
    assert!(first.stopped().await - deleted <= seconds(2));
    first.leads().await;
}

#[tokio::test(start_paused = true)]
async fn work_that_does_not_stop_ends_the_process_before_another_leads() {
    let api = ApiServer::new();
    let elector = elector(&api, "first");
    let work = |_: CancellationToken| pending::<Result<(), Infallible>>();
    let running = tokio::spawn(async move { elector.run(work, CancellationToken::new()).await });
    let mut second = Replica::start(&api, "second");
    sleep(seconds(60)).await;
    api.cut_off("first");
    let error = running.await.unwrap().unwrap_err();
    let ended = Instant::now();
    assert_eq!(
        error.to_string(),
        "the leader's work did not stop within 4 s, and another replica leads soon"
    );
    assert!(second.leads().await > ended);
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_fails_or_panics_ends_the_process_by_name() {
    async fn outcome<F>(work: fn() -> F) -> String
    where
        F: Future<Output = Result<(), std::fmt::Error>> + Send + 'static,
    {
        let api = ApiServer::new();
        let elector = elector(&api, "first");
        let ended = elector.run(move |_| work(), CancellationToken::new()).await;
        ended.unwrap_err().to_string()
    }
    assert_eq!(
        outcome(|| async { Ok(()) }).await,
        "the leader's work ended unexpectedly"
    );
    assert_eq!(
        outcome(|| async { Err(std::fmt::Error) }).await,
        format!("the leader's work failed: {}", std::fmt::Error)
    );
    assert_eq!(
        outcome(|| async { panic!("no {}", "way") }).await,
        "the leader's work panicked: no way"
    );
}
