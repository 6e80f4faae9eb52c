//! The pods whose evictions were refused, each by its last refusal.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// Names of those that are still among the pods and do not end.
pub(super) fn still(mut refused: Vec<String>, pods: &[Arc<Pod>]) -> Vec<String> {
    refused.retain(|name| {
        let mut pods = pods.iter();
        pods.any(|pod| pod.name_any() == *name && pod.metadata.deletion_timestamp.is_none())
    });
    refused
}

/// With what came of a look: the newest refusals are the last.
pub(super) fn after(mut refused: Vec<String>, refusals: &BTreeMap<String, String>) -> Vec<String> {
    refused.retain(|name| !refusals.contains_key(name));
    refused.extend(refusals.keys().cloned());
    refused
}
