use serde_json::value::RawValue;

use super::document::members;

/// The value that a JSON Pointer (RFC 6901, section 4) points at, if there is one. `-` and array
/// indexes with leading zeros point at nothing.
pub(crate) fn find<'d>(
    document: &'d RawValue,
    pointer: &str,
) -> Result<Option<&'d RawValue>, serde_json::Error> {
    let mut value = document;
    for token in pointer.split('/').skip(1) {
        let found = match value.get().as_bytes().first() {
            Some(b'{') => {
                let name = token.replace("~1", "/").replace("~0", "~");
                members(value)?
                    .into_iter()
                    .find_map(|(member, value)| (member == name).then_some(value))
            }
            Some(b'[') => match array_index(token) {
                Some(index) => serde_json::from_str::<Vec<&RawValue>>(value.get())?
                    .get(index)
                    .copied(),
                None => None,
            },
            _ => None,
        };
        match found {
            Some(found) => value = found,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

fn array_index(token: &str) -> Option<usize> {
    let digits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
    (digits && (token == "0" || !token.starts_with('0')))
        .then(|| token.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_resolve_as_in_rfc_6901_section_5() {
        let text = r#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4,
            "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8, "\u00e9": {"0": 9}, "~1": 10}"#;
        let document: &RawValue = serde_json::from_str(text).unwrap();
        for (pointer, expected) in [
            ("", Some(text)),
            ("/foo", Some("[\"bar\", \"baz\"]")),
            ("/foo/0", Some("\"bar\"")),
            ("/foo/1", Some("\"baz\"")),
            ("/foo/2", None),
            ("/foo/00", None),
            ("/foo/-", None),
            ("/foo/+1", None),
            ("/foo/99999999999999999999999", None),
            ("/foo/0/bar", None),
            ("/", Some("0")),
            ("/a~1b", Some("1")),
            ("/c%d", Some("2")),
            ("/e^f", Some("3")),
            ("/g|h", Some("4")),
            ("/i\\j", Some("5")),
            ("/k\"l", Some("6")),
            ("/ ", Some("7")),
            ("/m~0n", Some("8")),
            ("/é/0", Some("9")),
            ("/~01", Some("10")),
            ("/nothing", None),
        ] {
            let found = find(document, pointer).unwrap().map(RawValue::get);
            assert_eq!(found, expected, "{pointer}");
        }
    }
}
