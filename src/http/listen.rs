//! The listening sockets, and one thread for each connection.

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

/// Pause after a failed accept, so that a lack of descriptors is no busy loop.
const PAUSE: Duration = Duration::from_millis(100);

/// Log lines about failed accepts in each window of a minute.
const FAILURE_LINES_MAX: u32 = 1;
const FAILURE_WINDOW_NS: u64 = 60_000_000_000;

/// Opens the configured addresses and serves them on separate threads until the process ends. Does
/// nothing if `http-port` is 0.
///
/// # Errors
/// A required address cannot be opened.
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
        spawned.map_err(|error| format!("Cannot start a thread for HTTP: {error}"))?;
    }
    process
        .log
        .notice(&format!("Serving metrics and the status page on http port {}", config.http_port));
    Ok(())
}

/// Opens the sockets. An address with a leading `-` may be absent on this machine.
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
        // Sockets of shards are nonblocking; these block.
        let opened = opened.and_then(|one| one.set_nonblocking(false).map(|()| one));
        match opened {
            Ok(listener) => listeners.push(listener),
            // A port in use is always an error in the settings.
            Err(error) if may_fail && error.kind() != io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(failed(address, &error)),
        }
    }
    if listeners.is_empty() {
        return Err(format!(
            "Failed listening on http port {port}, aborting: no address could be opened"
        ));
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
                process.log.warning(&format!("Cannot accept on the http port: {error}"));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Serves a connection on a new thread, or answers 503 if there are too many.
fn converse(mut stream: TcpStream, seat: Option<Seat>, process: &Arc<Process>) -> io::Result<()> {
    let Some(seat) = seat else {
        // A few bytes into an empty socket never wait. An error means that the peer has left.
        let _ = stream.write_all(&Response::of(Status::Unavailable).bytes(true, false));
        return Ok(());
    };
    let process = Arc::clone(process);
    let life = move || {
        connection::serve(stream, &process);
        drop(process);
        // Includes this thread's allocations in the global count.
        crate::base::alloc::flush_local();
        drop(seat);
    };
    let builder = Builder::new().name("http-peer".to_owned()).stack_size(STACK_BYTES);
    builder.spawn(life).map(drop)
}

/// A place among the open connections, whose number is limited.
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
        assert!(before > 0, "a seat is released once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_and_reusable() {
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
