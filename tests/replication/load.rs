//! The written data: strings of all kinds, and random commands that change them.

use super::support::{connect, demand};
use super::wire::{Wire, put_request};
use annulet::base::clock::Clock;
use annulet::base::rng::Rng;
use std::sync::atomic::{AtomicBool, Ordering};

/// Number of databases that one mix writes to.
pub const MIX_DATABASES: u64 = 4;

const KEYS: u64 = 300;
const COUNTERS: u64 = 20;
const LARGE_BYTES: usize = 5 << 20;

/// The forms of commands. A single capital letter stands for a random argument:
///
/// ```text
///   K key   N counter   V value   I integer   F float   O offset   B bit   D database
///   L seconds, far away   S milliseconds, near   A Unix seconds, far   M Unix milliseconds, near
/// ```
const FORMS: &[&str] = &[
    "SET K V",
    "SET K V",
    "SET K V EX L",
    "SET K V PX S",
    "SET K V EXAT A",
    "SET K V PXAT M",
    "SET K V NX",
    "SET K V XX",
    "SET K V GET",
    "SET K V KEEPTTL",
    "SET K V IFEQ V",
    "SET K V XX GET PX S",
    "SET K V NX EX L GET",
    "SETNX K V",
    "SETEX K L V",
    "PSETEX K S V",
    "GETSET K V",
    "GETDEL K",
    "GETEX K PX S",
    "GETEX K EXAT A",
    "GETEX K PXAT M",
    "GETEX K PERSIST",
    "DELIFEQ K V",
    "APPEND K V",
    "SETRANGE K O V",
    "SETBIT K O B",
    "BITFIELD K SET u8 O I INCRBY i5 O I",
    "BITOP XOR K K K",
    "BITOP NOT K K",
    "BITOP AND K K K",
    "INCR N",
    "DECR N",
    "INCRBY N I",
    "DECRBY N I",
    "INCRBYFLOAT N F",
    "MSET K V K V K V",
    "MSET K V K V N I",
    "MSETNX K V K V",
    "MSETEX 2 K V K V PX S",
    "MSETEX 2 K V K V XX EX L",
    "DEL K K K",
    "DEL K",
    "UNLINK K K",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K",
    "COPY K K REPLACE",
    "COPY K K DB D REPLACE",
    "MOVE K D",
    "EXPIRE K L",
    "PEXPIRE K S",
    "EXPIREAT K A NX",
    "PEXPIREAT K M",
    "PERSIST K",
    "TOUCH K K",
    "GET K",
    "MGET K K K",
    "STRLEN K",
    "EXISTS K K K",
    "GETRANGE K 0 5",
    "BITCOUNT K",
    "PTTL K",
    "OBJECT ENCODING K",
    "SCAN 0",
    "RANDOMKEY",
    "SELECT D",
];

/// Forms for whole databases, used once in [`RARE_ONE_IN`] commands. The last one affects all
/// databases, so only mixes that start at database 0 use it.
const RARE_FORMS: &[&str] =
    &["SWAPDB D D", "SWAPDB D D", "FLUSHDB", "FLUSHDB ASYNC", "KEYS key:1*", "DBSIZE", "FLUSHALL"];
const RARE_ONE_IN: u64 = 300;

/// Generates random commands.
pub struct Mix {
    rng: Rng,
    first_db: u64,
    forms: Vec<&'static str>,
}

impl Mix {
    /// Creates a mix that writes to [`MIX_DATABASES`] databases from `first_db` on.
    pub fn new(seed: u64, first_db: u64) -> Mix {
        Mix { rng: Rng::new(seed), first_db, forms: FORMS.to_vec() }
    }

    /// Removes forms with a near expiry, whose effects depend on the time and not only on the
    /// commands.
    pub fn without_ends(mut self) -> Mix {
        let has_end = |form: &str| form.split(' ').any(|arg| matches!(arg, "S" | "M"));
        self.forms.retain(|form| !has_end(form));
        self
    }

    fn range(&mut self, from: i64, to: i64) -> String {
        (from + self.rng.below((to - from + 1) as u64) as i64).to_string()
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.rng.below(40) {
            0..=14 => return format!("v{}", self.rng.below(3)).into_bytes(),
            15..=19 => return self.range(-1_000_000, 1_000_000).into_bytes(),
            20..=29 => self.rng.below(45),
            30..=38 => self.rng.below(1_500),
            _ => 20_000,
        };
        let first = self.rng.next_u64();
        (0..len).map(|at| (first.rotate_left(at as u32 % 64) >> (at / 64 % 8)) as u8).collect()
    }

    fn arg(&mut self, form: &str) -> Vec<u8> {
        let now_ms = Clock::System.unix_ms() as i64;
        match form {
            "K" => format!("key:{}", self.rng.below(KEYS)).into_bytes(),
            "N" => format!("counter:{}", self.rng.below(COUNTERS)).into_bytes(),
            "V" => self.value(),
            "I" => self.range(-50, 50).into_bytes(),
            "F" => format!("{}e-2", self.range(-500, 500)).into_bytes(),
            "O" => self.range(0, 400).into_bytes(),
            "B" => self.range(0, 1).into_bytes(),
            "D" => (self.first_db + self.rng.below(MIX_DATABASES)).to_string().into_bytes(),
            "L" => self.range(10_000, 20_000).into_bytes(),
            "S" => self.range(1, 150).into_bytes(),
            "A" => (now_ms / 1_000 + 10_000).to_string().into_bytes(),
            "M" => self.range(now_ms - 20, now_ms + 150).into_bytes(),
            literal => literal.as_bytes().to_vec(),
        }
    }

    fn command(&mut self, forms: &[&str]) -> Vec<Vec<u8>> {
        let form = forms[self.rng.below(forms.len() as u64) as usize];
        form.split(' ').map(|arg| self.arg(arg)).collect()
    }

    fn common(&mut self) -> Vec<Vec<u8>> {
        let form = self.forms[self.rng.below(self.forms.len() as u64) as usize];
        form.split(' ').map(|arg| self.arg(arg)).collect()
    }

    /// Appends a pipeline of some commands, sometimes in a transaction; returns their number.
    pub fn pipeline(&mut self, bytes: &mut Vec<u8>) -> usize {
        let mut count = 0;
        let mut put = |args: &[Vec<u8>]| {
            put_request(bytes, args);
            count += 1;
        };
        let (is_watching, is_transaction) = (self.rng.below(12) == 0, self.rng.below(4) == 0);
        if is_watching {
            put(&self.command(&["WATCH K K", "WATCH K"]));
        }
        if is_transaction {
            put(&self.command(&["MULTI"]));
        }
        for _ in 0..=self.rng.below(16) {
            let is_rare = self.rng.below(RARE_ONE_IN) == 0;
            let rare = &RARE_FORMS[..RARE_FORMS.len() - usize::from(self.first_db > 0)];
            let args = if is_rare { self.command(rare) } else { self.common() };
            put(&args);
        }
        if is_transaction {
            put(&self.command(&["EXEC", "EXEC", "EXEC", "EXEC", "EXEC", "EXEC", "DISCARD"]));
        }
        count
    }
}

/// Writes pipelines until `is_over`; returns the number of commands. Any reply is acceptable,
/// except the error for an unknown command.
pub fn write_until(port: u16, mut mix: Mix, is_over: &AtomicBool) -> u64 {
    let mut wire = connect(port);
    demand(&mut wire, &["SELECT", &mix.first_db.to_string()]);
    let mut sent = 0;
    let mut bytes = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        bytes.clear();
        let count = mix.pipeline(&mut bytes);
        wire.send(&bytes).expect("the primary takes bytes");
        for reply in wire.replies(count).expect("the primary answers") {
            let is_unknown = reply.starts_with(b"-ERR unknown");
            assert!(!is_unknown, "{}", String::from_utf8_lossy(&reply));
        }
        sent += count as u64;
    }
    sent
}

/// Fills some databases with strings of all kinds.
pub fn fill(wire: &mut Wire) {
    let mut commands: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut set = |args: &[&[u8]]| commands.push(args.iter().map(|arg| arg.to_vec()).collect());
    for db in 0..6u8 {
        set(&[b"SELECT", db.to_string().as_bytes()]);
        for number in 0..120 {
            let key = format!("filled:{db}:{number}");
            let text = "t".repeat(number * number / 10);
            set(&[b"SET", key.as_bytes(), text.as_bytes()]);
            let seconds = (10_000 + number).to_string();
            set(&[b"SETEX", format!("e:{key}").as_bytes(), seconds.as_bytes(), text.as_bytes()]);
            set(&[b"SET", format!("s:{key}").as_bytes(), b"soon", b"PX", b"300"]);
            set(&[b"SETBIT", format!("b:{key}").as_bytes(), number.to_string().as_bytes(), b"1"]);
        }
        for byte in 0..=255u8 {
            set(&[b"SET", &[byte], &[byte, 0, 13, 10, byte]]);
            set(&[b"SET", &[db, 0, byte, b'\r', b'\n'], &[]]);
        }
        for bits in 0..63 {
            let number = 1i64 << bits;
            for number in [number, -number, number - 1, i64::MIN + number] {
                let number = number.to_string();
                set(&[b"SET", format!("i:{number}").as_bytes(), number.as_bytes()]);
            }
        }
        set(&[b"SET", b"", b"a key without a name"]);
    }
    set(&[b"SET", b"large", &vec![b'x'; LARGE_BYTES]]);
    let noise: Vec<u8> = (0..LARGE_BYTES as u64).map(|at| Rng::new(at).next_u64() as u8).collect();
    set(&[b"SET", b"noise", &noise, b"EX", b"5000"]);
    set(&[b"SELECT", b"0"]);
    for commands in commands.chunks(200) {
        let args: Vec<&[Vec<u8>]> = commands.iter().map(|args| &args[..]).collect();
        for reply in wire.ask_all(&args) {
            assert!(!reply.starts_with(b"-"), "{}", String::from_utf8_lossy(&reply));
        }
    }
}
