//! Notifies the init system that the server is ready: systemd by its socket, upstart by a stop.

use crate::base::background::stop_self;
use crate::config::Supervised;
use crate::observe::Log;
use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The init system that watches this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supervisor {
    None,
    Systemd,
    Upstart,
}

impl Supervisor {
    /// Finds the init system that the setting and the environment name, and notifies it of the
    /// start.
    pub(super) fn find(wanted: Supervised, log: &Log) -> Supervisor {
        let has = |name: &str| env::var_os(name).is_some();
        let is_auto = wanted == Supervised::Auto;
        if wanted == Supervised::Upstart || (is_auto && has("UPSTART_JOB")) {
            if is_auto {
                log.verbose("Upstart supervision detected.");
            }
            if !has("UPSTART_JOB") {
                log.warning("upstart supervision requested, but UPSTART_JOB not found!");
                return Supervisor::None;
            }
            log.notice("supervised by upstart, will stop to signal readiness.");
            stop_self();
            return Supervisor::Upstart;
        }
        if wanted == Supervised::Systemd || (is_auto && has("NOTIFY_SOCKET")) {
            if is_auto {
                log.verbose("Systemd supervision detected.");
            }
            if !Supervisor::Systemd.tell("STATUS=Annulet is loading...\n", log) {
                return Supervisor::None;
            }
            log.notice(
                "Supervised by systemd. Please make sure you set appropriate values for \
                 TimeoutStartSec and TimeoutStopSec in your service unit.",
            );
            return Supervisor::Systemd;
        }
        Supervisor::None
    }

    /// Returns its name in INFO.
    pub(super) fn word(self) -> &'static str {
        match self {
            Supervisor::None => "no",
            Supervisor::Systemd => "systemd",
            Supervisor::Upstart => "upstart",
        }
    }

    /// Notifies systemd of a state; does nothing for other init systems. Returns false if that
    /// failed.
    pub(super) fn tell(self, state: &str, log: &Log) -> bool {
        if self != Supervisor::Systemd {
            return true;
        }
        let Some(path) = env::var_os("NOTIFY_SOCKET") else {
            log.warning("systemd supervision error: NOTIFY_SOCKET not found!");
            return false;
        };
        let sent = notify(path.as_bytes(), state);
        if let Err(error) = &sent {
            log.warning(&format!("systemd supervision error: sd_notify: {error}"));
        }
        sent.is_ok()
    }
}

/// Sends a state to a socket: a path, or an abstract name after `@`.
fn notify(path: &[u8], state: &str) -> io::Result<()> {
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_reach_paths_and_abstract_names() {
        let name = format!("annulet-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let plain = UnixDatagram::bind(&path).unwrap();
        let hidden = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let hidden = UnixDatagram::bind_addr(&hidden).unwrap();
        notify(path.as_os_str().as_bytes(), "READY=1\n").unwrap();
        notify(format!("@{name}").as_bytes(), "STATUS=x\n").unwrap();
        let gone = notify(b"/nowhere/at/all", "READY=1\n");
        std::fs::remove_file(&path).unwrap();
        let mut text = [0; 64];
        let len = plain.recv(&mut text).unwrap();
        assert_eq!(&text[..len], b"READY=1\n");
        let len = hidden.recv(&mut text).unwrap();
        assert_eq!((&text[..len], gone.is_err()), (&b"STATUS=x\n"[..], true));
    }
}
