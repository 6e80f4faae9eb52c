//! Whoever keeps an object as a repository says, and would set a change back.

use kube::ResourceExt;
use outrigger_api::IntegrationSidecar;

/// Labels and annotations that GitOps controllers put on what they keep, and their names.
const MARKS: [(&str, &str); 5] = [
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
    ("fleet.cattle.io/bundle-id", "Fleet"),
];
/// Parts of the names of field managers, and whose they are.
const MANAGERS: [(&str, &str); 4] = [
    ("argocd", "Argo CD"),
    ("kustomize-controller", "Flux"),
    ("helm-controller", "Flux"),
    ("flux", "Flux"),
];

/// What to say of a change of a field of `spec`, if a GitOps controller is going to undo it.
pub(super) fn warning(sidecar: &IntegrationSidecar, field: &str) -> Option<String> {
    let (keeper, sign) = keeper(sidecar)?;
    let name = sidecar.name_any();
    let namespace = sidecar.namespace().unwrap_or_default();
    Some(format!(
        "warning: {keeper} keeps this object ({sign}), and sets {field} back unless it is changed in its source too; \
         who writes which field: kubectl get iside {name} -n {namespace} -o yaml --show-managed-fields\n"
    ))
}

/// The controller, and by what it is known.
fn keeper(sidecar: &IntegrationSidecar) -> Option<(&'static str, String)> {
    let marks = MARKS.iter().find_map(|(mark, keeper)| {
        if sidecar.annotations().contains_key(*mark) {
            return Some((*keeper, format!("annotation {mark}")));
        }
        let found = sidecar.labels().contains_key(*mark);
        found.then(|| (*keeper, format!("label {mark}")))
    });
    let managers = || {
        let mut managers = sidecar
            .managed_fields()
            .iter()
            .filter_map(|entry| entry.manager.as_deref());
        managers.find_map(|manager| {
            let (_, keeper) = MANAGERS.iter().find(|(part, _)| manager.contains(part))?;
            Some((*keeper, format!("field manager {manager}")))
        })
    };
    marks.or_else(managers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sidecar(metadata: serde_json::Value) -> IntegrationSidecar {
        let mut object = json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegrationSidecar",
            "spec": {"image": "a:1"}, "metadata": {"name": "orders", "namespace": "store"},
        });
        json_patch::merge(&mut object["metadata"], &metadata);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn keepers_are_known_by_their_marks_and_by_the_fields_that_they_wrote() {
        for (metadata, sign) in [
            (
                json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}),
                "Flux keeps this object (label kustomize.toolkit.fluxcd.io/name)",
            ),
            (
                json!({"managedFields": [{"manager": "argocd-controller", "operation": "Apply"}]}),
                "Argo CD keeps this object (field manager argocd-controller)",
            ),
        ] {
            let warning = warning(&sidecar(metadata), "spec.image").unwrap();
            assert!(warning.contains(sign), "{warning}");
        }
        let by_hand = json!({"managedFields": [{"manager": "kubectl", "operation": "Update"}]});
        assert_eq!(warning(&sidecar(by_hand), "spec.image"), None);
    }
}
