use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// Objects and arrays may be nested this deep, the document itself being the first level.
///
/// Lower than the 128 of serde_json, so that its limit is never met.
pub(crate) const MAX_DEPTH: usize = 64;

/// The text of a JSON object that has been checked: UTF-8, well formed, no duplicate member names,
/// at most [`MAX_DEPTH`] levels deep, every number within the range of an IEEE 754 double.
#[derive(Clone, Debug)]
pub(crate) struct JsonObject(String);

/// A text is not a JSON object that is accepted. Lines and columns count from 1, columns in bytes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidDocument {
    #[error("the document is not UTF-8: invalid byte at line {line} column {column}")]
    NotUtf8 { line: usize, column: usize },
    #[error("the document ends too early: {message}")]
    Truncated {
        message: String,
        line: usize,
        column: usize,
    },
    #[error("the document is not valid JSON: {message}")]
    Malformed {
        message: String,
        line: usize,
        column: usize,
    },
    #[error(
        "the member name {name} occurs twice in {place} at line {line} column {column}; names must be unique"
    )]
    DuplicateMember {
        name: String,
        place: String,
        line: usize,
        column: usize,
    },
    #[error(
        "{place} at line {line} column {column} is nested more than {MAX_DEPTH} levels deep; allowed are {MAX_DEPTH}"
    )]
    TooDeep {
        place: String,
        line: usize,
        column: usize,
    },
    #[error("the document is {found}; it must be a JSON object")]
    NotAnObject { found: &'static str },
}

impl JsonObject {
    /// Checks a text.
    pub(crate) fn parse(text: Vec<u8>) -> Result<JsonObject, InvalidDocument> {
        let text = String::from_utf8(text).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let before = &error.as_bytes()[..valid];
            InvalidDocument::NotUtf8 {
                line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
                column: 1 + before.iter().rev().take_while(|&&b| b != b'\n').count(),
            }
        })?;
        let fault = RefCell::new(None);
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        let check = Check {
            fault: &fault,
            place: &Place::Root,
            depth: 0,
        };
        match check
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end())
        {
            Ok(()) => Ok(JsonObject(text)),
            Err(error) => Err(invalid(fault.into_inner(), &error)),
        }
    }

    /// The text, byte for byte as it was given.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The object as raw JSON.
    pub(crate) fn raw(&self) -> Result<&RawValue, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

fn invalid(fault: Option<Fault>, error: &serde_json::Error) -> InvalidDocument {
    let (line, column) = (error.line(), error.column());
    match fault {
        Some(Fault::Duplicate { name, place }) => InvalidDocument::DuplicateMember {
            name,
            place,
            line,
            column,
        },
        Some(Fault::TooDeep { place }) => InvalidDocument::TooDeep {
            place,
            line,
            column,
        },
        Some(Fault::NotAnObject { found }) => InvalidDocument::NotAnObject { found },
        None if error.classify() == Category::Eof => InvalidDocument::Truncated {
            message: error.to_string(),
            line,
            column,
        },
        None => InvalidDocument::Malformed {
            message: error.to_string(),
            line,
            column,
        },
    }
}

/// What the check itself found, beside the errors of the grammar.
enum Fault {
    Duplicate { name: String, place: String },
    TooDeep { place: String },
    NotAnObject { found: &'static str },
}

/// Where a value is, as a list from the value to the root that lives on the stack.
enum Place<'p> {
    Root,
    Member(&'p Place<'p>, &'p str),
    Item(&'p Place<'p>, usize),
}

const LONGEST_QUOTE: usize = 80;

impl Place<'_> {
    /// "the document" or the JSON Pointer (RFC 6901), shortened.
    fn describe(&self) -> String {
        match self {
            Place::Root => "the document".to_owned(),
            Place::Member(..) | Place::Item(..) => {
                let mut pointer = String::new();
                self.write_pointer(&mut pointer);
                shorten(&pointer)
            }
        }
    }

    fn write_pointer(&self, out: &mut String) {
        match self {
            Place::Root => {}
            Place::Member(parent, name) => {
                parent.write_pointer(out);
                out.push('/');
                out.push_str(&name.replace('~', "~0").replace('/', "~1"));
            }
            Place::Item(parent, index) => {
                parent.write_pointer(out);
                out.push('/');
                out.push_str(&index.to_string());
            }
        }
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST_QUOTE).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Reads one value and everything in it.
#[derive(Clone, Copy)]
struct Check<'c> {
    fault: &'c RefCell<Option<Fault>>,
    place: &'c Place<'c>,
    depth: usize,
}

impl Check<'_> {
    fn fail<T, E: de::Error>(self, fault: Fault) -> Result<T, E> {
        *self.fault.borrow_mut() = Some(fault);
        Err(E::custom("refused"))
    }

    fn enter<E: de::Error>(self) -> Result<(), E> {
        if self.depth < MAX_DEPTH {
            return Ok(());
        }
        self.fail(Fault::TooDeep {
            place: self.place.describe(),
        })
    }

    fn scalar<E: de::Error>(self, found: &'static str) -> Result<(), E> {
        if self.depth > 0 {
            return Ok(());
        }
        self.fail(Fault::NotAnObject { found })
    }
}

impl<'de> DeserializeSeed<'de> for Check<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.scalar("null")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.scalar("a boolean")
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.scalar("a number")
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.scalar("a number")
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.scalar("a number")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        self.scalar("a string")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.scalar("an array")?;
        self.enter()?;
        let mut index = 0;
        loop {
            let item = Check {
                fault: self.fault,
                place: &Place::Item(self.place, index),
                depth: self.depth + 1,
            };
            if items.next_element_seed(item)?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut seen: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(name) = members.next_key_seed(Name)? {
            if seen.contains(&name) {
                return self.fail(Fault::Duplicate {
                    name: shorten(&format!("{name:?}")),
                    place: self.place.describe(),
                });
            }
            members.next_value_seed(Check {
                fault: self.fault,
                place: &Place::Member(self.place, &name),
                depth: self.depth + 1,
            })?;
            seen.insert(name);
        }
        Ok(())
    }
}

/// Reads a member name, without a copy if it holds no escapes.
pub(super) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// The members of a JSON object, in the order of the text.
pub(super) fn members(
    object: &RawValue,
) -> Result<Vec<(Cow<'_, str>, &RawValue)>, serde_json::Error> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(name) = map.next_key_seed(Name)? {
                members.push((name, map.next_value()?));
            }
            Ok(members)
        }
    }

    serde_json::Deserializer::from_str(object.get()).deserialize_map(Members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        JsonObject::parse(text.as_bytes().to_vec())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_text_is_kept_byte_for_byte() {
        let text = " {\"b\": 1.0,\r\n\t\"a\": \"\\u00e9é\" }\n";
        let object = JsonObject::parse(text.as_bytes().to_vec()).unwrap();
        assert_eq!(object.as_str(), text);
    }

    #[test]
    fn duplicate_names_are_refused_wherever_they_are() {
        assert_eq!(
            refusal("{\"a\": 1,\n \"a\": 1}"),
            "the member name \"a\" occurs twice in the document at line 2 column 4; names must be unique"
        );
        let nested = refusal(r#"{"x": [{"y/z": {"k": 1, "\u006b": 2}}]}"#);
        assert!(
            nested.starts_with("the member name \"k\" occurs twice in /x/0/y~1z at line 1 column "),
            "{nested}"
        );
        JsonObject::parse(br#"{"a": {"a": {"a": 1}}, "b": {"a": 1}}"#.to_vec()).unwrap();
    }

    #[test]
    fn every_truncation_is_refused_with_its_place() {
        let text = r#"{"order": {"id": 12.5e1, "t": [true, null, "x\n"]}}"#;
        JsonObject::parse(text.as_bytes().to_vec()).unwrap();
        for length in 0..text.len() {
            let found = refusal(&text[..length]);
            assert!(
                found.starts_with("the document ends too early: ") && found.contains("at line 1"),
                "{length}: {found}"
            );
        }
    }

    #[test]
    fn malformed_documents_are_refused_with_line_and_column() {
        for (text, place) in [
            ("{\"a\": 1,}", "line 1 column 9"),
            ("{\"a\":\n tru }", "line 2 column 5"),
            ("{'a': 1}", "line 1 column 2"),
            ("{\"a\": 01}", "line 1 column 8"),
            ("{\"a\": NaN}", "line 1 column 7"),
            ("{\"a\": 1e999}", "line 1 column 11"),
            ("{\"a\": \"\\ud800\"}", "line 1 column "),
            ("{\"a\": \"\u{0}\"}", "line 1 column "),
            ("{} {}", "line 1 column 4"),
            ("\u{feff}{}", "line 1 column 1"),
        ] {
            let found = refusal(text);
            assert!(
                found.starts_with("the document is not valid JSON: "),
                "{found}"
            );
            assert!(found.contains(place), "{text}: {found}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_with_their_place() {
        assert_eq!(
            JsonObject::parse(b"{\n\"a\": \"\xff\"}".to_vec()).unwrap_err(),
            InvalidDocument::NotUtf8 { line: 2, column: 7 }
        );
    }

    #[test]
    fn anything_but_an_object_is_refused() {
        for (text, found) in [
            ("null", "null"),
            ("true", "a boolean"),
            ("-1", "a number"),
            ("1.5", "a number"),
            ("\"a\"", "a string"),
            ("[{}]", "an array"),
        ] {
            assert_eq!(
                refusal(text),
                format!("the document is {found}; it must be a JSON object")
            );
        }
    }

    #[test]
    fn depth_is_bounded_exactly() {
        let nested = |levels: usize| {
            format!(
                "{{\"a\":{}{}}}",
                "[".repeat(levels - 1),
                "]".repeat(levels - 1)
            )
        };
        JsonObject::parse(nested(MAX_DEPTH).into_bytes()).unwrap();
        let found = refusal(&nested(MAX_DEPTH + 1));
        assert!(found.contains("nested more than 64 levels deep"), "{found}");
        // Far deeper must neither overflow the stack nor be called anything else.
        let found = refusal(&"{\"a\":".repeat(1_000_000));
        assert!(found.contains("nested more than 64 levels deep"), "{found}");
    }
}
