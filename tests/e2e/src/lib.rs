//! What the demo and the end-to-end tests share.

pub mod load;
