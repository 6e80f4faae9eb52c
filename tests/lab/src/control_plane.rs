//! etcd, the API server, the controller manager, the scheduler, and a kube-proxy for the control
//! plane itself, so that the API server reaches webhooks behind Services.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use crate::command::Tool;
use crate::daemon::{self, Daemon};
use crate::error::{Error, Result};
use crate::kubeconfig::API_PORT;
use crate::lab::Settings;
use crate::layout::{Layout, remove_tree, write_file};
use crate::progress::Progress;
use crate::{cgroup, dns, network, node, wait};

pub(crate) const ETCD: &str = "etcd";
pub(crate) const API_SERVER: &str = "kube-apiserver";
pub(crate) const CONTROLLER_MANAGER: &str = "kube-controller-manager";
pub(crate) const SCHEDULER: &str = "kube-scheduler";
pub(crate) const PROXY: &str = "kube-proxy";

const PROXY_METRICS_PORT: u16 = 10249;
const BOOTSTRAP: &str = include_str!("../files/bootstrap.yaml");

/// kubectl as the cluster's administrator.
pub(crate) fn kubectl(layout: &Layout) -> Tool {
    Tool::new(layout.tools().join("kubectl"))
        .arg("--kubeconfig")
        .arg(layout.kubeconfig())
        .arg("--request-timeout=10s")
        .env("KUBECACHEDIR", layout.tool_cache())
        .env("NO_PROXY", network::without_proxy())
}

fn component(layout: &Layout, settings: &Settings, name: &str, args: Vec<String>) -> Daemon {
    Daemon {
        name: name.to_owned(),
        program: settings.kube.join(name),
        args,
        namespaces: network::control_plane(layout),
        inputs: Vec::new(),
    }
}

fn client(layout: &Layout, name: &str) -> String {
    layout
        .pki(&format!("{name}.kubeconfig"))
        .display()
        .to_string()
}

/// Lets etcd and the API server run; does not wait for them.
pub(crate) fn start(layout: &Layout, settings: &Settings) -> Result<()> {
    etcd(layout, settings).ensure(layout)?;
    api_server(layout, settings).ensure(layout)?;
    Ok(())
}

/// Waits for the API server. Data that etcd cannot start from is thrown away, with all that ran on
/// it.
pub(crate) fn await_ready(layout: &Layout, settings: &Settings, progress: &Progress) -> Result<()> {
    match await_api_server(layout) {
        Err(Error::Ended { name, tail, .. }) if name == ETCD => {
            progress.say(&format!(
                "etcd cannot start from its data; starting with an empty cluster\n{tail}"
            ));
            let cgroups = cgroup::Cgroups::detect()?;
            // Whatever knows the old objects, pods included.
            for client in [API_SERVER, CONTROLLER_MANAGER, SCHEDULER, PROXY, dns::NAME] {
                cgroups.kill(client)?;
            }
            for node in node::all() {
                cgroups.kill(&node.name)?;
            }
            remove_tree(&layout.data(ETCD))?;
            start(layout, settings)?;
            await_api_server(layout)
        }
        other => other,
    }
}

pub(crate) fn await_api_server(layout: &Layout) -> Result<()> {
    wait::until("the API server", Duration::from_secs(120), || {
        daemon::check_alive(layout, ETCD)?;
        daemon::check_alive(layout, API_SERVER)?;
        let ready = kubectl(layout).args(["get", "--raw", "/readyz"]).run();
        Ok(ready.map_err(|error| error.to_string()))
    })?;
    kubectl(layout)
        .args(["apply", "--server-side", "--force-conflicts", "-f", "-"])
        .stdin(BOOTSTRAP)
        .run()?;
    Ok(())
}

/// What the API server says of a node: its condition Ready.
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    /// When its kubelet last said so; whole seconds.
    pub(crate) heartbeat: SystemTime,
    pub(crate) message: String,
}

impl Readiness {
    /// Reads `STATUS HEARTBEAT MESSAGE`; nothing is a kubelet that has not reported.
    fn parse(text: &str) -> Self {
        let mut words = text.splitn(3, ' ');
        let ready = words.next() == Some("True");
        let heartbeat = words
            .next()
            .and_then(|word| word.parse::<jiff::Timestamp>().ok());
        Self {
            ready,
            heartbeat: heartbeat.map_or(SystemTime::UNIX_EPOCH, SystemTime::from),
            message: words
                .next()
                .unwrap_or("its kubelet has not reported yet")
                .to_owned(),
        }
    }
}

/// Asks the API server for a node's readiness.
pub(crate) fn node_readiness(layout: &Layout, node: &str) -> Result<Readiness> {
    const READY: &str = "jsonpath={range .status.conditions[?(@.type==\"Ready\")]}\
                         {.status} {.lastHeartbeatTime} {.message}{end}";
    Ok(Readiness::parse(
        &kubectl(layout)
            .args(["get", "node", node, "-o", READY])
            .run()?,
    ))
}

/// Lets the controller manager and the scheduler run.
pub(crate) fn ensure_controllers(layout: &Layout, settings: &Settings) -> Result<()> {
    controller_manager(layout, settings).ensure(layout)?;
    scheduler(layout, settings).ensure(layout)?;
    wait::until(
        "the default service account",
        Duration::from_secs(60),
        || {
            daemon::check_alive(layout, CONTROLLER_MANAGER)?;
            daemon::check_alive(layout, SCHEDULER)?;
            let account = kubectl(layout)
                .args(["get", "serviceaccount", "default", "--namespace=default"])
                .run();
            Ok(account.map_err(|error| error.to_string()))
        },
    )?;
    Ok(())
}

/// Lets the control plane's kube-proxy run. It stands in for node-1 in matters of locality, because
/// it wants a Node, and the control plane is none.
pub(crate) fn ensure_proxy(layout: &Layout, settings: &Settings) -> Result<()> {
    let config = layout.config("kube-proxy.yaml");
    let twin = node::all().next().map(|node| node.name).unwrap_or_default();
    write_file(&config, proxy_config(&client(layout, "kube-proxy"), &twin))?;
    let args = vec![format!("--config={}", config.display())];
    Daemon {
        inputs: vec![config],
        ..component(layout, settings, PROXY, args)
    }
    .ensure(layout)?;
    await_proxy(layout, PROXY, network::CONTROL_PLANE)
}

/// Waits until a kube-proxy, this one and not an earlier one, has written its rules. Its health
/// says too little: nothing to do yet is healthy too.
pub(crate) fn await_proxy(layout: &Layout, name: &str, address: Ipv4Addr) -> Result<()> {
    let metrics = SocketAddr::from((address, PROXY_METRICS_PORT));
    wait::until(name, Duration::from_secs(90), || {
        daemon::check_alive(layout, name)?;
        Ok(wait::http_get(metrics, "/metrics").and_then(|text| {
            wrote_rules(&text)
                .then_some(())
                .ok_or_else(|| "it has not written its rules yet".to_owned())
        }))
    })
}

/// Whether a kube-proxy's metrics tell of rules written.
fn wrote_rules(metrics: &str) -> bool {
    metrics
        .lines()
        .filter(|line| line.contains("\"IPv4\""))
        .filter_map(|line| line.strip_prefix("kubeproxy_sync_proxy_rules_last_timestamp_seconds{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .any(|time| time > 0.0)
}

/// A kube-proxy's configuration.
pub(crate) fn proxy_config(kubeconfig: &str, node: &str) -> String {
    // The machine's conntrack settings stay as they are: they may be read-only, and are not ours.
    format!(
        "\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: {pods}
detectLocalMode: ClusterCIDR
hostnameOverride: {node}
metricsBindAddress: 0.0.0.0:{PROXY_METRICS_PORT}
clientConnection:
  kubeconfig: {kubeconfig}
conntrack:
  maxPerCore: 0
  tcpEstablishedTimeout: 0s
  tcpCloseWaitTimeout: 0s
oomScoreAdj: 0
",
        pods = network::PODS,
    )
}

fn etcd(layout: &Layout, settings: &Settings) -> Daemon {
    let data = format!("--data-dir={}", layout.data(ETCD).display());
    let args = [
        data.as_str(),
        "--name=lab",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        // Losing the data with the machine is fine, losing it with the process is not.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ];
    component(layout, settings, ETCD, args.map(str::to_owned).to_vec())
}

fn api_server(layout: &Layout, settings: &Settings) -> Daemon {
    let pki = |file: &str| layout.pki(file).display().to_string();
    let args = vec![
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        format!("--bind-address={}", network::CONTROL_PLANE),
        format!("--advertise-address={}", network::CONTROL_PLANE),
        format!("--secure-port={API_PORT}"),
        format!("--service-cluster-ip-range={}", network::SERVICES),
        "--allow-privileged".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--tls-cert-file={}", pki("kube-apiserver.crt")),
        format!("--tls-private-key-file={}", pki("kube-apiserver.key")),
        format!("--kubelet-certificate-authority={}", pki("ca.crt")),
        format!(
            "--kubelet-client-certificate={}",
            pki("kube-apiserver-kubelet-client.crt")
        ),
        format!(
            "--kubelet-client-key={}",
            pki("kube-apiserver-kubelet-client.key")
        ),
        // Node names are not in any DNS.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-account-key-file={}", pki("service-accounts.pub")),
        format!(
            "--service-account-signing-key-file={}",
            pki("service-accounts.key")
        ),
        "--profiling=false".to_owned(),
    ];
    Daemon {
        inputs: vec![layout.pki("kube-apiserver.crt")],
        ..component(layout, settings, API_SERVER, args)
    }
}

fn controller_manager(layout: &Layout, settings: &Settings) -> Daemon {
    let pki = |file: &str| layout.pki(file).display().to_string();
    let args = vec![
        format!("--kubeconfig={}", client(layout, CONTROLLER_MANAGER)),
        format!("--root-ca-file={}", pki("ca.crt")),
        format!(
            "--service-account-private-key-file={}",
            pki("service-accounts.key")
        ),
        format!("--cluster-signing-cert-file={}", pki("ca.crt")),
        format!("--cluster-signing-key-file={}", pki("ca.key")),
        "--use-service-account-credentials".to_owned(),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
    ];
    Daemon {
        inputs: vec![layout.pki("ca.crt")],
        ..component(layout, settings, CONTROLLER_MANAGER, args)
    }
}

fn scheduler(layout: &Layout, settings: &Settings) -> Daemon {
    let args = vec![
        format!("--kubeconfig={}", client(layout, SCHEDULER)),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
    ];
    Daemon {
        inputs: vec![layout.pki("ca.crt")],
        ..component(layout, settings, SCHEDULER, args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_has_written_its_rules_when_its_metrics_say_when() {
        let metrics = |time: &str| {
            format!(
                "# TYPE kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge\n\
                 kubeproxy_sync_proxy_rules_last_timestamp_seconds{{ip_family=\"IPv6\"}} 1.7e+09\n\
                 kubeproxy_sync_proxy_rules_last_timestamp_seconds{{ip_family=\"IPv4\"}} {time}\n"
            )
        };
        assert!(wrote_rules(&metrics("1.7951e+09")));
        assert!(!wrote_rules(&metrics("0")));
        assert!(!wrote_rules(""));
    }

    #[test]
    fn a_node_is_ready_since_its_last_heartbeat_and_says_why_it_is_not() {
        let ready = Readiness::parse("True 2026-01-02T03:04:05Z kubelet is posting ready status");
        assert!(ready.ready);
        assert_eq!(
            ready.heartbeat,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045)
        );
        let dead =
            Readiness::parse("Unknown 2026-01-02T03:04:05Z Kubelet stopped posting node status.");
        assert!(!dead.ready);
        assert_eq!(dead.message, "Kubelet stopped posting node status.");
        let new = Readiness::parse("");
        assert!(!new.ready && new.message.contains("not reported"));
    }
}
