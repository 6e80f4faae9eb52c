use jiff::{SignedDuration, Timestamp};

use super::Material;
use super::inspect::{Inspected, Validity};
use super::issue::{AUTHORITY_LIFE, CERTIFICATE_LIFE};

/// How long a new authority is trusted before it signs, and a former one after it signed last.
pub(crate) const OVERLAP: SignedDuration = SignedDuration::from_hours(24);

/// What is to be done about the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing until then.
    Keep {
        /// When to decide again.
        until: Timestamp,
    },
    /// Make a new authority and a certificate: there is nothing to go on with.
    Create,
    /// Make a further authority, which is trusted from now on and signs later.
    AddAuthority,
    /// Make a new certificate, signed by the newest authority.
    RenewCertificate,
    /// Trust the newest authority alone.
    DropFormerAuthorities,
}

/// Decides what is to be done with the content of the Secret, for a certificate of the given name.
pub fn decide(now: Timestamp, material: Option<&Material>, name: &str) -> Decision {
    let inspected = material.map(|material| Inspected::new(material, name));
    match inspected {
        Some(Ok(found)) => decide_on(now, &found),
        Some(Err(_)) | None => Decision::Create,
    }
}

fn decide_on(now: Timestamp, found: &Inspected) -> Decision {
    let newest = found.authorities[found.newest];
    let certificate = found.certificate;
    let signer = found.signer.map(|signer| found.authorities[signer]);
    let trusted = signer.is_some_and(|signer| signer.until > now) && found.named;
    let newest_usable = found.newest_signs && newest.until > now;
    if !trusted || certificate.until <= now {
        // Nobody can call now, so there is nothing to wait for.
        return match newest_usable {
            true => Decision::RenewCertificate,
            false => Decision::Create,
        };
    }
    let authority_due = last_third(newest, AUTHORITY_LIFE);
    if !found.newest_signs || authority_due <= now {
        return Decision::AddAuthority;
    }
    let by_newest = found.signer == Some(found.newest);
    let certificate_due = match by_newest {
        true => last_third(certificate, CERTIFICATE_LIFE),
        false => now,
    };
    let newest_known = match found.authorities.len() {
        1 => newest.from,
        _ => later(newest.from, OVERLAP),
    };
    let renewal = certificate_due.max(newest_known);
    if renewal <= now {
        return Decision::RenewCertificate;
    }
    let has_former = found.authorities.len() > 1;
    let dropping = (has_former && by_newest).then(|| later(certificate.from, OVERLAP));
    if dropping.is_some_and(|dropping| dropping <= now) {
        return Decision::DropFormerAuthorities;
    }
    let until = dropping
        .into_iter()
        .fold(renewal.min(authority_due), Timestamp::min);
    Decision::Keep { until }
}

/// When the last third of a usual life begins.
fn last_third(validity: Validity, life: SignedDuration) -> Timestamp {
    validity
        .until
        .checked_sub(life / 3)
        .unwrap_or(Timestamp::MIN)
}

fn later(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::issue::carry_out;
    use super::*;

    const NAME: &str = "outrigger.outrigger-system.svc";

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn inspected(material: &Material) -> Inspected {
        Inspected::new(material, NAME).unwrap()
    }

    /// The content after all decisions of one moment, and when the next one is due.
    fn settle(now: Timestamp, mut material: Option<Material>) -> (Material, Timestamp) {
        for _ in 0..4 {
            match decide(now, material.as_ref(), NAME) {
                Decision::Keep { until } => return (material.unwrap(), until),
                decision => {
                    material = carry_out(decision, now, material.as_ref(), NAME).unwrap();
                }
            }
        }
        panic!("four decisions at {now} without an end");
    }

    #[test]
    fn without_a_secret_everything_is_made() {
        assert_eq!(decide(start(), None, NAME), Decision::Create);
        let (material, until) = settle(start(), None);
        let found = inspected(&material);
        assert_eq!(found.authorities.len(), 1);
        assert_eq!(found.signer, Some(0));
        assert!(found.named && found.newest_signs);
        assert_eq!(until, later(start(), SignedDuration::from_hours(24 * 60)));
    }

    #[test]
    fn the_certificate_is_renewed_long_before_it_expires_under_the_same_authority() {
        let (material, until) = settle(start(), None);
        assert_eq!(
            decide(until, Some(&material), NAME),
            Decision::RenewCertificate
        );
        let (renewed, _) = settle(until, Some(material.clone()));
        assert_eq!(renewed.authorities, material.authorities);
        assert_ne!(renewed.certificate, material.certificate);
        let rest = inspected(&material).certificate.until.duration_since(until);
        assert!(rest > SignedDuration::from_hours(24 * 29));
    }

    #[test]
    fn a_broken_secret_is_made_anew() {
        let (material, _) = settle(start(), None);
        let (other, _) = settle(start(), None);
        for broken in [
            Material {
                key: other.key.clone(),
                ..material.clone()
            },
            Material {
                certificate: "nonsense".into(),
                ..material.clone()
            },
            Material {
                authorities: String::new(),
                ..material.clone()
            },
            Material {
                authorities: format!("{}{}", material.authorities, material.key),
                ..material.clone()
            },
        ] {
            assert_eq!(decide(start(), Some(&broken), NAME), Decision::Create);
        }
    }

    #[test]
    fn a_certificate_of_a_stranger_or_for_another_service_is_replaced_at_once() {
        let (material, _) = settle(start(), None);
        let (stranger, _) = settle(start(), None);
        let foreign = Material {
            certificate: stranger.certificate,
            key: stranger.key,
            ..material.clone()
        };
        assert_eq!(
            decide(start(), Some(&foreign), NAME),
            Decision::RenewCertificate
        );
        assert_eq!(
            decide(start(), Some(&material), "other.outrigger-system.svc"),
            Decision::RenewCertificate
        );
    }

    #[test]
    fn an_authority_without_its_key_is_followed_by_another_that_signs_a_day_later() {
        let (material, _) = settle(start(), None);
        let keyless = Material {
            authority_key: String::new(),
            ..material.clone()
        };
        let now = later(start(), SignedDuration::from_hours(1));
        assert_eq!(decide(now, Some(&keyless), NAME), Decision::AddAuthority);
        let (added, until) = settle(now, Some(keyless));
        assert_eq!(inspected(&added).authorities.len(), 2);
        assert_eq!(added.certificate, material.certificate);
        assert!(until > later(now, SignedDuration::from_hours(23)));
        assert_eq!(
            decide(until, Some(&added), NAME),
            Decision::RenewCertificate
        );
    }

    #[test]
    fn after_a_long_sleep_everything_is_valid_again_at_once() {
        let (material, _) = settle(start(), None);
        for days in [91, 365 * 2 + 100, 365 * 3 + 1] {
            let now = later(start(), SignedDuration::from_hours(24 * days));
            let (renewed, _) = settle(now, Some(material.clone()));
            let found = inspected(&renewed);
            assert!(found.certificate.until > now, "after {days} days");
            assert!(found.authorities[found.signer.unwrap()].until > now);
        }
    }

    /// For ten years, each certificate is trusted by the authorities of every moment within a day
    /// of its use, and valid all the time.
    #[test]
    fn no_api_server_meets_a_certificate_that_it_does_not_trust_in_ten_years() {
        let end = later(start(), SignedDuration::from_hours(24 * 365 * 10));
        let (mut now, mut material) = (start(), None);
        let mut history: Vec<(Timestamp, Timestamp, Material)> = Vec::new();
        while now < end {
            let (settled, until) = settle(now, material);
            assert!(until > now, "the next decision is later");
            history.push((now, until, settled.clone()));
            (now, material) = (until, Some(settled));
        }
        assert!(history.len() > 60, "{} renewals", history.len());
        let mut authorities_used = std::collections::BTreeSet::new();
        for (from, until, material) in &history {
            let found = inspected(material);
            assert!(found.certificate.until > *until);
            let margin = SignedDuration::from_hours(23);
            for (other_from, other_until, other) in &history {
                let near =
                    later(*other_until, margin) > *from && later(*until, margin) > *other_from;
                if near {
                    let mixed = Material {
                        authorities: other.authorities.clone(),
                        ..material.clone()
                    };
                    assert!(inspected(&mixed).signer.is_some(), "at {from}");
                }
            }
            authorities_used.insert(material.authority_key.clone());
            assert!(found.authorities.len() <= 2);
        }
        assert!(
            authorities_used.len() >= 5,
            "authorities followed each other"
        );
    }
}
