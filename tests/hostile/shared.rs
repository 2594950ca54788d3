//! What the clients of one run share: the connections that they may disturb, and what they find.

use super::link::Secured;
use super::vocabulary::Dice;
use annulet::base::clock::Clock;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

/// Number of a client's last commands that are kept.
const TRACE_MAX: usize = 400;

/// Bytes of a traced argument, and number of traced arguments.
const TRACED_BYTES_MAX: usize = 60;
const TRACED_ARGS_MAX: usize = 14;

/// Pauses of all clients are at least this far apart.
const PAUSE_DISTANCE_NS: u64 = 700_000_000;

/// Number of failures that are kept.
const FAILURES_MAX: usize = 8;

/// The state of one run.
pub struct Shared {
    /// The server's port.
    pub port: u16,
    /// The server's port of TLS, and what a client needs for it.
    pub secured: Secured,
    /// The limit of memory that clients may not change.
    pub maxmemory: Option<String>,
    /// The clients must stop.
    pub is_over: AtomicBool,
    /// Number of commands sent, and of replies read.
    pub sent: AtomicU64,
    pub answered: AtomicU64,
    /// Number of connections that the server has closed.
    pub closed: AtomicU64,
    start_ns: u64,
    next_pause_ns: AtomicU64,
    ids: Vec<AtomicU64>,
    ports: Vec<AtomicU16>,
    traces: Vec<Mutex<VecDeque<String>>>,
    failures: Mutex<Vec<String>>,
}

impl Shared {
    /// Creates the state of a run with this number of clients.
    pub fn new(port: u16, secured: Secured, maxmemory: Option<String>, clients: usize) -> Shared {
        Shared {
            port,
            secured,
            maxmemory,
            is_over: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            start_ns: Clock::System.monotonic_ns(),
            next_pause_ns: AtomicU64::new(0),
            ids: (0..clients).map(|_| AtomicU64::new(1)).collect(),
            ports: (0..clients).map(|_| AtomicU16::new(1)).collect(),
            traces: (0..clients).map(|_| Mutex::default()).collect(),
            failures: Mutex::default(),
        }
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Publishes a client's connection.
    pub fn publish(&self, client: usize, id: Option<u64>, port: u16) {
        if let Some(id) = id {
            self.ids[client].store(id, Ordering::Relaxed);
        }
        self.ports[client].store(port, Ordering::Relaxed);
    }

    /// Draws the id of a connection that existed a moment ago.
    pub fn id(&self, dice: &mut Dice) -> u64 {
        dice.pick(&self.ids).load(Ordering::Relaxed)
    }

    /// Draws the address of a connection that existed a moment ago.
    pub fn address(&self, dice: &mut Dice) -> String {
        format!("127.0.0.1:{}", dice.pick(&self.ports).load(Ordering::Relaxed))
    }

    /// Whether a client may hold up all others now. Says yes at most every [`PAUSE_DISTANCE_NS`].
    pub fn may_pause(&self) -> bool {
        let now_ns = Clock::System.monotonic_ns();
        let next_ns = self.next_pause_ns.load(Ordering::Relaxed);
        let after_ns = now_ns + PAUSE_DISTANCE_NS;
        let swap = |from, to| {
            self.next_pause_ns.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
        };
        now_ns >= next_ns && swap(next_ns, after_ns).is_ok()
    }

    /// Records what a client does.
    pub fn trace(&self, client: usize, text: String) {
        let mut trace = self.traces[client].lock().expect("no client panics here");
        if trace.len() == TRACE_MAX {
            trace.pop_front();
        }
        let us = (Clock::System.monotonic_ns() - self.start_ns) / 1_000;
        trace.push_back(format!("{us:>10} client {client:>2}: {text}"));
    }

    /// Records a command that a client sends.
    pub fn trace_command(&self, client: usize, args: &[Vec<u8>]) {
        self.trace(client, line(args));
    }

    /// Records a failure and ends the run.
    pub fn fail(&self, text: String) {
        self.is_over.store(true, Ordering::Relaxed);
        let mut failures = self.failures.lock().expect("no client panics here");
        if failures.len() < FAILURES_MAX {
            failures.push(text);
        }
    }

    /// Returns the failures so far.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().expect("no client panics here").clone()
    }

    /// Returns the last commands of all clients in the order of time.
    pub fn traced(&self) -> String {
        let take = |trace: &Mutex<VecDeque<String>>| {
            Vec::from(trace.lock().expect("no client panics here").clone())
        };
        let mut lines: Vec<String> = self.traces.iter().flat_map(take).collect();
        lines.sort_unstable();
        lines.join("\n") + "\n"
    }
}

/// Formats a command, long ones shortened.
fn line(args: &[Vec<u8>]) -> String {
    let arg = |arg: &Vec<u8>| match arg.get(..TRACED_BYTES_MAX) {
        Some(start) => format!("\"{}\"...({} bytes)", start.escape_ascii(), arg.len()),
        None => format!("\"{}\"", arg.escape_ascii()),
    };
    let shown: Vec<String> = args.iter().take(TRACED_ARGS_MAX).map(arg).collect();
    let rest = match args.len() {
        count if count > TRACED_ARGS_MAX => format!(" ...({count} arguments)"),
        _ => String::new(),
    };
    shown.join(" ") + &rest
}
