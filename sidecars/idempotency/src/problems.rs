//! What clients are told when something is wrong. The page about the function lists these.

use http::StatusCode;
use outrigger_chassis::Problem;

use crate::body::Refused;
use crate::json::{InvalidDocument, MAX_DEPTH};
use crate::key::NoKey;
use crate::store::{PutError, StoreError};

const SOON: u32 = 1;
const LATER: u32 = 5;

pub(crate) fn body(refused: &Refused) -> Problem {
    let detail = refused.to_string();
    match refused {
        Refused::ContentType { .. } => {
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail)
        }
        Refused::ContentEncoding { .. } => Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-encoding",
            detail,
        ),
        Refused::TooLarge { limit } | Refused::FarTooLarge { limit } => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "document-too-large", detail)
                .with("maxDocumentBytes", *limit)
        }
        Refused::Overloaded => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            format!("{detail}. The document was not stored."),
        )
        .retry_after(SOON),
        Refused::BrokeOff { .. } => {
            Problem::new(StatusCode::BAD_REQUEST, "body-incomplete", detail)
        }
        Refused::Silent | Refused::Slow => {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", detail)
        }
    }
}

pub(crate) fn document(invalid: &InvalidDocument) -> Problem {
    let problem = |status, kind| Problem::new(status, kind, invalid.to_string());
    let at = |problem: Problem, line: usize, column: usize| {
        problem.with("line", line).with("column", column)
    };
    let bad = StatusCode::BAD_REQUEST;
    match invalid {
        InvalidDocument::NotUtf8 { line, column } => at(problem(bad, "not-utf-8"), *line, *column),
        InvalidDocument::Truncated { line, column, .. } => {
            at(problem(bad, "truncated-json"), *line, *column)
        }
        InvalidDocument::Malformed { line, column, .. } => {
            at(problem(bad, "malformed-json"), *line, *column)
        }
        InvalidDocument::DuplicateMember { line, column, .. } => {
            at(problem(bad, "duplicate-member"), *line, *column)
        }
        InvalidDocument::TooDeep { line, column, .. } => {
            at(problem(bad, "too-deep"), *line, *column).with("maxDepth", MAX_DEPTH)
        }
        InvalidDocument::NotAnObject { .. } => {
            problem(StatusCode::UNPROCESSABLE_ENTITY, "not-an-object")
        }
    }
}

pub(crate) fn key(no_key: &NoKey) -> Problem {
    let problem = |kind| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind, no_key.to_string());
    match no_key {
        NoKey::Missing { pointers } => {
            problem("missing-key-field").with("pointers", pointers.clone())
        }
        NoKey::WrongType { pointer, found } => problem("key-field-type")
            .with("pointers", vec![pointer.clone()])
            .with("found", *found),
        NoKey::NumberOutOfRange { pointer } => {
            problem("number-out-of-range").with("pointers", vec![pointer.clone()])
        }
        NoKey::Unreadable(_) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "unreadable",
            no_key.to_string(),
        ),
    }
}

pub(crate) fn put(error: &PutError) -> Problem {
    match error {
        PutError::NotStored(cause) => unavailable(cause, "The document was not stored."),
        PutError::Unknown(cause) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "outcome-unknown",
            format!(
                "{cause}. The document may or may not be stored. Send it again: 201 means that it was not, 409 shows what is stored."
            ),
        )
        .with("cause", cause.kind.as_str())
        .retry_after(retry_after(cause)),
    }
}

pub(crate) fn get(error: &StoreError) -> Problem {
    unavailable(error, "The entry was not read.")
}

fn unavailable(cause: &StoreError, consequence: &str) -> Problem {
    let kind = format!("store-{}", cause.kind.as_str());
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        &kind,
        format!("{cause}. {consequence}"),
    )
    .retry_after(retry_after(cause))
}

fn retry_after(cause: &StoreError) -> u32 {
    match cause.kind.is_transient() {
        true => SOON,
        false => LATER,
    }
}

pub(crate) fn no_entry(index: &str) -> Problem {
    let index: String = index.chars().take(20).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-entry",
        format!("there is no entry {index} of this function, or it has expired"),
    )
}

pub(crate) fn no_path(path: &str) -> Problem {
    let path: String = path.chars().take(80).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-path",
        format!("there is no {path:?}; there are POST /v1/entries and GET /v1/entries/INDEX"),
    )
}

pub(crate) fn method(found: &http::Method, allowed: &str) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        format!("the method is {found}; allowed is {allowed}"),
    )
    .with("allowed", vec![allowed])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Kind;

    #[test]
    fn an_unknown_outcome_is_told_apart_from_a_failure() {
        let cause = StoreError::before(Kind::Unreachable, "PostgreSQL at db:5432 is away");
        let failed = put(&PutError::NotStored(cause.clone())).status();
        let unknown = put(&PutError::Unknown(cause)).status();
        assert_eq!(failed, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(unknown, StatusCode::GATEWAY_TIMEOUT);
    }
}
