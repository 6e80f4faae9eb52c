//! Kinds of the resources that tests are about.

/// The kind of the objects of a resource.
pub(crate) fn kind(resource: &str) -> Option<&'static str> {
    Some(match resource {
        "configmaps" => "ConfigMap",
        "controllerrevisions" => "ControllerRevision",
        "cronjobs" => "CronJob",
        "daemonsets" => "DaemonSet",
        "datasets" => "Dataset",
        "deployments" => "Deployment",
        "events" => "Event",
        "integratedapps" => "IntegratedApp",
        "integrationsidecars" => "IntegrationSidecar",
        "jobs" => "Job",
        "leases" => "Lease",
        "mutatingwebhookconfigurations" => "MutatingWebhookConfiguration",
        "namespaces" => "Namespace",
        "nodes" => "Node",
        "persistentvolumeclaims" => "PersistentVolumeClaim",
        "persistentvolumes" => "PersistentVolume",
        "poddisruptionbudgets" => "PodDisruptionBudget",
        "pods" => "Pod",
        "replicasets" => "ReplicaSet",
        "secrets" => "Secret",
        "serviceaccounts" => "ServiceAccount",
        "services" => "Service",
        "statefulsets" => "StatefulSet",
        _ => return None,
    })
}
