//! Amounts of CPU and memory, compared as Kubernetes compares them.

use std::cmp::Ordering;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const NANOS: i128 = 1_000_000_000;

/// A quantity in billionths, rounded up; `None` when it is not one.
pub fn nanos(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.as_str();
    let end = text
        .find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (digits, scale) = decimal(number)?;
    let (numerator, denominator) = factor(suffix)?;
    let product = digits.checked_mul(numerator)?.checked_mul(NANOS)?;
    let divisor = denominator.checked_mul(10i128.checked_pow(scale)?)?;
    let rounding = i128::from(product % divisor > 0);
    (product / divisor).checked_add(rounding)
}

/// The digits as one number, and how many of them follow the point.
fn decimal(number: &str) -> Option<(i128, u32)> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.starts_with(['+', '-']) {
        return None;
    }
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some((digits, u32::try_from(fraction.len()).ok()?))
}

fn factor(suffix: &str) -> Option<(i128, i128)> {
    let binary = |exponent: u32| Some((1024i128.pow(exponent), 1));
    let decimal = |exponent: u32| Some((1000i128.pow(exponent), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, NANOS)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1_000)),
        "k" => decimal(1),
        "M" => decimal(2),
        "G" => decimal(3),
        "T" => decimal(4),
        "P" => decimal(5),
        "E" => decimal(6),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10i128.checked_pow(power.unsigned_abs())?;
            Some(if power < 0 { (1, factor) } else { (factor, 1) })
        }
    }
}

/// A quantity in whole units, such as bytes, rounded down; 0 when it is not one or below zero.
pub fn whole(quantity: &Quantity) -> u64 {
    let nanos = nanos(quantity).unwrap_or_default();
    u64::try_from(nanos / NANOS).unwrap_or_default()
}

/// The order of two quantities; those that are none come first.
pub fn compare(one: &Quantity, other: &Quantity) -> Ordering {
    nanos(one).cmp(&nanos(other))
}

/// The greater one.
pub fn greater(one: Quantity, other: &Quantity) -> Quantity {
    if compare(&one, other) == Ordering::Less {
        other.clone()
    } else {
        one
    }
}

/// The lesser one.
pub fn lesser(one: Quantity, other: &Quantity) -> Quantity {
    if compare(&one, other) == Ordering::Greater {
        other.clone()
    } else {
        one
    }
}

/// The smallest quantity, in whole units of `unit` billionths, that is at least `limit / ratio`.
///
/// `None` when either is not a quantity, or the ratio not positive.
pub fn least_request(limit: &Quantity, ratio: &Quantity, unit: i128) -> Option<i128> {
    let ratio = nanos(ratio).filter(|ratio| *ratio > 0)?;
    let scaled = nanos(limit)?.checked_mul(NANOS)?;
    let exact = scaled / ratio + i128::from(scaled % ratio > 0);
    Some((exact + unit - 1) / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_every_notation() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(NANOS)),
            ("10m", Some(10_000_000)),
            ("0.1", Some(100_000_000)),
            ("1.5Gi", Some(1_610_612_736 * NANOS)),
            ("32Mi", Some(33_554_432 * NANOS)),
            ("1e3", Some(1000 * NANOS)),
            ("5E-1", Some(500_000_000)),
            ("1E", Some(1_000_000_000_000_000_000 * NANOS)),
            ("100n", Some(100)),
            ("0.1n", Some(1)),
            ("-1", Some(-NANOS)),
            ("", None),
            ("1.-5", None),
            ("1..5", None),
            ("many", None),
            ("1Mb", None),
        ] {
            assert_eq!(nanos(&Quantity(text.into())), expected, "{text:?}");
        }
    }

    #[test]
    fn one_amount_in_two_notations_is_equal() {
        let (one, other) = (Quantity("1".into()), Quantity("1000m".into()));
        assert_eq!(compare(&one, &other), Ordering::Equal);
    }

    #[test]
    fn the_least_request_for_a_ratio_is_rounded_up_to_its_unit() {
        let (limit, ratio) = (Quantity("100m".into()), Quantity("3".into()));
        assert_eq!(least_request(&limit, &ratio, 1_000_000), Some(34));
    }
}
