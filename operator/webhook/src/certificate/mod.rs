//! The serving certificate and the authority behind it: kept by the leader in a Secret, renewed
//! long before they expire, and followed by every replica.
//!
//! A new authority is trusted for a day before it signs, and the former one for a day after, so that
//! no API server meets a certificate that it does not trust, whatever it has cached.

mod decide;
mod follow;
mod inspect;
mod issue;
mod keep;
mod material;

pub use decide::{Decision, decide};
pub use follow::Certificates;
pub use keep::keep_certificate;
pub use material::{CERTIFICATE_SECRET, CertificateError, Material};
