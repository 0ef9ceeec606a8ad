//! A certificate authority and a server's certificate that exist for one test.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Texts in PEM.
pub struct Certificates {
    ca: String,
    certificate: String,
    key: String,
}

impl Certificates {
    /// Fresh ones, of a server at 127.0.0.1 and localhost.
    pub fn new() -> Self {
        Self::with(|params| params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))))
    }

    /// Those of a server that listens at another address than it says.
    pub fn of_another_host() -> Self {
        Self::with(|_| ())
    }

    /// Those of a server that forgot to get new ones.
    pub fn expired() -> Self {
        Self::with(|params| {
            params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of one test");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key can be made"));
        let authority = authority.expect("the parameters are right");

        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("localhost is a name");
        params.distinguished_name.push(DnType::CommonName, "a server of one test");
        change(&mut params);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &authority).expect("the parameters are right");
        Self { ca: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// The authority that clients are told to trust.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The server's.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What a server needs that has them.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("it is one");
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it is one");
        let config =
            ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
        let config = config.expect("ring speaks TLS").with_no_client_auth().with_single_cert(vec![certificate], key);
        Arc::new(config.expect("the key is that of the certificate"))
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
