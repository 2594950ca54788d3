//! Certificates for one test, and the settings of clients that use them.

use pkcs8::PrivateKeyInfo;
use pkcs8::der::pem::LineEnding;
use pkcs8::pkcs5::pbes2::Parameters;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, string::Ia5String,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, version};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder with an authority, and with certificates that it has issued.
pub struct Certificates {
    folder: PathBuf,
    authority: Issuer<'static, KeyPair>,
}

/// What a certificate says besides its common name.
pub const NO_URIS: &[&str] = &[];

impl Certificates {
    /// Makes an authority (`ca.crt`), and a certificate of a server (`server.crt`, `server.key`)
    /// and of a client (`client.crt`, `client.key`).
    pub fn new() -> Certificates {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("annulet-certificates-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder for certificates");
        let mut params = params("authority", NO_URIS);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca = params.self_signed(&key).expect("a certificate");
        std::fs::write(folder.join("ca.crt"), ca.pem()).expect("a file");
        let certificates = Certificates { folder, authority: Issuer::new(params, key) };
        certificates.issue("server", "server", NO_URIS);
        certificates.issue("client", "client", NO_URIS);
        certificates
    }

    /// Makes a certificate and its key, as files.
    pub fn issue(&self, file: &str, common_name: &str, uris: &[&str]) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(common_name, uris).signed_by(&key, &self.authority);
        let certificate = certificate.expect("a certificate").pem();
        std::fs::write(self.folder.join(format!("{file}.crt")), certificate).expect("a file");
        let key = key.serialize_pem();
        std::fs::write(self.folder.join(format!("{file}.key")), key).expect("a file");
    }

    /// Writes a key to another file, protected by a passphrase.
    pub fn encrypt(&self, from: &str, to: &str, passphrase: &str) {
        let key = PrivateKeyDer::from_pem_file(self.folder.join(format!("{from}.key")));
        let key = key.expect("the key was written");
        let parameters = Parameters::pbkdf2_sha256_aes256cbc(2_048, b"some salt", &[7; 16]);
        let key = PrivateKeyInfo::try_from(key.secret_der()).expect("it is PKCS #8");
        let key = key.encrypt_with_params(parameters.expect("valid"), passphrase);
        let key = key.expect("it can be encrypted");
        let text = key.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).expect("it is short");
        std::fs::write(self.folder.join(format!("{to}.key")), text.as_bytes()).expect("a file");
    }

    /// Returns the path of a file.
    pub fn path(&self, file: &str) -> String {
        let path = self.folder.join(file);
        path.to_str().expect("the folder for temporary files has a plain name").to_owned()
    }

    /// Returns the options of a server with its certificate and the authority.
    pub fn options(&self, port: u16) -> Vec<String> {
        let port = port.to_string();
        let options = [
            ("--tls-port", port),
            ("--tls-cert-file", self.path("server.crt")),
            ("--tls-key-file", self.path("server.key")),
            ("--tls-ca-cert-file", self.path("ca.crt")),
        ];
        options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// Returns the settings of a client with the certificate of this name; with none, without one.
    pub fn client(&self, name: Option<&str>) -> Arc<ClientConfig> {
        self.client_of(name, &[&version::TLS13, &version::TLS12])
    }

    /// Returns the settings of a client that speaks these versions.
    pub fn client_of(
        &self,
        name: Option<&str>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(&self.folder.join("ca.crt")) {
            roots.add(certificate).expect("the authority is one");
        }
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).expect("suites for them");
        let builder = builder.with_root_certificates(roots);
        Arc::new(match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = read_certificates(&self.folder.join(format!("{name}.crt")));
                let key = PrivateKeyDer::from_pem_file(self.folder.join(format!("{name}.key")));
                let key = key.expect("the key was written");
                builder.with_client_auth_cert(chain, key).expect("they belong together")
            }
        })
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // What stays is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn params(common_name: &str, uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, common_name);
    let uri = |uri: &&str| SanType::URI(Ia5String::try_from(*uri).expect("plain letters"));
    params.subject_alt_names.extend(uris.iter().map(uri));
    params
}

fn read_certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_file_iter(path).expect("the file was written");
    found.map(|certificate| certificate.expect("it is one")).collect()
}
