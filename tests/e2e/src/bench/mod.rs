//! Swaps, and what they are compared with, measured from within pods: the load is a container in them.

mod figures;
mod fleet;
mod ground;
mod kills;
mod measure;
mod page;
mod row;
mod tenants;
mod ways;

pub use self::figures::{Figures, Latencies, Quantiles, Window};
pub use self::fleet::{FleetFigures, Rollout, roll_out};
pub use self::ground::{Ground, Images};
pub use self::kills::{Kill, KillFigures, Victim, slot as kill_slot, workers as kill_workers};
pub use self::page::{Results, machine, place};
pub use self::row::{ROWS, Row, run};
pub use self::tenants::{TenantFigures, share};
pub use self::ways::{Replacement, WayFigures, compare};
