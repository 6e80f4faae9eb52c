use outrigger_api::IntegrationSidecar;
use outrigger_control::content_hash;

/// Longest part of a sidecar's name in the name of a revision, which is also a label's value.
const NAME_PART: usize = 52;

/// Name of the revision that an image is, the same for the same image: `SIDECAR-HASH`, at most 63
/// characters.
pub fn revision_name(sidecar: &str, image: &str) -> String {
    // Strings always have a JSON form.
    let hash = content_hash(&(sidecar, image)).unwrap_or_default();
    let name: String = sidecar.chars().take(NAME_PART).collect();
    format!("{name}-{}", &hash[..10.min(hash.len())])
}

/// The image string of a slot that has run `count` specs in its pod before.
///
/// kubelet's back-off key holds the image string: a slot that returns within ten minutes to a
/// string that it ran before stays down for 10 s and more. So no slot gets the same string twice:
/// the tag is the revision with the count, and the digest beside it, which the runtime goes by,
/// names the content. Without a digest, before the first preflight, the image stands as written.
pub fn slot_image(image: &str, digest: Option<&str>, revision: &str, count: i64) -> String {
    let Some(digest) = digest.or_else(|| split(image).1) else {
        return image.to_owned();
    };
    let hash = revision.rsplit_once('-').map_or(revision, |(_, hash)| hash);
    format!("{}:{hash}-{count}@{digest}", split(image).0)
}

/// The revision and the image string of both slots of a new pod: those that all pods have, so that
/// a rollout alone brings new images into use; before the first rollout those of the spec.
pub fn revision_for_new_pod(sidecar: &IntegrationSidecar) -> (String, String) {
    let name = sidecar.metadata.name.as_deref().unwrap_or_default();
    let status = sidecar.status.as_ref();
    let current = status.and_then(|status| {
        let new = status.new_pod_revision.as_ref();
        new.or(status.current_revision.as_ref())
    });
    match current {
        Some(revision) => (
            revision.name.clone(),
            slot_image(
                &revision.image,
                revision.digest.as_deref(),
                &revision.name,
                0,
            ),
        ),
        None => {
            let revision = revision_name(name, &sidecar.spec.image);
            let image = slot_image(&sidecar.spec.image, None, &revision, 0);
            (revision, image)
        }
    }
}

/// Repository and digest of an image reference; a tag is neither.
fn split(image: &str) -> (&str, Option<&str>) {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    // A colon after the last slash starts a tag; one before it belongs to the registry's port.
    let repository = match name.rfind(':') {
        Some(colon) if !name[colon..].contains('/') => &name[..colon],
        _ => name,
    };
    (repository, digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_image_keeps_the_repository_and_names_the_digest() {
        let digest = Some("sha256:00ff");
        for (image, expected) in [
            ("sidecar", "sidecar:abc-3@sha256:00ff"),
            ("sidecar:1.0", "sidecar:abc-3@sha256:00ff"),
            (
                "host:5000/a/sidecar",
                "host:5000/a/sidecar:abc-3@sha256:00ff",
            ),
            (
                "host:5000/a/sidecar:1",
                "host:5000/a/sidecar:abc-3@sha256:00ff",
            ),
            ("host/sidecar:1@sha256:11", "host/sidecar:abc-3@sha256:00ff"),
        ] {
            assert_eq!(slot_image(image, digest, "orders-abc", 3), expected);
        }
    }

    #[test]
    fn an_image_with_a_digest_needs_no_preflight_to_get_a_string_of_its_own() {
        assert_eq!(
            slot_image("sidecar@sha256:11", None, "orders-abc", 0),
            "sidecar:abc-0@sha256:11"
        );
    }

    #[test]
    fn an_image_without_a_digest_stands_as_written() {
        assert_eq!(slot_image("sidecar:1", None, "orders-abc", 0), "sidecar:1");
    }

    #[test]
    fn equal_images_are_one_revision() {
        assert_eq!(
            revision_name("orders", "a:1"),
            revision_name("orders", "a:1")
        );
        assert_ne!(
            revision_name("orders", "a:1"),
            revision_name("orders", "a:2")
        );
        assert_eq!(revision_name("orders", "a:1").len(), "orders-".len() + 10);
    }

    #[test]
    fn revisions_of_long_names_are_labels_and_differ_by_sidecar() {
        let (one, other) = ("o".repeat(57) + "1", "o".repeat(57) + "2");
        assert_eq!(revision_name(&one, "a:1").len(), 63);
        assert_ne!(revision_name(&one, "a:1"), revision_name(&other, "a:1"));
    }
}
