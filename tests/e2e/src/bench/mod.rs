//! Swaps, measured from within the pod: the load is the pod's own container.

mod figures;
mod ground;
mod kills;
mod measure;
mod row;
mod ways;

pub use self::figures::{Figures, Latencies, Quantiles, Window};
pub use self::ground::{Ground, Images};
pub use self::kills::{KillFigures, slot as kill_slot, workers as kill_workers};
pub use self::row::{ROWS, Row, run};
pub use self::ways::{Replacement, WayFigures, compare};
