//! The listening sockets.

use crate::config::Config;
use crate::exec::Process;
use crate::io::sockets::{listen_tcp, listen_unix};
use std::os::fd::OwnedFd;

/// Opens every socket that the settings name. An address with a leading `-` may fail.
pub(super) fn open_all(config: &Config, process: &Process) -> Result<Vec<OwnedFd>, String> {
    let mut listeners = Vec::new();
    let backlog = config.tcp_backlog as i32;
    if config.port != 0 {
        for address in &config.bind {
            let (address, may_fail) = match address.strip_prefix('-') {
                Some(rest) => (rest, true),
                None => (address.as_str(), false),
            };
            match listen_tcp(address, config.port, backlog) {
                Ok(listener) => listeners.push(listener),
                Err(error) if may_fail && is_absent(&error) => {}
                Err(error) => {
                    let port = config.port;
                    process.log.warning(&format!(
                        "Warning: Could not create server TCP listening socket \
                         {address}:{port}: bind: {error}"
                    ));
                    return Err(format!("Failed listening on port {port} (tcp), aborting."));
                }
            }
        }
        if listeners.is_empty() && !config.bind.is_empty() {
            return Err(format!("Failed listening on port {} (tcp), aborting.", config.port));
        }
    }
    if let Some(path) = &config.unixsocket {
        match listen_unix(path, config.unixsocketperm, backlog) {
            Ok(listener) => listeners.push(listener),
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

/// Whether the address or its family does not exist here.
fn is_absent(error: &std::io::Error) -> bool {
    let absent = [
        libc::EADDRNOTAVAIL,
        libc::EAFNOSUPPORT,
        libc::ENOPROTOOPT,
        libc::EPROTONOSUPPORT,
        libc::ESOCKTNOSUPPORT,
        libc::EPFNOSUPPORT,
    ];
    error.raw_os_error().is_some_and(|code| absent.contains(&code))
}
