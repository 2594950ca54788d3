//! The listening sockets, and a thread for each connection.

use super::connection;
use super::limits::{BACKLOG, CONNECTIONS_MAX, STACK_BYTES};
use super::response::{Response, Status};
use crate::config::Config;
use crate::exec::Process;
use crate::io::sockets::listen_tcp;
use crate::observe::LineLimit;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::Duration;

/// A rest after a failure to accept, so that a lack of descriptors is no busy loop.
const PAUSE: Duration = Duration::from_millis(100);

/// Log lines about such failures, per minute.
const FAILURE_LINES_MAX: u32 = 1;
const FAILURE_WINDOW_NS: u64 = 60_000_000_000;

/// Opens the addresses that the settings name and serves them until the process ends, on threads
/// of its own. Does nothing if `http-port` is 0.
///
/// # Errors
/// An address that has to be there cannot be had.
pub fn start(process: &Arc<Process>, config: &Config) -> Result<(), String> {
    if config.http_port == 0 {
        return Ok(());
    }
    let listeners = open(config)?;
    let connections = Arc::new(AtomicUsize::new(0));
    for listener in listeners {
        let (process, connections) = (Arc::clone(process), Arc::clone(&connections));
        let life = move || accept(&listener, &process, &connections);
        let spawned = Builder::new().name("http".to_owned()).stack_size(STACK_BYTES).spawn(life);
        spawned.map_err(|error| format!("No thread for HTTP: {error}"))?;
    }
    process.log.notice(&format!("Metrics and page on http port {}", config.http_port));
    Ok(())
}

/// The sockets. An address with a leading `-` may be missing on this machine.
fn open(config: &Config) -> Result<Vec<TcpListener>, String> {
    let port = config.http_port;
    let failed = |address: &str, error: &io::Error| {
        format!("Failed listening on http port {port}, aborting: {address}: {error}")
    };
    let mut listeners = Vec::new();
    for address in &config.http_bind {
        let (address, may_fail) = match address.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (address.as_str(), false),
        };
        let opened = listen_tcp(address, port, BACKLOG).map(TcpListener::from);
        // Sockets of shards do not block; these may.
        let opened = opened.and_then(|one| one.set_nonblocking(false).map(|()| one));
        match opened {
            Ok(listener) => listeners.push(listener),
            // A taken port is a mistake of the settings, on whichever address.
            Err(error) if may_fail && error.kind() != io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(failed(address, &error)),
        }
    }
    if listeners.is_empty() {
        return Err(format!("Failed listening on http port {port}, aborting: no address is left"));
    }
    Ok(listeners)
}

/// Accepts until the process ends.
fn accept(listener: &TcpListener, process: &Arc<Process>, connections: &Arc<AtomicUsize>) {
    let mut limit = LineLimit::new(FAILURE_LINES_MAX, FAILURE_WINDOW_NS);
    loop {
        let accepted = listener.accept().and_then(|(stream, _)| {
            let seat = Seat::take(connections);
            converse(stream, seat, process)
        });
        if let Err(error) = accepted {
            if limit.allow(process.clock.monotonic_ns()).is_some() {
                process.log.warning(&format!("Accepting on the http port: {error}"));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Serves one connection on a thread of its own, or tells it to come later.
fn converse(mut stream: TcpStream, seat: Option<Seat>, process: &Arc<Process>) -> io::Result<()> {
    let Some(seat) = seat else {
        // A few bytes into an empty socket: this does not wait. Who is gone already misses nothing.
        let _ = stream.write_all(&Response::of(Status::Unavailable).bytes(true, false));
        return Ok(());
    };
    let process = Arc::clone(process);
    let life = move || {
        connection::serve(stream, &process);
        drop(process);
        // What this thread has allocated and not freed is counted with the rest.
        crate::base::alloc::flush_local();
        drop(seat);
    };
    let builder = Builder::new().name("http-peer".to_owned()).stack_size(STACK_BYTES);
    builder.spawn(life).map(drop)
}

/// One of the connections that there may be at once.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(connections: &Arc<AtomicUsize>) -> Option<Seat> {
        let before = connections.fetch_add(1, Ordering::Relaxed);
        let seat = Seat(Arc::clone(connections));
        (before < CONNECTIONS_MAX).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a seat is given back once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_and_come_back() {
        let connections = Arc::new(AtomicUsize::new(0));
        let mut seats: Vec<Seat> =
            (0..CONNECTIONS_MAX).map(|_| Seat::take(&connections).expect("a seat")).collect();
        assert!(Seat::take(&connections).is_none());
        seats.pop();
        seats.push(Seat::take(&connections).expect("a seat"));
        assert!(Seat::take(&connections).is_none());
        drop(seats);
        assert_eq!(connections.load(Ordering::Relaxed), 0);
    }
}
