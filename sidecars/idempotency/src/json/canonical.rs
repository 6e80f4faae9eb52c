use serde_json::value::RawValue;

use super::document::members;

/// A number's exponent has more than 15 digits, so its value cannot be brought to canonical form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the exponent of a number is beyond 15 digits")]
pub(crate) struct NumberOutOfRange;

/// Appends the canonical form of a checked JSON value: two values have the same form exactly when
/// they are equal.
///
/// As RFC 8785, except that numbers are exact decimals (`-123e-2`) rather than IEEE 754 doubles, so
/// that long integers and amounts keep every digit, and members are ordered by their UTF-8 bytes.
pub(crate) fn canonicalize(value: &RawValue, out: &mut Vec<u8>) -> Result<(), NumberOutOfRange> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let mut members = members(value).unwrap_or_default();
            members.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
            out.push(b'{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                string(name, out);
                out.push(b':');
                canonicalize(value, out)?;
            }
            out.push(b'}');
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                canonicalize(item, out)?;
            }
            out.push(b']');
        }
        Some(b'"') => {
            let unescaped: String = serde_json::from_str(text).unwrap_or_default();
            string(&unescaped, out);
        }
        Some(b'-' | b'0'..=b'9') => number(text, out)?,
        _ => out.extend_from_slice(text.as_bytes()),
    }
    Ok(())
}
