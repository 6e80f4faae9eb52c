/// Something that an answer depends on cannot be read now.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be read: {error}")]
pub struct LookupError {
    /// What it is, with its namespace.
    pub what: String,
    /// Why.
    pub error: kube::Error,
}
