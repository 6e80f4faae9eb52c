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

/// `None` for an object that does not exist.
pub(crate) fn found<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
