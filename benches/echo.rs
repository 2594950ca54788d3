//! The I/O part alone: a server that replies `+PONG` to every command, on a driver.
//!
//! ```text
//! cargo bench --bench echo -- DRIVER PORT [idle polls]
//! ```
//!
//! `DRIVER` is `uring` or `epoll`. It runs until it is killed: load it with a client, and divide
//! the process's CPU time by the client's requests. Without arguments it runs a short exchange with
//! itself on both drivers and prints the time of a request.

use annulet::io::{
    Chunk, Completion, ConnId, Driver, Options, Preference, Socket, Statistics, Wait, open, sockets,
};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Longest wait in nanoseconds.
const WAIT_NS: u64 = 100_000_000;
const REPLY: &[u8] = b"+PONG\r\n";

/// One client's state.
#[derive(Default)]
struct Session {
    /// Replies that the driver has not got yet.
    out: Vec<u8>,
    /// The other buffer, while no send is in progress.
    spare: Option<Vec<u8>>,
    touched: bool,
    hangup: bool,
}

struct Server {
    driver: Box<dyn Driver>,
    sessions: Vec<Session>,
    free: Vec<ConnId>,
    touched: Vec<ConnId>,
    commands: u64,
}

impl Server {
    fn new(preference: Preference, port: u16) -> Server {
        let (mut driver, why) = open(preference, &Options::default()).expect("a driver");
        if let Some(why) = why {
            println!("not io_uring: {why}");
        }
        let socket = sockets::listen_tcp("127.0.0.1", port, 511).expect("a free port");
        driver.listen(0, Socket::Kernel(socket)).expect("listening");
        Server { driver, sessions: Vec::new(), free: Vec::new(), touched: Vec::new(), commands: 0 }
    }

    fn open(&mut self, socket: Socket) {
        let conn = self.free.pop().unwrap_or_else(|| {
            self.sessions.push(Session::default());
            self.sessions.len() as ConnId - 1
        });
        self.sessions[conn as usize] = Session { spare: Some(Vec::new()), ..Session::default() };
        self.driver.open(conn, socket).expect("a socket");
    }

    fn touch(&mut self, conn: ConnId) {
        if !std::mem::replace(&mut self.sessions[conn as usize].touched, true) {
            self.touched.push(conn);
        }
    }

    fn turn(&mut self, block: bool) -> bool {
        let wait = if block { Wait::AtMost(WAIT_NS) } else { Wait::Poll };
        self.driver.wait(wait).expect("a working driver");
        let mut busy = false;
        while let Some(completion) = self.driver.next() {
            busy = true;
            match completion {
                Completion::Accepted(_, socket) => self.open(socket),
                Completion::Received { conn, buffer, len } => {
                    let bytes = self.driver.bytes(buffer, len);
                    // A command of the benchmark, `*1\r\n$4\r\nPING\r\n`, has one star.
                    let count = bytes.iter().filter(|byte| **byte == b'*').count();
                    self.driver.release(buffer);
                    self.commands += count as u64;
                    let out = &mut self.sessions[conn as usize].out;
                    (0..count).for_each(|_| out.extend_from_slice(REPLY));
                    self.touch(conn);
                }
                Completion::Sent(conn, Chunk::Own(mut buffer), _) => {
                    buffer.clear();
                    self.sessions[conn as usize].spare = Some(buffer);
                    self.touch(conn);
                }
                Completion::Hangup(conn, _) => {
                    self.sessions[conn as usize].hangup = true;
                    self.touch(conn);
                }
                Completion::Closed(conn) => self.free.push(conn),
                Completion::Sent(..) | Completion::AcceptFailed(..) | Completion::Rung => {}
            }
        }
        for conn in std::mem::take(&mut self.touched) {
            let session = &mut self.sessions[conn as usize];
            session.touched = false;
            if session.hangup {
                session.hangup = false;
                self.driver.close(conn);
            } else if !session.out.is_empty()
                && let Some(spare) = session.spare.take()
            {
                let out = std::mem::replace(&mut session.out, spare);
                if let Some((Chunk::Own(mut buffer), _)) = self.driver.send(conn, Chunk::Own(out)) {
                    buffer.clear();
                    self.sessions[conn as usize].spare = Some(buffer);
                }
            }
        }
        busy
    }
}

/// Runs a thousand unpipelined requests of one client, so that the bench works without a load
/// generator.
fn rehearse(preference: Preference) {
    const REQUESTS: u64 = 1_000;
    let mut server = Server::new(preference, 17_379);
    let client = std::thread::spawn(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", 17_379)).expect("the server listens");
        let mut reply = [0; REPLY.len()];
        for _ in 0..REQUESTS {
            stream.write_all(b"*1\r\n$4\r\nPING\r\n").expect("an open stream");
            stream.read_exact(&mut reply).expect("a reply");
            assert_eq!(reply, REPLY);
        }
    });
    while !client.is_finished() {
        server.turn(true);
    }
    let Statistics { waits, completions, .. } = server.driver.statistics();
    println!(
        "{}: {} commands, {waits} waits, {completions} completions",
        server.driver.name(),
        server.commands,
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [driver, port, rest @ ..] = arguments.as_slice() else {
        rehearse(Preference::Auto);
        rehearse(Preference::Epoll);
        return;
    };
    let preference = if driver == "epoll" { Preference::Epoll } else { Preference::Uring };
    let idle_polls: u32 = rest.first().map_or(0, |arg| arg.parse().expect("a number"));
    let mut server = Server::new(preference, port.parse().expect("a port"));
    let mut idle = 0;
    let mut commands = 0;
    loop {
        idle = if server.turn(idle >= idle_polls) { 0 } else { idle + 1 };
        if server.commands >= commands + 1_000_000 {
            commands = server.commands;
            println!("{commands} {:?}", server.driver.statistics());
        }
    }
}
