use outrigger_api::Sharing;
use outrigger_api::conditions::reason;
use outrigger_control::parameters::InvalidParameters;

/// An application cannot be served as it stands. Each message names the object, the field, what
/// was found and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum InvalidApplication {
    /// A sidecar that does not exist.
    #[error(
        "IntegratedApp {application} sidecars[{index}].name is {name:?}; no IntegrationSidecar of that name exists in namespace {namespace}"
    )]
    SidecarNotFound {
        /// Name of the application.
        application: String,
        /// Namespace of both.
        namespace: String,
        /// Position in `spec.sidecars`.
        index: usize,
        /// The name found.
        name: String,
    },
    /// A function that does not exist.
    #[error(
        "IntegratedApp {application} {field} names function {name:?}; IntegrationSidecar {sidecar} has {allowed}"
    )]
    FunctionNotFound {
        /// Name of the application.
        application: String,
        /// The field found.
        field: String,
        /// The name found.
        name: String,
        /// Name of the sidecar.
        sidecar: String,
        /// The functions that exist.
        allowed: String,
    },
    /// Something that only functions have, said of an image that has none.
    #[error(
        "IntegratedApp {application} {field} is set; IntegrationSidecar {sidecar} runs an image that is not built on the chassis (its spec.container is set) and has no functions, so {field} must be absent"
    )]
    NoFunctions {
        /// Name of the application.
        application: String,
        /// The field found.
        field: String,
        /// Name of the sidecar.
        sidecar: String,
    },
    /// Unix sockets of functions that are not in the pod.
    #[error(
        "IntegratedApp {application} sidecars[{index}].unixSocket is set; the functions of IntegrationSidecar {sidecar} are not in the pod (its spec.sharing is {sharing:?}), so it must be absent, or sharing must be Pod"
    )]
    SocketsOfShared {
        /// Name of the application.
        application: String,
        /// Position in `spec.sidecars`.
        index: usize,
        /// Name of the sidecar.
        sidecar: String,
        /// What was found.
        sharing: Sharing,
    },
    /// Parameters of another kind than the function is of.
    #[error(
        "IntegratedApp {application} {field} gives {found}; that function of IntegrationSidecar {sidecar} is of kind {allowed}, so give {allowed} instead"
    )]
    AnotherKind {
        /// Name of the application.
        application: String,
        /// The field found.
        field: String,
        /// The kind found.
        found: &'static str,
        /// Name of the sidecar.
        sidecar: String,
        /// The kind of the function.
        allowed: &'static str,
    },
    /// Two functions with one name.
    #[error(
        "IntegratedApp {application} uses function {name:?} of IntegrationSidecar {first} and of IntegrationSidecar {second}; names of functions and ports must be unique in an application"
    )]
    FunctionNameConflict {
        /// Name of the application.
        application: String,
        /// The name of both.
        name: String,
        /// The first sidecar.
        first: String,
        /// The second sidecar.
        second: String,
    },
    /// Two functions, or a function and an admin server, on one port of the pod.
    #[error(
        "IntegratedApp {application} has {first} and {second} on port {port}; set functions[].port, or container.ports[].port, of one of them to a free one"
    )]
    PortConflict {
        /// Name of the application.
        application: String,
        /// The port of both.
        port: u16,
        /// The first user.
        first: String,
        /// The second user.
        second: String,
    },
    /// Two functions, or a function and a port of ours, on one port of a shared sidecar.
    #[error(
        "IntegrationSidecar {sidecar} has {first} and {second} on port {port}; set functions[].port to a free one"
    )]
    SharedPortConflict {
        /// Name of the sidecar.
        sidecar: String,
        /// The port of both.
        port: u16,
        /// The first user.
        first: String,
        /// The second user.
        second: String,
    },
    /// Two sidecars with a container of the same name.
    #[error(
        "IntegratedApp {application} uses IntegrationSidecar {first} and IntegrationSidecar {second}; both would have a container {container:?} in the pod, so name one of them otherwise"
    )]
    ContainerNameConflict {
        /// Name of the application.
        application: String,
        /// The name of both.
        container: String,
        /// The first sidecar.
        first: String,
        /// The second sidecar.
        second: String,
    },
    /// A ConfigMap that does not exist.
    #[error(
        "IntegrationSidecar {sidecar} functions[{function}].configFrom[{index}].configMapRef names ConfigMap {name:?}, which does not exist in namespace {namespace}"
    )]
    ConfigMapNotFound {
        /// Name of the sidecar.
        sidecar: String,
        /// Name of the function.
        function: String,
        /// Position in `configFrom`.
        index: usize,
        /// The name found.
        name: String,
        /// Namespace of both.
        namespace: String,
    },
    /// A parameter is missing or does not fit.
    #[error("function {function}: {error}")]
    Parameters {
        /// Name of the function.
        function: String,
        /// What is wrong.
        error: InvalidParameters,
    },
    /// The document has no JSON form: a mistake of ours.
    #[error("document of sidecar {sidecar} cannot be written: {error}")]
    Unwritable {
        /// Name of the sidecar.
        sidecar: String,
        /// What is wrong.
        error: serde_json::Error,
    },
}

impl InvalidApplication {
    /// The reason of the condition that reports it.
    pub fn reason(&self) -> &'static str {
        match self {
            InvalidApplication::SidecarNotFound { .. } => reason::SIDECAR_NOT_FOUND,
            InvalidApplication::FunctionNotFound { .. } => reason::FUNCTION_NOT_FOUND,
            InvalidApplication::FunctionNameConflict { .. }
            | InvalidApplication::PortConflict { .. }
            | InvalidApplication::SharedPortConflict { .. }
            | InvalidApplication::ContainerNameConflict { .. } => reason::FUNCTION_CONFLICT,
            InvalidApplication::ConfigMapNotFound { .. } => reason::CONFIG_MAP_NOT_FOUND,
            InvalidApplication::NoFunctions { .. }
            | InvalidApplication::SocketsOfShared { .. }
            | InvalidApplication::AnotherKind { .. }
            | InvalidApplication::Parameters { .. }
            | InvalidApplication::Unwritable { .. } => reason::INVALID_PARAMETERS,
        }
    }
}
