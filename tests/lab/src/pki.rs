//! The cluster's certificate authority, its certificates, and the key that signs service-account
//! tokens. Made once; they live as long as the state directory.

use std::fs;
use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::error::{Error, Result};
use crate::kubeconfig;
use crate::layout::{Layout, write_file, write_secret};
use crate::network;
use crate::node;

/// A certificate to make.
struct Subject {
    /// The name of its files.
    file: String,
    /// The user or server name.
    common_name: String,
    /// The user's group.
    organization: Option<&'static str>,
    names: Vec<&'static str>,
    addresses: Vec<IpAddr>,
    /// The kubeconfig of a client.
    kubeconfig: bool,
}

impl Subject {
    fn client(file: &str, common_name: &str, organization: Option<&'static str>) -> Self {
        Self {
            file: file.to_owned(),
            common_name: common_name.to_owned(),
            organization,
            names: Vec::new(),
            addresses: Vec::new(),
            kubeconfig: true,
        }
    }
}

fn subjects() -> Vec<Subject> {
    let api_server = Subject {
        names: vec![
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ],
        addresses: vec![
            network::CONTROL_PLANE.into(),
            network::API_SERVICE.into(),
            IpAddr::from([127, 0, 0, 1]),
        ],
        kubeconfig: false,
        ..Subject::client("kube-apiserver", "kube-apiserver", None)
    };
    let to_kubelets = Subject {
        kubeconfig: false,
        ..Subject::client(
            "kube-apiserver-kubelet-client",
            "kube-apiserver-kubelet-client",
            None,
        )
    };
    let postgres = Subject {
        names: vec![
            "postgresql.database.svc",
            "postgresql.database.svc.cluster.local",
            "postgres.lab",
        ],
        addresses: vec![network::POSTGRES.into()],
        kubeconfig: false,
        ..Subject::client("postgres", "postgres", None)
    };
    let mut subjects = vec![
        api_server,
        postgres,
        to_kubelets,
        Subject::client("admin", "admin", Some("system:masters")),
        Subject::client(
            "kube-controller-manager",
            "system:kube-controller-manager",
            None,
        ),
        Subject::client("kube-scheduler", "system:kube-scheduler", None),
        Subject::client("kube-proxy", "system:kube-proxy", None),
        Subject::client("coredns", "system:coredns", None),
    ];
    subjects.extend(node::all().map(|node| Subject {
        addresses: vec![node.address().into()],
        ..Subject::client(
            &node.name,
            &format!("system:node:{}", node.name),
            Some("system:nodes"),
        )
    }));
    subjects
}

/// Makes everything, unless everything is there.
pub(crate) fn ensure(layout: &Layout) -> Result<()> {
    // Written last: what was half made is made anew, under one authority.
    let complete = layout.pki("complete");
    let present = subjects().len().to_string();
    if fs::read_to_string(&complete).is_ok_and(|text| text == present) {
        return Ok(());
    }
    make(layout)?;
    write_file(&complete, present)
}

fn make(layout: &Layout) -> Result<()> {
    let named = |name: &str| {
        let name = name.to_owned();
        move |source| Error::Certificate { name, source }
    };
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "outrigger-lab");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    set_validity(&mut params);
    let key = KeyPair::generate().map_err(named("ca"))?;
    write_secret(&layout.pki("ca.key"), key.serialize_pem())?;
    let authority = CertifiedIssuer::self_signed(params, key).map_err(named("ca"))?;
    let ca = authority.pem();
    write_file(&layout.pki("ca.crt"), &ca)?;

    for subject in subjects() {
        let key = KeyPair::generate().map_err(named(&subject.file))?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, subject.common_name);
        if let Some(organization) = subject.organization {
            params
                .distinguished_name
                .push(DnType::OrganizationName, organization);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        for name in subject.names {
            let name = name.try_into().map_err(named(&subject.file))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params
            .subject_alt_names
            .extend(subject.addresses.into_iter().map(SanType::IpAddress));
        set_validity(&mut params);
        let certificate = params
            .signed_by(&key, &authority)
            .map_err(named(&subject.file))?;
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        write_file(&layout.pki(&format!("{}.crt", subject.file)), &certificate)?;
        write_secret(&layout.pki(&format!("{}.key", subject.file)), &key)?;
        if subject.kubeconfig {
            let text = kubeconfig::text(&ca, &certificate, &key);
            write_secret(&layout.pki(&format!("{}.kubeconfig", subject.file)), &text)?;
            if subject.file == "admin" {
                write_secret(&layout.kubeconfig(), &text)?;
            }
        }
    }
    let tokens = KeyPair::generate().map_err(named("service-accounts"))?;
    write_file(&layout.pki("service-accounts.pub"), tokens.public_key_pem())?;
    write_secret(&layout.pki("service-accounts.key"), tokens.serialize_pem())
}

/// A lab's certificates do not expire in its life; a clock that is a little off does no harm.
fn set_validity(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2050, 1, 1);
}
