//! Tries an image and a document: parse, build, connect to the store, bind nothing.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures::future::join_all;
use outrigger_control::{AnyDocument, Document, TenantDocument};
use tokio::time::timeout;

use crate::control_files::read_document;
use crate::settings::{Directories, environment, preflight_document, sidecar};
use crate::{Builder, Functions, Secrets, configuration, warmth};

/// Where a container says why it ended.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// Longest time until every function is warm.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs a preflight. The last line on standard error, and the container's termination message,
/// say why it failed.
pub(crate) fn run<B: Builder>(builder: impl FnOnce() -> B) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let tried = match runtime {
        Ok(runtime) => runtime.block_on(attempt(builder)),
        Err(error) => Err(format!("the runtime could not be started: {error}")),
    };
    match tried {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // One line, as the condition shows it.
            let line = reason.replace('\n', " ");
            eprintln!("{line}");
            terminate_with(Path::new(TERMINATION_LOG), &line);
            ExitCode::FAILURE
        }
    }
}

async fn attempt<B: Builder>(builder: impl FnOnce() -> B) -> Result<(), String> {
    let sidecar = sidecar(environment).map_err(|error| error.to_string())?;
    let hash = preflight_document(environment).map_err(|error| error.to_string())?;
    let directories = Directories::read(environment);
    let applications = build(&builder(), &sidecar, &hash, &directories)?;
    warm(&applications).await
}

/// Builds the functions of the document with a hash, for each of its applications.
///
/// Applications that share a sidecar do not stop each other: whether this image refuses what the
/// present one takes is seen in the first pod, where both are.
fn build(
    builder: &impl Builder,
    sidecar: &str,
    hash: &str,
    directories: &Directories,
) -> Result<Vec<Functions>, String> {
    let control = directories.control.display();
    let text = read_document(&directories.control, hash)
        .map_err(|error| format!("document {hash} in {control} cannot be read: {error}"))?
        .ok_or_else(|| format!("document {hash} is not in {control}"))?;
    let secrets = Secrets::new(&directories.secrets);
    let build = |document: &Document| {
        configuration::check(document, sidecar, None)?;
        configuration::build(builder, document, &secrets)
    };
    match configuration::read(&text).map_err(|reason| format!("{hash}: {reason}"))? {
        AnyDocument::Own(document) => Ok(vec![build(&document)?]),
        AnyDocument::Shared(shared) => {
            configuration::check_shared(&shared, sidecar)?;
            let tenants = shared
                .tenants
                .iter()
                .map(|TenantDocument { document, .. }| {
                    let application = &document.application.name;
                    let functions = build(document)
                        .map_err(|reason| configuration::of_tenant(application, &reason))?;
                    let named = functions.into_iter();
                    let named =
                        named.map(|(name, function)| (format!("{application}/{name}"), function));
                    Ok(named.collect())
                });
            some(tenants)
        }
    }
}

/// Waits until every function is warm, of one application at least.
async fn warm(applications: &[Functions]) -> Result<(), String> {
    let tried = applications.iter().map(|functions| async move {
        let mut last = Ok(());
        let attempts = warmth::until_warm(functions, |answer| last = answer);
        match timeout(LIMIT, attempts).await {
            Ok(()) => Ok(()),
            Err(_) => Err(match last {
                Err(reason) => format!("{reason}; tried for {} s", LIMIT.as_secs()),
                Ok(()) => format!("the functions gave no answer in {} s", LIMIT.as_secs()),
            }),
        }
    });
    some(join_all(tried).await).map(drop)
}

/// What succeeded. If nothing did, the first failure; otherwise failures are only told.
fn some<T>(results: impl IntoIterator<Item = Result<T, String>>) -> Result<Vec<T>, String> {
    let (good, bad): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let good: Vec<T> = good.into_iter().flatten().collect();
    let mut reasons = bad.into_iter().filter_map(Result::err);
    if good.is_empty()
        && let Some(first) = reasons.next()
    {
        return Err(first);
    }
    for reason in reasons {
        eprintln!("{}", reason.replace('\n', " "));
    }
    Ok(good)
}

/// Leaves a container's termination message, where there is a place for it.
fn terminate_with(path: &Path, line: &str) {
    let file = std::fs::OpenOptions::new().write(true).open(path);
    if let Ok(mut file) = file {
        // Outside a container nobody reads it.
        let _ = file.write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;
    use futures::future::BoxFuture;
    use http::{Request, Response};

    use super::*;
    use crate::{Function, NotWarm, RequestBody, ResponseBody};

    struct Cold;

    impl Function for Cold {
        fn call(
            self: Arc<Self>,
            _: Request<RequestBody>,
        ) -> BoxFuture<'static, Response<ResponseBody>> {
            unreachable!("nothing calls the function")
        }

        fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
            async { Err(NotWarm("PostgreSQL at db:5432 refused".to_owned())) }.boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_stays_away_is_named_when_time_is_up() {
        let cold: Arc<dyn Function> = Arc::new(Cold);
        let cold = Functions::from([("entries".to_owned(), cold)]);
        let reason = warm(std::slice::from_ref(&cold)).await;
        assert_eq!(
            reason.unwrap_err(),
            "function entries: PostgreSQL at db:5432 refused; tried for 20 s"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_whose_store_is_away_does_not_stop_the_others() {
        let cold: Arc<dyn Function> = Arc::new(Cold);
        let cold = Functions::from([("shop/entries".to_owned(), cold)]);
        assert_eq!(warm(&[cold, Functions::new()]).await, Ok(()));
    }

    #[test]
    fn the_reason_is_left_where_the_container_has_a_place_for_it() {
        let place = tempfile::NamedTempFile::new().unwrap();
        terminate_with(place.path(), "no store");
        assert_eq!(std::fs::read_to_string(place.path()).unwrap(), "no store");
        let nowhere = place.path().with_extension("absent");
        terminate_with(&nowhere, "no store");
        assert!(!nowhere.exists());
    }
}
