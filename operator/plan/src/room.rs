//! How much of a common document each application may have.

use outrigger_control::TenantDocument;

/// Most bytes of the document that the applications of a shared sidecar have in common. A ConfigMap
/// holds 1 MiB, and has the documents that slots still use beside the newest one.
pub const MOST_DOCUMENT_BYTES: usize = 256 * 1024;

/// An application whose part of the common document has no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Name of the IntegratedApp.
    pub application: String,
    /// Size of its part.
    pub bytes: usize,
    /// Whether its former part is in the document instead; otherwise it has none.
    pub goes_on: bool,
}

/// Takes the largest parts out of a document until the others have room, and puts former parts of
/// the same applications in their places where those are smaller.
pub(crate) fn fit(
    tenants: &mut Vec<TenantDocument>,
    former: &[TenantDocument],
    room: usize,
) -> Vec<LeftOut> {
    let mut left_out: Vec<LeftOut> = Vec::new();
    loop {
        let sizes: Vec<usize> = tenants.iter().map(size).collect();
        if sizes.iter().sum::<usize>() <= room {
            break;
        }
        let largest = (0..sizes.len()).max_by_key(|index| sizes[*index]);
        let Some(largest) = largest else { break };
        let name = tenants[largest].document.application.name.clone();
        let smaller = former.iter().find(|former| {
            former.document.application.name == name && size(former) < sizes[largest]
        });
        match smaller {
            Some(smaller) => tenants[largest].document = smaller.document.clone(),
            None => drop(tenants.remove(largest)),
        }
        let goes_on = smaller.is_some();
        match left_out.iter_mut().find(|known| known.application == name) {
            Some(known) => known.goes_on = goes_on,
            None => left_out.push(LeftOut {
                application: name,
                bytes: sizes[largest],
                goes_on,
            }),
        }
    }
    left_out.sort_by(|one, other| one.application.cmp(&other.application));
    left_out
}

/// Size of a part in its document.
fn size(tenant: &TenantDocument) -> usize {
    // What has no JSON form makes the whole document unwritable, which is told.
    serde_json::to_string(tenant).map_or(0, |text| text.len() + 1)
}

#[cfg(test)]
mod tests {
    use outrigger_control::{Application, Document, FunctionDocument, FunctionKind, Limits};

    use super::*;

    /// A part with a name and about so many bytes.
    fn part(name: &str, bytes: usize) -> TenantDocument {
        TenantDocument {
            document: Document {
                v: Document::VERSION,
                application: Application {
                    namespace: "s".into(),
                    name: name.into(),
                },
                sidecar: "orders".into(),
                functions: vec![FunctionDocument {
                    name: "x".repeat(bytes),
                    port: 1,
                    kind: FunctionKind::Custom(Vec::new()),
                }],
                postgresql: None,
            },
            limits: Limits {
                max_body_bytes: None,
                max_concurrent_requests: 1,
                requests_per_second: None,
            },
        }
    }

    fn names(tenants: &[TenantDocument]) -> Vec<&str> {
        let names = tenants.iter();
        names
            .map(|tenant| tenant.document.application.name.as_str())
            .collect()
    }

    #[test]
    fn the_largest_parts_make_room_for_the_others() {
        let mut tenants = vec![part("a", 100), part("b", 5_000), part("c", 4_000)];
        assert_eq!(fit(&mut tenants, &[], 20_000), []);
        let left_out = fit(&mut tenants, &[], 5_000);
        assert_eq!(names(&tenants), ["a", "c"]);
        assert_eq!(left_out.len(), 1);
        assert_eq!(left_out[0].application, "b");
        assert!((5_000..6_000).contains(&left_out[0].bytes) && !left_out[0].goes_on);
    }

    #[test]
    fn a_former_part_goes_on_if_it_has_room() {
        let mut tenants = vec![part("a", 100), part("b", 5_000)];
        let left_out = fit(&mut tenants, &[part("b", 200)], 2_000);
        assert_eq!(names(&tenants), ["a", "b"]);
        assert_eq!(tenants[1], part("b", 200));
        assert!(left_out[0].goes_on && left_out[0].bytes > 5_000);

        let mut tenants = vec![part("a", 100), part("b", 5_000)];
        let left_out = fit(&mut tenants, &[part("b", 4_000)], 2_000);
        assert_eq!(names(&tenants), ["a"]);
        assert!(!left_out[0].goes_on && left_out[0].bytes > 5_000);
    }
}
