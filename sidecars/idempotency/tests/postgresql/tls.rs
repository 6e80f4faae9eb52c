//! The connection to the server is protected, and only the right server is spoken to.

use std::sync::Arc;

use libtest_mimic::Trial;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::server::{Database, Server};
use crate::sidecar::{Configuration, Sidecar};

pub(crate) fn trials(_: Option<&Arc<Server>>) -> Vec<Trial> {
    crate::alone![only_a_server_with_the_right_certificate_is_spoken_to]
}

/// A certificate of an authority and its key, in PEM form.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap().pem();
        Authority {
            certificate,
            issuer: Issuer::new(parameters, key),
        }
    }

    /// A certificate for a name or address, and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

async fn only_a_server_with_the_right_certificate_is_spoken_to() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = Server::create();
    let (certificate, key) = authority.sign(&server.address.to_string());
    server.run_with_tls(&certificate, &key);
    let mut database = Database::create(Arc::new(server)).await;
    let configuration = Configuration::new(&database).store("sslMode", "VerifyFull");

    database.authority = Some(authority.certificate.clone());
    let sidecar = Sidecar::start(&database, &configuration).await;
    sidecar.post(r#"{"orderId": 1}"#).await.stored();
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE ssl AND usename LIKE 'test%'";
    assert_eq!(database.number(encrypted).await, 1);

    // The right authority, but not the name.
    database.server.stop();
    let (certificate, key) = authority.sign("other.example");
    database.server.run_with_tls(&certificate, &key);
    let detail = sidecar
        .post(r#"{"orderId": 2}"#)
        .await
        .problem(503, "store-tls");
    assert!(
        detail.contains("TLS failed: invalid peer certificate: certificate not valid for name"),
        "{detail}"
    );

    // The right name, but another authority, or a public one.
    database.server.stop();
    let (certificate, key) = stranger.sign(&database.server.address.to_string());
    database.server.run_with_tls(&certificate, &key);
    let detail = sidecar
        .post(r#"{"orderId": 2}"#)
        .await
        .problem(503, "store-tls");
    assert!(
        detail.contains("TLS failed: invalid peer certificate: "),
        "{detail}"
    );
    database.authority = None;
    let public = Sidecar::start(&database, &configuration).await;
    let detail = public
        .post(r#"{"orderId": 2}"#)
        .await
        .problem(503, "store-tls");
    assert!(
        detail.contains("TLS failed: invalid peer certificate: UnknownIssuer"),
        "{detail}"
    );
}
