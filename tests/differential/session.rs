//! One run: two servers, two connections to each, the same pipelines to both, and the comparison.

use super::compare::{Check, agrees_queued, with_plain_scores, with_sorted_maps};
use super::findings::{Findings, shown, shown_args, sort_of};
use super::generate::{Generator, Made};
use super::grammar::{self, Command};
use super::listen::{self, Listeners};
use super::peer::Peer;
use super::script::Scripts;
use super::server::{self, Server};
use super::state::{self, Observers};
use super::tally::Tally;
use super::vocabulary::KEYS;
use super::wire::{self, Wire, put_request};
use std::collections::{HashSet, VecDeque};

/// Connections to each server. Two connections can interfere with each other's `WATCH` and `EXEC`.
const CONNECTIONS: usize = 2;

/// Commands after which all keys are compared.
const BLOCK: u64 = 2_000;

/// Bytes after which a pipeline ends: both servers accept it before the test reads a reply.
const PIPELINE_BYTES_MAX: usize = 64 << 10;

/// Number of commands that are kept, and that are shown with a finding.
const HISTORY_MAX: usize = 4_000;
const TOLD_MAX: usize = 12;

/// Number of commands of a pipeline that are shown with a finding.
const PIPELINE_TOLD_MAX: usize = 60;

/// Sent after a `RESET`, which switches to RESP2.
static GREETING: Command = Command { name: "HELLO", weight: 0, parts: &[], check: Check::Kind };

/// Sent before a `DBSIZE`. Expired keys count until a command touches them, and after a `RANDOMKEY`
/// it is random which ones are left.
static LOOK: Command = Command { name: "EXISTS", weight: 0, parts: &[], check: Check::Exact };

/// Sent last, so that what the commands before it have caused is there before its reply.
static MARK: Command = Command { name: "PING", weight: 0, parts: &[], check: Check::Exact };

/// The classes of notifications while there are some: all but the keys that reads miss. The peer
/// counts a miss for some commands that it refuses afterwards.
const NOTIFICATIONS: &str = "AKEn";

#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub shards: usize,
    pub protocol: u8,
    pub seed: u64,
    /// Weight from which commands of Annulet run on its offload pool.
    pub offload_min: u32,
    /// Whether a second peer replaces Annulet: a disagreement is then random, not a finding.
    pub is_rehearsal: bool,
}

/// Commands that use each of their keys on its own.
const PER_KEY: &[&[u8]] = &[b"DEL", b"UNLINK", b"EXISTS", b"TOUCH", b"MGET", b"MSET", b"MSETEX"];

/// Commands that give a sorted set, or its scores, to another key.
const MOVING: &[&[u8]] = &[
    b"COPY",
    b"RENAME",
    b"RENAMENX",
    b"ZDIFFSTORE",
    b"ZINTERSTORE",
    b"ZRANGESTORE",
    b"ZUNIONSTORE",
];

/// The server under test.
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
        let offload_min = setup.offload_min.to_string();
        let arguments = ["--enable-debug-command", "yes", "--offload-elements-min", &offload_min];
        Subject::Annulet(Server::start(form, &arguments))
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

/// A sent command, and the peer's reply.
struct Sent {
    connection: usize,
    args: Vec<Vec<u8>>,
    /// The place of the command's name, behind the arguments of a script that runs it.
    name_at: usize,
    reply: Vec<u8>,
}

impl Sent {
    fn name(&self) -> Vec<u8> {
        self.args[self.name_at].to_ascii_uppercase()
    }
}

/// The state of one connection, equal on both servers.
#[derive(Default)]
struct Standing {
    /// Whether a transaction is open, according to the commands so far.
    is_multi: bool,
    /// The commands that the next `EXEC` will run.
    queued: Vec<(Check, &'static str)>,
}

struct Session<'a> {
    setup: Setup,
    ours: Vec<Wire>,
    theirs: Vec<Wire>,
    observers: Observers,
    listeners: Listeners,
    /// Whether what the listeners hear is compared.
    is_listening: bool,
    standings: Vec<Standing>,
    generator: Generator,
    history: VecDeque<Sent>,
    tally: &'a mut Tally,
    findings: &'a mut Findings,
}

/// Sends `commands` commands to both servers.
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
        println!("skipped, unknown to Annulet: {}", names.join(", "));
    }
    known.iter().for_each(|command| tally.expect(command));
    Scripts::names(setup.protocol).for_each(|form| tally.expect_form(form));
    let seed = setup.seed ^ (setup.shards as u64) << 32 ^ u64::from(setup.protocol) << 48;
    let (mut ours, mut theirs) = (wires(subject.port()), wires(peer.port));
    let ports = [subject.port(), peer.port];
    let listeners =
        Listeners::new(|server, version| Wire::connect(ports[server], version), setup.protocol);
    let scripts = Scripts::load(&mut ours[0], &mut theirs[0], setup.protocol);
    let mut session = Session {
        setup,
        ours,
        theirs,
        observers,
        listeners,
        is_listening: false,
        standings: (0..CONNECTIONS).map(|_| Standing::default()).collect(),
        generator: Generator::new(known, scripts, setup.protocol, seed),
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

/// A Valkey that follows Annulet, and must have the same keys at the end.
struct Follower {
    peer: Peer,
    wire: Wire,
}

impl Follower {
    /// Creates a follower that has its first snapshot.
    fn of(program: &str, subject: &Subject, setup: Setup) -> Option<Follower> {
        if setup.is_rehearsal {
            return None;
        }
        let port = subject.port().to_string();
        let peer = Peer::start_with(program, &["--replicaof", "127.0.0.1", &port]);
        let mut follower = Follower { wire: Wire::connect(peer.port, 2), peer };
        let mut primary = Wire::connect(subject.port(), 2);
        assert!(state::catches_up(&mut follower.wire, &mut primary), "the replica gets a snapshot");
        Some(follower)
    }

    fn compare(mut self, mut primary: Wire, findings: &mut Findings) {
        if !state::catches_up(&mut self.wire, &mut primary) {
            findings.note("replica: it does not catch up".into(), self.peer.log());
            return;
        }
        let mut observers = Observers::new(self.wire, primary);
        // The encoding of a value depends on its history, which a replica does not have.
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
    /// Generates one pipeline, sends it to both servers and compares; returns its number of
    /// commands.
    fn pipeline(&mut self) -> std::io::Result<u64> {
        let at = self.generator.dice.below(CONNECTIONS as u64) as usize;
        let mades = self.made(at);
        let is_same = self.exchange(at, &mades)?;
        if is_same && (!self.is_listening || self.listen(at)?) {
            return Ok(mades.len() as u64);
        }
        self.start_again();
        Ok(mades.len() as u64)
    }

    /// Sends a pipeline to both servers. Returns whether all replies agree.
    fn exchange(&mut self, at: usize, mades: &[Made]) -> std::io::Result<bool> {
        let mut bytes = Vec::new();
        mades.iter().for_each(|made| put_request(&mut bytes, &made.args));
        let first = self.history.len();
        for made in mades {
            let args = made.args.clone();
            let name_at = made.name_at();
            self.history.push_back(Sent { connection: at, args, name_at, reply: Vec::new() });
        }
        self.theirs[at].send(&bytes)?;
        self.ours[at].send(&bytes)?;
        let theirs = self.theirs[at].replies(mades.len())?;
        let ours = self.ours[at].replies(mades.len())?;
        for (place, reply) in theirs.iter().enumerate() {
            self.history[first + place].reply = reply.clone();
        }
        let mut is_same = true;
        for (place, made) in mades.iter().enumerate() {
            self.tally.count(made);
            is_same = self.compare(at, first + place, made, &ours[place], &theirs[place]);
            if !is_same {
                break;
            }
        }
        let surplus = self.history.len().saturating_sub(HISTORY_MAX);
        self.history.drain(..surplus);
        Ok(is_same)
    }

    /// Compares what all connections have heard of the pipeline on connection `at`. Returns whether
    /// they agree.
    fn listen(&mut self, at: usize) -> std::io::Result<bool> {
        for connection in (0..CONNECTIONS).filter(|connection| *connection != at) {
            let mark = Made::fixed(&MARK, vec![b"PING".to_vec()]);
            if !self.standings[connection].is_multi && !self.exchange(connection, &[mark])? {
                return Ok(false);
            }
        }
        let is_one = self.setup.shards == 1;
        // A key that expires while a unit on the pool has locked it is removed by the next command.
        let is_exact = is_one && self.setup.offload_min > 1;
        let accepts = (!is_one && self.has_per_key(at), is_exact);
        let mut found = self.listeners.compare(&mut self.generator.dice, accepts)?;
        // Those of several shards, and of offloaded commands, come in any order behind the replies
        // of their pipeline.
        for connection in 0..CONNECTIONS {
            if self.standings[connection].is_multi {
                continue;
            }
            let pushes = [&mut self.ours, &mut self.theirs].map(|wires| {
                let pushes = wires[connection].take_pushes().into_iter();
                match is_exact {
                    true => pushes
                        .map(|(at, push)| [format!("{at} ").into_bytes(), push].concat())
                        .collect(),
                    false => listen::keys_of(&pushes.map(|(_, push)| push).collect::<Vec<_>>()),
                }
            });
            let what = format!("pushes to connection {connection}");
            found.extend(listen::difference(&what, &pushes));
        }
        let is_same = found.is_empty();
        for misheard in found {
            let pipeline = self.told_pipeline(at);
            let key = [Vec::new(), misheard.key];
            let before = self.told_before(self.history.len(), &key, at);
            let text = format!("{}\n{pipeline}{before}", misheard.text);
            self.findings.note(misheard.kind, text);
        }
        Ok(is_same)
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
            // They remove random expired keys, or leave keys that have expired already, which a
            // shard may remove at once.
            let name = made.command.name;
            let is_random = ["RANDOMKEY", "SCAN"].contains(&name)
                || (name == "MSETEX" && self.setup.shards > 1);
            // The peer takes such a key for the option, and notifies of a key with another name.
            let is_mistaken = name == "HSETEX"
                && made.args.iter().any(|arg| arg.starts_with(b"FNX") || arg.starts_with(b"FXX"));
            if (is_random || is_mistaken) && self.is_listening {
                continue;
            }
            let is_plain = made.args.len() == 1;
            match made.command.name {
                "MULTI" if is_plain => self.standings[at].is_multi = true,
                "EXEC" | "DISCARD" | "RESET" if is_plain => self.standings[at].is_multi = false,
                _ => {}
            }
            if made.command.name == "DBSIZE" {
                let keys = KEYS.iter().copied();
                let args = [&b"EXISTS"[..]].into_iter().chain(keys).map(<[u8]>::to_vec).collect();
                mades.push(Made::fixed(&LOOK, args));
            }
            bytes += made.args.iter().map(Vec::len).sum::<usize>();
            let is_reset = made.command.name == "RESET";
            mades.push(made);
            if is_reset {
                let version = self.setup.protocol.to_string().into_bytes();
                let args = vec![b"HELLO".to_vec(), version];
                mades.push(Made::fixed(&GREETING, args));
            }
        }
        if !self.standings[at].is_multi {
            mades.push(Made::fixed(&MARK, vec![b"PING".to_vec()]));
        }
        mades
    }

    /// Returns the kind of a disagreement of two replies; nothing if they agree.
    fn kind_of(&self, at: usize, made: &Made, ours: &[u8], theirs: &[u8]) -> String {
        let is_queued = theirs == b"+QUEUED\r\n";
        let (name, queued) = (made.command.name, &self.standings[at].queued);
        match name {
            "EXEC" if !is_queued && !agrees_queued(&checks(queued), ours, theirs) => {
                kind_of_exec(queued, ours, theirs)
            }
            "EXEC" => String::new(),
            _ if is_queued && ours == theirs => String::new(),
            _ if made.check().agrees(ours, theirs) => String::new(),
            _ => format!("{name}: {} against {}", sort_of(ours), sort_of(theirs)),
        }
    }

    /// Returns whether a key of the command at `place`, or of the transaction that it executes, has
    /// been sorted by SORT.
    fn follows_sort_of(&self, at: usize, place: usize) -> bool {
        let mut keys: HashSet<&[u8]> = keys_of(&self.history[place]).collect();
        if self.history[place].args[0].eq_ignore_ascii_case(b"EXEC") {
            let own = self.history.iter().take(place).rev().filter(|sent| sent.connection == at);
            let queued = own.take_while(|sent| sent.reply == b"+QUEUED\r\n");
            keys.extend(queued.flat_map(keys_of));
        }
        self.follows_sort(place, keys)
    }

    /// Returns whether one of these keys was sorted by SORT before the command at `place`, or comes
    /// from such a key.
    fn follows_sort<'a>(&'a self, place: usize, mut keys: HashSet<&'a [u8]>) -> bool {
        for sent in self.history.iter().take(place).rev() {
            let name = sent.name();
            let is_failed = sent.reply.starts_with(b"-");
            if is_failed || !keys_of(sent).any(|key| keys.contains(key)) {
                continue;
            }
            let is_first = || sent.args.get(1).is_some_and(|key| keys.contains(&**key));
            if name.starts_with(b"SORT") && (sent.name_at > 0 || is_first()) {
                return true;
            }
            if MOVING.contains(&name.as_slice()) {
                keys.extend(keys_of(sent));
            }
        }
        false
    }

    /// Returns whether two replies agree; records a finding if not.
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
        let mut kind = self.kind_of(at, made, ours, theirs);
        let mut plain = [ours, theirs].map(with_sorted_maps);
        if !kind.is_empty() {
            kind = self.kind_of(at, made, &plain[0], &plain[1]);
        }
        if !kind.is_empty() && self.follows_sort_of(at, place) {
            plain = plain.map(|reply| with_plain_scores(&reply));
            kind = self.kind_of(at, made, &plain[0], &plain[1]);
        }
        let queued = &mut self.standings[at].queued;
        if is_queued {
            queued.push((made.check(), name));
        } else if name == "EXEC" || (made.args.len() == 1 && matches!(name, "DISCARD" | "RESET")) {
            // An invalid EXEC ends the transaction too.
            queued.clear();
        }
        if let Some(payload) = wire::text(theirs).filter(|_| name == "DUMP") {
            self.generator.keep_payload(payload);
        }
        if kind.is_empty() {
            return true;
        }
        let line = shown_args(&made.args);
        let replies = format!("  Annulet: {}\n  Valkey:  {}", shown(ours), shown(theirs));
        let before = self.told_before(place, &made.args, at);
        let queue = if names.is_empty() { String::new() } else { names.join(", ") + " queued" };
        self.findings.note(kind, format!("  {at}> {line}  {queue}\n{replies}\n{before}"));
        false
    }

    /// Returns the last commands before `place` that used keys among `args`.
    fn told_before(&self, place: usize, args: &[Vec<u8>], at: usize) -> String {
        let is_key = |arg: &&Vec<u8>| KEYS.contains(&arg.as_slice());
        let keys: Vec<_> = args[1..].iter().filter(is_key).collect();
        let concerns = |sent: &&Sent| {
            let is_near = sent.connection == at && keys.is_empty();
            let name = sent.name();
            let is_wide =
                [&b"MULTI"[..], b"EXEC", b"SELECT", b"SWAPDB", b"FLUSHALL", b"FLUSHDB", b"CLIENT"];
            let has_all = sent.args.len() > KEYS.len();
            is_near
                || is_wide.contains(&name.as_slice())
                || (!has_all && keys.iter().any(|key| sent.args[1..].contains(key)))
        };
        let lines = self.history.iter().take(place).rev().filter(concerns).take(TOLD_MAX);
        let line = |sent: &Sent| {
            let args = shown_args(&sent.args);
            format!("    {}> {args}  =  {}\n", sent.connection, shown(&sent.reply))
        };
        let mut lines: Vec<String> = lines.map(line).collect();
        lines.reverse();
        format!("  before it:\n{}", lines.concat())
    }

    /// Returns whether a command of the last pipeline on connection `at` may use keys on several
    /// shards one by one. The notifications of different shards then come in any order.
    fn has_per_key(&self, at: usize) -> bool {
        let own = self.history.iter().rev().skip_while(|sent| sent.connection != at);
        let mut own = own.take_while(|sent| sent.connection == at);
        own.any(|sent| sent.name() == b"EXEC" || PER_KEY.contains(&sent.name().as_slice()))
    }

    /// Returns the last commands, of the pipeline on connection `at`.
    fn told_pipeline(&self, at: usize) -> String {
        let own = self.history.iter().rev().skip_while(|sent| sent.connection != at);
        let own = own.take_while(|sent| sent.connection == at).take(PIPELINE_TOLD_MAX);
        let line = |sent: &Sent| {
            let args = shown_args(&sent.args);
            format!("    {}> {args}  =  {}\n", sent.connection, shown(&sent.reply))
        };
        let mut lines: Vec<String> = own.map(line).collect();
        lines.reverse();
        format!("  the pipeline:\n{}", lines.concat())
    }

    /// Compares all keys, and sometimes restarts without any.
    fn state(&mut self) {
        let walk = self.generator.named("SCAN").map(|made| made.args);
        let mut differences = state::compare(&mut self.observers, walk);
        differences.retain(|found| {
            let keys = HashSet::from([found.key.as_slice()]);
            let is_sorted = self.follows_sort(self.history.len(), keys);
            !(is_sorted && self.observers.have_equal_scores(found))
        });
        let are_same = differences.is_empty();
        for difference in differences {
            let args = [Vec::new(), difference.key];
            let before = self.told_before(self.history.len(), &args, 0);
            self.findings.note(difference.kind, format!("{}\n{before}", difference.text));
        }
        // The comparison has removed random expired keys.
        if !are_same || self.is_listening || self.generator.dice.one_in(2) {
            self.start_again();
        }
    }

    /// Resets both servers and all connections: no keys.
    fn start_again(&mut self) {
        let version = self.setup.protocol.to_string();
        for wire in self.ours.iter_mut().chain(&mut self.theirs) {
            let replies =
                wire.ask_all(&[&["RESET"][..], &["HELLO", &version], &["FLUSHALL"], &["PING"]]);
            assert_eq!(replies[3], b"+PONG\r\n", "a connection does not recover");
            wire.take_pushes();
        }
        // While there are notifications, a pipeline does not run on several shards at once.
        let classes = *self.generator.dice.pick(&[NOTIFICATIONS, NOTIFICATIONS, ""]);
        self.is_listening = !classes.is_empty() || self.generator.dice.one_in(2);
        self.observers.set("notify-keyspace-events", classes);
        self.listeners.forget().expect("the servers answer");
        self.standings.iter_mut().for_each(|standing| *standing = Standing::default());
        self.history.clear();
    }

    /// Records that a connection has ended or a server does not answer.
    fn broken(&mut self, error: &std::io::Error, log: &str) {
        let from = self.history.len().saturating_sub(TOLD_MAX * 8);
        let line = |sent: &Sent| format!("    {}> {}\n", sent.connection, shown_args(&sent.args));
        let lines: String = self.history.iter().skip(from).map(line).collect();
        self.findings.note(
            format!("a connection broke: {error}"),
            format!("  the last commands:\n{lines}\n  Annulet's log:\n{log}"),
        );
    }
}

/// Returns the keys among the arguments of a command.
fn keys_of(sent: &Sent) -> impl Iterator<Item = &[u8]> {
    sent.args[1..].iter().map(Vec::as_slice).filter(|arg| KEYS.contains(arg))
}

fn checks(queued: &[(Check, &'static str)]) -> Vec<Check> {
    queued.iter().map(|(check, _)| *check).collect()
}

/// Returns which commands of a transaction have disagreed.
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
