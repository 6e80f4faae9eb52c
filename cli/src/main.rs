//! A plugin of kubectl: `kubectl outrigger`.

use clap::Parser;

/// What Outrigger does on a cluster, by hand.
#[derive(Debug, Parser)]
#[command(name = "kubectl-outrigger", bin_name = "kubectl outrigger", version)]
struct Arguments {}

fn main() {
    Arguments::parse();
}
