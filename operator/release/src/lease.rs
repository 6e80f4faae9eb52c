use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::ReleaseError;
use crate::patience::{found, persist};

/// Name of the Lease by which the operator elects its leader.
pub const LEASE_NAME: &str = "outrigger-operator";
/// How the Lease names its holder while no replica may lead.
pub const HOLDER: &str = "outrigger-release";
/// How long no replica leads after the last write of the Lease.
pub const HOLD: Duration = Duration::from_secs(600);

/// How long a leader may go on that does not say.
const TERM: Duration = Duration::from_secs(15);
/// Longest time that is waited for a leader, whatever the Lease says.
const LONGEST_TERM: Duration = Duration::from_secs(60);

/// A Lease that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The leader until then.
    pub(crate) from: Option<String>,
    /// How long that one may go on before it has noticed.
    pub(crate) wait: Duration,
}

/// Takes the Lease of a namespace away from whoever holds it, or holds it longer; `None` if there is
/// no such namespace.
///
/// The `owner` takes the Lease with it, so that an operator that is installed later need not wait.
pub(crate) async fn take(
    client: &Client,
    namespace: &str,
    owner: Option<&OwnerReference>,
) -> Result<Option<Taken>, ReleaseError> {
    let leases = &Api::<Lease>::namespaced(client.clone(), namespace);
    let doing = || format!("Lease {namespace}/{LEASE_NAME} cannot be taken");
    // Read again with each try: the leader renews it every other second.
    persist(doing, || async move {
        let parameters = PostParams::default();
        match leases.get_opt(LEASE_NAME).await? {
            Some(lease) => {
                let taken = taken(&lease);
                let wanted = held(lease, owner, Timestamp::now());
                leases.replace(LEASE_NAME, &parameters, &wanted).await?;
                Ok(Some(taken))
            }
            None => {
                let fresh = Lease {
                    metadata: ObjectMeta {
                        name: Some(LEASE_NAME.to_owned()),
                        ..ObjectMeta::default()
                    },
                    ..Lease::default()
                };
                let wanted = held(fresh, owner, Timestamp::now());
                let created = found(leases.create(&parameters, &wanted).await)?;
                // Whoever held a Lease that was deleted may not know yet.
                Ok(created.map(|_| Taken {
                    from: None,
                    wait: TERM,
                }))
            }
        }
    })
    .await
}

/// What is known of the holder until now.
fn taken(lease: &Lease) -> Taken {
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref());
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let promise = seconds.filter(|seconds| *seconds > 0);
    match holder.filter(|holder| !holder.is_empty()) {
        None => Taken {
            from: None,
            wait: Duration::ZERO,
        },
        // Taken by a release that ended early: its leader may still be stopping.
        Some(HOLDER) => Taken {
            from: None,
            wait: TERM,
        },
        Some(holder) => Taken {
            from: Some(holder.to_owned()),
            wait: promise.map_or(TERM, Duration::from_secs).min(LONGEST_TERM),
        },
    }
}

/// The Lease in our hands. What others wrote beside the election stays.
fn held(mut lease: Lease, owner: Option<&OwnerReference>, now: Timestamp) -> Lease {
    if let Some(owner) = owner {
        lease.metadata.owner_references = Some(vec![owner.clone()]);
    }
    lease.metadata.managed_fields = None;
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() != Some(HOLDER) {
        let transitions = spec.lease_transitions.unwrap_or_default();
        spec.lease_transitions = Some(transitions.saturating_add(1));
        spec.acquire_time = Some(MicroTime(now));
        spec.holder_identity = Some(HOLDER.to_owned());
    }
    spec.renew_time = Some(MicroTime(now));
    spec.lease_duration_seconds = i32::try_from(HOLD.as_secs()).ok();
    lease
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use k8s_openapi::api::coordination::v1::LeaseSpec;

    use super::*;

    fn lease(holder: Option<&str>, seconds: Option<i32>) -> Lease {
        Lease {
            metadata: ObjectMeta::default(),
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: seconds,
                ..LeaseSpec::default()
            }),
        }
    }

    #[test]
    fn a_leader_is_given_the_time_that_its_lease_promised() {
        for (holder, seconds, wait) in [
            (None, Some(1), 0),
            (Some(""), Some(15), 0),
            (Some("outrigger-0_x"), Some(20), 20),
            (Some("outrigger-0_x"), None, 15),
            (Some("outrigger-0_x"), Some(-3), 15),
            (Some("outrigger-0_x"), Some(86_400), 60),
            (Some(HOLDER), Some(600), 15),
        ] {
            let taken = taken(&lease(holder, seconds));
            assert_eq!(taken.wait.as_secs(), wait, "{holder:?} {seconds:?}");
        }
    }

    #[test]
    fn taking_counts_as_a_change_of_the_holder_and_holding_on_does_not() {
        let now = Timestamp::UNIX_EPOCH;
        let first = held(lease(Some("outrigger-0_x"), Some(15)), None, now);
        let again = held(first.clone(), None, now);
        let transitions = |lease: &Lease| lease.spec.as_ref().unwrap().lease_transitions;
        assert_eq!(
            (transitions(&first), transitions(&again)),
            (Some(1), Some(1))
        );
    }
}
