//! The replication stream, byte for byte: both servers get the same commands, and their streams are
//! compared.
//!
//! Three differences are allowed. Times computed by a server follow its own clock, within
//! [`CLOCK_MS_MAX`]. On several shards, the keys of one DEL, UNLINK or MSET are grouped by shard
//! instead of in the command's order; their arguments (of MSET: pairs) are compared as a set. Also
//! on several shards, the keys of a shard on which DEL or UNLINK has found none are left out.

use super::link::{Args, Link};
use super::load::Mix;
use super::peer::{self, Peer};
use super::primary::Primary;
use super::seed;
use super::support::connect;
use super::wire::Wire;
use annulet::base::clock::Clock;
use std::thread;
use std::time::Duration;

/// Largest difference of times that both servers compute, in milliseconds.
const CLOCK_MS_MAX: u64 = 5_000;

/// Numbers from this one on are taken as Unix milliseconds.
const TIMES_FROM: u64 = 1_000_000_000_000;

/// Ends a script in the stream.
const MARKER: &str = "marker";

/// Scripts: commands separated by `;`. `{now+N}` is Unix milliseconds, `{now_s+N}` seconds, `''` is
/// empty. `PAUSE N` waits N milliseconds. The keys a b c d are on different shards of four.
const SCRIPTS: &[&str] = &[
    "SET a 1; set a 2; GET a; SET a 1 NX; SET b 1 XX; SET a 3 XX; SET a 4 GET; SET a 5 XX GET",
    "SET a 1 EX 100; SET a 1 PX 100000; SET a 1 EXAT {now_s+100}; SET a 1 pxat {now+100000}",
    "SET a 1 EX 100 NX; DEL a; SET a 1 NX EX 100; SET a 1 KEEPTTL; SET a 1 XX KEEPTTL GET",
    "SET a 1; SET a 2 IFEQ 1; SET a 3 IFEQ 1; SET a 3 IFEQ 2 GET; SET a 3 IFEQ 3 EX 100",
    "SET a 1; SET a 2 PXAT 1; GET a; SET a 1 EXAT 1; SET b 1; SETEX b 10 x; PSETEX b 10000 x",
    "SETNX a 1; SETNX a 2; GETSET a 3; GETSET b 4; APPEND a x; APPEND c x; SETRANGE a 3 xx",
    "SETRANGE a 0 ''; SETRANGE none 0 ''; INCR n; INCRBY n 5; INCRBY n 0; DECR n; DECRBY n 3",
    "SET f 10; INCRBYFLOAT f 0.1; INCRBYFLOAT f 3.0e3; INCRBYFLOAT new 1; INCR f; SET a x; INCR a",
    "SET a 1; GETEX a; GETEX a EX 100; GETEX a PXAT {now+9000}; GETEX a PERSIST; GETEX a PERSIST",
    "SET a 1; GETEX a PXAT 1; GETDEL a; SET a 1; GETDEL a; SET a 5; DELIFEQ a 6; DELIFEQ a 5",
    "MSET a 1; MSET a 1 b 2; MSET a 1 b 2 c 3 d 4 a 5; MSETNX a 1 e 2; MSETNX e 1 f 2 g 3",
    "MSETEX 2 a 1 b 2; MSETEX 2 a 1 c 2 EX 100; MSETEX 2 a 1 b 2 NX; MSETEX 2 a 1 b 2 XX KEEPTTL",
    "SETBIT a 7 1; SETBIT a 7 1; GETBIT a 7; SETBIT new 0 0; BITCOUNT a; BITPOS a 1",
    "SET a x; SET b y; BITOP AND c a b; BITOP NOT d a; BITOP OR d none other; BITOP XOR c a none",
    "BITFIELD a SET u8 0 200 INCRBY i5 3 1 GET u8 0; BITFIELD a GET u8 0; BITFIELD_RO a GET u8 0",
    "BITFIELD a OVERFLOW FAIL INCRBY u8 0 100",
    "SET a 1; SET b 2; SET c 3; DEL a b; DEL none; DEL a none c; SET a 1; UNLINK a b c d",
    "SET a 1; RENAME a b; RENAME b b; RENAME none b; RENAMENX b c; SET a 1; RENAMENX a c",
    "SET a 1 EX 100; RENAME a d; COPY d a; COPY d a; COPY d a REPLACE; COPY none a; COPY d d2 DB 1",
    "SET a 1; MOVE a 2; MOVE a 2; SET a 2; MOVE a 2; SELECT 2; DEL a; SELECT 0",
    "SET a 1; EXPIRE a 100; EXPIRE a 100 NX; EXPIRE a 200 XX; PEXPIRE a 100000 LT; EXPIRE none 1",
    "SET a 1; EXPIREAT a {now_s+50}; PEXPIREAT a {now+50000}; pexpireat a {now+60000}; PERSIST a",
    "PERSIST a; SET a 1; EXPIRE a -1; SET a 1; PEXPIREAT a 1; SET a 1; EXPIREAT a 0; TOUCH a",
    "SET a 1 PX 30; PAUSE 500; GET a; SET b 1 PX 20; PAUSE 500; SET b 2 NX",
    "SELECT 3; SET a 1 PX 30; SELECT 0; PAUSE 500; SELECT 3; EXISTS a; SELECT 0; SET a 1",
    "SELECT 1; SELECT 2; GET a; SELECT 0; SET a 1; SELECT 5; SET a 1; SELECT 5; SET b 1; SELECT 0",
    "MULTI; EXEC; MULTI; GET a; EXEC; MULTI; SET a 1; EXEC; MULTI; SET a 1; GET a; INCR a; EXEC",
    "MULTI; SET a 1; SET b 2; SET c 3; DEL a; EXEC; MULTI; SET a 1; DISCARD",
    "MULTI; SET; SET a 1; EXEC; SET a 2",
    "MULTI; SET a 1; SELECT 1; SET a 2; SELECT 0; SET b 3; EXEC",
    "MULTI; SELECT 4; EXEC; SET a 1; SELECT 0",
    "MULTI; SELECT 2; INCR n; EXEC; MULTI; INCR n; SELECT 0; INCR n; EXEC; INCR n",
    "SET a x; MULTI; INCR a; SET b 1; EXEC; MULTI; INCR a; EXEC; MULTI; SET a 1 NX; SET b 2; EXEC",
    "WATCH a; SET a 1; MULTI; SET b 9; EXEC; WATCH a; MULTI; SET b 8; SET c 8; EXEC; UNWATCH",
    "MULTI; MSET a 1 b 2; RENAME a c; GETDEL b; SET d 1 EX 100; GETEX d PERSIST; EXEC",
    "MULTI; SET a 1 PXAT 1; SET b 1; SET b 2 PXAT 1; EXEC",
    "MULTI; INCRBYFLOAT f 1.5; SET a 1 GET; EXEC",
    "SET a 1; MULTI; FLUSHDB; SET a 2; EXEC; MULTI; SWAPDB 0 1; SET a 3; SWAPDB 0 1; EXEC",
    "SET a 1; SWAPDB 0 1; SWAPDB 1 1; SET a 2; SWAPDB 0 1; SELECT 1; FLUSHDB; SELECT 0",
    "FLUSHDB ASYNC; FLUSHDB; SET a 1; FLUSHALL; FLUSHALL; SELECT 7; FLUSHALL; SELECT 0; SET a 1",
    "PUBLISH a x; SPUBLISH a x; SELECT 3; PUBLISH b y; SELECT 0; publish c z; PUBLISH a ''",
    "MULTI; PUBLISH a x; EXEC; MULTI; SET a 1; PUBLISH a x; INCR a; EXEC",
    "MULTI; PING; PUBLISH a x; EXEC; MULTI; PUBLISH a x; PING; SET a 1; EXEC",
    "MULTI; SET a 1; PUBLISH x 1; SET b 2; PUBLISH x 2; SPUBLISH x 3; SET c 3; SET d 4; EXEC",
    "PING; ECHO x; CONFIG SET slowlog-max-len 128; DBSIZE; KEYS *; RANDOMKEY; TYPE a",
    "NOSUCHCOMMAND; SET a; SET a 1 EX; EXPIRE a x; INCRBY a x; SELECT 99; SWAPDB 0 99",
];

/// Returns the arguments of a command.
fn args(text: &str) -> Vec<Vec<u8>> {
    let now_ms = Clock::System.unix_ms();
    let time = |inside: &str| {
        let (unit, plus) = inside.split_once('+').expect("a unit and a distance");
        let plus: u64 = plus.parse().expect("a number");
        if unit == "now" { now_ms + plus } else { now_ms / 1_000 + plus }
    };
    let arg = |arg: &str| match arg.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(inside) => time(inside).to_string().into_bytes(),
        None if arg == "''" => Vec::new(),
        None => arg.as_bytes().to_vec(),
    };
    text.split_whitespace().map(arg).collect()
}

/// One server, and a link to its stream.
struct Side {
    wire: Wire,
    link: Link,
}

impl Side {
    fn new(port: u16) -> Side {
        Side { wire: connect(port), link: Link::attach(port, &["SYNC"]) }
    }

    /// Returns the stream's commands up to the next value of the marker.
    fn told(&mut self, number: usize) -> Vec<Args> {
        self.wire.ask(&["SET", MARKER, &number.to_string()]);
        let end = ["SET", MARKER, &number.to_string()].map(|arg| arg.as_bytes().to_vec());
        let mut told = Vec::new();
        loop {
            let args = self.link.command();
            if args == end {
                return told;
            }
            if !args[0].eq_ignore_ascii_case(b"PING") {
                told.push(args);
            }
        }
    }
}

/// Whether two arguments are equal, or two times computed at nearly the same moment.
fn is_same_word(ours: &[u8], theirs: &[u8]) -> bool {
    let time = |arg: &[u8]| std::str::from_utf8(arg).ok()?.parse::<u64>().ok();
    ours == theirs
        || match (time(ours), time(theirs)) {
            (Some(a), Some(b)) => a > TIMES_FROM && a.abs_diff(b) < CLOCK_MS_MAX,
            _ => false,
        }
}

/// Whether two commands are equal, apart from the order of their keys.
fn is_same_set(ours: &Args, theirs: &Args) -> bool {
    let size = match &theirs[0].to_ascii_lowercase()[..] {
        b"del" | b"unlink" => 1,
        b"mset" => 2,
        _ => return is_same_command(ours, theirs),
    };
    let items = |args: &Args| {
        let mut items: Vec<Args> = args[1..].chunks(size).map(<[_]>::to_vec).collect();
        // Of several values of a key the last one counts, so they keep their order.
        items.sort_by(|a, b| a[0].cmp(&b[0]));
        items
    };
    let (our_items, their_items) = (items(ours), items(theirs));
    let is_subset = our_items.iter().all(|item| their_items.contains(item));
    ours[0] == theirs[0] && if size == 1 { is_subset } else { our_items == their_items }
}

fn is_same_command(ours: &Args, theirs: &Args) -> bool {
    let mut pairs = ours.iter().zip(theirs);
    ours.len() == theirs.len() && pairs.all(|(one, other)| is_same_word(one, other))
}

fn is_same(ours: &[Args], theirs: &[Args], has_order: bool) -> bool {
    let is_same = if has_order { is_same_command } else { is_same_set };
    let mut pairs = ours.iter().zip(theirs);
    ours.len() == theirs.len() && pairs.all(|(one, other)| is_same(one, other))
}

fn shown(told: &[Args]) -> String {
    let arg = |arg: &Vec<u8>| match String::from_utf8_lossy(arg) {
        empty if empty.is_empty() => "''".to_string(),
        arg => arg.into_owned(),
    };
    let line = |args: &Args| args.iter().map(arg).collect::<Vec<_>>().join(" ");
    told.iter().map(line).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_stream_equals_the_peer_s() {
    let Some(program) = peer::program() else { return };
    let peer = Peer::start_with(&program, &["--repl-diskless-sync-delay", "0"]);
    let ours = [1, 4].map(|shards| (shards, Primary::start(&program, shards, &[])));
    let mut theirs = Side::new(peer.port);
    let mut ours = ours.each_ref().map(|(shards, it)| (*shards, Side::new(it.port())));
    let mut findings = String::new();
    for (number, script) in SCRIPTS.iter().enumerate() {
        for command in script.split(';').map(args) {
            if command[0] == b"PAUSE" {
                let text = std::str::from_utf8(&command[1]).expect("digits");
                thread::sleep(Duration::from_millis(text.parse().expect("a number")));
                continue;
            }
            let reply = theirs.wire.ask(&command);
            for (shards, side) in &mut ours {
                let our_reply = side.wire.ask(&command);
                if our_reply.first() != reply.first() {
                    let [ours, theirs] = [&our_reply, &reply].map(|it| String::from_utf8_lossy(it));
                    findings += &format!("{shards} shards: {script}\n  {ours:?} for {theirs:?}\n");
                }
            }
        }
        let expected = theirs.told(number);
        for (shards, side) in &mut ours {
            let told = side.told(number);
            if !is_same(&told, &expected, *shards == 1) {
                let (told, expected) = (shown(&told), shown(&expected));
                findings +=
                    &format!("{shards} shards: {script}\n  told {told}\n  peer {expected}\n");
            }
        }
    }
    assert!(findings.is_empty(), "\n{findings}");
}

/// Number of pipelines whose streams are compared.
const PIPELINES: usize = 150;

#[test]
fn random_commands_have_equal_streams() {
    let Some(program) = peer::program() else { return };
    let peer = Peer::start_with(&program, &["--repl-diskless-sync-delay", "0"]);
    let ours = [1, 4].map(|shards| (shards, Primary::start(&program, shards, &[])));
    let mut theirs = Side::new(peer.port);
    let mut ours = ours.each_ref().map(|(shards, it)| (*shards, Side::new(it.port())));
    let mut mix = Mix::new(seed(), 0).without_ends();
    for number in 0..PIPELINES {
        let mut bytes = Vec::new();
        let count = mix.pipeline(&mut bytes);
        let sides = ours.iter_mut().map(|(_, side)| side).chain([&mut theirs]);
        for side in sides {
            side.wire.send(&bytes).expect("the server takes bytes");
            side.wire.replies(count).expect("the server answers");
        }
        let expected = theirs.told(number);
        for (shards, side) in &mut ours {
            let told = side.told(number);
            let is_same = is_same(&told, &expected, *shards == 1);
            let sent = String::from_utf8_lossy(&bytes).replace("\r\n", " ");
            let (told, expected) = (shown(&told), shown(&expected));
            assert!(is_same, "{shards} shards, {sent}\ntold {told}\npeer {expected}");
        }
    }
}
