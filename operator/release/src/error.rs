use std::fmt;
use std::time::Duration;

use crate::gate::PodName;

/// Pods named in a message.
const NAMED: usize = 5;

/// Pods may be left behind the gate.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A request was refused, or was not answered however often it was tried.
    #[error("{doing}: {}; {}", words(.error), remedy(.error))]
    Request {
        /// What was to be done, with the object's name.
        doing: String,
        /// The last answer.
        error: kube::Error,
    },
    /// The API server goes on calling the webhook, which puts new pods behind the gate.
    #[error(
        "new pods are still changed by the webhook {} s after its configuration was deleted: {last}; see who writes MutatingWebhookConfiguration {name} (kubectl get mutatingwebhookconfiguration {name} -o yaml --show-managed-fields), and run this again",
        .after.as_secs(), name = crate::CONFIGURATION_NAME
    )]
    StillCalled {
        /// How long was waited.
        after: Duration,
        /// How the last dry-run pod came back.
        last: String,
    },
    /// Some pods cannot be changed.
    #[error(
        "{} {} not released: {}: {}; {}, or delete the {} if a controller replaces it",
        .pods.len(), plural(.pods.len(), "pod was", "pods were"), named(.pods), words(.error),
        remedy(.error), plural(.pods.len(), "pod", "pods")
    )]
    Refused {
        /// Those that are left.
        pods: Vec<PodName>,
        /// The answer about the last of them.
        error: kube::Error,
    },
    /// No such pod.
    #[error(
        "pod {0} does not exist; see which pods wait: kubectl get pods -A --field-selector spec.nodeName="
    )]
    NoSuchPod(PodName),
}

/// What the API server says, without its structure.
pub(crate) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                source = cause.source();
            }
            text
        }
    }
}

fn remedy(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => "log in again",
            403 => "run this as somebody who may, such as an administrator of the cluster",
            _ => "run this again: it goes on where it stopped",
        },
        _ => "check the way to the API server, and run this again: it goes on where it stopped",
    }
}

fn named(pods: &[PodName]) -> String {
    let names = pods.iter().take(NAMED).map(PodName::to_string);
    let mut text = names.collect::<Vec<_>>().join(", ");
    if let Some(more) = pods.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text = format!("{text} and {more} more");
    }
    text
}

/// The form of a word for a number.
pub(crate) fn plural<T: fmt::Display>(count: usize, one: T, many: T) -> T {
    match count {
        1 => one,
        _ => many,
    }
}
