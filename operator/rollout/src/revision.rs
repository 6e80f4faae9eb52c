//! Images of a sidecar, kept as ControllerRevisions.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};
use outrigger_api::conditions::reason;
use outrigger_api::{IntegrationSidecar, Revision};
use outrigger_plan::slot_image;
use serde_json::json;

use crate::SwapPod;

/// Annotation of a ControllerRevision: the digest that the image had in its preflight. A
/// ControllerRevision's data never changes, so what is learnt later is beside it.
pub const DIGEST_ANNOTATION: &str = "outrigger.dev/digest";
/// Annotation of a ControllerRevision whose image failed while it served: `REASON: message`.
pub const FAILED_ANNOTATION: &str = "outrigger.dev/failed";
/// Annotation of a failed ControllerRevision beside [`FAILED_ANNOTATION`]: `true` if enough was seen
/// to take the image back from pods that work with it.
pub const PROVEN_ANNOTATION: &str = "outrigger.dev/failure-proven";
/// Annotation of a ControllerRevision whose image failed for some applications: a JSON object, by
/// name of the application what was seen.
pub const FAILED_IN_ANNOTATION: &str = "outrigger.dev/failed-in";

/// One image of a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRevision {
    /// Name of the ControllerRevision.
    pub name: String,
    /// The image as written in the spec.
    pub image: String,
    /// Its digest, once a preflight has succeeded.
    pub digest: Option<String>,
    /// Why it is used no more.
    pub failed: Option<Failure>,
    /// Why it is used no more by these applications.
    pub failed_in: BTreeMap<String, String>,
    /// Rises with every change of the spec's image; the highest is the spec's.
    pub number: i64,
}

/// Why a revision failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason of the condition that reports it.
    pub reason: &'static str,
    /// What happened, where.
    pub message: String,
    /// Whether it was seen in the status of a container, or told by enough pods. What one slot says
    /// of itself stops a rollout, but takes the image from no other pod.
    pub proven: bool,
}

impl Failure {
    /// The value of [`FAILED_ANNOTATION`].
    pub fn to_annotation(&self) -> String {
        format!("{}: {}", self.reason, self.message)
    }

    fn parse(text: &str, proven: bool) -> Failure {
        let (found, message) = text.split_once(": ").unwrap_or(("", text));
        Failure {
            reason: match found {
                reason::HANDOVER_FAILED => reason::HANDOVER_FAILED,
                _ => reason::REVISION_FAILED,
            },
            message: message.to_owned(),
            proven,
        }
    }
}

impl KnownRevision {
    /// Reads a ControllerRevision; `None` if it is not one of ours.
    pub fn read(object: &ControllerRevision) -> Option<KnownRevision> {
        let data = &object.data.as_ref()?.0;
        let annotations = object.annotations();
        Some(KnownRevision {
            name: object.name_any(),
            image: data.get("image")?.as_str()?.to_owned(),
            digest: annotations.get(DIGEST_ANNOTATION).cloned(),
            failed: annotations
                .get(FAILED_ANNOTATION)
                .map(|text| Failure::parse(text, annotations.contains_key(PROVEN_ANNOTATION))),
            failed_in: annotations
                .get(FAILED_IN_ANNOTATION)
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
            number: object.revision,
        })
    }

    /// The ControllerRevision, owned by its sidecar.
    pub fn to_object(&self, sidecar: &IntegrationSidecar) -> ControllerRevision {
        let mut annotations = BTreeMap::new();
        if let Some(digest) = &self.digest {
            annotations.insert(DIGEST_ANNOTATION.to_owned(), digest.clone());
        }
        if let Some(failure) = &self.failed {
            annotations.insert(FAILED_ANNOTATION.to_owned(), failure.to_annotation());
        }
        if self.failed.as_ref().is_some_and(|failure| failure.proven) {
            annotations.insert(PROVEN_ANNOTATION.to_owned(), "true".to_owned());
        }
        if !self.failed_in.is_empty() {
            let failed_in = json!(self.failed_in).to_string();
            annotations.insert(FAILED_IN_ANNOTATION.to_owned(), failed_in);
        }
        ControllerRevision {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: sidecar.namespace(),
                annotations: (!annotations.is_empty()).then_some(annotations),
                owner_references: sidecar.controller_owner_ref(&()).map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(json!({"image": self.image}))),
            revision: self.number,
        }
    }

    /// Whether a pod is to use it no more.
    pub(crate) fn is_failed_for(&self, pod: &SwapPod) -> bool {
        let application = pod.consumer.application();
        self.failed.is_some() || application.is_some_and(|name| self.failed_in.contains_key(name))
    }

    /// Whether it is taken back from a pod that works with it.
    pub(crate) fn is_taken_from(&self, pod: &SwapPod) -> bool {
        let proven = self.failed.as_ref().is_some_and(|failure| failure.proven);
        let application = pod.consumer.application();
        proven || application.is_some_and(|name| self.failed_in.contains_key(name))
    }

    /// As it is shown in a status.
    pub(crate) fn shown(&self) -> Revision {
        Revision {
            name: self.name.clone(),
            image: self.image.clone(),
            digest: self.digest.clone(),
        }
    }

    /// The image string of a slot; see [`slot_image`].
    pub(crate) fn slot_image(&self, count: i64) -> String {
        slot_image(&self.image, self.digest.as_deref(), &self.name, count)
    }
}

/// The names of revisions that are kept no longer: the oldest beyond the limit that nothing uses.
pub(crate) fn outlived(
    known: &BTreeMap<String, KnownRevision>,
    is_used: impl Fn(&str) -> bool,
    limit: usize,
) -> Vec<&str> {
    let mut unused: Vec<_> = known
        .values()
        .filter(|revision| !is_used(&revision.name))
        .collect();
    unused.sort_by_key(|revision| (revision.number, &revision.name));
    let surplus = unused.len().saturating_sub(limit);
    unused[..surplus]
        .iter()
        .map(|revision| revision.name.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(name: &str, number: i64) -> (String, KnownRevision) {
        let revision = KnownRevision {
            name: name.into(),
            image: "sidecar:1".into(),
            digest: Some("sha256:00".into()),
            failed: Some(Failure {
                reason: reason::REVISION_FAILED,
                message: "pod web-1: it crashed".into(),
                proven: true,
            }),
            failed_in: BTreeMap::from([("shop".into(), "7 % errors".into())]),
            number,
        };
        (name.to_owned(), revision)
    }

    #[test]
    fn a_revision_survives_its_object() {
        let (_, revision) = revision("orders-1", 3);
        let sidecar = IntegrationSidecar::new("orders", Default::default());
        let object = revision.to_object(&sidecar);
        assert_eq!(KnownRevision::read(&object), Some(revision));
    }

    #[test]
    fn the_oldest_unused_revisions_go_first() {
        let known = BTreeMap::from([
            revision("c", 1),
            revision("b", 2),
            revision("a", 3),
            revision("d", 4),
        ]);
        assert_eq!(outlived(&known, |name| name == "c", 1), ["b", "a"]);
        assert_eq!(outlived(&known, |name| name == "c", 5), [""; 0]);
    }
}
