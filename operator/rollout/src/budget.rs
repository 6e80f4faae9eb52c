//! PodDisruptionBudgets.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use crate::SwapPod;

/// The name of a budget that allows no disruption of a pod now.
pub(crate) fn forbidding<'a>(
    pod: &SwapPod,
    budgets: &'a [PodDisruptionBudget],
) -> Option<&'a PodDisruptionBudget> {
    budgets.iter().find(|budget| {
        let allowed = budget
            .status
            .as_ref()
            .map_or(0, |status| status.disruptions_allowed);
        allowed < 1 && selects(budget, pod)
    })
}

fn selects(budget: &PodDisruptionBudget, pod: &SwapPod) -> bool {
    let spec = budget.spec.as_ref();
    let Some(selector) = spec.and_then(|spec| spec.selector.clone()) else {
        // Without a selector a budget is about no pod, with an empty one about all.
        return false;
    };
    // The API server admits no selector that cannot be read; if it did, better to wait.
    Selector::try_from(selector).map_or(true, |selector| selector.matches(&pod.labels))
}

/// What is said of a pod that waits for a budget.
pub(crate) fn waiting(pod: &SwapPod, budget: &PodDisruptionBudget) -> String {
    format!(
        "pod {}: PodDisruptionBudget {} allows no disruption now",
        pod.name,
        budget.name_any()
    )
}
