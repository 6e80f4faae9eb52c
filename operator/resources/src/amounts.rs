use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity::nanos;

const NANOS: i128 = 1_000_000_000;

/// Amounts of resources by name, in billionths. A resource that is absent is there zero times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<String, i128>);

impl Amounts {
    /// The amounts of a list of quantities. What is not a quantity counts as zero: the API server
    /// stores no such thing.
    pub fn of(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
        let amount = |(name, quantity): (&String, &Quantity)| {
            let nanos = nanos(quantity).unwrap_or_default();
            (name.clone(), nanos)
        };
        Amounts(list.into_iter().flatten().map(amount).collect())
    }

    /// Billionths of one resource.
    pub fn get(&self, name: &str) -> i128 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Sets one resource.
    pub fn set(&mut self, name: &str, nanos: i128) {
        self.0.insert(name.to_owned(), nanos);
    }

    /// Each resource that is not zero times there, by name, in billionths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i128)> {
        let amounts = self.0.iter().map(|(name, nanos)| (name.as_str(), *nanos));
        amounts.filter(|(_, nanos)| *nanos != 0)
    }

    /// Adds all of the other's.
    pub fn add(&mut self, other: &Amounts) {
        for (name, nanos) in &other.0 {
            let sum = self.0.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*nanos);
        }
    }

    /// Takes all of the other's away; what is left may be less than zero.
    pub fn subtract(&mut self, other: &Amounts) {
        for (name, nanos) in &other.0 {
            let rest = self.0.entry(name.clone()).or_default();
            *rest = rest.saturating_sub(*nanos);
        }
    }

    /// Raises each resource to at least the other's.
    pub(crate) fn raise(&mut self, other: &Amounts) {
        for (name, nanos) in &other.0 {
            let found = self.0.entry(name.clone()).or_default();
            *found = (*found).max(*nanos);
        }
    }

    /// Rounds up as the scheduler does: CPU to thousandths, all else to whole units.
    pub(crate) fn rounded(mut self) -> Amounts {
        for (name, nanos) in &mut self.0 {
            let unit = if name == "cpu" { NANOS / 1000 } else { NANOS };
            let excess = nanos.rem_euclid(unit);
            if excess > 0 {
                *nanos = nanos.saturating_add(unit - excess);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(list: &[(&str, &str)]) -> Amounts {
        let quantity = |(name, text): &(&str, &str)| ((*name).to_owned(), Quantity((*text).into()));
        Amounts::of(Some(&list.iter().map(quantity).collect()))
    }

    #[test]
    fn amounts_in_different_notations_add_up() {
        let mut sum = amounts(&[("cpu", "500m"), ("memory", "1Ki")]);
        sum.add(&amounts(&[("cpu", "0.5"), ("pods", "1")]));
        assert_eq!(
            sum,
            amounts(&[("cpu", "1"), ("memory", "1024"), ("pods", "1")])
        );
        sum.subtract(&amounts(&[("cpu", "2")]));
        assert_eq!(sum.get("cpu"), -NANOS);
    }

    #[test]
    fn amounts_are_rounded_up_as_the_scheduler_does() {
        let found = amounts(&[("cpu", "1500u"), ("memory", "0.1")]).rounded();
        assert_eq!(found, amounts(&[("cpu", "2m"), ("memory", "1")]));
    }
}
