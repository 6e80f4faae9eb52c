use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use tokio::time::Instant;

use super::Timing;
use super::lease::{duration, holder};

/// What is to be done about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Write one's own name into the version that was seen, or create it.
    Write,
    /// Leave it alone until then, unless it changes.
    Wait(Instant),
}

/// The Lease as it was seen last.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    lease: Option<Lease>,
    /// When it was first seen as it is.
    since: Instant,
    /// How long the last holder that was seen may go on from then.
    promise: Duration,
}

impl Sight {
    /// What was read first; `now` is after it was read.
    pub(crate) fn new(lease: Option<Lease>, timing: Timing, now: Instant) -> Sight {
        let promise = lease.as_ref().map_or(Duration::ZERO, |lease| {
            promised(lease).unwrap_or(timing.duration())
        });
        Sight {
            lease,
            since: now,
            promise,
        }
    }

    /// Takes in what was read; `now` is after it was read.
    pub(crate) fn update(&mut self, lease: Option<Lease>, timing: Timing, now: Instant) {
        if identity_of(lease.as_ref()) == identity_of(self.lease.as_ref()) {
            return;
        }
        let promise = match &lease {
            Some(lease) => promised(lease).unwrap_or(timing.duration()),
            // Somebody removed it, but whoever held it does not know yet.
            None => self.promise,
        };
        *self = Sight {
            lease,
            since: now,
            promise,
        };
    }

    /// Decides for a contender.
    pub(crate) fn decide(&self, identity: &str, now: Instant) -> Decision {
        let free_at = self.since + self.promise;
        let own = self.lease.as_ref().and_then(holder) == Some(identity);
        match own || now >= free_at {
            true => Decision::Write,
            false => Decision::Wait(free_at),
        }
    }

    /// The version that was seen; `None` if there is no Lease.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }
}

/// What tells one state of the Lease from all others.
fn identity_of(lease: Option<&Lease>) -> Option<(Option<String>, Option<String>)> {
    lease.map(|lease| (lease.uid(), lease.resource_version()))
}

/// How long a Lease keeps others away; `None` if it is held but does not say.
fn promised(lease: &Lease) -> Option<Duration> {
    match holder(lease) {
        None => Some(Duration::ZERO),
        Some(_) => duration(lease),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::lease::{created, released};
    use super::*;

    fn version(mut lease: Lease, version: &str) -> Lease {
        lease.metadata.resource_version = Some(version.into());
        lease
    }

    fn held(identity: &str, seconds: u16) -> Lease {
        created(identity, Timing::lasting(seconds), Timestamp::UNIX_EPOCH)
    }

    fn sight(lease: Option<Lease>, now: Instant) -> Sight {
        Sight::new(lease, Timing::default(), now)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nobody_waits_for_a_lease_that_never_was() {
        let now = Instant::now();
        assert_eq!(sight(None, now).decide("a", now), Decision::Write);
    }

    #[test]
    fn a_holders_promise_is_kept_from_when_it_was_seen_whatever_its_clock_says() {
        let now = Instant::now();
        // Renewed in 1970, by its own clock.
        let lease = version(held("b", 30), "1");
        let sight = sight(Some(lease), now);
        assert_eq!(sight.decide("a", now), Decision::Wait(now + seconds(30)));
        assert_eq!(sight.decide("a", now + seconds(30)), Decision::Write);
        assert_eq!(sight.decide("b", now), Decision::Write);
    }

    #[test]
    fn each_change_begins_the_wait_anew_and_a_second_look_does_not() {
        let now = Instant::now();
        let lease = version(held("b", 15), "1");
        let mut sight = sight(Some(lease.clone()), now);
        sight.update(Some(lease.clone()), Timing::default(), now + seconds(9));
        assert_eq!(
            sight.decide("a", now + seconds(9)),
            Decision::Wait(now + seconds(15))
        );
        sight.update(
            Some(version(lease, "2")),
            Timing::default(),
            now + seconds(14),
        );
        assert_eq!(
            sight.decide("a", now + seconds(20)),
            Decision::Wait(now + seconds(29))
        );
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let now = Instant::now();
        let mut sight = sight(Some(version(held("b", 15), "1")), now);
        let free = version(released(&held("b", 15), Timestamp::UNIX_EPOCH), "2");
        sight.update(Some(free), Timing::default(), now + seconds(1));
        assert_eq!(sight.decide("a", now + seconds(1)), Decision::Write);
    }

    #[test]
    fn a_lease_that_vanishes_is_not_created_before_its_holder_must_have_noticed() {
        let now = Instant::now();
        let mut sight = sight(Some(version(held("b", 15), "1")), now);
        sight.update(None, Timing::default(), now + seconds(5));
        assert_eq!(
            sight.decide("a", now + seconds(5)),
            Decision::Wait(now + seconds(20))
        );
        assert_eq!(sight.decide("a", now + seconds(20)), Decision::Write);
    }

    #[test]
    fn a_lease_with_a_senseless_duration_is_given_our_own() {
        let now = Instant::now();
        for senseless in [None, Some(0), Some(-5)] {
            let mut lease = held("b", 15);
            lease.spec.as_mut().unwrap().lease_duration_seconds = senseless;
            assert_eq!(
                sight(Some(lease), now).decide("a", now),
                Decision::Wait(now + seconds(15))
            );
        }
    }
}
