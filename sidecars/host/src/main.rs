//! The sidecar's binary: the chassis with the functions it hosts.

fn main() {}
