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
