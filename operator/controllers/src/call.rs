//! Calls that write to the API server: how they are made, and what their answers mean.

use kube::api::{DeleteParams, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use outrigger_api::FIELD_MANAGER;

/// Something could not be written, created, deleted or tried.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be {action}: {error}")]
pub(crate) struct CallError {
    /// What it is, in words.
    what: String,
    /// What was to be done to it, such as `written`.
    action: &'static str,
    /// What the API server says.
    pub(crate) error: kube::Error,
}

/// Says of a call that failed what it was to do to what.
pub(crate) fn failed(
    what: impl Into<String>,
    action: &'static str,
) -> impl FnOnce(kube::Error) -> CallError {
    move |error| CallError {
        what: what.into(),
        action,
        error,
    }
}

/// An answer that means that somebody was faster is no failure, and gives `None`.
pub(crate) fn unless<T>(
    overtaken: impl FnOnce(&Status) -> bool,
    result: Result<T, kube::Error>,
) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(kube::Error::Api(status)) if overtaken(&status) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an object is gone, or is not as it was seen.
pub(crate) fn is_other(status: &Status) -> bool {
    matches!(status.code, 404 | 409)
}

/// Whether the UID is not that of the object with the name. There are other conflicts, such as with a
/// budget that changes meanwhile.
pub(crate) fn is_another(status: &Status) -> bool {
    status.is_conflict() && status.message.contains("UID")
}

/// Parameters of a creation by the operator.
pub(crate) fn creating() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// Parameters of a patch by the operator.
pub(crate) fn patching() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Parameters of a deletion of an object with this UID and, if there is one, this resource version:
/// of none that came after it under its name.
pub(crate) fn deleting(uid: Option<String>, resource_version: Option<String>) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        uid,
        resource_version,
    })
}
