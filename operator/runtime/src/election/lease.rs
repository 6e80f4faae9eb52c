use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ObjectMeta;

use super::Timing;

/// Name of the Lease, in the operator's namespace.
pub const LEASE_NAME: &str = "outrigger-operator";

/// Who holds a Lease; nobody after a release.
pub(crate) fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}

/// How long the holder's promise lasts; `None` if the Lease says nothing sensible.
pub(crate) fn duration(lease: &Lease) -> Option<Duration> {
    let seconds = lease.spec.as_ref()?.lease_duration_seconds?;
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds))
}

/// A Lease that never was.
pub(crate) fn created(identity: &str, timing: Timing, now: Timestamp) -> Lease {
    let fresh = Lease {
        metadata: ObjectMeta {
            name: Some(LEASE_NAME.to_owned()),
            ..ObjectMeta::default()
        },
        spec: None,
    };
    written(&fresh, identity, timing, now)
}

/// A Lease taken over, or renewed by its holder. What others wrote beside the election stays.
pub(crate) fn written(found: &Lease, identity: &str, timing: Timing, now: Timestamp) -> Lease {
    let mut lease = found.clone();
    let continued = holder(found) == Some(identity);
    let is_new = found.spec.is_none();
    let spec = lease.spec.get_or_insert_default();
    if !continued {
        let transitions = spec.lease_transitions.unwrap_or_default();
        spec.lease_transitions = Some(match is_new {
            true => 0,
            false => transitions.saturating_add(1),
        });
        spec.acquire_time = Some(MicroTime(now));
        spec.holder_identity = Some(identity.to_owned());
    }
    spec.lease_duration_seconds = i32::try_from(timing.duration().as_secs()).ok();
    spec.renew_time = Some(MicroTime(now));
    lease
}

/// A Lease that its holder gives up, so that others need not wait.
pub(crate) fn released(held: &Lease, now: Timestamp) -> Lease {
    let mut lease = held.clone();
    let LeaseSpec {
        holder_identity,
        renew_time,
        lease_duration_seconds,
        acquire_time: _,
        lease_transitions: _,
        preferred_holder: _,
        strategy: _,
    } = lease.spec.get_or_insert_default();
    *holder_identity = None;
    *renew_time = Some(MicroTime(now));
    *lease_duration_seconds = Some(1);
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transitions_count_the_changes_of_the_holder() {
        let timing = Timing::default();
        let transitions = |lease: &Lease| lease.spec.as_ref().unwrap().lease_transitions;
        let first = created("a", timing, at(1));
        assert_eq!((holder(&first), transitions(&first)), (Some("a"), Some(0)));
        let renewed = written(&first, "a", timing, at(2));
        assert_eq!(transitions(&renewed), Some(0));
        let spec = renewed.spec.clone().unwrap();
        assert_eq!(spec.acquire_time, Some(MicroTime(at(1))));
        assert_eq!(spec.renew_time, Some(MicroTime(at(2))));
        let taken = written(&renewed, "b", timing, at(3));
        assert_eq!((holder(&taken), transitions(&taken)), (Some("b"), Some(1)));
        let free = released(&taken, at(4));
        assert_eq!((holder(&free), transitions(&free)), (None, Some(1)));
        assert_eq!(transitions(&written(&free, "b", timing, at(5))), Some(2));
    }

    #[test]
    fn what_others_wrote_into_the_lease_stays() {
        let mut found = created("a", Timing::default(), at(1));
        found.metadata.resource_version = Some("7".into());
        found
            .metadata
            .labels
            .get_or_insert_default()
            .insert("team".into(), "platform".into());
        let taken = written(&found, "b", Timing::default(), at(2));
        assert_eq!(taken.metadata, found.metadata);
    }
}
