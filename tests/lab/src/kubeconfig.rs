//! Kubeconfig files that carry their certificates, so that one file is enough.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::network;

/// The API server's port.
pub(crate) const API_PORT: u16 = 6443;

/// The kubeconfig of one client, as JSON (which is YAML).
pub(crate) fn text(ca: &str, certificate: &str, key: &str) -> String {
    let server = format!("https://{}:{API_PORT}", network::CONTROL_PLANE);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "outrigger-lab",
        "contexts": [{ "name": "outrigger-lab", "context": { "cluster": "outrigger-lab", "user": "client" } }],
        "clusters": [{
            "name": "outrigger-lab",
            "cluster": { "server": server, "certificate-authority-data": BASE64_STANDARD.encode(ca) },
        }],
        "users": [{
            "name": "client",
            "user": {
                "client-certificate-data": BASE64_STANDARD.encode(certificate),
                "client-key-data": BASE64_STANDARD.encode(key),
            },
        }],
    });
    format!("{config:#}\n")
}
