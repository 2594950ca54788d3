//! Settings of TLS.

use super::card::{Applied, Kind, OnChange, Setting, Store, any_text, field};
use super::{TlsAuthClients, TlsClientUser};

const INT_MAX: i128 = i32::MAX as i128;
const TEXT: Kind = Kind::Text(any_text);
const REPLICA: &str = "not yet: being a replica";

/// Returns the card of a setting that new connections use.
const fn applied(name: &'static str, kind: Kind, default: &'static str, store: Store) -> Setting {
    Setting::new(name, kind, default, store).apply(Applied::Tls)
}

/// Returns the card of a setting that names a file or a folder.
const fn file(name: &'static str, store: Store) -> Setting {
    applied(name, TEXT, "", store).volatile()
}

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("tls-port", Kind::Int(0, 65_535), "0", field!(tls_port))
        .on_change(OnChange::Listen("Unable to listen on this port. Check server logs.")),
    file("tls-cert-file", field!(tls_cert_file)),
    file("tls-key-file", field!(tls_key_file)),
    applied("tls-key-file-pass", TEXT, "", field!(tls_key_file_pass)).sensitive(),
    file("tls-client-cert-file", field!(tls_client_cert_file)),
    file("tls-client-key-file", field!(tls_client_key_file)),
    applied("tls-client-key-file-pass", TEXT, "", field!(tls_client_key_file_pass)).sensitive(),
    file("tls-ca-cert-file", field!(tls_ca_cert_file)),
    file("tls-ca-cert-dir", field!(tls_ca_cert_dir)),
    applied(
        "tls-auth-clients",
        Kind::Choice(TlsAuthClients::WORDS),
        "yes",
        field!(tls_auth_clients),
    ),
    Setting::new(
        "tls-auth-clients-user",
        Kind::Choice(TlsClientUser::WORDS),
        "off",
        field!(tls_auth_clients_user),
    ),
    applied("tls-protocols", TEXT, "", field!(tls_protocols)),
    applied("tls-ciphers", TEXT, "", field!(tls_ciphers)),
    applied("tls-ciphersuites", TEXT, "", field!(tls_ciphersuites)),
    applied("tls-prefer-server-ciphers", Kind::Bool, "no", field!(tls_prefer_server_ciphers)),
    applied("tls-session-caching", Kind::Bool, "yes", field!(tls_session_caching)),
    applied(
        "tls-session-cache-size",
        Kind::Int(0, INT_MAX),
        "20480",
        field!(tls_session_cache_size),
    ),
    applied(
        "tls-session-cache-timeout",
        Kind::Int(0, INT_MAX),
        "300",
        field!(tls_session_cache_timeout),
    ),
    applied(
        "tls-auto-reload-interval",
        Kind::Int(0, INT_MAX),
        "0",
        field!(tls_auto_reload_interval),
    ),
    applied("tls-replication", Kind::Bool, "no", field!(tls_replication)).idle(REPLICA),
    applied("tls-cluster", Kind::Bool, "no", field!(tls_cluster)),
    Setting::new(
        "max-new-tls-connections-per-cycle",
        Kind::Int(1, 1_000),
        "1",
        field!(max_new_tls_connections_per_cycle),
    ),
];
