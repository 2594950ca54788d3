//! The listening sockets of the data port.

use crate::base::system::group_number;
use crate::config::Config;
use crate::control::{Change, ListenError};
use crate::exec::Process;
use crate::io::ListenerId;
use crate::io::sockets::listen_unix;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

/// Pause between two tries to listen on a port that is in use.
const PAUSE: Duration = Duration::from_millis(5);

/// Number of tries. A killed server has released its port after some tens of milliseconds.
const TRIES_MAX: usize = 200;

/// The number of the listener of `unixsocket`, which no TCP listener gets: they count up from 0, or
/// from 2^31 for TLS.
const UNIX_LISTENER: ListenerId = ListenerId::MAX >> 1;

/// Opens every configured socket. An address with a leading `-` may fail.
pub(super) fn open_all(
    config: &Config,
    process: &Process,
) -> Result<Vec<(ListenerId, OwnedFd)>, String> {
    let port = config.shown_port();
    let failed = |error: ListenError| {
        let ListenError { address, port, is_tls, error } = error;
        let kind = if is_tls { "tls" } else { "tcp" };
        process.log.warning(&format!(
            "Warning: Could not create server TCP listening socket {address}:{port}: bind: {error}"
        ));
        format!("Failed listening on port {port} ({kind}), aborting.")
    };
    let change = open_patiently(config, process).map_err(failed)?;
    change.commit().map_err(|error| format!("Failed listening on port {port} (tcp): {error}"))?;
    if process.listeners.is_empty() && port != 0 && !config.bind.is_empty() {
        return Err(format!("Failed listening on port {port} (tcp), aborting."));
    }
    let mut listeners = process.listeners.take_orders().opened;
    if let Some(path) = &config.unixsocket {
        let listener = listen_unix(path, config.unixsocketperm, config.tcp_backlog as i32);
        match listener.and_then(|it| give_to(path, &config.unixsocketgroup).map(|()| it)) {
            Ok(listener) => listeners.push((UNIX_LISTENER, listener)),
            Err(error) => {
                process.log.warning(&format!("Failed opening Unix socket: bind: {error}"));
                return Err("Failed listening on unix socket, aborting.".to_string());
            }
        }
    }
    if listeners.is_empty() {
        return Err("Configured to not listen anywhere, exiting.".to_string());
    }
    Ok(listeners)
}

/// Opens the TCP sockets. A server that was killed holds its port until the kernel has taken its
/// rings apart, after its process is gone. So a port that is in use is tried again for a moment.
fn open_patiently<'p>(config: &Config, process: &'p Process) -> Result<Change<'p>, ListenError> {
    for _ in 0..TRIES_MAX {
        match process.listeners.change(config) {
            Err(error) if error.error.kind() == io::ErrorKind::AddrInUse => {}
            done => return done,
        }
        std::thread::sleep(PAUSE);
    }
    process.listeners.change(config)
}

/// Changes the group of the path; an empty name leaves it unchanged.
fn give_to(path: &Path, group: &str) -> io::Result<()> {
    if group.is_empty() {
        return Ok(());
    }
    let number = group_number(group).map_err(|error| {
        io::Error::new(error.kind(), format!("getgrnam error for group '{group}': {error}"))
    })?;
    chown(path, None, Some(number)).map_err(|error| {
        io::Error::new(error.kind(), format!("chown error for group '{group}': {error}"))
    })
}
