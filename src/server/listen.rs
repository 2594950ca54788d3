//! The listening sockets.

use crate::config::Config;
use crate::control::ListenError;
use crate::exec::Process;
use crate::io::ListenerId;
use crate::io::sockets::{give_to_group, listen_unix};
use std::os::fd::OwnedFd;

/// The listener of `unixsocket`; those of TCP count up from 0.
const UNIX_LISTENER: ListenerId = ListenerId::MAX;

/// Opens every socket that the settings name. An address with a leading `-` may fail.
pub(super) fn open_all(
    config: &Config,
    process: &Process,
) -> Result<Vec<(ListenerId, OwnedFd)>, String> {
    let port = config.port;
    let failed = |error: ListenError| {
        let ListenError { address, port, error } = error;
        process.log.warning(&format!(
            "Warning: Could not create server TCP listening socket {address}:{port}: bind: {error}"
        ));
        format!("Failed listening on port {port} (tcp), aborting.")
    };
    let change = process.listeners.change(config).map_err(failed)?;
    change.commit().map_err(|error| format!("Failed listening on port {port} (tcp): {error}"))?;
    if process.listeners.is_empty() && port != 0 && !config.bind.is_empty() {
        return Err(format!("Failed listening on port {port} (tcp), aborting."));
    }
    let mut listeners = process.listeners.take_orders().opened;
    if let Some(path) = &config.unixsocket {
        let opened = listen_unix(path, config.unixsocketperm, config.tcp_backlog as i32);
        let group = config.unixsocketgroup.as_str();
        let opened = match group {
            "" => opened,
            _ => opened.and_then(|listener| give_to_group(path, group).map(|()| listener)),
        };
        match opened {
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
