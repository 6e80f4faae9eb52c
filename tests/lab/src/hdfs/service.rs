//! The NameNodes, which are no pods, under Services' names: `namenode.hdfs.svc`.

use serde_json::{Value, json};

use super::{HTTP_PORT, RPC_PORT, Shape};
use crate::control_plane::kubectl;
use crate::error::Result;
use crate::layout::Layout;

const NAMESPACE: &str = "hdfs";
const MANAGER: &str = "outrigger-lab";

/// Makes the Services of the NameNodes that there are.
pub(super) fn apply(layout: &Layout, shape: Shape) -> Result<()> {
    kubectl(layout)
        .args(["apply", "--server-side", "--force-conflicts", "-f", "-"])
        .stdin(objects(shape).to_string())
        .run()?;
    Ok(())
}

/// Removes them with their namespace.
pub(super) fn remove(layout: &Layout) -> Result<()> {
    kubectl(layout)
        .args(["delete", "namespace", NAMESPACE, "--ignore-not-found"])
        .args(["--request-timeout=0", "--timeout=60s"])
        .run()?;
    Ok(())
}

fn objects(shape: Shape) -> Value {
    let mut items = vec![json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": NAMESPACE },
    })];
    for name_node in shape.name_nodes() {
        let name = name_node.name();
        let ports = [("rpc", RPC_PORT), ("http", HTTP_PORT)]
            .map(|(name, port)| json!({ "name": name, "port": port, "protocol": "TCP" }));
        items.push(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": { "ports": ports },
        }));
        items.push(json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "labels": {
                    "kubernetes.io/service-name": name,
                    "endpointslice.kubernetes.io/managed-by": MANAGER,
                },
            },
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{
                "addresses": [name_node.address()],
                "conditions": { "ready": true },
            }],
        }));
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}
