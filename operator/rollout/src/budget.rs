//! PodDisruptionBudgets.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use crate::SwapPod;

/// The budgets of a namespace, with what they still allow.
pub(crate) struct Budgets(Vec<Budget>);

struct Budget {
    name: String,
    /// Without one that can be read it is about every pod. The API server admits no such selector;
    /// if it did, better to wait.
    selector: Option<Selector>,
    left: i64,
}

impl Budgets {
    /// What budgets allow beside the pods that are disturbed already: those count against them,
    /// although they are Ready and no budget knows of them.
    pub(crate) fn new<'a>(
        found: &[PodDisruptionBudget],
        disturbed: impl Iterator<Item = &'a SwapPod>,
    ) -> Budgets {
        let budgets = found.iter().filter_map(|budget| {
            // Without a selector a budget is about no pod, with an empty one about all.
            let selector = budget.spec.as_ref()?.selector.clone()?;
            let status = budget.status.as_ref();
            Some(Budget {
                name: budget.name_any(),
                selector: Selector::try_from(selector).ok(),
                left: status.map_or(0, |status| i64::from(status.disruptions_allowed)),
            })
        });
        let mut budgets = Budgets(budgets.collect());
        for pod in disturbed {
            budgets.take(pod);
        }
        budgets
    }

    /// The name of a budget that does not allow the disruption of a pod now.
    pub(crate) fn forbidding(&self, pod: &SwapPod) -> Option<&str> {
        let mut budgets = self.0.iter();
        let found = budgets.find(|budget| budget.left < 1 && budget.selects(pod))?;
        Some(&found.name)
    }

    /// One more pod is disturbed.
    pub(crate) fn take(&mut self, pod: &SwapPod) {
        for budget in &mut self.0 {
            if budget.selects(pod) {
                budget.left -= 1;
            }
        }
    }
}

impl Budget {
    fn selects(&self, pod: &SwapPod) -> bool {
        let selector = self.selector.as_ref();
        selector.is_none_or(|selector| selector.matches(&pod.labels))
    }
}
