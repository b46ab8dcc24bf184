//! Who we are and whom we accept: Ed25519 keys in TLS, without certificates.
//!
//! **Guarantee:** a handshake succeeds only with a holder of an accepted key, under TLS 1.3 and the
//! expected protocol; the key is judged anew at every connection, since nothing is resumed.
//!
//! # Source
//! RFC 7250 (raw public keys in TLS), RFC 8410 (Ed25519 in SubjectPublicKeyInfo and PKCS #8),
//! draft-ietf-tls-ecdhe-mlkem (X25519MLKEM768).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ravelin_model::PublicKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, Error,
    ServerConfig, SignatureScheme,
};
use zeroize::Zeroizing;

/// What precedes the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What precedes the seed of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The Ed25519 key pair by which this process is known in TLS.
///
/// Copies share one key, held by the TLS library, which erases it when the last is dropped.
#[derive(Clone)]
pub struct TransportKey {
    certified: Arc<CertifiedKey>,
    public: PublicKey,
}

impl TransportKey {
    /// The key pair of a seed.
    ///
    /// # Security
    /// The seed stays the caller's to erase; the encoding made of it here is erased on return.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut pkcs8 = Zeroizing::new([0; PKCS8_PREFIX.len() + 32]);
        let (prefix, rest) = pkcs8.split_at_mut(PKCS8_PREFIX.len());
        prefix.copy_from_slice(&PKCS8_PREFIX);
        rest.copy_from_slice(seed);
        let pair = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))
            .expect("any 32 bytes are an Ed25519 seed");
        let spki = pair.public_key().expect("an Ed25519 key pair knows its public key").to_vec();
        let public = key_of_spki(&spki).expect("the library encodes Ed25519 as RFC 8410 says");
        let certified = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], pair));
        Self { certified, public }
    }

    /// The half that others pin.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public
    }
}

impl fmt::Debug for TransportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TransportKey").field(&self.public).finish()
    }
}

/// Whose keys the other end may hold.
#[derive(Clone, Debug)]
pub(super) enum Accepted {
    /// Anybody's: it is authenticated here and authorised elsewhere.
    AnyKey,
    /// These and no other.
    Pinned(BTreeSet<PublicKey>),
}

/// How to accept connections for one protocol.
pub(super) fn server_config(
    key: &TransportKey,
    accepted: Accepted,
    alpn: &[u8],
) -> Arc<ServerConfig> {
    let provider = Arc::new(provider());
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .with_client_cert_verifier(Arc::new(KeyJudge { accepted, provider }))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(
            &key.certified,
        ))));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// How to dial the holder of one key for one protocol.
pub(super) fn client_config(
    key: &TransportKey,
    server: PublicKey,
    alpn: &[u8],
) -> Arc<ClientConfig> {
    dialer_config(key, Accepted::Pinned(BTreeSet::from([server])), alpn)
}

/// How to dial for one protocol.
pub(super) fn dialer_config(
    key: &TransportKey,
    accepted: Accepted,
    alpn: &[u8],
) -> Arc<ClientConfig> {
    let provider = Arc::new(provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .dangerous() // not WebPKI: the key is pinned
        .with_custom_certificate_verifier(Arc::new(KeyJudge { accepted, provider }))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(
            &key.certified,
        ))));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// The name that TLS wants for a server. It is neither sent nor compared: the key is the name.
pub(super) fn server_name() -> ServerName<'static> {
    ServerName::try_from("ravelin").expect("a valid DNS name")
}

/// The key that the other end proved to hold, once the handshake is over.
pub(super) fn key_of_other_end(connection: &CommonState) -> Option<PublicKey> {
    key_of_spki(connection.peer_certificates()?.first()?)
}

fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        ..aws_lc_rs::default_provider()
    }
}

fn key_of_spki(spki: &[u8]) -> Option<PublicKey> {
    let key = spki.strip_prefix(&SPKI_PREFIX)?;
    Some(PublicKey(key.try_into().ok()?))
}

/// Accepts keys, and nothing that a certificate could say.
#[derive(Debug)]
struct KeyJudge {
    accepted: Accepted,
    provider: Arc<CryptoProvider>,
}

impl KeyJudge {
    fn judge(&self, entity: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), Error> {
        let key = key_of_spki(entity)
            .filter(|_| rest.is_empty())
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        match &self.accepted {
            Accepted::AnyKey => Ok(()),
            Accepted::Pinned(keys) if keys.contains(&key) => Ok(()),
            Accepted::Pinned(_) => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
        }
    }

    fn verify(
        &self,
        message: &[u8],
        entity: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(entity.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, signed, algorithms)
    }
}

/// TLS 1.2 is never offered, so its signatures never reach us.
fn refuse_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken here".into()))
}

impl ServerCertVerifier for KeyJudge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _entity: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        entity: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, entity, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for KeyJudge {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _entity: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        entity: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, entity, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
