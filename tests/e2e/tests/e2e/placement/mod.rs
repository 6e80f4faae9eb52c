//! Pods on the nodes that hold their data.

mod claims;
mod demands;
mod ground;
mod layouts;
mod nodes;
mod operator_killed;
mod refused;
mod risk;
mod sources;

use crate::scene::Test;

pub(crate) fn tests() -> Vec<Test> {
    [
        refused::tests(),
        risk::tests(),
        layouts::tests(),
        demands::tests(),
        nodes::tests(),
        claims::tests(),
        sources::tests(),
        operator_killed::tests(),
    ]
    .concat()
}
