//! TLS to PostgreSQL: what is looked at of the server's certificate.

use std::{path::Path, sync::Arc};

use rustls::{
    DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{ConnectError, options::Verify};

/// What makes TLS connections that look at the server as `verify` says.
pub(super) fn connector(verify: Verify, ca_file: Option<&Path>) -> Result<MakeRustlsConnect, ConnectError> {
    let roots = || yhub_tls::roots(ca_file).map_err(ConnectError::Certificates);
    let config = yhub_tls::client_builder();
    let provider = config.crypto_provider().clone();
    let config = match verify {
        Verify::Full => config.with_root_certificates(roots()?),
        Verify::Signer => {
            let signers = Some(roots()?);
            config.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { provider, signers }))
        }
        Verify::Nothing => config.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { provider, signers: None })),
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

/// Takes a certificate for another host, as `verify-ca` wants it, or any certificate, as `require` does. The server must have
/// the key to it all the same.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// Who must have signed it, if that matters.
    signers: Option<RootCertStore>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(signers) = &self.signers {
            let algorithms = self.provider.signature_verification_algorithms.all;
            let certificate = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(&certificate, signers, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
