//! Asks slots for their reports.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::{SignedDuration, Timestamp};
use outrigger_control::{PerSlot, Report, Slot};
use outrigger_rollout::{Answer, Answers, SwapPod};
use parking_lot::Mutex;
use tokio::time::timeout;

/// How long a slot may take to answer.
const LIMIT: Duration = Duration::from_secs(2);
/// A report is far smaller.
const LONGEST: usize = 64 * 1024;
/// A slot that was not asked for so long may have answered in between.
const UNHEARD: SignedDuration = SignedDuration::from_secs(10);
/// Pods asked at once.
const AT_ONCE: usize = 32;

/// Asks slots, and knows since when they have been silent.
pub(super) struct Slots {
    http: Client<HttpConnector, Empty<Bytes>>,
    /// By the UID of the pod and the port of the slot.
    silent: Mutex<HashMap<(String, u16), Silence>>,
}

/// A slot that does not answer.
#[derive(Debug, Default)]
struct Silence {
    container: Option<String>,
    since: Timestamp,
    asked: Timestamp,
}

impl Silence {
    /// Since when it lasts, as of now. It begins anew with another container, and where nobody has
    /// listened for a while.
    fn lasts(&mut self, container: &Option<String>) -> Timestamp {
        let now = Timestamp::now();
        if self.container != *container || now.duration_since(self.asked) > UNHEARD {
            self.container.clone_from(container);
            self.since = now;
        }
        self.asked = now;
        self.since
    }
}

impl Slots {
    pub(super) fn new() -> Slots {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(LIMIT));
        connector.set_nodelay(true);
        Slots {
            // A slot that is replaced takes its connections with it.
            http: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build(connector),
            silent: Mutex::default(),
        }
    }

    /// The answers of pods, by UID.
    pub(super) async fn ask(&self, pods: &[&SwapPod]) -> BTreeMap<String, Answers> {
        let asked: Vec<_> = pods.iter().map(|pod| self.both(pod).boxed()).collect();
        futures::stream::iter(asked)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }

    async fn both(&self, pod: &SwapPod) -> (String, Answers) {
        let (a, b) = tokio::join!(self.answer(pod, Slot::A), self.answer(pod, Slot::B));
        (pod.uid.clone(), PerSlot { a, b })
    }

    async fn answer(&self, pod: &SwapPod, slot: Slot) -> Answer {
        let key = (pod.uid.clone(), *pod.order.admin.of(slot));
        let container = &pod.slots.of(slot).container.id;
        match self.report(pod, slot).await {
            Ok(report) => {
                self.silent.lock().remove(&key);
                Answer::Report(Box::new(report))
            }
            Err(error) => Answer::Silent {
                since: self.silent.lock().entry(key).or_default().lasts(container),
                error,
            },
        }
    }

    /// The report of a slot, or why there is none.
    async fn report(&self, pod: &SwapPod, slot: Slot) -> Result<Report, String> {
        let ip = pod.ip.as_deref().ok_or("the pod has no address")?;
        let host = match ip.contains(':') {
            true => format!("[{ip}]"),
            false => ip.to_owned(),
        };
        let port = pod.order.admin.of(slot);
        let uri = format!("http://{host}:{port}/status")
            .parse()
            .map_err(|error| format!("its address is {ip:?}: {error}"))?;
        let report = async {
            let response = self.http.get(uri).await.map_err(|error| chain(&error))?;
            if !response.status().is_success() {
                return Err(format!("it answers with status {}", response.status()));
            }
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            serde_json::from_slice::<Report>(&body)
                .map_err(|error| format!("its report is not readable: {error}"))
        };
        let report = timeout(LIMIT, report)
            .await
            .map_err(|_| format!("no answer within {} s", LIMIT.as_secs()))??;
        // A pod's address may be another's by now.
        match report.slot == slot {
            true => Ok(report),
            false => Err(format!("slot {} answers there", report.slot)),
        }
    }

    /// Forgets a pod that is gone.
    pub(super) fn forget(&self, pod: &str) {
        self.silent.lock().retain(|(uid, _), _| uid != pod);
    }
}

/// An error with its causes; the outermost says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        cause = inner.source();
    }
    told
}

/// The pods with the given UIDs.
pub(super) fn among<'a>(pods: &'a [SwapPod], uids: &BTreeSet<String>) -> Vec<&'a SwapPod> {
    pods.iter().filter(|pod| uids.contains(&pod.uid)).collect()
}
