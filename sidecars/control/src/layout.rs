//! Where the operator puts things into a pod and where a slot finds them.

use crate::Slot;

/// Label on every pod that carries sidecars; its value is the name of the IntegratedApp.
pub const APPLICATION_LABEL: &str = "outrigger.dev/app";
/// Label on preflight pods; its value is the revision under test. Such pods are never injected.
pub const PREFLIGHT_LABEL: &str = "outrigger.dev/preflight";
/// Label on function pods; its value is the name of the IntegrationSidecar that several
/// applications share.
pub const SHARED_LABEL: &str = "outrigger.dev/shared-sidecar";
/// Scheduling gate of pods that wait for a node near their data.
pub const PLACEMENT_GATE: &str = "outrigger.dev/placement";
/// Annotation of pods that were placed: why they are where they are.
pub const PLACEMENT_ANNOTATION: &str = "outrigger.dev/placement";
/// Prefix of every annotation that only the operator may write.
pub const ANNOTATION_PREFIX: &str = "outrigger.dev/";

/// Directory of the control files: the order and the documents.
pub const CONTROL_DIR: &str = "/etc/outrigger/control";
/// Name of the order's file in [`CONTROL_DIR`].
pub const ORDER_FILE: &str = "order.json";
/// Name of the [`crate::Tenants`]' file in [`CONTROL_DIR`]; in function pods only.
pub const TENANTS_FILE: &str = "tenants.json";
/// Directory with one folder per mounted Secret, each with one file per key.
pub const SECRETS_DIR: &str = "/etc/outrigger/secrets";
/// Directory with one folder per credential, each with the file [`TOKEN_FILE`].
pub const CREDENTIALS_DIR: &str = "/outrigger/credentials";
/// Name of a credential's file in its folder, and its key in a Secret.
pub const TOKEN_FILE: &str = "token";
/// Folder in [`CREDENTIALS_DIR`]: with this credential functions act for the application.
pub const APPLICATION_CREDENTIAL: &str = "application";
/// Folder in [`CREDENTIALS_DIR`]: with this credential functions report to the system.
pub const SYSTEM_CREDENTIAL: &str = "system";
/// Directory that both slots of a sidecar share: sockets, locks, recorded state.
pub const SHARED_DIR: &str = "/run/outrigger";
/// Directory with the functions' Unix sockets, `FUNCTION.sock`, in slots. Containers of the
/// application find them in a folder of it that is named after the sidecar.
pub const SOCKETS_DIR: &str = "/run/outrigger-sockets";
/// Where the service-account token would be; slots mount an empty volume there.
pub const SERVICE_ACCOUNT_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Argument that starts a slot's supervisor.
pub const SLOT_COMMAND: &str = "slot";
/// Argument that tries an image and a document without serving, and exits.
pub const PREFLIGHT_COMMAND: &str = "preflight";

/// Environment: name of the sidecar.
pub const ENV_SIDECAR: &str = "OUTRIGGER_SIDECAR";
/// Environment: the slot, `a` or `b`.
pub const ENV_SLOT: &str = "OUTRIGGER_SLOT";
/// Environment: `NAME=PORT,NAME=PORT`, the loopback port of each function. It never changes in a pod's life.
pub const ENV_LISTEN: &str = "OUTRIGGER_LISTEN";
/// Environment: the address that functions listen on; 127.0.0.1 when absent, and `::` in function
/// pods, where it takes IPv4 in too.
pub const ENV_BIND: &str = "OUTRIGGER_BIND";
/// Environment: directory of the functions' Unix sockets; there are none when absent.
pub const ENV_SOCKETS: &str = "OUTRIGGER_SOCKETS";
/// Environment: TCP port of the slot's admin server, on every address of the pod.
pub const ENV_ADMIN_PORT: &str = "OUTRIGGER_ADMIN_PORT";
/// Environment: hash of the document that a preflight tries.
pub const ENV_DOCUMENT: &str = "OUTRIGGER_DOCUMENT";
/// Environment: `NAMESPACE/NAME` of the pod, for logs.
pub const ENV_POD: &str = "OUTRIGGER_POD";

/// Port of a function that names none. Further functions of an application must name theirs.
pub const DEFAULT_FUNCTION_PORT: u16 = 15000;
/// Admin port of the first slot of the first sidecar in a pod; the others follow in order.
pub const FIRST_ADMIN_PORT: u16 = 15020;
/// Longest name of a sidecar, so that container names and annotation keys stay within 63 characters.
pub const MAX_SIDECAR_NAME: usize = 58;

/// Key of the annotation that holds a sidecar's [`crate::Order`].
pub fn order_annotation(sidecar: &str) -> String {
    format!("{ANNOTATION_PREFIX}slot-{sidecar}")
}

/// Key of the annotation that holds the [`crate::Tenants`] of a function pod.
pub fn tenants_annotation(sidecar: &str) -> String {
    format!("{ANNOTATION_PREFIX}tenants-{sidecar}")
}

/// Name of the Service in front of a shared sidecar's function pods, and the beginning of their
/// names.
pub fn shared_service(sidecar: &str) -> String {
    format!("outrigger-{sidecar}")
}

/// Address of a function of a shared sidecar, for the containers of its namespace's pods.
pub fn shared_function_url(sidecar: &str, namespace: &str, port: u16) -> String {
    format!("http://{}.{namespace}.svc:{port}", shared_service(sidecar))
}

/// Name of the ConfigMap that holds the documents of a shared sidecar; with one part more than
/// [`config_map_name`], so it is no application's.
pub fn shared_config_map_name(sidecar: &str) -> String {
    format!("outrigger.shared.{sidecar}.all")
}

/// Name of the volume with a sidecar's Unix sockets.
pub fn sockets_volume(sidecar: &str) -> String {
    format!("sock-{sidecar}")
}

/// Environment variable that tells containers where a function's Unix socket is.
pub fn function_socket_variable(function: &str) -> String {
    format!(
        "OUTRIGGER_{}_SOCKET",
        function.to_ascii_uppercase().replace('-', "_")
    )
}

/// Name of a function's Unix socket in its directory.
pub fn socket_file(function: &str) -> String {
    format!("{function}.sock")
}

/// Name of the ConfigMap that holds the documents of one sidecar of one application.
///
/// Names of applications and sidecars hold no dots, so two pairs never share a name.
pub fn config_map_name(application: &str, sidecar: &str) -> String {
    format!("outrigger.{application}.{sidecar}")
}

/// Key of a document in its ConfigMap, and its file name in [`CONTROL_DIR`].
pub fn document_file(hash: &str) -> String {
    format!("{hash}.json")
}

/// Name of the volume with a sidecar's control files.
pub fn control_volume(sidecar: &str) -> String {
    format!("ctrl-{sidecar}")
}

/// Name of the volume that a sidecar's slots share.
pub fn shared_volume(sidecar: &str) -> String {
    format!("swap-{sidecar}")
}

/// Environment variable that tells primary containers where a function is.
pub fn function_url_variable(function: &str) -> String {
    format!(
        "OUTRIGGER_{}_URL",
        function.to_ascii_uppercase().replace('-', "_")
    )
}

/// Address of a function for the containers of its pod.
pub fn function_url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Admin port of a slot, by the position of its sidecar in the application.
pub fn admin_port(sidecar_index: u16, slot: Slot) -> u16 {
    FIRST_ADMIN_PORT + 2 * sidecar_index + u16::from(slot == Slot::B)
}
