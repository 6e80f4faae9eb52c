use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec};

use crate::Amounts;

/// What the scheduler sets aside for a pod on its node.
///
/// - Containers and native sidecars (init containers with `restartPolicy: Always`) run side by side
///   and add up.
/// - Each other init container runs beside the native sidecars before it; the most that is needed at
///   any moment of the start counts, if that is more.
/// - Pod-level requests replace the sum of CPU, memory and huge pages.
/// - The overhead of the runtime class comes on top.
/// - While a container is being resized, the greater of what it asks for and what it has counts.
///
/// The place that a pod takes among those that its node can run is not in it.
pub fn requests(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else {
        return Amounts::default();
    };
    let mut sum = containers(pod, spec);
    let pod_level = spec.resources.as_ref();
    let pod_level = Amounts::of(pod_level.and_then(|resources| resources.requests.as_ref()));
    for (name, nanos) in pod_level.iter().filter(|(name, _)| at_pod_level(name)) {
        sum.set(name, nanos);
    }
    sum.add(&Amounts::of(spec.overhead.as_ref()));
    sum.rounded()
}

fn containers(pod: &Pod, spec: &PodSpec) -> Amounts {
    let status = pod.status.as_ref();
    let main = status.and_then(|status| status.container_statuses.as_deref());
    let init = status.and_then(|status| status.init_container_statuses.as_deref());
    let infeasible = resize_infeasible(pod);
    let mut running = Amounts::default();
    for container in &spec.containers {
        running.add(&of_container(container, main, infeasible));
    }
    let mut sidecars = Amounts::default();
    let mut starting = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        let mut moment = of_container(container, init, infeasible);
        if container.restart_policy.as_deref() == Some("Always") {
            running.add(&moment);
            sidecars.add(&moment);
            moment = sidecars.clone();
        } else {
            moment.add(&sidecars);
        }
        starting.raise(&moment);
    }
    running.raise(&starting);
    running
}

fn of_container(
    container: &Container,
    statuses: Option<&[ContainerStatus]>,
    resize_infeasible: bool,
) -> Amounts {
    let resources = container.resources.as_ref();
    let wanted = Amounts::of(resources.and_then(|resources| resources.requests.as_ref()));
    let status = statuses
        .into_iter()
        .flatten()
        .find(|status| status.name == container.name);
    let Some((status, resources)) =
        status.and_then(|status| Some((status, status.resources.as_ref()?)))
    else {
        return wanted;
    };
    let mut found = Amounts::of(resources.requests.as_ref());
    found.raise(&Amounts::of(status.allocated_resources.as_ref()));
    if !resize_infeasible {
        found.raise(&wanted);
    }
    found
}

/// Whether the node has refused a resize for good, so that what was asked for does not count.
fn resize_infeasible(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| {
        condition.type_ == "PodResizePending"
            && condition.status == "True"
            && condition.reason.as_deref() == Some("Infeasible")
    })
}

/// Whether a pod may ask for the resource as a whole.
fn at_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn requests_of(pod: Value) -> Amounts {
        requests(&serde_json::from_value(pod).unwrap())
    }

    fn amounts(list: Value) -> Amounts {
        Amounts::of(Some(&serde_json::from_value(list).unwrap()))
    }

    fn container(name: &str, requests: Value) -> Value {
        json!({"name": name, "resources": {"requests": requests}})
    }

    fn sidecar(name: &str, requests: Value) -> Value {
        let mut sidecar = container(name, requests);
        sidecar["restartPolicy"] = json!("Always");
        sidecar
    }

    #[test]
    fn containers_and_native_sidecars_add_up() {
        let found = requests_of(json!({"spec": {
            "initContainers": [
                sidecar("orders-a", json!({"cpu": "10m", "memory": "32Mi"})),
                sidecar("orders-b", json!({"cpu": "10m", "memory": "32Mi"})),
            ],
            "containers": [
                container("app", json!({"cpu": "1", "memory": "1Gi"})),
                container("log", json!({"cpu": "100m", "example.org/gpu": "1"})),
            ],
        }}));
        let expected = json!({"cpu": "1120m", "memory": "1088Mi", "example.org/gpu": "1"});
        assert_eq!(found, amounts(expected));
    }

    #[test]
    fn an_init_container_counts_beside_the_sidecars_before_it_only() {
        let found = requests_of(json!({"spec": {
            "initContainers": [
                container("first", json!({"memory": "300Mi"})),
                sidecar("early", json!({"memory": "50Mi"})),
                container("second", json!({"memory": "280Mi"})),
                sidecar("late", json!({"memory": "100Mi"})),
            ],
            "containers": [container("app", json!({"memory": "10Mi"}))],
        }}));
        assert_eq!(found, amounts(json!({"memory": "330Mi"})));
    }

    #[test]
    fn each_resource_has_its_own_greatest_moment() {
        let found = requests_of(json!({"spec": {
            "initContainers": [container("warm", json!({"cpu": "2", "memory": "1Mi"}))],
            "containers": [container("app", json!({"cpu": "1", "memory": "10Mi"}))],
        }}));
        assert_eq!(found, amounts(json!({"cpu": "2", "memory": "10Mi"})));
    }

    #[test]
    fn pod_level_requests_replace_those_of_containers_but_not_of_what_pods_cannot_ask_for() {
        let found = requests_of(json!({"spec": {
            "resources": {"requests": {"cpu": "3", "hugepages-2Mi": "4Mi"}},
            "containers": [
                container("app", json!({"cpu": "1", "memory": "1Gi", "ephemeral-storage": "2Gi"})),
            ],
        }}));
        assert_eq!(
            found,
            amounts(json!({
                "cpu": "3", "memory": "1Gi", "ephemeral-storage": "2Gi", "hugepages-2Mi": "4Mi",
            }))
        );
    }

    #[test]
    fn the_overhead_of_the_runtime_comes_on_top() {
        let found = requests_of(json!({"spec": {
            "overhead": {"cpu": "250m", "memory": "120Mi"},
            "resources": {"requests": {"cpu": "1"}},
            "containers": [container("app", json!({"memory": "80Mi"}))],
        }}));
        assert_eq!(found, amounts(json!({"cpu": "1250m", "memory": "200Mi"})));
    }

    #[test]
    fn a_container_that_is_being_resized_counts_with_the_greater_request() {
        let resized = |wanted: &str, has: &str, conditions: Value| {
            requests_of(json!({
                "spec": {"containers": [container("app", json!({"cpu": wanted}))]},
                "status": {
                    "conditions": conditions,
                    "containerStatuses": [{
                        "name": "app", "image": "", "imageID": "", "ready": true,
                        "restartCount": 0,
                        "resources": {"requests": {"cpu": has}},
                        "allocatedResources": {"cpu": has},
                    }],
                },
            }))
        };
        assert_eq!(resized("2", "1", json!([])), amounts(json!({"cpu": "2"})));
        assert_eq!(resized("1", "2", json!([])), amounts(json!({"cpu": "2"})));
        let refused = json!([
            {"type": "PodResizePending", "status": "True", "reason": "Infeasible"},
        ]);
        assert_eq!(resized("9", "1", refused), amounts(json!({"cpu": "1"})));
    }

    #[test]
    fn a_pod_without_requests_asks_for_nothing() {
        let found = requests_of(json!({"spec": {"containers": [{"name": "app"}]}}));
        assert_eq!(found.iter().count(), 0);
    }
}
