//! Whom connections over TLS trust: authorities whose certificates are in a file, or those of the system.
//!
//! For every connection that a hub makes by itself. Cryptography is `ring` alone.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, ConfigBuilder, WantsVerifier,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

pub use rustls::RootCertStore;

/// Why there is nobody to trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The file is not there or holds something else.
    #[error("the CA file {} cannot be used: {why}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system has none.
    #[error("the system trusts no certificates that could be read: {why}")]
    System {
        /// What is wrong with the first of them.
        why: String,
    },
}

impl TrustError {
    /// What to do about it.
    pub const ADVICE: &str = "install certificates, or give a CA file that holds some";
}

/// Who may vouch for a server: those in `ca_file`, in PEM, in place of those that the system trusts.
///
/// # Errors
/// If that is nobody, or one in the file cannot be read.
pub fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TrustError> {
    match ca_file {
        Some(file) => of_file(file).map_err(|why| TrustError::File { file: file.to_owned(), why }),
        None => of_the_system(),
    }
}

/// The beginning of a client's configuration.
pub fn client_builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    builder.with_safe_default_protocol_versions().expect("ring speaks TLS 1.2 and 1.3")
}

/// A client that takes who is vouched for by one of `roots`, and whose name is in the certificate. With no roots it takes nobody.
pub fn client(roots: RootCertStore) -> ClientConfig {
    client_builder().with_root_certificates(roots).with_no_client_auth()
}

fn of_file(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())? {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("it holds no certificate in PEM form".to_owned()) } else { Ok(roots) }
}

fn of_the_system() -> Result<RootCertStore, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some that cannot be read are usual; none that can is not.
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let why = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
    Err(TrustError::System { why })
}

#[cfg(test)]
mod tests {
    use yhub_testkit::servers::Certificates;

    use super::*;

    #[test]
    fn a_file_holds_one_or_several_certificates_and_all_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (Certificates::new(), Certificates::new());
        let of = |text: &str| {
            let file = dir.path().join("ca.pem");
            std::fs::write(&file, text).unwrap();
            roots(Some(&file)).map(|roots| roots.len()).map_err(|error| error.to_string())
        };
        assert_eq!(of(one.ca()), Ok(1));
        assert_eq!(of(&format!("# the old one\n{}\n# the new one\n{}", one.ca(), other.ca())), Ok(2));
        let broken = one.ca().replace("-----END", "");
        for text in ["", "nothing of the kind", one.key(), &format!("{}{broken}", one.ca())] {
            let error = of(text).unwrap_err();
            assert!(error.starts_with("the CA file ") && error.contains("ca.pem cannot be used: "), "{error}");
        }
        let missing = roots(Some(&dir.path().join("missing.pem"))).unwrap_err();
        assert!(matches!(missing, TrustError::File { .. }), "{missing}");
    }
}
