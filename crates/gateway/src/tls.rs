//! The certificate that a gateway shows.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate with its key, which fit together. TLS 1.3 only.
pub struct Certificate(Arc<ServerConfig>);

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file of certificates is none.
    #[error("there is no certificate in PEM")]
    Certificates(#[source] pem::Error),
    /// The file of the key is none.
    #[error("there is no private key in PEM")]
    Key(#[source] pem::Error),
    /// They do not fit, or are of a kind that is not understood.
    #[error("certificate and key do not serve")]
    Unfit(#[source] rustls::Error),
}

impl Certificate {
    /// Reads a chain of certificates, the gateway's own first, and its private key.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn read(certificates: &str, key: &str) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(certificates.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(CertificateError::Certificates)?;
        if chain.is_empty() {
            return Err(CertificateError::Certificates(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(CertificateError::Key)?;
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
                .map_err(CertificateError::Unfit)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn acceptor(self) -> TlsAcceptor {
        TlsAcceptor::from(self.0)
    }
}
