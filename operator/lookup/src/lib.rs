//! What the injector and the controllers ask of the cluster.
//!
//! Every replica runs [`Reflectors`], which keep the IntegratedApps, IntegrationSidecars and Datasets
//! of all namespaces in memory; [`Lookup`] answers from there, and by calls where memory would be too
//! dear.

mod error;
mod lookup;
mod mirror;
mod reflectors;
mod remembered;

pub use error::LookupError;
pub use lookup::Lookup;
pub use mirror::{Feed, Mirror};
pub use reflectors::Reflectors;
