//! Random bytes and random cuts on the server's side of TLS, with rustls as the client.
//!
//! The library draws keys from the kernel. So a failure repeats only if the keys do not matter.

use super::{Random, target};
use annulet::base::clock::Clock;
use annulet::config::{Config, TlsAuthClients};
use annulet::net::tls::limits::{HANDSHAKE_BYTES_PAUSE, RECORD_OVERHEAD_BYTES_MAX, SEND_BYTES_MAX};
use annulet::net::tls::{Certificate, Context, TlsStream};
use annulet::net::{Input, Outbox};
use annulet::resp::{Protocol, Reply};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, version};
use std::io::Read;
use std::sync::Arc;

/// Most bytes that a client sends at once here.
const SENT_BYTES_MAX: usize = 60_000;

/// Makes a certificate that trusts itself. Returns the server's context, and settings of a client
/// for each version.
fn both_sides() -> (Context, [Arc<ClientConfig>; 2], CertificateDer<'static>) {
    let folder = std::env::temp_dir().join(format!("annulet-fuzz-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let (cert_file, key_file) = (folder.join("server.crt"), folder.join("server.key"));
    std::fs::write(&cert_file, &certificate).expect("a file");
    std::fs::write(&key_file, key.serialize_pem()).expect("a file");
    let mut config = Config::default();
    config.tls_cert_file = Some(cert_file.clone());
    config.tls_key_file = Some(key_file);
    config.tls_ca_cert_file = Some(cert_file);
    config.tls_auth_clients = TlsAuthClients::Optional;
    let context = Context::load(&config, &Clock::System).expect("valid files");
    std::fs::remove_dir_all(&folder).expect("it was made above");
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("one");
    let client = |version| {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("it is one");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[version]).expect("suites for it");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    };
    (context, [client(&version::TLS12), client(&version::TLS13)], certificate)
}

/// Damages bytes on their way.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len() + 1);
    match random.below(6) {
        0 => bytes.truncate(at),
        1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 => drop(bytes.splice(at..at, random_bytes(random, 40))),
        // A record of any kind and length, even an empty one.
        3 => {
            let head = [20 + random.below(5) as u8, 3, random.below(5) as u8];
            let body = random_bytes(random, 300);
            let len = if random.one_in(3) { random.below(1 << 16) } else { body.len() };
            let record = [&head[..], &(len as u16).to_be_bytes(), &body].concat();
            let at = if random.one_in(2) { 0 } else { at };
            drop(bytes.splice(at..at, record));
        }
        4 => drop(bytes.splice(0..0, [23, 3, 3, 0, 0].repeat(random.below(50)))),
        _ => bytes.extend_from_within(at..),
    }
}

fn random_bytes(random: &mut Random, len_max: usize) -> Vec<u8> {
    (0..random.below(len_max + 1)).map(|_| random.next() as u8).collect()
}

/// A connection of both sides.
struct Pair {
    server: TlsStream,
    client: ClientConnection,
    input: Input,
    outbox: Outbox,
    /// Bytes that each side has read.
    read_bytes: [usize; 2],
}

impl Pair {
    /// Passes bytes to the server in random pieces. Returns whether it goes on.
    fn feed_server(&mut self, random: &mut Random, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(1 + random.below(bytes.len()));
            bytes = rest;
            let progress = match self.server.receive(piece, &mut self.input) {
                None if rest.is_empty() || random.one_in(3) => self.server.step(&mut self.input),
                None => continue,
                Some(progress) => progress,
            };
            match progress {
                Ok(progress) => self.read_bytes[0] += progress.plain_bytes,
                Err(_) => return false,
            }
            let most = size_of::<TlsStream>() + SENT_BYTES_MAX + HANDSHAKE_BYTES_PAUSE;
            assert!(self.server.memory_bytes() < most, "{}", self.server.memory_bytes());
        }
        true
    }

    /// Passes all output of the server to the client. Returns whether the client goes on.
    fn feed_client(&mut self) -> bool {
        while let Some(chunk) = self.server.next_chunk(&mut self.outbox) {
            let most = SEND_BYTES_MAX + SEND_BYTES_MAX / 16_384 * RECORD_OVERHEAD_BYTES_MAX;
            assert!(chunk.as_slice().len() <= most + SENT_BYTES_MAX);
            let mut bytes = chunk.as_slice();
            while !bytes.is_empty() {
                let read = self.client.read_tls(&mut bytes).is_ok();
                if !read || self.client.process_new_packets().is_err() {
                    self.server.sent(chunk);
                    return false;
                }
                let mut plain = Vec::new();
                // It ends with the error that there is no more yet.
                let _ = self.client.reader().read_to_end(&mut plain);
                self.read_bytes[1] += plain.len();
            }
            self.server.sent(chunk);
        }
        true
    }
}

#[test]
fn tls_records() {
    let (context, clients, _) = both_sides();
    target("tls_records", 150, |random| {
        let is_damaged = random.one_in(2);
        let config = Arc::clone(&clients[random.below(2)]);
        let name = ServerName::try_from("localhost").expect("a name");
        let mut pair = Pair {
            server: TlsStream::new(&context),
            client: ClientConnection::new(config, name).expect("a client"),
            input: Input::default(),
            outbox: Outbox::default(),
            read_bytes: [0; 2],
        };
        let mut sent_bytes = [0; 2];
        for _ in 0..20 {
            let mut bytes = Vec::new();
            pair.client.write_tls(&mut bytes).expect("memory takes all");
            let is_damaged_now = is_damaged && random.one_in(6);
            if is_damaged_now {
                damage(random, &mut bytes);
            }
            let goes_on = pair.feed_server(random, &bytes);
            assert!(goes_on || is_damaged, "the server refuses nothing that is valid");
            if !pair.feed_client() || !goes_on {
                assert!(is_damaged, "the client refuses nothing that is valid");
                break;
            }
            if !pair.server.is_handshaking() && !pair.client.is_handshaking() {
                let plain = vec![b'x'; random.below(SENT_BYTES_MAX / 4)];
                let written = std::io::Write::write(&mut pair.client.writer(), &plain);
                sent_bytes[0] += written.expect("memory takes bytes");
                let text = "y".repeat(random.below(300_000));
                Reply::new(&mut pair.outbox.output, Protocol::Two).simple(&text);
                sent_bytes[1] += text.len() + 3;
                if random.one_in(4) {
                    // TLS 1.2 has no other keys.
                    let _ = pair.client.refresh_traffic_keys();
                }
            }
        }
        if !is_damaged {
            let mut bytes = Vec::new();
            while pair.client.wants_write() {
                pair.client.write_tls(&mut bytes).expect("memory takes all");
            }
            assert!(pair.feed_server(random, &bytes) && pair.feed_client());
            assert!(sent_bytes[0] > 0 && sent_bytes == pair.read_bytes, "nothing is lost");
        }
        let _ = pair.server.farewell();
        let _ = pair.server.receive(b"more", &mut pair.input);
        assert!(pair.server.next_chunk(&mut pair.outbox).is_none(), "nothing follows a farewell");
    });
}

#[test]
fn certificates() {
    let (_, _, certificate) = both_sides();
    target("certificates", 20_000, |random| {
        let mut bytes = certificate.to_vec();
        for _ in 0..random.below(4) {
            damage(random, &mut bytes);
        }
        if let Some(read) = Certificate::read(&bytes) {
            assert!(read.public_key.len() < bytes.len() && read.serial.len() <= 2 * bytes.len());
        }
    });
}
