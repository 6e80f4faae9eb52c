//! Swaps, measured from within the pod: the load is the pod's own container.

mod figures;
mod ground;
mod row;

pub use self::figures::{Figures, Latencies, Quantiles, Window};
pub use self::ground::{Ground, Images};
pub use self::row::{ROWS, Row, Way, run};
