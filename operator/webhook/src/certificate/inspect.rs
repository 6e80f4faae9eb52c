use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::{CertificateError, Material};

/// What a decision needs to know of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// The authorities, in the order of the Secret.
    pub(crate) authorities: Vec<Validity>,
    /// Position of the authority that was made last: the one that signs.
    pub(crate) newest: usize,
    /// Whether the key of the newest authority is there.
    pub(crate) newest_signs: bool,
    /// The serving certificate.
    pub(crate) certificate: Validity,
    /// Position of the authority that signed it.
    pub(crate) signer: Option<usize>,
    /// Whether it is for the name of the Service.
    pub(crate) named: bool,
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

impl Inspected {
    /// Reads all certificates; an error says that something cannot be used at all.
    pub(crate) fn new(material: &Material, name: &str) -> Result<Inspected, CertificateError> {
        material.certified_key()?;
        let authority_ders = material.authority_ders()?;
        if authority_ders.len() != material.authority_pems().len() {
            let message = "it holds something else beside certificates";
            return Err(Material::unusable_authority(message));
        }
        let authorities = authority_ders
            .iter()
            .map(|der| parse(der).map_err(Material::unusable_authority))
            .collect::<Result<Vec<_>, _>>()?;
        let certificate_der = material.certificate_der()?;
        let certificate = parse(&certificate_der).map_err(Material::unusable_certificate)?;
        let signer = authorities.iter().position(|authority| {
            certificate.issuer() == authority.subject()
                && certificate
                    .verify_signature(Some(authority.public_key()))
                    .is_ok()
        });
        let validities = authorities
            .iter()
            .map(|authority| validity(authority).map_err(Material::unusable_authority))
            .collect::<Result<Vec<_>, _>>()?;
        let (newest, _) = validities
            .iter()
            .enumerate()
            .max_by_key(|(index, validity)| (validity.from, *index))
            .ok_or_else(|| Material::unusable_authority("it holds no certificate"))?;
        let newest_signs = KeyPair::from_pem(&material.authority_key).is_ok_and(|key| {
            let public = &authorities[newest].public_key().subject_public_key.data;
            key.der_bytes() == public.as_ref()
        });
        Ok(Inspected {
            newest,
            newest_signs,
            signer,
            named: is_for(&certificate, name),
            certificate: validity(&certificate).map_err(Material::unusable_certificate)?,
            authorities: validities,
        })
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    Ok(certificate)
}

fn validity(certificate: &X509Certificate<'_>) -> Result<Validity, jiff::Error> {
    let validity = certificate.validity();
    Ok(Validity {
        from: Timestamp::from_second(validity.not_before.timestamp())?,
        until: Timestamp::from_second(validity.not_after.timestamp())?,
    })
}

fn is_for(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.is_some_and(|names| {
        names
            .value
            .general_names
            .contains(&GeneralName::DNSName(name))
    })
}
