use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use time::OffsetDateTime;

use super::inspect::Inspected;
use super::{CertificateError, Decision, Material};

/// How long an authority is valid.
pub(crate) const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365 * 3);
/// How long a serving certificate is valid.
pub(crate) const CERTIFICATE_LIFE: SignedDuration = SignedDuration::from_hours(24 * 90);
/// How far the clocks of API servers may be behind ours.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Carries a decision out: the content that the Secret is to have. [`Decision::Keep`] changes nothing.
pub(crate) fn carry_out(
    decision: Decision,
    now: Timestamp,
    material: Option<&Material>,
    name: &str,
) -> Result<Option<Material>, CertificateError> {
    let material = match (decision, material) {
        (Decision::Keep { .. }, _) => return Ok(None),
        (Decision::Create, _) | (_, None) => create(now, name)?,
        (Decision::AddAuthority, Some(found)) => add_authority(now, found)?,
        (Decision::RenewCertificate, Some(found)) => renew(now, found, name)?,
        (Decision::DropFormerAuthorities, Some(found)) => drop_former(found, name)?,
    };
    Ok(Some(material))
}

fn create(now: Timestamp, name: &str) -> Result<Material, CertificateError> {
    let (authorities, authority_key) = new_authority(now)?;
    let unsigned = Material {
        authorities,
        authority_key,
        certificate: String::new(),
        key: String::new(),
    };
    renew_by(now, &unsigned, &unsigned.authorities, name)
}

fn add_authority(now: Timestamp, found: &Material) -> Result<Material, CertificateError> {
    let (authority, authority_key) = new_authority(now)?;
    Ok(Material {
        authorities: format!("{}{authority}", with_line_end(&found.authorities)),
        authority_key,
        ..found.clone()
    })
}

fn renew(now: Timestamp, found: &Material, name: &str) -> Result<Material, CertificateError> {
    renew_by(now, found, &newest(found, name)?, name)
}

fn drop_former(found: &Material, name: &str) -> Result<Material, CertificateError> {
    Ok(Material {
        authorities: newest(found, name)?,
        ..found.clone()
    })
}

/// The newest authority, in PEM.
fn newest(found: &Material, name: &str) -> Result<String, CertificateError> {
    let newest = Inspected::new(found, name)?.newest;
    let mut authorities = found.authority_pems();
    Ok(format!("{}\n", authorities.swap_remove(newest)))
}

fn renew_by(
    now: Timestamp,
    found: &Material,
    authority: &str,
    name: &str,
) -> Result<Material, CertificateError> {
    let issuer = Issuer::from_ca_cert_pem(authority, KeyPair::from_pem(&found.authority_key)?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = common_name(name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = validity(now, CERTIFICATE_LIFE)?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Material {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        ..found.clone()
    })
}

fn new_authority(now: Timestamp) -> Result<(String, String), CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    // Two authorities must not have one name: a verifier takes the issuer by its name.
    let id: String = key.der_bytes()[1..9]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params.distinguished_name = common_name(&format!("outrigger-webhook-ca-{id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    (params.not_before, params.not_after) = validity(now, AUTHORITY_LIFE)?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn validity(
    now: Timestamp,
    life: SignedDuration,
) -> Result<(OffsetDateTime, OffsetDateTime), CertificateError> {
    let time = |duration: SignedDuration| {
        let time = now.checked_add(duration).unwrap_or(Timestamp::MAX);
        OffsetDateTime::from_unix_timestamp(time.as_second())
            .map_err(|_| CertificateError::Time(time))
    };
    Ok((time(-SKEW)?, time(life)?))
}

fn with_line_end(pem: &str) -> String {
    format!("{}\n", pem.trim_end())
}
