//! What a request that fails is answered with.

use http::StatusCode;
use serde_json::{Value, json};

/// A failed request: a Status of Kubernetes.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: StatusCode,
    reason: &'static str,
    message: &'static str,
    causes: Vec<Value>,
}

pub(crate) const BAD_REQUEST: Failure = Failure::new(StatusCode::BAD_REQUEST, "BadRequest");
pub(crate) const FORBIDDEN: Failure = Failure::new(StatusCode::FORBIDDEN, "Forbidden");
pub(crate) const NOT_FOUND: Failure = Failure::new(StatusCode::NOT_FOUND, "NotFound");
pub(crate) const NO_METHOD: Failure =
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed");
pub(crate) const CONFLICT: Failure = Failure::new(StatusCode::CONFLICT, "Conflict");
pub(crate) const EXISTS: Failure = Failure::new(StatusCode::CONFLICT, "AlreadyExists");
/// What came after a version is forgotten.
pub(crate) const EXPIRED: Failure = Failure::new(StatusCode::GONE, "Expired");
pub(crate) const INVALID: Failure = Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
pub(crate) const TOO_MANY: Failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests");
pub(crate) const INTERNAL: Failure =
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");

impl Failure {
    const fn new(code: StatusCode, reason: &'static str) -> Failure {
        Failure {
            code,
            reason,
            message: reason,
            causes: Vec::new(),
        }
    }

    /// A precondition names another UID than the object has.
    pub(crate) fn of_another() -> Failure {
        CONFLICT.saying("Precondition failed: UID in precondition is not that in object meta")
    }

    /// A write gives a field another value that it cannot have.
    pub(crate) fn immutable(field: &'static str) -> Failure {
        INVALID.because(json!({
            "reason": "FieldValueInvalid", "message": "field is immutable", "field": field,
        }))
    }

    pub(crate) fn saying(mut self, message: &'static str) -> Failure {
        self.message = message;
        self
    }

    pub(crate) fn because(mut self, cause: Value) -> Failure {
        self.causes.push(cause);
        self
    }

    /// The body of the answer.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "reason": self.reason, "message": self.message, "code": self.code.as_u16(),
        });
        if !self.causes.is_empty() {
            status["details"] = json!({"causes": self.causes});
        }
        status
    }
}
