//! The operator may be killed between any two calls, and any call may fail: each story ends the same.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../placement/cluster.rs"]
#[allow(dead_code, reason = "made for the tests of placement, which need more")]
mod cluster;
#[path = "../cluster/evicting.rs"]
mod evicting;
#[path = "../cluster/leader.rs"]
#[allow(
    dead_code,
    reason = "made for the tests of applications, which need more"
)]
mod leader;
#[path = "../../../hdfs/tests/scan/name_node.rs"]
#[allow(dead_code, reason = "made for the tests of the scan, which need more")]
mod name_node;
#[path = "../../../hdfs/tests/scan/namespace.rs"]
#[allow(dead_code, reason = "made for the tests of the scan, which need more")]
mod namespace;
#[path = "../rollout/node.rs"]
#[allow(dead_code, reason = "made for the tests of rollouts, which need more")]
mod node;
#[path = "../replica/mod.rs"]
mod replica;
#[path = "../sharing/scene.rs"]
mod shared;
#[path = "../rollout/shop.rs"]
#[allow(dead_code, reason = "made for the tests of rollouts, which need more")]
mod shop;
#[path = "../webhook/mod.rs"]
mod webhook;

mod applications;
mod datasets;
mod placement;
mod preflights;
mod rollouts;
mod sharing;

use kube::Client;
use outrigger_faults::Operator;

use crate::replica::Replica;

impl Operator for Replica {
    fn lead(client: Client) -> Replica {
        Replica::lead(client)
    }
}
