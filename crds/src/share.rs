use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A number, or a percentage of some whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// A number.
    Number(usize),
    /// A percentage, 0 to 100.
    Percent(usize),
}

impl Share {
    /// Reads `5` or `"10%"`; `None` if it is neither, which the schema rules out.
    pub fn read(value: &IntOrString) -> Option<Share> {
        match value {
            IntOrString::Int(number) => usize::try_from(*number).ok().map(Share::Number),
            IntOrString::String(text) => {
                let percent = text.strip_suffix('%')?.parse().ok()?;
                (percent <= 100).then_some(Share::Percent(percent))
            }
        }
    }

    /// The share of a whole, a percentage rounded down.
    pub fn rounded_down(self, whole: usize) -> usize {
        match self {
            Share::Number(number) => number,
            Share::Percent(percent) => whole * percent / 100,
        }
    }

    /// The share of a whole, a percentage rounded up.
    pub fn rounded_up(self, whole: usize) -> usize {
        match self {
            Share::Number(number) => number,
            Share::Percent(percent) => (whole * percent).div_ceil(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_rounded_as_asked() {
        let tenth = Share::read(&IntOrString::String("10%".into())).unwrap();
        assert_eq!((tenth.rounded_down(25), tenth.rounded_up(25)), (2, 3));
        let three = Share::read(&IntOrString::Int(3)).unwrap();
        assert_eq!((three.rounded_down(2), three.rounded_up(2)), (3, 3));
    }

    #[test]
    fn what_is_no_share_is_not_read() {
        for text in ["10", "%", "101%", "-1%", "1.5%"] {
            assert_eq!(
                Share::read(&IntOrString::String(text.into())),
                None,
                "{text}"
            );
        }
        assert_eq!(Share::read(&IntOrString::Int(-1)), None);
    }
}
