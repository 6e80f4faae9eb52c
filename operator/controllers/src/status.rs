use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use outrigger_api::FIELD_MANAGER;
use outrigger_api::conditions::{self, READY, RECONCILING, STALLED};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// Where an object stands (kstatus).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It does what its spec asks for.
    Ready,
    /// The operator is at work on it.
    Reconciling,
    /// The operator cannot go on without a change by somebody.
    Stalled,
}

/// An object's state in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) progress: Progress,
    /// From [`outrigger_api::conditions::reason`].
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Summary {
    /// The conditions that say so. A condition of `found` that stands keeps its transition time.
    pub(crate) fn conditions(
        &self,
        found: &[Condition],
        generation: Option<i64>,
        now: Timestamp,
    ) -> Vec<Condition> {
        let ready = self.progress == Progress::Ready;
        let reconciling = self.progress == Progress::Reconciling;
        let stalled = self.progress == Progress::Stalled;
        let condition = |type_: &str, status: bool| {
            let status = if status { "True" } else { "False" };
            let same = |other: &&Condition| other.type_ == type_ && other.status == status;
            let since = found
                .iter()
                .find(same)
                .map_or(Time(now), |other| other.last_transition_time.clone());
            Condition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: self.reason.to_owned(),
                message: self.message.clone(),
                observed_generation: generation,
                last_transition_time: since,
            }
        };
        let mut conditions = vec![condition(READY, ready)];
        conditions.extend(reconciling.then(|| condition(RECONCILING, true)));
        conditions.extend(stalled.then(|| condition(STALLED, true)));
        conditions
    }
}

/// What is to be said while the API server has an objection that does not pass by itself, such as a
/// missing right or a full quota; `None` for failures that do.
pub(crate) fn objection(failure: &impl std::error::Error, cause: &kube::Error) -> Option<Summary> {
    let lasts = match cause {
        kube::Error::Api(status) => matches!(status.code, 400 | 401 | 403 | 413 | 422),
        _ => false,
    };
    lasts.then(|| Summary {
        progress: Progress::Reconciling,
        reason: conditions::reason::API_ERROR,
        message: format!("{failure}; it is tried again"),
    })
}

/// The reason of the condition `Ready`.
pub(crate) fn reason(conditions: &[Condition]) -> Option<&str> {
    conditions
        .iter()
        .find(|condition| condition.type_ == READY)
        .map(|condition| condition.reason.as_str())
}

/// Up to `most` items, and how many more there are.
pub(crate) fn listed<T: AsRef<str>>(items: &[T], most: usize) -> String {
    let shown: Vec<&str> = items.iter().take(most).map(AsRef::as_ref).collect();
    match items.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Writes an object's status if it is not the one that was found. Whether it was written.
pub(crate) async fn report<K, S>(
    client: &Client,
    object: &K,
    found: Option<&S>,
    wanted: &S,
) -> Result<bool, kube::Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
    S: PartialEq + Serialize,
{
    if found == Some(wanted) {
        return Ok(false);
    }
    let api = Api::<K>::namespaced(
        client.clone(),
        object.namespace().as_deref().unwrap_or_default(),
    );
    let applied = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {
            "name": object.name_any(),
            "namespace": object.namespace(),
        },
        "status": wanted,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    api.patch_status(&object.name_any(), &parameters, &Patch::Apply(applied))
        .await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: Timestamp = Timestamp::constant(1_000, 0);
    const LATE: Timestamp = Timestamp::constant(2_000, 0);

    fn summary(progress: Progress, message: &str) -> Summary {
        Summary {
            progress,
            reason: "Reason",
            message: message.into(),
        }
    }

    fn told(conditions: &[Condition]) -> Vec<(&str, &str)> {
        conditions
            .iter()
            .map(|found| (found.type_.as_str(), found.status.as_str()))
            .collect()
    }

    #[test]
    fn ready_is_always_there_and_the_others_only_while_true() {
        for (progress, expected) in [
            (Progress::Ready, vec![("Ready", "True")]),
            (
                Progress::Reconciling,
                vec![("Ready", "False"), ("Reconciling", "True")],
            ),
            (
                Progress::Stalled,
                vec![("Ready", "False"), ("Stalled", "True")],
            ),
        ] {
            let conditions = summary(progress, "").conditions(&[], Some(1), EARLY);
            assert_eq!(told(&conditions), expected);
        }
    }

    #[test]
    fn a_condition_that_stands_keeps_its_transition_time() {
        let first = summary(Progress::Stalled, "one").conditions(&[], Some(1), EARLY);
        let same = summary(Progress::Stalled, "two").conditions(&first, Some(2), LATE);
        assert_eq!(same[0].last_transition_time, Time(EARLY));
        assert_eq!(same[0].message, "two");
        let ready = summary(Progress::Ready, "").conditions(&same, Some(2), LATE);
        assert_eq!(ready[0].last_transition_time, Time(LATE));
    }

    #[test]
    fn long_lists_end_with_a_number() {
        assert_eq!(listed(&["a", "b"], 2), "a, b");
        assert_eq!(listed(&["a", "b", "c"], 2), "a, b and 1 more");
    }
}
