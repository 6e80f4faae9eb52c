//! Two replicas never lead at once, whatever happens to their requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use fastrand::Rng;
use http::Method;
use outrigger_runtime::{ElectionMetrics, Elector, Timing};
use proptest::prelude::*;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::api_server::{ApiServer, Fault};

const NAMES: [&str; 3] = ["a", "b", "c"];
/// How long faults go on.
const STORM: Duration = Duration::from_secs(240);
/// By when somebody has to lead once they have ended.
const CALM: Duration = Duration::from_secs(60);

/// Who leads.
#[derive(Default)]
struct Leaders {
    now: AtomicUsize,
    most: AtomicUsize,
    terms: AtomicUsize,
}

/// Counts a leader until it is dropped.
struct Leading(Arc<Leaders>);

impl Leading {
    fn begin(leaders: &Arc<Leaders>) -> Leading {
        let now = leaders.now.fetch_add(1, SeqCst) + 1;
        leaders.most.fetch_max(now, SeqCst);
        leaders.terms.fetch_add(1, SeqCst);
        Leading(Arc::clone(leaders))
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, SeqCst);
    }
}

#[derive(Clone, Copy, Debug)]
struct Weather {
    seed: u64,
    /// Share of requests that something happens to.
    faulty: f64,
    /// How much later requests and answers may arrive, in milliseconds.
    latest: u64,
}

fn weather() -> impl Strategy<Value = Weather> {
    (any::<u64>(), 0.0..0.95, 0_u64..25_000).prop_map(|(seed, faulty, latest)| Weather {
        seed,
        faulty,
        latest,
    })
}

/// A fault of one request, until the storm has ended.
fn fault(rng: &mut Rng, weather: Weather, ends: Instant) -> Fault {
    if Instant::now() >= ends || rng.f64() >= weather.faulty {
        return Fault::default();
    }
    let mut late = || Duration::from_millis(rng.u64(0..=weather.latest));
    let (before, after) = (late(), late());
    match rng.u8(0..6) {
        0 => Fault {
            before,
            ..Fault::default()
        },
        1 => Fault {
            after,
            ..Fault::default()
        },
        2 => Fault {
            lose: true,
            ..Fault::default()
        },
        3 => Fault {
            lose: true,
            before,
            after,
            ..Fault::default()
        },
        4 => Fault {
            refuse: Some(rng.choice([403, 409, 409, 429, 500, 503]).unwrap()),
            ..Fault::default()
        },
        _ => Fault {
            refuse: Some(409),
            after,
            ..Fault::default()
        },
    }
}

/// One life of a replica, until `stop`.
async fn live(
    api: &ApiServer,
    name: &'static str,
    mut rng: Rng,
    leaders: &Arc<Leaders>,
    stop: CancellationToken,
) {
    let timing = Timing::default();
    let metrics = ElectionMetrics::default();
    let elector = Elector::new(api.client(name), "outrigger-system", name, timing, metrics);
    let work = |term: CancellationToken| {
        let leading = Leading::begin(leaders);
        let limit = timing.stop_within().as_millis() as u64;
        let winding_down = Duration::from_millis(rng.u64(0..limit));
        async move {
            let _leading = leading;
            term.cancelled().await;
            sleep(winding_down).await;
            Ok::<(), Infallible>(())
        }
    };
    elector.run(work, stop).await.unwrap();
}

/// Lives of a replica: each ends in order, or by a crash. The one at the end of the storm goes on.
async fn replica(
    api: ApiServer,
    name: &'static str,
    mut rng: Rng,
    leaders: Arc<Leaders>,
    ends: Instant,
) {
    loop {
        let stop = CancellationToken::new();
        let span = Duration::from_millis(rng.u64(0..90_000));
        let life = live(&api, name, rng.fork(), &leaders, stop.clone());
        let mut running = Box::pin(life);
        if Instant::now() + span >= ends {
            running.await;
            return;
        }
        if timeout(span, &mut running).await.is_err() && rng.bool() {
            stop.cancel();
            running.await;
        }
        sleep(Duration::from_millis(rng.u64(0..5_000))).await;
    }
}

/// Lets three replicas live through a storm: the most leaders at once, and their terms.
async fn storm(weather: Weather) -> (usize, usize, bool) {
    let api = ApiServer::new();
    let ends = Instant::now() + STORM;
    let mut rng = Rng::with_seed(weather.seed);
    let mut of_requests = rng.fork();
    // Every now and then nothing of one replica arrives for a while.
    let mut cut_off = ("", ends);
    api.plan(move |client, _: &Method| {
        let now = Instant::now();
        if now >= cut_off.1 || cut_off.0.is_empty() {
            let pause = Duration::from_secs(of_requests.u64(1..40));
            cut_off = (of_requests.choice(NAMES).unwrap(), now + pause);
        }
        match client == cut_off.0 && now < ends && weather.faulty > 0.1 {
            true => Fault {
                refuse: Some(503),
                ..Fault::default()
            },
            false => fault(&mut of_requests, weather, ends),
        }
    });
    let leaders = Arc::new(Leaders::default());
    let replicas: Vec<_> = NAMES
        .into_iter()
        .map(|name| {
            tokio::spawn(replica(
                api.clone(),
                name,
                rng.fork(),
                Arc::clone(&leaders),
                ends,
            ))
        })
        .collect();
    sleep(STORM).await;
    let before = leaders.terms.load(SeqCst);
    sleep(CALM).await;
    let lives = leaders.now.load(SeqCst) > 0 || leaders.terms.load(SeqCst) > before;
    for replica in &replicas {
        assert!(!replica.is_finished(), "a replica panicked");
        replica.abort();
    }
    (leaders.most.load(SeqCst), leaders.terms.load(SeqCst), lives)
}

fn simulated<T>(run: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(run)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn two_never_lead_at_once_and_somebody_leads_after_the_storm(weather in weather()) {
        let (most, terms, lives) = simulated(storm(weather));
        prop_assert!(most <= 1, "{most} led at once; {terms} terms");
        prop_assert!(lives, "nobody leads though all is well; {terms} terms");
    }
}

#[test]
fn leadership_changes_often_in_a_calm_and_in_a_storm() {
    for (faulty, latest) in [(0.0, 0), (0.5, 3_000)] {
        let weather = Weather {
            seed: 7,
            faulty,
            latest,
        };
        let (_, terms, _) = simulated(storm(weather));
        assert!(terms >= 5, "{terms} terms with {weather:?}");
    }
}

/// What the property would miss if it could not see it: a Lease whose duration others believe to be
/// shorter than its holder does.
#[test]
fn a_promise_that_is_cut_short_is_seen_as_two_leaders() {
    let most = simulated(async {
        let api = ApiServer::new();
        let leaders = Arc::new(Leaders::default());
        let start = |name| {
            let (api, leaders) = (api.clone(), Arc::clone(&leaders));
            tokio::spawn(async move {
                let never = CancellationToken::new();
                live(&api, name, Rng::with_seed(0), &leaders, never).await;
            })
        };
        let first = start("a");
        while api.holder().is_none() {
            sleep(Duration::from_millis(100)).await;
        }
        api.cut_off("a");
        let mut lease = api.lease().unwrap();
        lease["spec"]["leaseDurationSeconds"] = 5.into();
        api.put(Some(lease));
        let second = start("b");
        sleep(Duration::from_secs(8)).await;
        first.abort();
        second.abort();
        leaders.most.load(SeqCst)
    });
    assert_eq!(most, 2);
}
