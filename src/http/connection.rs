//! One HTTP connection: requests in order, each within limits of bytes and time.
//!
//! ```text
//!   new  --first byte--> head --its end--> guards, answer --keep-alive--> idle, as new, but
//!    |  REQUEST_TIME_MAX  |  REQUEST_TIME_MAX, REQUEST_BYTES_MAX    |     for IDLE_TIME_MAX
//!    v                    v                                        '--else--> closed
//!   closed             refused: answer sent, further input discarded, closed
//! ```

use super::guard::{Asked, admit};
use super::limits::{
    IDLE_TIME_MAX, LINGER_BYTES_MAX, LINGER_TIME_MAX, REQUEST_BYTES_MAX, REQUEST_TIME_MAX,
    RESPONSE_TIME_MAX,
};
use super::request::{Method, Request, parse};
use super::response::{Response, Status};
use crate::exec::Process;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::time::Duration;

/// Bytes of one read.
const CHUNK_BYTES: usize = 4 << 10;

/// Serves a connection until it ends. Errors of the peer are ignored.
pub(super) fn serve(stream: TcpStream, process: &Process) {
    let mut peer = Peer { stream, process, input: Vec::new(), is_admitted: false };
    // Each answer is one write, so there is nothing to coalesce.
    let _ = peer.stream.set_nodelay(true);
    let _ = peer.converse();
}

struct Peer<'a> {
    stream: TcpStream,
    process: &'a Process,
    /// Received bytes that were not parsed yet.
    input: Vec<u8>,
    /// Whether a request was answered: only then may the connection stay idle for long.
    is_admitted: bool,
}

impl Peer<'_> {
    fn converse(&mut self) -> io::Result<()> {
        let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        let is_peer_local = is_loopback(self.stream.peer_addr()?.ip());
        let came_to_loopback = is_loopback(self.stream.local_addr()?.ip());
        loop {
            let request = match self.next_request() {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(()),
                Err(refusal) => return self.refuse(&refusal),
            };
            let config = self.process.config.snapshot();
            let acl = &self.process.acl;
            let commands = self.process.commands;
            let asked = Asked {
                request: &request,
                is_peer_local,
                came_to_loopback,
                config: &config,
                acl,
                commands,
            };
            let response = match admit(&asked) {
                Ok(()) => super::answer(self.process, &request.path),
                Err(refusal) => return self.refuse(&refusal),
            };
            self.is_admitted = true;
            let has_body = request.method != Method::Head;
            self.send(&response.bytes(has_body, request.keeps_alive))?;
            if !request.keeps_alive {
                return Ok(());
            }
        }
    }

    /// Returns the next request, `None` at the end of input, or the response that refuses it.
    fn next_request(&mut self) -> Result<Option<Request>, Response> {
        let silence_max = if self.is_admitted { IDLE_TIME_MAX } else { REQUEST_TIME_MAX };
        let mut deadline_ns = self.after(silence_max);
        let mut is_idle = true;
        loop {
            if is_idle && !self.input.is_empty() {
                is_idle = false;
                deadline_ns = self.after(REQUEST_TIME_MAX);
            }
            if let Some((request, len)) = parse(&self.input)? {
                self.input.drain(..len);
                return Ok(Some(request));
            }
            let mut chunk = [0; CHUNK_BYTES];
            match self.receive(&mut chunk, deadline_ns) {
                Ok(0) => return Ok(None),
                Ok(len) => self.input.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == ErrorKind::TimedOut && !is_idle => {
                    return Err(Response::of(Status::RequestTimeout));
                }
                Err(_) => return Ok(None),
            }
            assert!(self.input.len() < REQUEST_BYTES_MAX + CHUNK_BYTES, "a longer head is refused");
        }
    }

    /// Sends a refusal and closes. It reads further input first, because closing a socket with
    /// unread input sends a reset, which could destroy the answer.
    fn refuse(&mut self, refusal: &Response) -> io::Result<()> {
        self.send(&refusal.bytes(true, false))?;
        self.stream.shutdown(Shutdown::Write)?;
        let deadline_ns = self.after(LINGER_TIME_MAX);
        let mut chunk = [0; CHUNK_BYTES];
        let mut thrown_away = 0;
        while thrown_away < LINGER_BYTES_MAX {
            match self.receive(&mut chunk, deadline_ns)? {
                0 => break,
                len => thrown_away += len,
            }
        }
        Ok(())
    }

    fn receive(&mut self, chunk: &mut [u8], deadline_ns: u64) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(self.left(deadline_ns)?))?;
            match self.stream.read(chunk) {
                Err(error) if is_passing(&error) => {}
                result => return result,
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let deadline_ns = self.after(RESPONSE_TIME_MAX);
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(self.left(deadline_ns)?))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => bytes = &bytes[len..],
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn after(&self, time: Duration) -> u64 {
        self.process.clock.monotonic_ns() + time.as_nanos() as u64
    }

    /// Returns the time until the deadline, or an error if it has passed.
    fn left(&self, deadline_ns: u64) -> io::Result<Duration> {
        match deadline_ns.saturating_sub(self.process.clock.monotonic_ns()) {
            0 => Err(ErrorKind::TimedOut.into()),
            left => Ok(Duration::from_nanos(left)),
        }
    }
}

/// Whether the error is a time-out of the socket (the deadline is checked afterwards) or a signal.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::config::Config;
    use crate::http::testing::process_on;
    use std::net::TcpListener;
    use std::thread;

    /// Returns the server's output for bytes sent at once, after which the peer sends no more.
    fn talk(change: fn(&mut Config), sent: &[u8]) -> String {
        let process = process_on(Clock::System, change);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| serve(stream, &process));
            peer.write_all(sent).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let mut text = String::new();
            peer.read_to_string(&mut text).unwrap();
            text
        })
    }

    #[test]
    fn requests_are_answered_in_their_order() {
        let text = talk(
            |_| {},
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n\
              HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n\
              GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n\
              GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        );
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("HTTP/")).collect();
        assert_eq!(heads, ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found"]);
        assert!(!text.contains("redis_up"), "HEAD has no body");
    }

    #[test]
    fn bad_peers_are_refused_and_closed() {
        let status = |change, sent: &[u8]| talk(change, sent)[9..12].to_owned();
        assert_eq!(status(|_| {}, b"*1\r\n$4\r\nPING\r\n\r\n"), "400");
        assert_eq!(status(|_| {}, &[b'x'; 3 * REQUEST_BYTES_MAX]), "431");
        assert_eq!(status(|_| {}, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), "403");
        assert_eq!(status(|_| {}, b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\nrest"), "405");
        let secret = |config: &mut Config| config.requirepass = b"secret".to_vec();
        assert_eq!(status(secret, b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n"), "401");
        let known = b"GET /healthz HTTP/1.0\r\nAuthorization: Basic ZGVmYXVsdDpzZWNyZXQ=\r\n\r\n";
        assert_eq!(status(secret, known), "200");
        assert_eq!(talk(|_| {}, b"GET / HT"), "", "half a request is none");
    }
}
