//! A real Kubernetes on one machine, from package registries.

fn main() {}
