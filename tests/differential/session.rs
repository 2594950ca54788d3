//! One run: two servers, two connections to each, pipelines to both, and the comparison.

use super::compare::{Check, agrees_queued};
use super::findings::{Findings, shown, shown_args, sort_of};
use super::generate::{Generator, Made};
use super::grammar::{self, Command};
use super::peer::Peer;
use super::server::{self, Server};
use super::state::{self, Observers};
use super::tally::Tally;
use super::vocabulary::KEYS;
use super::wire::{self, Wire, put_request};
use std::collections::VecDeque;

/// Connections to each server. Two can come between each other's `WATCH` and `EXEC`.
const CONNECTIONS: usize = 2;

/// Commands after which all keys are compared.
const BLOCK: u64 = 2_000;

/// Bytes of a pipeline that end it: both servers take it in before anybody reads a reply.
const PIPELINE_BYTES_MAX: usize = 64 << 10;

/// Commands that are remembered, and that are told with a finding.
const HISTORY_MAX: usize = 4_000;
const TOLD_MAX: usize = 8;

/// What follows a `RESET`, which goes back to the second protocol.
static GREETING: Command = Command { name: "HELLO", weight: 0, parts: &[], check: Check::Kind };

/// What precedes a `DBSIZE`: keys that are over count until somebody looks at them, and which those
/// are is luck once there was a `RANDOMKEY`.
static LOOK: Command = Command { name: "EXISTS", weight: 0, parts: &[], check: Check::Exact };

#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub shards: usize,
    pub protocol: u8,
    pub seed: u64,
    /// Whether a second peer stands in for Annulet: what disagrees then is luck, not a finding.
    pub is_rehearsal: bool,
}

/// The server that is looked at.
enum Subject {
    Annulet(Server),
    StandIn(Peer),
}

impl Subject {
    fn start(program: &str, setup: Setup) -> Subject {
        if setup.is_rehearsal {
            return Subject::StandIn(Peer::start(program));
        }
        let form = server::Setup { shards: setup.shards, driver: "auto" };
        Subject::Annulet(Server::start(form, &["--enable-debug-command", "yes"]))
    }

    fn port(&self) -> u16 {
        match self {
            Subject::Annulet(server) => server.port,
            Subject::StandIn(peer) => peer.port,
        }
    }

    fn log(&self) -> String {
        match self {
            Subject::Annulet(server) => server.log(),
            Subject::StandIn(_) => String::new(),
        }
    }
}

/// A command that was sent, and what the peer said.
struct Sent {
    connection: usize,
    words: Vec<Vec<u8>>,
    reply: Vec<u8>,
}

/// What is known of one connection, the same on both servers.
#[derive(Default)]
struct Standing {
    /// Whether a transaction is open, as far as the commands made so far say.
    is_multi: bool,
    /// What the next `EXEC` will run.
    queued: Vec<(Check, &'static str)>,
}

struct Session<'a> {
    setup: Setup,
    ours: Vec<Wire>,
    theirs: Vec<Wire>,
    observers: Observers,
    standings: Vec<Standing>,
    generator: Generator,
    history: VecDeque<Sent>,
    tally: &'a mut Tally,
    findings: &'a mut Findings,
}

/// Sends so many commands to both servers.
pub fn run(program: &str, setup: Setup, commands: u64, tally: &mut Tally, findings: &mut Findings) {
    let subject = Subject::start(program, setup);
    let peer = Peer::start(program);
    let connect = |port| Wire::connect(port, setup.protocol);
    let wires = |port| (0..CONNECTIONS).map(|_| connect(port)).collect::<Vec<_>>();
    let mut observers = Observers::new(connect(subject.port()), connect(peer.port));
    observers.let_nothing_end_by_itself();
    let (known, unknown): (Vec<_>, Vec<_>) =
        grammar::all().partition(|command| observers.is_known(command.name));
    if !unknown.is_empty() {
        let names: Vec<_> = unknown.iter().map(|command| command.name).collect();
        println!("left out, unknown to Annulet: {}", names.join(", "));
    }
    known.iter().for_each(|command| tally.expect(command));
    let seed = setup.seed ^ (setup.shards as u64) << 32 ^ u64::from(setup.protocol) << 48;
    let mut session = Session {
        setup,
        ours: wires(subject.port()),
        theirs: wires(peer.port),
        observers,
        standings: (0..CONNECTIONS).map(|_| Standing::default()).collect(),
        generator: Generator::new(known, setup.protocol, seed),
        history: VecDeque::new(),
        tally,
        findings,
    };
    let follower = Follower::of(program, &subject, setup);
    let mut sent = 0;
    while sent < commands && !session.findings.is_full() {
        let end = (sent + BLOCK).min(commands);
        while sent < end && !session.findings.is_full() {
            match session.pipeline() {
                Ok(count) => sent += count,
                Err(error) => return session.broken(&error, &subject.log()),
            }
        }
        session.state();
    }
    if let Some(follower) = follower {
        follower.compare(connect(subject.port()), session.findings);
    }
}

/// A Valkey that follows Annulet, and ends with the same keys.
struct Follower {
    peer: Peer,
    wire: Wire,
}

impl Follower {
    /// One that has its first snapshot.
    fn of(program: &str, subject: &Subject, setup: Setup) -> Option<Follower> {
        if setup.is_rehearsal {
            return None;
        }
        let port = subject.port().to_string();
        let peer = Peer::start_with(program, &["--replicaof", "127.0.0.1", &port]);
        let mut follower = Follower { wire: Wire::connect(peer.port, 2), peer };
        let mut primary = Wire::connect(subject.port(), 2);
        assert!(state::catches_up(&mut follower.wire, &mut primary), "it gets a snapshot");
        Some(follower)
    }

    fn compare(mut self, mut primary: Wire, findings: &mut Findings) {
        if !state::catches_up(&mut self.wire, &mut primary) {
            findings.note("replica: it does not catch up".into(), self.peer.log());
            return;
        }
        let mut observers = Observers::new(self.wire, primary);
        // How a value is kept hangs on its past, which a replica does not have.
        let is_past = |kind: &str| kind.contains("OBJECT ENCODING");
        let differences = state::compare(&mut observers, None);
        for difference in differences.into_iter().filter(|found| !is_past(&found.kind)) {
            let text =
                format!("{}\n  (the first is the replica, the second Annulet)", difference.text);
            findings.note(format!("replica: {}", difference.kind), text);
        }
    }
}

impl Session<'_> {
    /// Makes one pipeline, sends it to both and compares; how many commands it had.
    fn pipeline(&mut self) -> std::io::Result<u64> {
        let at = self.generator.dice.below(CONNECTIONS as u64) as usize;
        let mades = self.made(at);
        let mut bytes = Vec::new();
        mades.iter().for_each(|made| put_request(&mut bytes, &made.words));
        let first = self.history.len();
        for made in &mades {
            let words = made.words.clone();
            self.history.push_back(Sent { connection: at, words, reply: Vec::new() });
        }
        self.theirs[at].send(&bytes)?;
        self.ours[at].send(&bytes)?;
        let theirs = self.theirs[at].replies(mades.len())?;
        let ours = self.ours[at].replies(mades.len())?;
        for (place, reply) in theirs.iter().enumerate() {
            self.history[first + place].reply = reply.clone();
        }
        for (place, made) in mades.iter().enumerate() {
            self.tally.count(made);
            if !self.compare(at, first + place, made, &ours[place], &theirs[place]) {
                self.start_again();
                break;
            }
        }
        let surplus = self.history.len().saturating_sub(HISTORY_MAX);
        self.history.drain(..surplus);
        Ok(mades.len() as u64)
    }

    fn made(&mut self, at: usize) -> Vec<Made> {
        let dice = &mut self.generator.dice;
        let longest = *dice.pick(&[1, 1, 4, 15, 50]);
        let count = dice.between(1, longest);
        let mut mades = Vec::new();
        let mut bytes = 0;
        while (mades.len() as u64) < count && bytes < PIPELINE_BYTES_MAX {
            let ends = self.standings[at].is_multi && self.generator.dice.one_in(8);
            let end = if ends { self.generator.named("EXEC") } else { None };
            let made = end.unwrap_or_else(|| self.generator.any());
            let is_plain = made.words.len() == 1;
            match made.command.name {
                "MULTI" if is_plain => self.standings[at].is_multi = true,
                "EXEC" | "DISCARD" | "RESET" if is_plain => self.standings[at].is_multi = false,
                _ => {}
            }
            if made.command.name == "DBSIZE" {
                let keys = KEYS.iter().copied();
                let words = [&b"EXISTS"[..]].into_iter().chain(keys).map(<[u8]>::to_vec).collect();
                mades.push(Made { command: &LOOK, words, options: Vec::new() });
            }
            bytes += made.words.iter().map(Vec::len).sum::<usize>();
            let is_reset = made.command.name == "RESET";
            mades.push(made);
            if is_reset {
                let version = self.setup.protocol.to_string().into_bytes();
                let words = vec![b"HELLO".to_vec(), version];
                mades.push(Made { command: &GREETING, words, options: Vec::new() });
            }
        }
        mades
    }

    /// Whether two replies agree; notes it if not.
    fn compare(
        &mut self,
        at: usize,
        place: usize,
        made: &Made,
        ours: &[u8],
        theirs: &[u8],
    ) -> bool {
        let name = made.command.name;
        let is_queued = theirs == b"+QUEUED\r\n";
        let names: Vec<_> = self.standings[at].queued.iter().map(|(_, name)| *name).collect();
        let queued = &mut self.standings[at].queued;
        let kind = match name {
            "EXEC" if !is_queued && !agrees_queued(&checks(queued), ours, theirs) => {
                kind_of_exec(queued, ours, theirs)
            }
            "EXEC" => String::new(),
            _ if is_queued && ours == theirs => String::new(),
            _ if made.check().agrees(ours, theirs) => String::new(),
            _ => format!("{name}: {} against {}", sort_of(ours), sort_of(theirs)),
        };
        if is_queued {
            queued.push((made.check(), name));
        } else if name == "EXEC" || (made.words.len() == 1 && matches!(name, "DISCARD" | "RESET")) {
            // A wrong EXEC ends the transaction too.
            queued.clear();
        }
        if let Some(payload) = wire::text(theirs).filter(|_| name == "DUMP") {
            self.generator.keep_payload(payload);
        }
        if kind.is_empty() {
            return true;
        }
        let line = shown_args(&made.words);
        let replies = format!("  Annulet: {}\n  Valkey:  {}", shown(ours), shown(theirs));
        let before = self.told_before(place, &made.words, at);
        let queue = if names.is_empty() { String::new() } else { names.join(", ") + " queued" };
        self.findings.note(kind, format!("  {at}> {line}  {queue}\n{replies}\n{before}"));
        false
    }

    /// The last commands before `place` that had to do with the keys among `words`.
    fn told_before(&self, place: usize, words: &[Vec<u8>], at: usize) -> String {
        let is_key = |word: &&Vec<u8>| KEYS.contains(&word.as_slice());
        let keys: Vec<_> = words[1..].iter().filter(is_key).collect();
        let concerns = |sent: &&Sent| {
            let is_near = sent.connection == at && keys.is_empty();
            let name = sent.words[0].to_ascii_uppercase();
            let is_wide = [&b"MULTI"[..], b"EXEC", b"SELECT", b"SWAPDB", b"FLUSHALL", b"FLUSHDB"];
            let has_all = sent.words.len() > KEYS.len();
            is_near
                || is_wide.contains(&name.as_slice())
                || (!has_all && keys.iter().any(|key| sent.words[1..].contains(key)))
        };
        let lines = self.history.iter().take(place).rev().filter(concerns).take(TOLD_MAX);
        let line = |sent: &Sent| {
            let words = shown_args(&sent.words);
            format!("    {}> {words}  =  {}\n", sent.connection, shown(&sent.reply))
        };
        let mut lines: Vec<String> = lines.map(line).collect();
        lines.reverse();
        format!("  before it:\n{}", lines.concat())
    }

    /// Compares all keys, and sometimes starts from none.
    fn state(&mut self) {
        let walk = self.generator.named("SCAN").map(|made| made.words);
        let differences = state::compare(&mut self.observers, walk);
        let are_same = differences.is_empty();
        for difference in differences {
            let words = [Vec::new(), difference.key];
            let before = self.told_before(self.history.len(), &words, 0);
            self.findings.note(difference.kind, format!("{}\n{before}", difference.text));
        }
        if !are_same || self.generator.dice.one_in(2) {
            self.start_again();
        }
    }

    /// Brings both servers and all connections to the same state: empty.
    fn start_again(&mut self) {
        let version = self.setup.protocol.to_string();
        for wire in self.ours.iter_mut().chain(&mut self.theirs) {
            let replies =
                wire.ask_all(&[&["RESET"][..], &["HELLO", &version], &["FLUSHALL"], &["PING"]]);
            assert_eq!(replies[3], b"+PONG\r\n", "a connection does not come to itself");
        }
        self.standings.iter_mut().for_each(|standing| *standing = Standing::default());
        self.history.clear();
    }

    /// A connection has ended, or a server says nothing more.
    fn broken(&mut self, error: &std::io::Error, log: &str) {
        let from = self.history.len().saturating_sub(TOLD_MAX * 8);
        let line = |sent: &Sent| format!("    {}> {}\n", sent.connection, shown_args(&sent.words));
        let lines: String = self.history.iter().skip(from).map(line).collect();
        self.findings.note(
            format!("a connection broke: {error}"),
            format!("  the last commands:\n{lines}\n  Annulet's log:\n{log}"),
        );
    }
}

fn checks(queued: &[(Check, &'static str)]) -> Vec<Check> {
    queued.iter().map(|(check, _)| *check).collect()
}

/// Says which of the commands of a transaction have disagreed.
fn kind_of_exec(queued: &[(Check, &'static str)], ours: &[u8], theirs: &[u8]) -> String {
    if let (Some(one), Some(other)) = (wire::children(ours), wire::children(theirs))
        && one.len() == other.len()
    {
        for ((check, name), (ours, theirs)) in queued.iter().zip(one.into_iter().zip(other)) {
            if !check.agrees(ours, theirs) {
                return format!("EXEC of {name}: {} against {}", sort_of(ours), sort_of(theirs));
            }
        }
    }
    format!("EXEC: {} against {}", sort_of(ours), sort_of(theirs))
}
