//! The configuration files on a node's disk.

use std::fs;
use std::path::Path;

use crate::cgroup;
use crate::control_plane;
use crate::error::{FileContext, Result};
use crate::lab::Settings;
use crate::layout::{Layout, write_file, write_secret};
use crate::network;
use crate::node::{NodeSpec, PAUSE_REFERENCE};
use crate::registry;

/// Writes the files that are missing or differ.
pub(crate) fn write(
    layout: &Layout,
    settings: &Settings,
    node: &NodeSpec,
    cgroup_v1: bool,
) -> Result<()> {
    let root = layout.node_root(&node.name);
    let put = |file: &str, text: String| write_file(&root.join(file), text);
    let read = |file: &str| {
        let path = layout.pki(file);
        fs::read(&path).at("read", &path)
    };
    identity(&root, node)?;

    let name = &node.name;
    let kubernetes = root.join("etc/kubernetes");
    write_file(&kubernetes.join("ca.crt"), read("ca.crt")?)?;
    write_file(
        &kubernetes.join("kubelet.crt"),
        read(&format!("{name}.crt"))?,
    )?;
    write_secret(
        &kubernetes.join("kubelet.key"),
        read(&format!("{name}.key"))?,
    )?;
    write_secret(
        &kubernetes.join("kubelet.kubeconfig"),
        read(&format!("{name}.kubeconfig"))?,
    )?;
    write_secret(
        &kubernetes.join("kube-proxy.kubeconfig"),
        read("kube-proxy.kubeconfig")?,
    )?;

    put("etc/kubernetes/kubelet.yaml", kubelet(node, cgroup_v1))?;
    put(
        "etc/kubernetes/kube-proxy.yaml",
        control_plane::proxy_config("/etc/kubernetes/kube-proxy.kubeconfig", name),
    )?;
    put("etc/containerd/config.toml", containerd(settings, node))?;
    for registry in [
        registry::DNS_NAME.to_owned(),
        registry::address().to_string(),
    ] {
        put(
            &format!("etc/containerd/certs.d/{registry}/hosts.toml"),
            registry_hosts(),
        )?;
    }
    put("etc/cni/net.d/10-lab.conflist", cni(node))
}

/// Who the machine is.
fn identity(root: &Path, node: &NodeSpec) -> Result<()> {
    let name = &node.name;
    for file in ["passwd", "group", "nsswitch.conf", "protocols", "services"] {
        let host = Path::new("/etc").join(file);
        if let Ok(content) = fs::read(&host) {
            write_file(&root.join("etc").join(file), content)?;
        }
    }
    write_file(&root.join("etc/hostname"), format!("{name}\n"))?;
    let hosts = format!(
        "127.0.0.1 localhost\n{} {name}\n{} registry.lab\n",
        node.address(),
        network::REGISTRY
    );
    write_file(&root.join("etc/hosts"), hosts)?;
    write_file(
        &root.join("etc/resolv.conf"),
        format!("nameserver {}\n", network::DNS),
    )?;
    write_file(
        &root.join("etc/machine-id"),
        format!("{:032x}\n", u32::from(node.address())),
    )?;
    let release = fs::read("/etc/os-release").unwrap_or_default();
    write_file(&root.join("etc/os-release"), release)
}

fn kubelet(node: &NodeSpec, cgroup_v1: bool) -> String {
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {address}
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
  x509:
    clientCAFile: /etc/kubernetes/ca.crt
authorization:
  mode: Webhook
tlsCertFile: /etc/kubernetes/kubelet.crt
tlsPrivateKeyFile: /etc/kubernetes/kubelet.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupRoot: /{group}/{name}
cgroupDriver: cgroupfs
failCgroupV1: {fail_v1}
failSwapOn: false
# Lowering it needs CAP_SYS_RESOURCE, which containers often lack.
oomScoreAdj: 0
clusterDomain: cluster.local
clusterDNS: ["{dns}"]
resolvConf: /etc/resolv.conf
volumePluginDir: /var/lib/kubelet/volume-plugins
syncFrequency: 10s
nodeStatusUpdateFrequency: 2s
imageGCHighThresholdPercent: 100
evictionHard:
  memory.available: 100Mi
  nodefs.available: 1%
  imagefs.available: 1%
"#,
        address = node.address(),
        group = cgroup::ROOT,
        name = node.name,
        // On a version 1 host kubelet has to be allowed to start at all.
        fail_v1 = !cgroup_v1,
        dns = network::DNS,
    )
}

fn containerd(settings: &Settings, node: &NodeSpec) -> String {
    format!(
        r#"version = 2

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_REFERENCE}"
# Lowering it needs CAP_SYS_RESOURCE, which containers often lack.
restrict_oom_score_adj = true
disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
# Not containerd's own group: pods outlive a restart of containerd.
ShimCgroup = "/{group}/{name}/shims"

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/containerd/certs.d"
"#,
        snapshotter = settings.snapshotter,
        group = cgroup::ROOT,
        name = node.name,
    )
}

fn registry_hosts() -> String {
    let server = format!("http://{}", registry::address());
    format!(
        "server = \"{server}\"\n\n[host.\"{server}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
    )
}

/// Pods are joined point to point, not by a bridge: every packet is routed, so that a Service whose
/// pod is on the same node works without the bridge's filter.
fn cni(node: &NodeSpec) -> String {
    let config = serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "lab",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    // Empty after each start of the node, like the pods' namespaces.
                    "dataDir": "/run/cni-addresses",
                    "ranges": [[{ "subnet": node.pod_range() }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    format!("{config:#}\n")
}
