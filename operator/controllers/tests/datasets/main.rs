//! What becomes of Datasets, against an API server in memory and NameNodes that answer as Hadoop's
//! do.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[allow(dead_code, reason = "made for the tests of the scan, which need more")]
#[path = "../../../hdfs/tests/scan/name_node.rs"]
mod name_node;
#[allow(dead_code, reason = "made for the tests of the scan, which need more")]
#[path = "../../../hdfs/tests/scan/namespace.rs"]
mod namespace;
#[path = "../replica/mod.rs"]
mod replica;

mod claims;
mod data_nodes;
mod rest;
mod scans;
mod scene;
