/// A pod cannot be given its sidecars. Each message names the object, the field, what was found
/// and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The pod uses its node's network.
    #[error(
        "pod {pod} spec.hostNetwork is true; sidecars of IntegratedApp {application} would listen on the node's own ports, so it must be false or absent"
    )]
    HostNetwork {
        /// Name of the pod.
        pod: String,
        /// Name of the application.
        application: String,
    },
    /// The pod uses its node's network, and so has no address of its own.
    #[error(
        "pod {pod} spec.hostNetwork is true; IntegrationSidecar {sidecar} is shared and tells applications apart by the addresses of their pods, so it must be false or absent"
    )]
    NodeAddress {
        /// Name of the pod.
        pod: String,
        /// Name of the sidecar.
        sidecar: String,
    },
    /// The pod runs on Windows.
    #[error(
        "pod {pod} {field} is \"windows\"; sidecars of IntegratedApp {application} run on Linux only"
    )]
    Windows {
        /// Name of the pod.
        pod: String,
        /// The field that says so.
        field: &'static str,
        /// Name of the application.
        application: String,
    },
    /// The name of a sidecar's container is the name of a container of the application.
    #[error(
        "pod {pod} {field} has a container {name:?}; IntegrationSidecar {sidecar} has {containers} in each pod, so rename the container or the IntegrationSidecar"
    )]
    ContainerName {
        /// Name of the pod.
        pod: String,
        /// Where it is.
        field: &'static str,
        /// The name of both.
        name: String,
        /// Name of the sidecar.
        sidecar: String,
        /// The names of the sidecar's containers.
        containers: String,
    },
    /// The name of a volume of the slots is the name of a volume of the application.
    #[error(
        "pod {pod} spec.volumes has a volume {name:?}; slots of IntegratedApp {application} use that name, so rename the volume"
    )]
    VolumeName {
        /// Name of the pod.
        pod: String,
        /// The name of both.
        name: String,
        /// Name of the application.
        application: String,
    },
    /// A container of the application uses a function's port.
    #[error(
        "pod {pod} container {container} has port {port} in its ports; {user} of IntegrationSidecar {sidecar} listens there, so set {field} of the sidecar, or the container's port, to a free one"
    )]
    FunctionPort {
        /// Name of the pod.
        pod: String,
        /// Name of the container.
        container: String,
        /// The port of both.
        port: u16,
        /// What listens there.
        user: String,
        /// Name of the sidecar.
        sidecar: String,
        /// The field of the sidecar that says so.
        field: &'static str,
    },
    /// A container of the application uses the admin port of a slot.
    #[error(
        "pod {pod} container {container} has port {port} in its ports; the admin server of slot {slot} listens there, so set the container's port to one outside {first} to {last}"
    )]
    AdminPort {
        /// Name of the pod.
        pod: String,
        /// Name of the container.
        container: String,
        /// The port of both.
        port: u16,
        /// Name of the slot's container.
        slot: String,
        /// First admin port of the application.
        first: u16,
        /// Last admin port of the application.
        last: u16,
    },
    /// A container of the application has a variable of a function's address.
    #[error(
        "pod {pod} container {container} has the environment variable {name} in its env; it is to hold the address of function {function} of the application's sidecars, so rename the variable, or leave the container out of sidecars[].containers and sidecars[].unixSocket.mountInto of the IntegratedApp"
    )]
    Variable {
        /// Name of the pod.
        pod: String,
        /// Name of the container.
        container: String,
        /// Name of the variable.
        name: String,
        /// Name of the function.
        function: String,
    },
    /// A container of the application mounts something where a sidecar's sockets are to be.
    #[error(
        "pod {pod} container {container} has the mount path {path} in its volumeMounts; the Unix sockets of IntegrationSidecar {sidecar} are to be there, so mount the volume elsewhere, or leave the container out of sidecars[].unixSocket.mountInto of the IntegratedApp"
    )]
    MountPath {
        /// Name of the pod.
        pod: String,
        /// Name of the container.
        container: String,
        /// The path of both.
        path: String,
        /// Name of the sidecar.
        sidecar: String,
    },
    /// Containers of the application would see the processes of a sidecar with credentials.
    #[error(
        "pod {pod} {field} is true; IntegrationSidecar {sidecar} has spec.credentials, which containers that see its processes could read, so it must be false or absent"
    )]
    SharedProcesses {
        /// Name of the pod.
        pod: String,
        /// The field that says so.
        field: &'static str,
        /// Name of the sidecar.
        sidecar: String,
    },
    /// A container of the application mounts a credential of a sidecar.
    #[error(
        "pod {pod} container {container} has the volume {volume:?} in its volumeMounts; it holds a credential of IntegrationSidecar {sidecar}, which only the sidecar's own containers may mount, so remove the mount"
    )]
    CredentialMount {
        /// Name of the pod.
        pod: String,
        /// Name of the container.
        container: String,
        /// Name of the volume.
        volume: String,
        /// Name of the sidecar.
        sidecar: String,
    },
    /// The application names a container that the pod does not have.
    #[error(
        "IntegratedApp {application} sidecars[{sidecar}].{field} names container {name:?}; the pod has {allowed}"
    )]
    NoSuchContainer {
        /// Name of the application.
        application: String,
        /// Name of the sidecar.
        sidecar: String,
        /// The field found.
        field: &'static str,
        /// The name found.
        name: String,
        /// The containers that exist.
        allowed: String,
    },
    /// A value of `spec.resources` is not a quantity.
    #[error(
        "IntegrationSidecar {sidecar} resources.{field} is {found:?}; allowed is a quantity that is not negative, such as \"100m\" or \"64Mi\""
    )]
    Quantity {
        /// Name of the sidecar.
        sidecar: String,
        /// The field in `resources`.
        field: String,
        /// The value found.
        found: String,
    },
    /// A request of `spec.resources` is higher than its limit.
    #[error(
        "IntegrationSidecar {sidecar} resources.requests.{resource} is {request:?}; allowed is at most resources.limits.{resource}, {limit:?}"
    )]
    LimitBelowRequest {
        /// Name of the sidecar.
        sidecar: String,
        /// Name of the resource.
        resource: String,
        /// The request found.
        request: String,
        /// The limit found.
        limit: String,
    },
    /// The pod has no spec.
    #[error("pod {pod} spec is absent; a pod with at least one container is allowed")]
    NoSpec {
        /// Name of the pod.
        pod: String,
    },
    /// Something of ours has no JSON form: a mistake of ours.
    #[error("{what} cannot be written: {message}")]
    Unwritable {
        /// What it is.
        what: String,
        /// What is wrong.
        message: String,
    },
}
