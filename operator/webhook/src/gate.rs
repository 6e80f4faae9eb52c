//! Whether a new pod waits for a node near its data.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use outrigger_api::conditions::{READY, reason};
use outrigger_api::{Dataset, IntegratedApp};
use outrigger_placement::{Gate, Known, Locality, gate};

/// Whether a gate buys something for a pod of an application, by what the statuses of its Datasets
/// say. One that does not exist keeps no pod from running.
pub(crate) fn waits(
    pod: &Pod,
    application: &IntegratedApp,
    dataset: impl Fn(&str) -> Option<Arc<Dataset>>,
) -> bool {
    let hints = application.spec.data.iter().flatten();
    let found = hints.filter_map(|hint| dataset(&hint.dataset));
    let data: Vec<Known> = found.map(|dataset| known(&dataset)).collect();
    let locality = Locality::of(application.spec.locality.as_ref());
    gate(pod, locality.mode, locality.threshold_bytes, &data) == Gate::Wait
}

fn known(dataset: &Dataset) -> Known {
    let Some(status) = &dataset.status else {
        return Known::NotScannedYet;
    };
    // What was found may be about another source.
    if status.observed_generation != dataset.metadata.generation {
        return Known::NotScannedYet;
    }
    let mut conditions = status.conditions.iter();
    let ready = conditions.find(|condition| condition.type_ == READY);
    match status.bytes {
        Some(bytes) => Known::Bytes {
            bytes: u64::try_from(bytes).unwrap_or_default(),
            holders: usize::try_from(status.node_count.unwrap_or_default()).unwrap_or_default(),
        },
        None if ready.is_none_or(|ready| ready.reason == reason::SCANNING) => Known::NotScannedYet,
        None => Known::Failed,
    }
}
