//! Whole pods, before and after their injection.

mod fixtures;
mod injected;
mod recreated;
mod refused;
mod repeated;
mod resources;
mod tried;
