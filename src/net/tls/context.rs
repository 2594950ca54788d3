//! The context of new connections: certificates, keys and rules, loaded from the files that the
//! settings name.

use super::certificate::Certificate;
use super::sessions::Sessions;
use super::suites::{protocols, suites};
use super::verifier::Verifier;
use crate::base::clock::Clock;
use crate::base::system::error_text;
use crate::config::{Config, TlsAuthClients};
use pkcs8::der::zeroize::Zeroizing;
use pkcs8::pkcs5::Error as Pkcs5;
use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ServerConfig, SupportedProtocolVersion};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The serial number and the end of a certificate, for INFO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The serial number in hexadecimal digits.
    pub serial: String,
    /// Unix seconds until which it is valid.
    pub ends_s: i64,
}

/// What new connections are made with.
#[derive(Debug)]
pub struct Context {
    /// The library's settings of a server.
    pub(super) server: Arc<ServerConfig>,
    /// The server's certificate.
    pub server_shown: Option<Shown>,
    /// The certificate of connections that this server opens.
    pub client_shown: Option<Shown>,
    /// Of the trusted certificates, the one that ends first.
    pub ca_shown: Option<Shown>,
    /// What the operator should know although it is no error.
    pub(super) hint: Option<&'static str>,
}

/// The time that the library sees.
#[derive(Debug)]
pub(super) struct Time(pub(super) Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_micros(self.0.unix_us())))
    }
}

/// What the settings and their files say, before it becomes the library's settings.
pub(super) struct Keys {
    /// The server's certificate with its key.
    pub(super) server: CertifiedKey,
    /// The certificate of connections that this server opens, if it has one of its own.
    pub(super) client: Option<CertifiedKey>,
    /// The certificates of the trusted authorities.
    pub(super) trusted: Vec<CertificateDer<'static>>,
    /// The versions of TLS.
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    /// The cryptography, with the selected ciphers.
    pub(super) provider: Arc<CryptoProvider>,
    /// Whether the settings ask for a version that does not exist here.
    has_missing: bool,
}

impl Keys {
    /// Loads the files that the settings name.
    ///
    /// # Errors
    /// See [`Context::load`].
    pub(super) fn load(config: &Config) -> Result<Keys, String> {
        let Some(cert_file) = &config.tls_cert_file else {
            return Err("No tls-cert-file configured!".to_owned());
        };
        let Some(key_file) = &config.tls_key_file else {
            return Err("No tls-key-file configured!".to_owned());
        };
        let asks_clients = config.tls_auth_clients != TlsAuthClients::No;
        let needs_ca = asks_clients || config.tls_cluster || config.tls_replication;
        if needs_ca && config.tls_ca_cert_file.is_none() && config.tls_ca_cert_dir.is_none() {
            return Err("Either tls-ca-cert-file or tls-ca-cert-dir must be specified when \
                        tls-cluster, tls-replication or tls-auth-clients are enabled!"
                .to_owned());
        }
        let (versions, has_missing) = protocols(&config.tls_protocols)?;
        let cipher_suites = suites(&config.tls_ciphers, &config.tls_ciphersuites)?;
        let provider = Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() });
        let server = certified_key((cert_file, key_file), &config.tls_key_file_pass, &provider)?;
        let trusted = trusted(config)?;
        let client = match (&config.tls_client_cert_file, &config.tls_client_key_file) {
            (Some(cert), Some(key)) => {
                Some(certified_key((cert, key), &config.tls_client_key_file_pass, &provider)?)
            }
            _ => None,
        };
        Ok(Keys { server, client, trusted, versions, provider, has_missing })
    }
}

impl Context {
    /// Loads the files that the settings name.
    ///
    /// # Errors
    /// A file cannot be used, or a setting is missing or names nothing that exists. The text is a
    /// line for the log.
    pub fn load(config: &Config, clock: &Clock) -> Result<Context, String> {
        let keys = Keys::load(config)?;
        let shown_key = |key: &CertifiedKey| key.cert.first().and_then(|cert| shown(cert));
        let has_missing = keys.has_missing;
        Ok(Context {
            server_shown: shown_key(&keys.server),
            client_shown: keys.client.as_ref().and_then(shown_key),
            ca_shown: keys.trusted.iter().filter_map(|it| shown(it)).min_by_key(|it| it.ends_s),
            server: Arc::new(server_config((config, clock), keys)?),
            hint: has_missing.then_some("TLSv1 and TLSv1.1 in tls-protocols are not supported"),
        })
    }
}

/// Makes the library's settings.
fn server_config((config, clock): (&Config, &Clock), keys: Keys) -> Result<ServerConfig, String> {
    let Keys { server, trusted, versions, provider, .. } = keys;
    let verifier: Arc<dyn ClientCertVerifier> = match config.tls_auth_clients {
        TlsAuthClients::No => Arc::new(NoClientAuth),
        asked => {
            let is_optional = asked == TlsAuthClients::Optional;
            Arc::new(Verifier::new(trusted, is_optional, &provider).map_err(|why| {
                format!("Failed to configure CA certificate(s) file/directory: {why}")
            })?)
        }
    };
    let time = Arc::new(Time(clock.clone()));
    let builder = ServerConfig::builder_with_details(provider, time);
    let builder = builder.with_protocol_versions(&versions);
    let builder = builder.map_err(|error| format!("Failed to configure ciphers: {error}"))?;
    let mut settings = builder
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(server)));
    settings.ignore_client_order = config.tls_prefer_server_ciphers;
    if config.tls_session_caching {
        let (len_max, lasts_s) = (config.tls_session_cache_size, config.tls_session_cache_timeout);
        settings.session_storage = Arc::new(Sessions::new(clock.clone(), len_max, lasts_s));
        // A client that comes back gets the next one.
        settings.send_tls13_tickets = 1;
    } else {
        settings.session_storage = Arc::new(NoServerSessionStorage {});
        settings.send_tls13_tickets = 0;
    }
    Ok(settings)
}

/// Returns what INFO shows of a certificate.
fn shown(certificate: &CertificateDer<'_>) -> Option<Shown> {
    let Certificate { serial, ends_s, .. } = Certificate::read(certificate)?;
    Some(Shown { serial, ends_s })
}

/// Loads certificates and their key, and checks that they belong together.
fn certified_key(
    (cert_file, key_file): (&Path, &Path),
    passphrase: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    let (cert, key) = (cert_file.display(), key_file.display());
    let chain = certificates(cert_file)
        .map_err(|why| format!("Failed to load certificate: {cert}: {why}"))?;
    let failed = |why: String| format!("Failed to load private key: {key}: {why}");
    let private = private_key(key_file, passphrase).map_err(failed)?;
    let private = provider.key_provider.load_private_key(private);
    let private = private.map_err(|error| failed(error.to_string()))?;
    let first = Certificate::read(&chain[0])
        .ok_or_else(|| format!("Failed to load certificate: {cert}: it cannot be read"))?;
    if private.public_key().is_some_and(|public| *public != *first.public_key) {
        return Err(failed("key values mismatch".to_owned()));
    }
    Ok(CertifiedKey::new(chain, private))
}

/// Returns the certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = std::fs::read(path).map_err(|error| error_text(&error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err("no certificate".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

/// Label of a private key that a passphrase protects.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// Returns the private key of a file.
fn private_key(path: &Path, passphrase: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let text = std::fs::read(path).map_err(|error| error_text(&error))?;
    let text = Zeroizing::new(text);
    let shown = String::from_utf8_lossy(&text);
    let (begin, end) =
        (format!("-----BEGIN {ENCRYPTED}-----"), format!("-----END {ENCRYPTED}-----"));
    if let Some(at) = shown.find(&begin) {
        let rest = &shown[at..];
        let len = rest.find(&end).ok_or("the file ends within the key")? + end.len();
        return decrypted(&rest[..len], passphrase);
    }
    if shown.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(
            "this form of an encrypted key is not supported, but PKCS #8 is: convert it by \
                    openssl pkcs8 -topk8"
                .to_owned(),
        );
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| error.to_string())
}

/// Returns the key of an encrypted section.
fn decrypted(section: &str, passphrase: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if passphrase.is_empty() {
        return Err("the key is encrypted, and no passphrase is set".to_owned());
    }
    let (_, document) = SecretDocument::from_pem(section).map_err(|error| error.to_string())?;
    let key = EncryptedPrivateKeyInfo::try_from(document.as_bytes());
    let key = key.map_err(|error| error.to_string())?;
    let key = key.decrypt(passphrase).map_err(|error| match error {
        // The library says either if the padding is not as expected.
        pkcs8::Error::EncryptedPrivateKey(Pkcs5::DecryptFailed | Pkcs5::EncryptFailed) => {
            "the passphrase is wrong".to_owned()
        }
        error => error.to_string(),
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// Returns the certificates of the trusted authorities; none without a setting.
fn trusted(config: &Config) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed =
        |why: String| format!("Failed to configure CA certificate(s) file/directory: {why}");
    let mut found = match &config.tls_ca_cert_file {
        Some(path) => certificates(path).map_err(failed)?,
        None => Vec::new(),
    };
    if let Some(folder) = &config.tls_ca_cert_dir {
        for path in files(folder).map_err(failed)? {
            // The folder may hold other files.
            for certificate in certificates(&path).unwrap_or_default() {
                // A folder has links to its files, named by hashes.
                if !found.contains(&certificate) {
                    found.push(certificate);
                }
            }
        }
    }
    Ok(found)
}

/// Returns the files of a folder whose names begin without a dot.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| error_text(&error))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_shown = |path: &PathBuf| {
        path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
    };
    let mut paths: Vec<PathBuf> = paths.filter(is_shown).filter(|path| path.is_file()).collect();
    paths.sort();
    Ok(paths)
}
