use std::fmt::Write;

use outrigger_placement::Located;
use sha2::{Digest, Sha256};

/// Letters of a fingerprint.
const LETTERS: usize = 16;

/// Hash of where the bytes are: 16 hexadecimal digits. Each text in it is preceded by its length, so
/// that no two different places are written alike.
pub(super) fn of(located: &Located) -> String {
    let Located { parts } = located;
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    };
    for part in parts {
        let outrigger_placement::Part {
            name,
            bytes,
            groups,
        } = part;
        text(name);
        text(&format!("{bytes} in {}", groups.len()));
        for (nodes, bytes) in groups {
            text(&format!("{bytes} on {}", nodes.len()));
            nodes.iter().for_each(|node| text(node));
        }
    }
    let mut letters = String::with_capacity(LETTERS);
    for byte in hash.finalize().iter().take(LETTERS / 2) {
        // Writing to a String does not fail.
        let _ = write!(letters, "{byte:02x}");
    }
    letters
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use outrigger_placement::Part;

    use super::*;

    fn located(name: &str, groups: &[(&[&str], u64)]) -> Located {
        let group = |(nodes, bytes): &(&[&str], u64)| {
            let nodes: BTreeSet<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
            (nodes, *bytes)
        };
        Located {
            parts: vec![Part {
                name: name.to_owned(),
                bytes: groups.iter().map(|(_, bytes)| bytes).sum(),
                groups: groups.iter().map(group).collect::<BTreeMap<_, _>>(),
            }],
        }
    }

    #[test]
    fn equal_places_have_equal_fingerprints_and_others_do_not() {
        let one = of(&located("/a", &[(&["n1", "n2"], 3), (&["n3"], 4)]));
        assert_eq!(one.len(), LETTERS);
        assert_eq!(one, of(&located("/a", &[(&["n3"], 4), (&["n2", "n1"], 3)])));
        for other in [
            located("/b", &[(&["n1", "n2"], 3), (&["n3"], 4)]),
            located("/a", &[(&["n1", "n2"], 4), (&["n3"], 3)]),
            located("/a", &[(&["n1", "n2", "n3"], 7)]),
            located("/a", &[(&["n1n2"], 3), (&["n3"], 4)]),
            located("/a", &[]),
        ] {
            assert_ne!(one, of(&other), "{other:?}");
        }
    }
}
