//! Random input for the parsers of untrusted data. Every run is reproducible:
//!
//! ```text
//!   ANNULET_FUZZ_TARGET=parser ANNULET_FUZZ_SEED=17 ANNULET_FUZZ_ITERATIONS=1 \
//!       cargo test --test fuzz
//! ```
//! This runs one iteration of one target; a failure prints the line that repeats it. Without
//! variables every target runs a few hundred iterations from seed 0.

#[path = "fuzz/http.rs"]
mod http;
#[path = "fuzz/tls.rs"]
mod tls;

use annulet::acl::{Acl, Catalogue, NewUsers, read_file};
use annulet::base::extended::Extended;
use annulet::base::number::{FloatText, parse_f64, parse_i64, parse_memory, parse_u64};
use annulet::base::{glob, number};
use annulet::commands::FAMILIES;
use annulet::config::Config;
use annulet::exec::CommandTable;
use annulet::net::Input;
use annulet::rdb::{self, Dialect, Reading};
use annulet::resp::{Args, Error, Limits, Output, Protocol, Reply, Value, reply_end};
use annulet::snapshot::{Batch, FileReader, Trust};
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A sequence of random numbers determined by its seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn bytes(&mut self, len_max: usize, alphabet: &[u8]) -> Vec<u8> {
        (0..self.below(len_max + 1)).map(|_| self.of(alphabet)).collect()
    }
}

/// Runs one target for all its seeds, unless another target is requested.
fn target(name: &str, iterations: u64, run: impl Fn(&mut Random)) {
    let variable = |name: &str| std::env::var(name).ok();
    let number = |name: &str| variable(name).map(|text| text.parse::<u64>().expect("a number"));
    if variable("ANNULET_FUZZ_TARGET").is_some_and(|asked| asked != name) {
        return;
    }
    let first = number("ANNULET_FUZZ_SEED").unwrap_or(0);
    let iterations = number("ANNULET_FUZZ_ITERATIONS").unwrap_or(iterations);
    for seed in first..first + iterations {
        let result = catch_unwind(AssertUnwindSafe(|| run(&mut Random(seed))));
        if let Err(panic) = result {
            eprintln!(
                "ANNULET_FUZZ_TARGET={name} ANNULET_FUZZ_SEED={seed} ANNULET_FUZZ_ITERATIONS=1 \
                 cargo test --test fuzz"
            );
            resume_unwind(panic);
        }
    }
}

const LIMITS: Limits = Limits { bulk_len_max: 1 << 20, authenticated: true };

fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn args(random: &mut Random) -> Vec<Vec<u8>> {
    (0..1 + random.below(6))
        .map(|_| match random.below(20) {
            0 => vec![b'v'; 30_000 + random.below(10_000)],
            1 if random.one_in(8) => vec![b'w'; random.below(1 << 20)],
            2 => random.bytes(300, b"\r\n$*\0\xffa"),
            _ => random.bytes(20, b"abcGETSET"),
        })
        .collect()
}

/// Returns a stream of commands, most of them valid, some damaged.
fn stream(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(20) {
        let from = bytes.len();
        match random.below(8) {
            0 => bytes.extend(random.bytes(40, b"abc \"'\\x4n\t")),
            1 => bytes.extend(random.bytes(30, b"*$-0123\r\n")),
            _ => bytes.extend(encode(&args(random))),
        }
        if random.one_in(3) {
            bytes.extend_from_slice(random.of(&[&b"\r\n"[..], b"\n", b"*0\r\n", b"*-1\r\n"]));
        }
        if random.one_in(12) && bytes.len() > from {
            let at = from + random.below((bytes.len() - from).min(40));
            match random.below(3) {
                0 => bytes[at] = random.next() as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.of(b"$*\r\n019 \"\0")),
            }
        }
    }
    bytes
}

/// How a connection parses a stream: its commands, and how it ended.
#[derive(Debug, PartialEq)]
struct Outcome {
    commands: Vec<Vec<Vec<u8>>>,
    error: Option<Vec<u8>>,
}

fn delivered(bytes: &[u8], mut piece: impl FnMut() -> usize, random: &mut Random) -> Outcome {
    let mut input = Input::default();
    let mut outcome = Outcome { commands: Vec::new(), error: None };
    let (mut spans, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let end = (at + piece()).min(bytes.len());
        input.receive(&bytes[at..end]);
        at = end;
        loop {
            let request = match input.next(&LIMITS, &mut spans) {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(error) => {
                    outcome.error = Some(error.text().into_owned());
                    return outcome;
                }
            };
            if random.one_in(6) {
                input.rewind(&request, &mut spans);
                if random.one_in(2) {
                    input.consume();
                    spans.clear();
                }
                continue;
            }
            let (text, large) = input.parts();
            let args = Args::new(text, request.words(&spans), large);
            outcome.commands.push(args.iter_from(0).map(<[u8]>::to_vec).collect());
        }
        if random.one_in(2) {
            input.consume();
            spans.clear();
            assert!(input.pending_bytes() <= at);
        }
        let bound = (2 << 20) + 8 * at;
        assert!(input.memory_bytes() <= bound, "{} of {bound}", input.memory_bytes());
        if random.one_in(4) {
            input.shrink();
        }
    }
    outcome
}

#[test]
fn parser() {
    target("parser", 400, |random| {
        let bytes = match random.below(4) {
            0 => (0..random.below(500)).map(|_| random.next() as u8).collect(),
            _ => stream(random),
        };
        let whole = delivered(&bytes, || usize::MAX, &mut Random(1));
        let size = random.of(&[1, 7, 100, 5_000, 60_000]);
        let size = if bytes.len() > 20_000 { size.max(100) } else { size };
        let mut sizes = Random(random.next());
        let pieces = delivered(&bytes, || 1 + sizes.below(size), random);
        assert_eq!(whole, pieces);
    });
}

#[test]
fn requests() {
    target("requests", 200, |random| {
        let commands: Vec<_> = (0..random.below(30)).map(|_| args(random)).collect();
        let bytes: Vec<u8> = commands.iter().flat_map(|args| encode(args)).collect();
        let mut sizes = Random(random.next());
        let outcome = delivered(&bytes, || 1 + sizes.below(40_000), random);
        assert_eq!(outcome, Outcome { commands, error: None });
    });
}

/// Writes one random value, and returns what a reader should see.
fn write_value(random: &mut Random, reply: &mut Reply, depth: usize) -> Value {
    let three = reply.protocol() == Protocol::Three;
    let bulk_or =
        |value: Value, text: &[u8]| if three { value } else { Value::Bulk(text.to_vec()) };
    match random.below(if depth == 0 { 9 } else { 12 }) {
        0 => {
            reply.ok();
            Value::Simple(b"OK".to_vec())
        }
        1 => {
            let value = random.next() as i64 >> random.below(64);
            reply.integer(value);
            Value::Integer(value)
        }
        2 => {
            let text = random.bytes(200, b"\r\nab\xff");
            reply.bulk(&text);
            Value::Bulk(text)
        }
        3 => {
            let text = vec![b's'; 16_000 + random.below(1_000)];
            reply.bulk_shared(Bytes::from(text.clone()));
            Value::Bulk(text)
        }
        4 => {
            reply.null();
            Value::Null
        }
        5 => {
            let text = random.bytes(40, b"ab\r\n ");
            reply.error(&Error::unknown_command(&text, [&text[..]].into_iter()));
            let error = Error::unknown_command(&text, [&text[..]].into_iter());
            let shown = error.bytes().iter();
            let blank = |&byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
            Value::Error(shown.map(blank).collect())
        }
        6 => {
            let value = f64::from_bits(random.next());
            reply.double(value);
            let text = FloatText::new(value);
            bulk_or(Value::Double(text.as_bytes().to_vec()), text.as_bytes())
        }
        7 => {
            let value = random.one_in(2);
            reply.boolean(value);
            if three { Value::Boolean(value) } else { Value::Integer(value.into()) }
        }
        8 => {
            let text = random.bytes(50, b"text\r\n");
            reply.verbatim("txt", &text);
            bulk_or(Value::Verbatim(*b"txt", text.clone()), &text)
        }
        9 => {
            let count = random.below(5);
            reply.map(count);
            let mut pair = || {
                let key = write_value(random, reply, depth - 1);
                (key, write_value(random, reply, depth - 1))
            };
            let pairs: Vec<_> = (0..count).map(|_| pair()).collect();
            match three {
                true => Value::Map(pairs),
                false => Value::Array(pairs.into_iter().flat_map(|(a, b)| [a, b]).collect()),
            }
        }
        kind => {
            let count = random.below(12);
            if kind == 10 {
                reply.set(count)
            } else {
                reply.array(count)
            }
            let values = (0..count).map(|_| write_value(random, reply, depth - 1)).collect();
            if kind == 10 && three { Value::Set(values) } else { Value::Array(values) }
        }
    }
}

#[test]
fn replies() {
    target("replies", 300, |random| {
        let mut out = Output::default();
        let protocol = random.of(&[Protocol::Two, Protocol::Three]);
        let mut reply = Reply::new(&mut out, protocol);
        let mut expected = Vec::new();
        for _ in 0..1 + random.below(5) {
            if random.one_in(4) {
                let mark = reply.mark();
                write_value(random, &mut reply, 2);
                reply.truncate(mark);
            }
            expected.push(write_value(random, &mut reply, 3));
            reply.element_end();
        }
        let wire = out.to_vec();
        assert_eq!(wire.len(), out.len());
        let mut copy = Output::default();
        for range in out.elements(Output::default().mark()) {
            copy.append_range(&out, range);
        }
        assert_eq!((copy.to_vec(), copy.len()), (wire.clone(), out.len()));
        let mut at = 0;
        for value in expected {
            let (read, len) = Value::read(&wire[at..]).expect("a whole reply");
            assert_eq!(read, value);
            let cut = random.below(len);
            assert_eq!(reply_end(&wire[at..at + cut]), None);
            at += len;
        }
        assert_eq!(at, wire.len());
        let mut sent = Vec::new();
        out.drain(|piece| sent.extend_from_slice(piece.as_bytes()));
        assert_eq!(sent, wire);
        assert!(out.is_empty());
    });
}

/// Returns the rule texts of a line that ACL LIST shows, in which a selector is one rule.
fn rules_of(line: &[u8]) -> Vec<Vec<u8>> {
    line.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect()
}

#[test]
fn acl_rules() {
    let table = CommandTable::new(FAMILIES);
    let commands = table.walk().map(|entry| (entry.name.as_str(), &entry.command.card));
    let acl = Acl::new(Catalogue::new(commands));
    let heads: &[&[u8]] = &[
        b"+", b"-", b"+@", b"-@", b"~", b"%R~", b"%W~", b"%RW", b"&", b"db=", b">", b"#", b"<",
        b"(", b"(+", b"(~", b"",
    ];
    let tails: &[&[u8]] = &[
        b"get",
        b"config|get",
        b"config|",
        b"select|0",
        b"read",
        b"all",
        b"*",
        b"a*",
        b"0,1",
        b"on",
        b"off",
        b"reset",
        b"allkeys",
        b")",
        b"resetchannels",
        b"nopass",
        b"clearselectors",
    ];
    target("acl_rules", 2_000, |random| {
        let rules: Vec<Vec<u8>> = (0..random.below(8))
            .map(|_| {
                let mut rule = random.of(heads).to_vec();
                rule.extend_from_slice(random.of(tails));
                rule.extend(random.bytes(3, b"*)( |\0\"'\\a,~+\n\xff"));
                rule
            })
            .collect();
        let texts: Vec<&[u8]> = rules.iter().map(Vec::as_slice).collect();
        let new = NewUsers { all_channels: random.one_in(2) };
        let before = acl.find(b"u").map(|user| user.line());
        if acl.set_user(b"u", &texts, new).is_err() {
            assert_eq!(acl.find(b"u").map(|user| user.line()), before, "all rules or none");
            return;
        }
        // The rules that are shown make the same user again. Selectors may have texts that a
        // line cannot have.
        let user = acl.find(b"u").expect("just set");
        if user.others().is_empty() {
            let rules = rules_of(user.rules());
            let texts: Vec<&[u8]> = rules.iter().map(Vec::as_slice).collect();
            let reset: Vec<&[u8]> = [&[&b"reset"[..]][..], &texts].concat();
            acl.set_user(b"again", &reset, new).expect("a line of ACL LIST is valid");
            assert_eq!(acl.find(b"again").expect("just set").rules(), user.rules());
        }
        if random.one_in(4) {
            acl.delete([&b"u"[..]].into_iter());
        }
        let mut text = user.line();
        text.extend(random.bytes(40, b"user a \n+get)(~*\0"));
        let _ = read_file(&text, "file", &acl.catalogue, new);
    });
}

#[test]
fn reader() {
    target("reader", 3_000, |random| {
        let bytes = random.bytes(60, b"+-:$*%~>|_#,(=!0012\r\n\r\n");
        let end = reply_end(&bytes);
        assert!(end.is_none_or(|end| end <= bytes.len()));
        if let Some((_, len)) = Value::read(&bytes) {
            assert_eq!(Some(len), end);
        }
    });
}

/// Tries every way in which the stars could match; without escapes and classes.
fn naive(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|from| naive(rest, &text[from..])),
        [b'?', rest @ ..] => !text.is_empty() && naive(rest, &text[1..]),
        [byte, rest @ ..] => text.first() == Some(byte) && naive(rest, &text[1..]),
    }
}

#[test]
fn globs() {
    target("globs", 30_000, |random| {
        let text = random.bytes(8, b"ab");
        let pattern = random.bytes(8, b"ab*?");
        let expected = if text.is_empty() { pattern.is_empty() } else { naive(&pattern, &text) };
        assert_eq!(glob::matches(&pattern, &text, false), expected, "{pattern:?} {text:?}");
        let upper = text.to_ascii_uppercase();
        assert_eq!(glob::matches(&pattern, &upper, true), expected);
        let wild = random.bytes(12, b"ab*?[]^-\\");
        let matched = glob::matches(&wild, &text, false);
        assert_eq!(matched && glob::is_literal(&wild), wild == text && glob::is_literal(&wild));
        let escaped: Vec<u8> = wild.iter().flat_map(|&byte| [b'\\', byte]).collect();
        assert!(glob::matches(&escaped, &wild, false));
    });
}

#[test]
fn numbers() {
    target("numbers", 10_000, |random| {
        let value = random.next() as i64 >> random.below(64);
        let text = value.to_string();
        assert_eq!(parse_i64(text.as_bytes()), Some(value));
        assert_eq!(parse_u64(text.as_bytes()), u64::try_from(value).ok());
        assert_eq!(Extended::from_i64(value).text(), text.as_bytes());
        assert_eq!(Extended::parse(text.as_bytes()), Some(Extended::from_i64(value)));
        let float = f64::from_bits(random.next());
        if !float.is_nan() {
            assert_eq!(parse_f64(FloatText::new(float).as_bytes()), Some(float));
        }
        let noise = random.bytes(24, b"0123456789-+.eExXpPinfaNkmgb ");
        if let Some(value) = parse_i64(&noise) {
            assert_eq!(value.to_string().as_bytes(), noise);
        }
        let _ = (parse_f64(&noise), parse_memory(&noise), parse_u64(&noise));
        if let Some(number) = Extended::parse(&noise) {
            let text = number.text();
            let again = Extended::parse(&text).expect("printed numbers can be parsed");
            assert!(!again.is_finite() || number::parse_f64(&text).is_some() || text.len() > 300);
        }
    });
}

/// Values in all encodings: a type, and the value.
const BODIES: [&[u8]; 22] = [
    b"\x00\xc3\x05\x15\x00a\xe0\x0b\x00",
    b"\x01\x02\x01a\xc0\x07",
    b"\x02\x02\x01a\x01b",
    b"\x03\x03\x01a\x031.5\x01b\xff\x01c\xfe",
    b"\x04\x02\x01f\x01v\x01g\xc0\x01",
    b"\x05\x02\x01a\0\0\0\0\0\0\xf8\x3f\x01b\0\0\0\0\0\0\xf0\xbf",
    b"\x07\x81\x01\x02\x03\x04\x05\x06\x07\x08",
    b"\x09\x11\x02\x01a\x01\x02b??\x03abc\x01\x00x\xff",
    b"\x0a\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff",
    b"\x0b\x14\x04\0\0\0\x03\0\0\0\xfd\xff\xff\xff\x01\0\0\0p\x11\x01\0",
    b"\x0c\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff",
    b"\x0d\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff",
    b"\x0e\x01\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff",
    b"\x10\x12\x12\0\0\0\x04\0\x81f\x02\x81v\x02\x81n\x02\x0c\x01\xff",
    b"\x11\x16\x16\0\0\0\x04\0\x81b\x02\xdf\xff\x02\x81c\x02\x83inf\x04\xff",
    b"\x12\x02\x02\x0a\x0a\0\0\0\x01\0\x81a\x02\xff\x01\x05large",
    b"\x14\x0c\x0c\0\0\0\x02\0\x81a\x02\x0c\x01\xff",
    b"\x16\x02\x01f\x01v\0\xd8\xc3,\xbb\x03\0\0\x01g\x01w\xff\xff\xff\xff\xff\xff\
      \xff\xff",
    b"\x17\x0f\x0f\0\0\0\x03\0\x81a\x02\x81b\x02\x05\x01\xff",
    b"\x18\x05\0\0\0\0\0\0\0\x02\0\x01a\x01b\x06\x01c\x01d",
    b"\x19\x05\0\0\0\0\0\0\0\x0f\x0f\0\0\0\x03\0\x81a\x02\x81b\x02\x05\x01\xff",
    b"\x15\x01\x10\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01\x30\x30\0\0\0\x13\0\x01\x01\x01\x01\
      \x01\x01\x81a\x02\0\x01\x02\x01\0\x01\0\x01\x01\x01\x04\x01\x01\x01\x01\x01\0\x01\x02\x01\x81\
      a\x02\x02\x01\x81b\x02\x03\x01\x08\x01\xff\x01\x06\x01\x05\x01\x06\x01\x02\x01\x01g\x05\x01\
      \x01\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01\xd6\xf4\xd6\xfe\xa1\x01\0\0\x01\x01\x02me\
      \xd6\xf4\xd6\
      \xfe\xa1\x01\0\0\xd6\xf4\xd6\xfe\xa1\x01\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01",
];

/// Returns a value, often damaged.
fn body(random: &mut Random) -> Vec<u8> {
    let mut body = random.of(&BODIES).to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(body.len());
        match random.below(5) {
            0 => drop(body.remove(at)),
            1 => body.insert(at, random.next() as u8),
            2 => body[at] = body[at].wrapping_add(1),
            3 => body[at] = random.of(b"\0\x01\x02\x7f\x80\x81\xc3\xf0\xfe\xff"),
            _ => body[at] = random.next() as u8,
        }
        if body.is_empty() {
            return vec![0];
        }
    }
    body
}

#[test]
fn values() {
    let config = Config::default();
    let limits = rdb::Limits::of(&config);
    target("values", 20_000, |random| {
        let due_before_ms = random.one_in(2).then_some(7);
        let reading = Reading { limits: &limits, due_before_ms };
        let dialect = random.of(&[Dialect::Common, Dialect::Redis, Dialect::Valkey]);
        let body = body(random);
        if let Ok(rdb::Value::Object(mut object)) = reading.payload(dialect, &body) {
            let mut again = Vec::new();
            rdb::Encoder::new(&mut again, true).object_payload(object.by_ref());
            let (dialect, same) =
                rdb::open_payload(&again, false, true).expect("the payload is valid");
            assert!(reading.payload(dialect, same).is_ok(), "{body:02x?} {same:02x?}");
            while !object.free_step() {}
        }
    });
}

#[test]
fn files() {
    target("files", 3_000, |random| {
        let mut file = random.of(&[&b"REDIS0012"[..], b"REDIS0009", b"VALKEY080"]).to_vec();
        for _ in 0..random.below(6) {
            let body = body(random);
            file.extend_from_slice(random.of(&[
                &b""[..],
                b"\xfe\x01\xfb\x02\x01",
                b"\xfc\x01\0\0\0\0\0\0\0",
                b"\xfa\x01a\xc0\x07",
                b"\xf8\x05\xf9\x07",
                b"\xf5\x04code",
                b"\xf4\x01\x02\x03",
            ]));
            file.push(body[0]);
            file.extend_from_slice(b"\x01k");
            file.extend_from_slice(&body[1..]);
        }
        file.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
        if random.one_in(3) {
            file.truncate(random.below(file.len() + 1));
        }
        let trust = Trust { any_version: random.one_in(2), has_checksum: true };
        let Ok(mut reader) = FileReader::open(&file[..], trust) else { return };
        let mut batch = Batch::default();
        while let Ok(Some(())) = reader.next(|part| {
            if let rdb::Part::Entry(entry) = part {
                batch.add(0, 0, b"k", entry);
            }
            Ok(())
        }) {}
        assert!(reader.offset() <= file.len() as u64);
    });
}
