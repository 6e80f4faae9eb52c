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

/// True when two checked JSON values are equal.
pub(crate) fn same_value(left: &RawValue, right: &RawValue) -> bool {
    if left.get() == right.get() {
        return true;
    }
    let (mut one, mut other) = (Vec::new(), Vec::new());
    canonicalize(left, &mut one).is_ok() && canonicalize(right, &mut other).is_ok() && one == other
}

/// Appends a string with as few escapes as RFC 8785, section 3.2.2.2, has.
fn string(text: &str, out: &mut Vec<u8>) {
    // Writing a string to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Appends a number as its digits without leading or trailing zeros and, unless it is 0, its exponent.
fn number(text: &str, out: &mut Vec<u8>) -> Result<(), NumberOutOfRange> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text),
    };
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = [whole, fraction].concat();
    let significant = all_digits.trim_start_matches('0');
    let digits = significant.trim_end_matches('0');
    if digits.is_empty() {
        out.push(b'0');
        return Ok(());
    }
    let exponent = bounded(exponent)?
        .checked_sub_unsigned(fraction.len() as u64)
        .and_then(|exponent| {
            exponent.checked_add_unsigned((significant.len() - digits.len()) as u64)
        })
        .ok_or(NumberOutOfRange)?;
    if negative {
        out.push(b'-');
    }
    out.extend_from_slice(digits.as_bytes());
    if exponent != 0 {
        out.push(b'e');
        out.extend_from_slice(exponent.to_string().as_bytes());
    }
    Ok(())
}

fn bounded(exponent: &str) -> Result<i64, NumberOutOfRange> {
    let digits = exponent
        .trim_start_matches(['+', '-'])
        .trim_start_matches('0');
    if digits.len() > 15 {
        return Err(NumberOutOfRange);
    }
    exponent.parse().map_err(|_| NumberOutOfRange)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn canonical(text: &str) -> String {
        let mut out = Vec::new();
        canonicalize(&raw(text), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_number_has_one_form_however_it_is_written() {
        for (expected, forms) in [
            (
                "0",
                ["0", "-0", "0.000", "0e5", "-0.0E-99999999999999999999"].as_slice(),
            ),
            ("1", &["1", "1.0", "1e0", "10e-1", "0.1E+1", "1.00e00"]),
            ("-123e-2", &["-1.23", "-123e-2", "-0.00123e3", "-1230E-3"]),
            ("1e2", &["100", "1e2", "1E+2", "100.0", "0.1e3"]),
            (
                "12345678901234567890123",
                &["12345678901234567890123", "12345678901234567890123.0"],
            ),
            (
                "1e999999999999999",
                &["1e999999999999999", "1e0000999999999999999"],
            ),
        ] {
            for form in forms {
                assert_eq!(canonical(form), expected, "{form}");
            }
        }
    }

    #[test]
    fn different_numbers_keep_their_difference() {
        for (left, right) in [
            ("12345678901234567890", "12345678901234567891"),
            ("0.1", "0.10000000000000000001"),
            ("1", "-1"),
            ("1e2", "1e-2"),
            ("9007199254740993", "9007199254740992"),
        ] {
            assert_ne!(canonical(left), canonical(right));
        }
    }

    #[test]
    fn an_exponent_beyond_15_digits_is_refused_and_not_misread() {
        let mut out = Vec::new();
        for text in ["1e1000000000000000", "1e-1000000000000000"] {
            assert_eq!(canonicalize(&raw(text), &mut out), Err(NumberOutOfRange));
        }
        assert!(same_value(
            &raw("1e1000000000000000"),
            &raw("1e1000000000000000")
        ));
        assert!(!same_value(
            &raw("1e1000000000000000"),
            &raw("1e1000000000000001")
        ));
    }

    #[test]
    fn values_of_different_types_are_never_the_same() {
        let texts = [
            "1", "\"1\"", "true", "\"true\"", "null", "\"\"", "[]", "{}", "[1]", "\"null\"",
        ];
        for (at, left) in texts.iter().enumerate() {
            for (other, right) in texts.iter().enumerate() {
                assert_eq!(
                    same_value(&raw(left), &raw(right)),
                    at == other,
                    "{left} {right}"
                );
            }
        }
    }

    #[test]
    fn space_order_and_escapes_mean_nothing() {
        assert_eq!(
            canonical(
                "{ \"b\\u0041\" : [ 1.0 , \"\\u00e9\\/\\n\\u001f\" ],\n\"a\":{\"y\":null,\"x\":false} }"
            ),
            "{\"a\":{\"x\":false,\"y\":null},\"bA\":[1,\"é/\\n\\u001f\"]}"
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|number| json!(number)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    /// Writes a value with its members in reverse, spaces, and every character of strings escaped.
    fn disguise(value: &Value) -> String {
        let escaped = |text: &str| {
            let units: String = text
                .encode_utf16()
                .map(|unit| format!("\\u{unit:04X}"))
                .collect();
            format!("\"{units}\"")
        };
        match value {
            Value::String(text) => escaped(text),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(disguise).collect();
                format!("[ {} ]", items.join(" ,"))
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| format!("{} :\t{}", escaped(name), disguise(value)))
                    .collect();
                members.reverse();
                format!("{{\n{}}}", members.join(", "))
            }
            Value::Number(number) if number.is_i64() => format!("{number}0E-1"),
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn equal_values_have_one_form_however_they_are_written(value in value()) {
            let plain = canonical(&value.to_string());
            prop_assert_eq!(&canonical(&disguise(&value)), &plain);
            // The form is JSON itself, and its own canonical form.
            prop_assert_eq!(canonical(&plain), plain);
        }

        #[test]
        fn values_are_the_same_exactly_when_they_are_equal(
            (left, right) in pair(),
            one in spelling(),
            other in spelling(),
        ) {
            let same = same_value(&raw(&spell(&left, one)), &raw(&spell(&right, other)));
            prop_assert_eq!(same, left == right);
        }
    }

    /// Two values, equal or with one difference. Their numbers are whole; [`spell`] writes them as
    /// thousandths.
    fn pair() -> impl Strategy<Value = (Value, Value)> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2000..2000_i64).prop_map(Value::from),
            "[a0\"é]{0,2}".prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[ab]{0,1}", inner, 0..3)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        });
        let dice = prop::option::of(prop::collection::vec(any::<usize>(), 8));
        (value, dice).prop_map(|(value, dice)| {
            let other = dice.map_or_else(|| value.clone(), |dice| alter(&value, &dice));
            (value, other)
        })
    }

    /// The value with a change that the dice choose.
    fn alter(value: &Value, dice: &[usize]) -> Value {
        let (&roll, dice) = dice.split_first().unwrap_or((&0, &[]));
        match value {
            Value::Null => json!("null"),
            Value::Bool(truth) => json!(!truth),
            Value::Number(number) => {
                let number = number.as_i64().unwrap();
                json!([-number, number * 1000, number + 1][roll % 3])
            }
            Value::String(text) => json!(format!("{text}a")),
            Value::Array(items) => {
                let mut items = items.clone();
                match (roll % 3, items.last_mut()) {
                    (0, Some(item)) => *item = alter(item, dice),
                    (1, Some(_)) => items.reverse(),
                    _ => items.push(Value::Null),
                }
                Value::from(items)
            }
            Value::Object(members) => {
                let mut members = members.clone();
                match (roll % 3, members.iter_mut().next_back()) {
                    (0, Some((_, value))) => *value = alter(value, dice),
                    (1, Some((name, _))) => {
                        let name = name.clone();
                        let value = members.remove(&name);
                        members.insert("c".to_owned(), value.unwrap());
                    }
                    _ => drop(members.insert("c".to_owned(), Value::Null)),
                }
                Value::from(members)
            }
        }
    }

    fn spelling() -> impl Strategy<Value = usize> {
        0..3_usize
    }

    /// Writes a value whose numbers stand for thousandths, in one of three ways.
    fn spell(value: &Value, way: usize) -> String {
        let list = |items: Vec<String>| items.join([",", " , ", "\n,"][way]);
        match value {
            Value::Number(number) => match way {
                0 => format!("{number}e-3"),
                1 => format!("{number}.0E-03"),
                _ => {
                    let thousandths = number.as_i64().unwrap();
                    let sign = if thousandths < 0 { "-" } else { "" };
                    let digits = format!("{:04}", thousandths.unsigned_abs());
                    let (whole, fraction) = digits.split_at(digits.len() - 3);
                    format!("{sign}{whole}.{fraction}")
                }
            },
            Value::Array(items) => {
                format!(
                    "[{}]",
                    list(items.iter().map(|item| spell(item, way)).collect())
                )
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":{}", spell(value, way)))
                    .collect();
                if way > 0 {
                    members.reverse();
                }
                format!("{{{}}}", list(members))
            }
            other => other.to_string(),
        }
    }
}
