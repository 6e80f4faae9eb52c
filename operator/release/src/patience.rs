use std::time::Duration;

use tokio::time::sleep;

use crate::ReleaseError;

/// How often a request is tried.
const TRIES: u32 = 6;

/// The pause after so many failures in a row.
pub(crate) fn pause(failures: u32) -> Duration {
    Duration::from_millis(500) * (1 << failures.saturating_sub(1).min(4))
}

/// Whether another try may bring another answer.
pub(crate) fn passes(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 409 || status.code == 429 || status.code >= 500,
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

/// Tries until there is an answer, or an error that stays.
pub(crate) async fn persist<T, F>(
    doing: impl Fn() -> String,
    mut call: impl FnMut() -> F,
) -> Result<T, ReleaseError>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let mut failures = 0;
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        failures += 1;
        if failures == TRIES || !passes(&error) {
            let doing = doing();
            return Err(ReleaseError::Request { doing, error });
        }
        sleep(pause(failures)).await;
    }
}

/// `None` for an object, or a kind, that does not exist. The API server names no reason for a kind.
pub(crate) fn found<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_kind_that_is_not_served_has_no_objects() {
        let answer = Status {
            code: 404,
            message: "404 page not found".into(),
            reason: "Failed to parse error data".into(),
            ..Status::default()
        };
        let answer: Result<(), _> = Err(kube::Error::Api(Box::new(answer)));
        assert!(matches!(found(answer), Ok(None)));
    }
}
