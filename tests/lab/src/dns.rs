//! CoreDNS: the cluster's names, the lab's own, and nothing beyond.

use std::net::SocketAddr;
use std::time::Duration;

use crate::daemon::{self, Daemon};
use crate::error::Result;
use crate::lab::Settings;
use crate::layout::{Layout, write_file};
use crate::{network, node, wait};

pub(crate) const NAME: &str = "coredns";
const READY_PORT: u16 = 8181;

/// Lets CoreDNS run and waits until it knows the Services.
pub(crate) fn ensure(layout: &Layout, settings: &Settings) -> Result<()> {
    let corefile = layout.config("Corefile");
    let kubeconfig = layout.pki("coredns.kubeconfig");
    write_file(&corefile, text(&kubeconfig.display().to_string()))?;
    let daemon = Daemon {
        name: NAME.to_owned(),
        program: settings.coredns.clone(),
        args: vec![format!("-conf={}", corefile.display())],
        namespaces: network::control_plane(layout),
        inputs: vec![corefile, kubeconfig],
    };
    daemon.ensure(layout)?;
    wait::until("CoreDNS", Duration::from_secs(60), || {
        daemon::check_alive(layout, NAME)?;
        let ready = SocketAddr::from((network::DNS, READY_PORT));
        Ok(wait::http_get(ready, "/ready").map(drop))
    })
}

fn text(kubeconfig: &str) -> String {
    // DataNodes bear their nodes' names, which HDFS gives to its clients.
    let nodes: String = node::all()
        .map(|node| format!("        {} {}\n", node.address(), node.name))
        .collect();
    format!(
        "\
. {{
    bind {dns}
    ready {dns}:{READY_PORT}
    errors
    cache 5
    hosts {{
        {registry} registry.lab
        {postgres} postgres.lab
{nodes}        fallthrough
    }}
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        fallthrough in-addr.arpa
    }}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
",
        dns = network::DNS,
        registry = network::REGISTRY,
        postgres = network::POSTGRES,
    )
}
