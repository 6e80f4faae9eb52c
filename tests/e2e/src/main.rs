//! End-to-end tests and the demo, on the lab.

fn main() {}
