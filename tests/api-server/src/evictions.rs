//! The eviction subresource of pods, with PodDisruptionBudgets as their status says.

use http::StatusCode;
use serde_json::{Value, json};

use crate::address::Address;
use crate::failure::{CONFLICT, Failure, INTERNAL, NOT_FOUND, TOO_MANY};
use crate::state::State;

/// Deletes a pod if no budget forbids it; a budget that allows it allows one fewer from then on. The
/// answer is a Status in any case.
pub(crate) fn evict(
    state: &mut State,
    pod: &Address,
    eviction: &Value,
) -> Result<(StatusCode, Value), Failure> {
    let found = state.objects.get(&pod.object()).ok_or(NOT_FOUND)?;
    let wanted = &eviction["deleteOptions"]["preconditions"]["uid"];
    if !wanted.is_null() && *wanted != found["metadata"]["uid"] {
        let message = "the UID in the precondition does not match the UID in record";
        return Err(CONFLICT.saying(message));
    }
    let labels = found["metadata"]["labels"].clone();
    let prefix = pod.sibling("/apis/policy/v1", "poddisruptionbudgets");
    let selecting: Vec<String> = state
        .objects
        .iter()
        .filter(|(path, budget)| path.starts_with(&prefix) && selects(budget, &labels))
        .map(|(path, _)| path.clone())
        .collect();
    if selecting.len() > 1 {
        let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(INTERNAL.saying(message));
    }
    let mut budget = selecting.first().map(|path| state.objects[path].clone());
    if let Some(budget) = &mut budget {
        let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
        if allowed < 1 {
            let cause = format!(
                "The disruption budget {} needs {} healthy pods and has {} currently",
                budget["metadata"]["name"].as_str().unwrap_or_default(),
                budget["status"]["desiredHealthy"].as_i64().unwrap_or(0),
                budget["status"]["currentHealthy"].as_i64().unwrap_or(0),
            );
            let message = "Cannot evict pod as it would violate the pod's disruption budget.";
            let cause = json!({"reason": "DisruptionBudget", "message": cause});
            return Err(TOO_MANY.saying(message).because(cause));
        }
        budget["status"]["disruptionsAllowed"] = (allowed - 1).into();
    }
    state.delete(pod, &eviction["deleteOptions"])?;
    if let (Some(path), Some(budget)) = (selecting.first(), budget) {
        state.store(path, budget);
    }
    let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    Ok((StatusCode::CREATED, done))
}

fn selects(budget: &Value, labels: &Value) -> bool {
    let selector = budget["spec"]["selector"].as_object();
    let wanted = budget["spec"]["selector"]["matchLabels"].as_object();
    let mut wanted = wanted.into_iter().flatten();
    selector.is_some() && wanted.all(|(key, value)| labels[key] == *value)
}
