//! The lab's network: the control plane's namespace holds a bridge, and each node is a namespace
//! with one leg on it. A veth pair joins the control plane with the host, which routes to nodes,
//! pods and services. Only addresses of 198.18.0.0/15 are used (RFC 2544, benchmarking), and
//! nothing is forwarded beyond the host.
//!
//! ```text
//! host 198.18.255.1 ── .2 control plane, bridge 198.18.0.1 ─┬─ 198.18.0.11 node-1 ── 198.19.1.0/24 pods
//!                          registry, PostgreSQL, DNS .2–.4, ├─ 198.18.0.12 node-2 ── 198.19.2.0/24
//!                          NameNodes .5 and .6              └─ …
//! ```

use std::ffi::OsString;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::command::{CommandError, Tool};
use crate::error::{Error, Result};
use crate::inventory;
use crate::layout::Layout;
use crate::namespace::{self, Namespaces};
use crate::node::{self, NodeSpec};

pub(crate) const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const REGISTRY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
pub(crate) const POSTGRES: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);
pub(crate) const DNS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 4);
pub(crate) const NAME_NODES: [Ipv4Addr; 2] =
    [Ipv4Addr::new(198, 18, 0, 5), Ipv4Addr::new(198, 18, 0, 6)];
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 1);
const HOST_PEER: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 2);
/// The `kubernetes` Service: the first address of the services' range.
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 18, 128, 1);
pub(crate) const SERVICES: &str = "198.18.128.0/20";
pub(crate) const PODS: &str = "198.19.0.0/16";
const NODES: &str = "198.18.0.0/24";
/// All of the above.
pub(crate) const EVERYTHING: &str = "198.18.0.0/15";

/// The host's end of the pair.
pub(crate) const HOST_LINK: &str = "outrigger0";
/// The control plane's end of the pair.
const PEER_LINK: &str = "host0";
const BRIDGE: &str = "nodes";

/// The file that holds the control plane's network namespace.
pub(crate) fn control_plane_file(layout: &Layout) -> PathBuf {
    layout.namespace("control-plane.net")
}

/// The namespaces of the control plane's processes: a network of its own, the host's files.
pub(crate) fn control_plane(layout: &Layout) -> Namespaces {
    Namespaces {
        net: Some(control_plane_file(layout)),
        ..Namespaces::default()
    }
}

/// What clients reach without a proxy, if the machine has one: the lab, and what the caller's
/// environment says.
pub(crate) fn without_proxy() -> OsString {
    let caller = ["NO_PROXY", "no_proxy"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty());
    let mut value = caller.unwrap_or_default();
    let there = value
        .to_string_lossy()
        .split(',')
        .any(|part| part == EVERYTHING);
    if !there {
        if !value.is_empty() {
            value.push(",");
        }
        value.push(EVERYTHING);
    }
    value
}

/// A link as `ip -json link` prints it.
#[derive(Debug, Deserialize)]
struct Link {
    ifname: String,
    ifalias: Option<String>,
}

fn links(namespaces: &Namespaces) -> Result<Vec<Link>> {
    match Tool::line("ip -json link show").inside(namespaces).run() {
        // A machine without the program has no links of the lab, only what else there is to remove.
        Err(CommandError::Start { .. }) => Ok(Vec::new()),
        listing => Ok(serde_json::from_str(&listing?).unwrap_or_default()),
    }
}

fn has(links: &[Link], name: &str) -> bool {
    links.iter().any(|link| link.ifname == name)
}

/// Refuses a machine that carries another lab, or that uses the lab's addresses.
pub(crate) fn check_free(layout: &Layout) -> Result<()> {
    let ours = layout.state().to_string_lossy();
    let other = links(&Namespaces::default())?
        .into_iter()
        .find(|link| link.ifname == HOST_LINK)
        .and_then(|link| link.ifalias)
        .filter(|alias| *alias != ours);
    if let Some(other) = other {
        return Err(Error::OtherLab { other });
    }
    let routes = inventory::listing("ip -4 route show");
    let foreign: Vec<_> = routes
        .lines()
        .filter(|route| {
            (route.starts_with("198.18.") || route.starts_with("198.19."))
                && !route.contains(HOST_LINK)
        })
        .map(|route| {
            format!(
                "this machine already routes addresses of {EVERYTHING}, which the lab uses: {route}"
            )
        })
        .collect();
    if foreign.is_empty() {
        Ok(())
    } else {
        Err(Error::Requirements(foreign))
    }
}

/// Makes what is missing. What is there stays as it is.
pub(crate) fn ensure(layout: &Layout) -> Result<()> {
    namespace::prepare_directory(&layout.namespaces())?;
    let center = control_plane(layout);
    for file in center
        .net
        .iter()
        .cloned()
        .chain(node::all().map(|node| node.net_file(layout)))
    {
        if !namespace::exists(&file)? {
            namespace::create_net(&file)?;
        }
    }
    ensure_center(layout, &center)?;
    for node in node::all() {
        ensure_node(layout, &center, &node)?;
    }
    Ok(())
}

fn ensure_center(layout: &Layout, center: &Namespaces) -> Result<()> {
    let in_center = links(center)?;
    let mut batch = String::new();
    if !has(&in_center, BRIDGE) {
        let _ = writeln!(batch, "link add name {BRIDGE} type bridge");
    }
    let _ = writeln!(batch, "link set {BRIDGE} up");
    let addresses = [CONTROL_PLANE, REGISTRY, POSTGRES, DNS];
    for address in addresses.into_iter().chain(NAME_NODES) {
        let _ = writeln!(batch, "address replace {address}/24 dev {BRIDGE}");
    }
    // A connection to a service needs a route before kube-proxy's rules give it another address.
    let _ = writeln!(batch, "route replace {SERVICES} dev {BRIDGE}");
    ip_batch(center, &batch)?;
    // Frames between nodes are a switch's business, not that of the control plane's rules.
    set_sysctls(
        center,
        &[
            "net.ipv4.ip_forward=1",
            "net.bridge.bridge-nf-call-iptables=0",
        ],
    )?;

    let host = Namespaces::default();
    if has(&links(&host)?, HOST_LINK) && !has(&in_center, PEER_LINK) {
        // Its other end went with an earlier namespace.
        Tool::line("ip link delete").arg(HOST_LINK).run()?;
    }
    if !has(&in_center, PEER_LINK) {
        let mut add = Tool::line("ip link add").args([
            HOST_LINK, "type", "veth", "peer", "name", PEER_LINK, "netns",
        ]);
        if let Some(net) = &center.net {
            add = add.arg(net);
        }
        add.run()?;
        Tool::line("ip link set")
            .args([HOST_LINK, "alias"])
            .arg(layout.state())
            .run()?;
    }
    ip_batch(
        center,
        &format!("address replace {HOST_PEER}/30 dev {PEER_LINK}\nlink set {PEER_LINK} up\n"),
    )?;
    let mut batch = format!("address replace {HOST}/30 dev {HOST_LINK}\nlink set {HOST_LINK} up\n");
    for range in [NODES, SERVICES, PODS] {
        let _ = writeln!(
            batch,
            "route replace {range} via {HOST_PEER} dev {HOST_LINK}"
        );
    }
    ip_batch(&host, &batch)
}

fn ensure_node(layout: &Layout, center: &Namespaces, node: &NodeSpec) -> Result<()> {
    const UPLINK: &str = "eth0";
    let net = node.net_file(layout);
    let inside = Namespaces {
        net: Some(net.clone()),
        ..Namespaces::default()
    };
    if !has(&links(&inside)?, UPLINK) {
        let add = ["link", "add", "name", UPLINK, "netns"];
        let port = ["type", "veth", "peer", "name", node.name.as_str()];
        Tool::new("ip")
            .args(add)
            .arg(&net)
            .args(port)
            .inside(center)
            .run()?;
    }
    let mut batch = format!("link set {0} master {BRIDGE}\nlink set {0} up\n", node.name);
    let _ = writeln!(
        batch,
        "route replace {} via {} dev {BRIDGE}",
        node.pod_range(),
        node.address()
    );
    ip_batch(center, &batch)?;

    let mut batch = format!(
        "address replace {}/24 dev {UPLINK}\nlink set {UPLINK} up\n",
        node.address()
    );
    let _ = writeln!(
        batch,
        "route replace default via {CONTROL_PLANE} dev {UPLINK}"
    );
    for other in node::all().filter(|other| other.name != node.name) {
        let _ = writeln!(
            batch,
            "route replace {} via {} dev {UPLINK}",
            other.pod_range(),
            other.address()
        );
    }
    ip_batch(&inside, &batch)?;
    set_sysctls(&inside, &["net.ipv4.ip_forward=1"])
}

fn ip_batch(namespaces: &Namespaces, batch: &str) -> Result<()> {
    Tool::line("ip -batch -")
        .inside(namespaces)
        .stdin(batch)
        .run()?;
    Ok(())
}

fn set_sysctls(namespaces: &Namespaces, settings: &[&str]) -> Result<()> {
    // -e: a kernel without the bridge's filter has no such key, and needs none.
    Tool::line("sysctl -e -q -w")
        .args(settings)
        .inside(namespaces)
        .run()?;
    Ok(())
}

/// Removes the host's link, with its routes, and all namespaces. No process may be left in them.
pub(crate) fn remove(layout: &Layout) -> Result<()> {
    if has(&links(&Namespaces::default())?, HOST_LINK) {
        Tool::line("ip link delete").arg(HOST_LINK).run()?;
    }
    namespace::remove_all(&layout.namespaces())
}

/// What there is of the lab in the host's own network.
pub(crate) fn traces() -> Result<Vec<String>> {
    let mut found = Vec::new();
    if has(&links(&Namespaces::default())?, HOST_LINK) {
        found.push(format!("link {HOST_LINK}"));
    }
    for (what, command) in [
        ("route", "ip -4 route show table all"),
        ("rule", "nft list ruleset"),
    ] {
        found.extend(inventory::lines_of_lab(what, &inventory::listing(command)));
    }
    Ok(found)
}
