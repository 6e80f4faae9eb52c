use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Name of the Secret that holds the certificate.
pub const CERTIFICATE_SECRET: &str = "outrigger-webhook-certificate";

const AUTHORITIES: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// A certificate cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The Secret lacks a key.
    #[error("Secret {CERTIFICATE_SECRET} has no text at data[{0}]")]
    Missing(&'static str),
    /// A value is not the PEM form of what it should be.
    #[error("Secret {CERTIFICATE_SECRET} data[{field}] is unusable: {message}")]
    Unusable {
        /// The key in `data`.
        field: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A certificate could not be made.
    #[error("certificate cannot be made: {0}")]
    Issue(#[from] rcgen::Error),
    /// The time is none that a certificate can hold.
    #[error("certificate cannot be made: {0} is out of range")]
    Time(jiff::Timestamp),
}

impl CertificateError {
    fn unusable(field: &'static str, message: impl ToString) -> CertificateError {
        CertificateError::Unusable {
            field,
            message: message.to_string(),
        }
    }
}

/// The content of the Secret, all of it in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// The authorities that the API server is to trust.
    pub authorities: String,
    /// Key of the newest authority.
    pub authority_key: String,
    /// The serving certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Material {
    /// Reads the Secret.
    pub fn from_secret(secret: &Secret) -> Result<Material, CertificateError> {
        let text = |field: &'static str| {
            let bytes = secret.data.as_ref().and_then(|data| data.get(field));
            bytes
                .and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
                .ok_or(CertificateError::Missing(field))
        };
        Ok(Material {
            authorities: text(AUTHORITIES)?,
            authority_key: text(AUTHORITY_KEY)?,
            certificate: text(CERTIFICATE)?,
            key: text(KEY)?,
        })
    }

    /// The data of the Secret.
    pub(crate) fn into_data(self) -> BTreeMap<String, ByteString> {
        [
            (AUTHORITIES, self.authorities),
            (AUTHORITY_KEY, self.authority_key),
            (CERTIFICATE, self.certificate),
            (KEY, self.key),
        ]
        .into_iter()
        .map(|(field, text)| (field.to_owned(), ByteString(text.into_bytes())))
        .collect()
    }

    /// The authorities in the order of the Secret.
    pub(crate) fn authority_ders(&self) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        CertificateDer::pem_slice_iter(self.authorities.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| CertificateError::unusable(AUTHORITIES, error))
    }

    /// The authorities in the order of the Secret, each in PEM.
    pub(crate) fn authority_pems(&self) -> Vec<&str> {
        self.authorities
            .split_inclusive("-----END CERTIFICATE-----")
            .map(str::trim)
            .filter(|pem| !pem.is_empty())
            .collect()
    }

    /// The serving certificate.
    pub(crate) fn certificate_der(&self) -> Result<CertificateDer<'static>, CertificateError> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes())
            .map_err(|error| CertificateError::unusable(CERTIFICATE, error))
    }

    /// The serving certificate with its key, which must belong to it.
    pub(crate) fn certified_key(&self) -> Result<CertifiedKey, CertificateError> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|error| CertificateError::unusable(KEY, error))?;
        let chain = vec![self.certificate_der()?];
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, key, &provider)
            .map_err(|error| CertificateError::unusable(KEY, error))
    }

    /// An error about the authorities.
    pub(crate) fn unusable_authority(message: impl ToString) -> CertificateError {
        CertificateError::unusable(AUTHORITIES, message)
    }

    /// An error about the serving certificate.
    pub(crate) fn unusable_certificate(message: impl ToString) -> CertificateError {
        CertificateError::unusable(CERTIFICATE, message)
    }
}
