//! A certificate authority and a server's certificate that exist for one test.

use std::net::{IpAddr, Ipv4Addr};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

/// Texts in PEM.
pub(crate) struct Certificates {
    /// The authority that clients are told to trust.
    pub(crate) ca: String,
    /// The server's, for 127.0.0.1 and localhost.
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Certificates {
    /// Fresh ones.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of one test");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key can be made"));
        let authority = authority.expect("the parameters are right");

        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("localhost is a name");
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.distinguished_name.push(DnType::CommonName, "a server of one test");
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &authority).expect("the parameters are right");
        Self { ca: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
    }
}
