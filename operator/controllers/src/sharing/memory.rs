use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::pods::Spot;

/// How long a function pod stays after its last consumer: an application whose pods are replaced
/// finds it again.
pub(super) const GRACE: Duration = Duration::from_secs(60);
/// Pause between two writes of a function pod's tenants: many pods start at once, and each write
/// makes kubelet look at the pod.
const TOLD_APART: Duration = Duration::from_millis(500);

/// What a leader remembers of shared sidecars, by UID. A new leader does without: function pods stay
/// a while longer then.
#[derive(Default)]
pub(super) struct Memory {
    unused: Mutex<HashMap<String, HashMap<Spot, Instant>>>,
    told: Mutex<HashMap<String, Instant>>,
}

impl Memory {
    /// The places that have been unused for the whole grace, and when the next one will have been.
    pub(super) fn expired(
        &self,
        sidecar: &str,
        unused: BTreeSet<Spot>,
    ) -> (BTreeSet<Spot>, Option<Duration>) {
        let mut known = self.unused.lock();
        let since = known.entry(sidecar.to_owned()).or_default();
        since.retain(|spot, _| unused.contains(spot));
        let now = Instant::now();
        let (mut expired, mut next) = (BTreeSet::new(), None::<Duration>);
        for spot in unused {
            let begin = *since.entry(spot.clone()).or_insert(now);
            let rest = GRACE.saturating_sub(now.duration_since(begin));
            if rest.is_zero() {
                expired.insert(spot);
            } else {
                next = Some(next.map_or(rest, |next| next.min(rest)));
            }
        }
        if since.is_empty() {
            known.remove(sidecar);
        }
        (expired, next)
    }

    /// Whether a pod may be told of its tenants now; otherwise when.
    pub(super) fn may_tell(&self, pod: &str) -> Result<(), Duration> {
        let mut told = self.told.lock();
        let now = Instant::now();
        let rest = told.get(pod).map_or(Duration::ZERO, |last| {
            TOLD_APART.saturating_sub(now.duration_since(*last))
        });
        if rest.is_zero() {
            told.retain(|_, last| now.duration_since(*last) < TOLD_APART);
            told.insert(pod.to_owned(), now);
            return Ok(());
        }
        Err(rest)
    }

    /// Forgets a sidecar that is gone.
    pub(super) fn forget(&self, sidecar: &str) {
        self.unused.lock().remove(sidecar);
    }
}
