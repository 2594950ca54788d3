//! A client with keys of its own that knows every answer, and how long each may take.

use super::link::{End, Link};
use super::shared::Shared;
use annulet::base::clock::Clock;

/// The database of its keys: no other client selects, swaps or flushes it. FLUSHALL does.
const DATABASE: &str = "9";

/// Milliseconds after which a missing reply counts as lost, not as late.
const LOST_MS: u64 = 60_000;

/// Refusals by settings that other clients change.
const REFUSALS: &[&[u8]] = &[b"-OOM ", b"-NOREPLICAS ", b"-MISCONF ", b"-LOADING ", b"-BUSY "];

/// What the probe has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub replies: u64,
    pub worst_us: u64,
    /// Number of times that it was disconnected.
    pub reconnects: u64,
    /// Number of replies that told that its key was flushed or evicted, or a refusal.
    pub misses: u64,
}

/// Asks until the run is over. Fails the run if an answer is wrong or missing.
pub fn run(shared: &Shared, wait_ms_max: u64) -> Seen {
    let mut probe = Probe { shared, link: None, seen: Seen::default() };
    let mut round = 0;
    while !shared.is_over() {
        round += 1;
        probe.round(round);
    }
    let seen = probe.seen;
    if seen.worst_us > wait_ms_max * 1_000 {
        shared.fail(format!("the probe waited {} us, at most {wait_ms_max} ms", seen.worst_us));
    }
    seen
}

struct Probe<'a> {
    shared: &'a Shared,
    link: Option<Link>,
    seen: Seen,
}

impl Probe<'_> {
    fn round(&mut self, round: u64) {
        let key = format!("probe:{}", round % 50);
        let value = format!("value {round}");
        let bulk = format!("${}\r\n{value}\r\n", value.len());
        self.expect(&["PING"], &["+PONG\r\n"]);
        let is_set = self.expect(&["SET", &key, &value], &["+OK\r\n"]);
        let after = if is_set { bulk.as_str() } else { "" };
        let nothing = "$-1\r\n";
        if !after.is_empty() {
            self.expect(&["GET", &key], &[after, nothing]);
        }
    }

    /// Asks and checks; returns whether the first expected reply came, on this connection.
    fn expect(&mut self, args: &[&str], expected: &[&str]) -> bool {
        let Some(mut link) = self.link.take().or_else(|| self.connect()) else { return false };
        let start_ns = Clock::System.monotonic_ns();
        let reply = match link.ask(args, LOST_MS) {
            Ok(reply) => reply,
            Err(End::Late) => {
                self.shared.fail(format!("the probe got no reply to {args:?} on {}", link.port));
                return false;
            }
            Err(_) => return false,
        };
        self.seen.replies += 1;
        let us = (Clock::System.monotonic_ns() - start_ns) / 1_000;
        if us > self.seen.worst_us {
            self.shared.trace(0, format!("the probe waited {us} us for {}", args[0]));
            self.seen.worst_us = us;
        }
        self.link = Some(link);
        if reply == expected[0].as_bytes() {
            return true;
        }
        let is_refusal = REFUSALS.iter().any(|refusal| reply.starts_with(refusal));
        if !is_refusal && expected[1..].iter().all(|expected| reply != expected.as_bytes()) {
            let got = reply.escape_ascii();
            self.shared.fail(format!("the probe asked {args:?}, expected {expected:?}: {got}"));
        }
        self.seen.misses += 1;
        false
    }

    fn connect(&mut self) -> Option<Link> {
        let mut link = Link::connect(self.shared.port)?;
        self.seen.reconnects += 1;
        match link.ask(&["SELECT", DATABASE], LOST_MS) {
            Ok(_) => Some(link),
            Err(End::Late) => {
                self.shared.fail(format!("the probe cannot select: port {}", link.port));
                None
            }
            Err(_) => {
                std::thread::sleep(std::time::Duration::from_millis(1));
                None
            }
        }
    }
}
