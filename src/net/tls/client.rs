//! The client's side of TLS, for connections that this server opens to others.
//!
//! Threads of their own use it, which may wait. So it is a blocking stream.

use super::certificate::Certificate;
use super::context::{Keys, Time};
use crate::base::clock::Clock;
use crate::config::Config;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    StreamOwned,
};
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// Accepts certificates that a trusted authority has issued, and trusted ones that have issued
/// themselves. As in the reference, their names do not matter: nodes have addresses, not names.
#[derive(Debug)]
struct Verifier {
    roots: RootCertStore,
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked = ParsedCertificate::try_from(end_entity).and_then(|parsed| {
            let algorithms = self.provider.signature_verification_algorithms.all;
            let roots = &self.roots;
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                roots,
                intermediates,
                now,
                algorithms,
            )
        });
        match checked {
            Err(error) if !Certificate::is_trusted_itself(&self.trusted, end_entity, now) => {
                Err(error)
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection by TLS to another server, over a stream that waits.
pub struct ClientStream<S: Read + Write> {
    stream: StreamOwned<ClientConnection, S>,
}

impl<S: Read + Write> fmt::Debug for ClientStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The keys stay out.
        f.debug_struct("ClientStream").finish_non_exhaustive()
    }
}

impl<S: Read + Write> ClientStream<S> {
    /// Loads the files that the settings name, and shakes hands.
    ///
    /// # Errors
    /// The stream has failed, the other side is not trusted or does not trust this server, or a
    /// file cannot be used.
    pub fn connect(config: &Config, stream: S) -> io::Result<ClientStream<S>> {
        let settings = client_config(config).map_err(io::Error::other)?;
        // It is not sent, and the verifier does not look at it.
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1])));
        let connection = ClientConnection::new(Arc::new(settings), name);
        let mut stream = StreamOwned::new(connection.map_err(io::Error::other)?, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(ClientStream { stream })
    }

    /// Returns the stream below.
    pub fn inner(&mut self) -> &mut S {
        &mut self.stream.sock
    }
}

impl<S: Read + Write> Read for ClientStream<S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.read(bytes)
    }
}

impl<S: Read + Write> Write for ClientStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Makes the library's settings of a client.
fn client_config(config: &Config) -> Result<ClientConfig, String> {
    let Keys { server, client, trusted, versions, provider, .. } = Keys::load(config)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let verifier = Verifier { roots, trusted, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_details(provider, Arc::new(Time(Clock::System)));
    let builder = builder.with_protocol_versions(&versions);
    let builder = builder.map_err(|error| format!("Failed to configure ciphers: {error}"))?;
    let mut settings = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(client.unwrap_or(server))));
    settings.enable_sni = false;
    settings.resumption = Resumption::disabled();
    Ok(settings)
}
