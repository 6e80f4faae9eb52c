use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use outrigger_control::layout::PLACEMENT_ANNOTATION;
use serde::{Deserialize, Serialize};

/// Most nodes that an explanation lists as ruled out.
pub(crate) const MOST_EXCLUDED: usize = 8;

/// Why a released pod was sent where it was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Version of this form: 1.
    pub v: u32,
    /// The node that was asked for; absent if none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How it was asked for.
    pub mode: AskedFor,
    /// Bytes of the pod's data that the node holds.
    pub local_bytes: u64,
    /// Bytes of the pod's data.
    pub total_bytes: u64,
    /// The node that would have been the next choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_up: Option<RunnerUp>,
    /// Nodes that hold data and were ruled out, and why: those that hold most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub excluded: BTreeMap<String, String>,
    /// All of it in one sentence.
    pub reason: String,
    /// When it was decided.
    pub since: Timestamp,
}

/// How a node was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AskedFor {
    /// The scheduler may choose another node.
    Preferred,
    /// The pod runs there or not at all.
    Required,
    /// Not at all.
    None,
}

/// The next choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunnerUp {
    /// Name of the node.
    pub node: String,
    /// Bytes of the pod's data that it holds.
    pub local_bytes: u64,
}

/// The annotation of a pod does not hold an explanation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "pod {pod} annotation {PLACEMENT_ANNOTATION} is {found:?}; allowed is what the operator wrote when it released the pod: {message}"
)]
pub struct InvalidExplanation {
    /// Name of the pod.
    pub pod: String,
    /// The value found, at most 64 characters of it.
    pub found: String,
    /// What is wrong.
    pub message: String,
}

impl Explanation {
    /// The explanation that a pod carries; `None` if it carries none.
    pub fn of(pod: &Pod) -> Option<Result<Explanation, InvalidExplanation>> {
        let text = pod.annotations().get(PLACEMENT_ANNOTATION)?;
        Some(
            serde_json::from_str(text).map_err(|error| InvalidExplanation {
                pod: pod.name_any(),
                found: text.chars().take(64).collect(),
                message: error.to_string(),
            }),
        )
    }
}

/// Bytes for people: `12.0 MiB`.
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size(bytes) = *self;
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        // In tenths, rounded; a figure that rounds to 1024.0 is written in the next unit.
        let tenths = |shift: u32| (u128::from(bytes) * 10 + (1 << (shift - 1))) >> shift;
        for (unit, shift) in units.into_iter().zip((10..).step_by(10)) {
            if bytes < 1024 {
                break;
            }
            if tenths(shift) < 10_240 || shift == 60 {
                return write!(f, "{}.{} {unit}", tenths(shift) / 10, tenths(shift) % 10);
            }
        }
        write!(f, "{bytes} B")
    }
}

/// A share for people: `75 %`. It says `100 %` only of all, and `0 %` only of nothing.
pub struct Share {
    /// Bytes of the share.
    pub bytes: u64,
    /// Bytes of the whole.
    pub of: u64,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Share { bytes, of } = *self;
        if bytes >= of {
            return write!(f, "100 %");
        }
        if bytes == 0 {
            return write!(f, "0 %");
        }
        let rounded = (u128::from(bytes) * 200 + u128::from(of)) / (u128::from(of) * 2);
        write!(f, "{} %", rounded.clamp(1, 99))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_written_for_people() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (12 * 1024 * 1024, "12.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), expected, "{bytes}");
        }
    }

    #[test]
    fn a_share_is_all_or_nothing_only_when_it_is() {
        for (bytes, of, expected) in [
            (0, 0, "100 %"),
            (0, 9, "0 %"),
            (1, 1_000_000, "1 %"),
            (999_999, 1_000_000, "99 %"),
            (1_000_000, 1_000_000, "100 %"),
            (3, 4, "75 %"),
            (u64::MAX - 1, u64::MAX, "99 %"),
        ] {
            assert_eq!(Share { bytes, of }.to_string(), expected, "{bytes} of {of}");
        }
    }

    #[test]
    fn an_explanation_is_read_as_it_was_written() {
        let explanation = Explanation {
            v: 1,
            node: Some("node-2".to_owned()),
            mode: AskedFor::Preferred,
            local_bytes: 3,
            total_bytes: 4,
            runner_up: Some(RunnerUp {
                node: "node-3".to_owned(),
                local_bytes: 1,
            }),
            excluded: BTreeMap::from([("node-1".to_owned(), "cordoned".to_owned())]),
            reason: "because".to_owned(),
            since: "2026-01-01T00:00:00Z".parse().unwrap(),
        };
        let pod: Pod = serde_json::from_value(json!({"metadata": {"annotations": {
            PLACEMENT_ANNOTATION: serde_json::to_string(&explanation).unwrap(),
        }}}))
        .unwrap();
        assert_eq!(Explanation::of(&pod), Some(Ok(explanation)));
    }

    #[test]
    fn an_annotation_that_is_no_explanation_is_named() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {
            "name": "risk-0", "annotations": {PLACEMENT_ANNOTATION: "node-2 please"},
        }}))
        .unwrap();
        let error = Explanation::of(&pod).unwrap().unwrap_err().to_string();
        assert!(
            error.starts_with(
                "pod risk-0 annotation outrigger.dev/placement is \"node-2 please\"; allowed is"
            ),
            "{error}"
        );
    }
}
