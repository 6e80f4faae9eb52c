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
    /// Two functions with one name.
    #[error(
        "IntegratedApp {application} uses function {name:?} of IntegrationSidecar {first} and of IntegrationSidecar {second}; names of functions must be unique in an application"
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
    /// Two functions, or a function and an admin server, on one port.
    #[error(
        "IntegratedApp {application} has {first} and {second} on port {port}; set functions[].port of one of them to a free one"
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
            | InvalidApplication::PortConflict { .. } => reason::FUNCTION_CONFLICT,
            InvalidApplication::ConfigMapNotFound { .. } => reason::CONFIG_MAP_NOT_FOUND,
            InvalidApplication::Parameters { .. } | InvalidApplication::Unwritable { .. } => {
                reason::INVALID_PARAMETERS
            }
        }
    }
}
