//! Tests at the boundary of the engine, with a server that knows a few commands.

use super::*;
use crate::base::rng::Rng;
use crate::resp::Span;
use crate::script::host::{AclAnswer, LogLevel, Propagation, Verdict};
use crate::script::libraries::{Libraries, RestorePolicy};
use crate::script::scripts::{Origin, Scripts};
use std::collections::BTreeMap;

/// A server with strings, lists and hashes.
#[derive(Default)]
struct Fake {
    strings: BTreeMap<Vec<u8>, Vec<u8>>,
    lists: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    hashes: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>,
    log: Vec<String>,
    errors: Vec<String>,
    pauses_left: Option<u32>,
    /// The answers to the next pauses, the last one first.
    verdicts: Vec<Verdict>,
}

impl Fake {
    fn run(&mut self, args: &[&[u8]], reply: &mut Reply<'_>) -> Result<(), &'static str> {
        const ARITY: &str = "ERR Wrong number of args calling command from script";
        let name = args[0].to_ascii_lowercase();
        match (name.as_slice(), &args[1..]) {
            (b"ping", []) => reply.simple("PONG"),
            (b"echo", [text]) => reply.bulk(text),
            (b"attribute", []) => reply.output().append_raw(b"|1\r\n+k\r\n*1\r\n:1\r\n$1\r\nv\r\n"),
            (b"set", [key, value]) => {
                self.strings.insert(key.to_vec(), value.to_vec());
                reply.ok();
            }
            (b"get", [key]) if self.lists.contains_key(*key) => {
                return Err("WRONGTYPE Operation against a key holding the wrong kind of value");
            }
            (b"get", [key]) => match self.strings.get(*key) {
                Some(value) => reply.bulk(value),
                None => reply.null(),
            },
            (b"del", [key]) => {
                let gone = self.strings.remove(*key).is_some()
                    | self.lists.remove(*key).is_some()
                    | self.hashes.remove(*key).is_some();
                reply.integer(gone.into());
            }
            (b"incr", [key]) => {
                let value = self
                    .strings
                    .get(*key)
                    .map_or(Ok(0), |text| String::from_utf8_lossy(text).parse::<i64>());
                let value = value.map_err(|_| "ERR value is not an integer or out of range")? + 1;
                self.strings.insert(key.to_vec(), value.to_string().into_bytes());
                reply.integer(value);
            }
            (b"rpush", [key, values @ ..]) => {
                let list = self.lists.entry(key.to_vec()).or_default();
                list.extend(values.iter().map(|value| value.to_vec()));
                reply.integer(list.len() as i64);
            }
            (b"lrange", [key, _, _]) => {
                let list = self.lists.get(*key).cloned().unwrap_or_default();
                reply.array(list.len());
                list.iter().for_each(|value| reply.bulk(value));
            }
            (b"hset", [key, field, value]) => {
                let hash = self.hashes.entry(key.to_vec()).or_default();
                reply.integer(hash.insert(field.to_vec(), value.to_vec()).is_none().into());
            }
            (b"hgetall", [key]) => {
                let hash = self.hashes.get(*key).cloned().unwrap_or_default();
                reply.map(hash.len());
                for (field, value) in hash {
                    reply.bulk(&field);
                    reply.bulk(&value);
                }
            }
            (b"ping" | b"echo" | b"set" | b"get" | b"incr", _) => return Err(ARITY),
            (b"eval" | b"multi", _) => {
                return Err("ERR This Valkey command is not allowed from script");
            }
            _ => return Err("ERR Unknown command called from script"),
        }
        Ok(())
    }
}

impl Host for Fake {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Output) {
        let args: Vec<&[u8]> = args.iter_from(0).collect();
        let mut reply = Reply::new(reply, protocol);
        if let Err(text) = self.run(&args, &mut reply) {
            reply.error_bytes(text.as_bytes());
        }
    }

    fn pause(&mut self) -> Verdict {
        if let Some(verdict) = self.verdicts.pop() {
            return verdict;
        }
        match &mut self.pauses_left {
            Some(0) => Verdict::Kill,
            Some(left) => {
                *left -= 1;
                Verdict::Continue
            }
            None => Verdict::Continue,
        }
    }

    fn log(&mut self, level: LogLevel, line: &[u8]) {
        self.log.push(format!("{level:?} {}", String::from_utf8_lossy(line)));
    }

    fn acl_check(&mut self, args: Args<'_>) -> AclAnswer {
        match &args[0] {
            b"set" => AclAnswer::Allowed,
            b"hset" => AclAnswer::Denied,
            _ => AclAnswer::Invalid,
        }
    }

    fn set_propagation(&mut self, to: Propagation) {
        self.log.push(format!("{to:?}"));
    }

    fn count_error(&mut self, text: &[u8]) {
        self.errors.push(String::from_utf8_lossy(text).into_owned());
    }
}

/// Keys and arguments.
#[derive(Default)]
struct Words {
    keys: Vec<Vec<u8>>,
    argv: Vec<Vec<u8>>,
}

impl Words {
    fn with(&self, run: impl FnOnce(&Invocation<'_>)) {
        let mut text = Vec::new();
        let mut spans = vec![Span::text(0, 0); 3];
        for word in self.keys.iter().chain(&self.argv) {
            spans.push(Span::text(text.len(), word.len()));
            text.extend_from_slice(word);
        }
        let args = Args::new(&text, &spans, &mut []);
        run(&Invocation { args: &args, first_key: 3, keys: self.keys.len() });
    }
}

/// One engine with its server.
struct Bench {
    scripts: Scripts,
    libraries: Libraries,
    loader: Loader,
    vm: Vm,
    fake: Fake,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            scripts: Scripts::default(),
            libraries: Libraries::default(),
            loader: Loader::default(),
            vm: Vm::new(VmOptions::default()),
            fake: Fake::default(),
        }
    }

    /// Loads a library and returns the reply of FUNCTION LOAD.
    fn load(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, Protocol::Two);
        match self.libraries.load(text, true, &self.loader, &mut self.fake) {
            Err(error) => reply.error(&error),
            Ok((libraries, name)) => {
                self.libraries = libraries;
                reply.bulk(&name);
            }
        }
        out.to_vec()
    }

    /// Runs FCALL and returns the reply.
    fn fcall(&mut self, protocol: Protocol, name: &str, words: &Words) -> Vec<u8> {
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, protocol);
        match self.libraries.find(name.as_bytes()).cloned() {
            None => reply.error(&Error::other("ERR Function not found")),
            Some(function) => words.with(|invocation| {
                self.vm.run_function(&function, invocation, &mut self.fake, &mut reply);
            }),
        }
        out.to_vec()
    }

    /// Runs EVAL and returns the reply.
    fn eval(&mut self, protocol: Protocol, body: &[u8], words: &Words) -> Vec<u8> {
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, protocol);
        match self.scripts.add(body, Origin::Eval, &|_| false) {
            Err(error) => reply.error(&error),
            Ok(script) => words.with(|invocation| {
                self.vm.run_script(&script, invocation, &mut self.fake, &mut reply);
            }),
        }
        out.to_vec()
    }

    fn text(&mut self, body: &str) -> String {
        let reply = self.eval(Protocol::Two, body.as_bytes(), &Words::default());
        String::from_utf8_lossy(&reply).into_owned()
    }
}

#[test]
fn scripts_reply() {
    let mut bench = Bench::new();
    assert_eq!(bench.text("return 1"), ":1\r\n");
    assert_eq!(bench.text("return redis.call('incr', 'n')"), ":1\r\n");
    assert_eq!(bench.text("return redis.call('incr', 'n')"), ":2\r\n");
    assert_eq!(
        bench.text("return redis.call('nosuch')"),
        "-ERR Unknown command called from script script: on @user_script:1.\r\n"
    );
}

/// Returns bytes in the form of the table.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\\' => text.push_str("\\\\"),
            32..127 => text.push(byte as char),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// Runs a case of the table: a paragraph whose lines begin with a letter.
fn run_case(bench: &mut Bench, case: &str) -> String {
    let all = |letter: char| -> Vec<String> {
        let lines = case.lines().filter(|line| line.starts_with(letter));
        lines.map(|line| line.get(2..).unwrap_or_default().to_string()).collect()
    };
    bench.fake = Fake::default();
    let bytes = |letter| all(letter).into_iter().map(String::into_bytes).collect();
    let words = Words { keys: bytes('k'), argv: bytes('a') };
    let protocol = if all('p').is_empty() { Protocol::Two } else { Protocol::Three };
    if all('l').is_empty() {
        return shown(&bench.eval(protocol, all('>').join("\n").as_bytes(), &words));
    }
    let loaded = bench.load(all('l').join("\n").as_bytes());
    match all('c').first() {
        Some(name) => shown(&bench.fcall(protocol, name, &words)),
        None => shown(&loaded),
    }
}

/// `scripts/script-cases` runs the table against a real server.
#[test]
fn replies_are_those_of_the_reference() {
    let table = include_str!("../../tests/scripts/cases.txt");
    let mut bench = Bench::new();
    let (mut cases, mut differing) = (0, Vec::new());
    for case in table.split("\n\n").filter(|case| !case.starts_with('#')) {
        let (script, expected) = case.trim_end().rsplit_once("\n= ").expect("a case has a reply");
        let found = run_case(&mut bench, script);
        cases += 1;
        if found != expected {
            differing.push(format!("{script}\n= {expected}\n! {found}\n"));
        }
    }
    assert!(cases > 1_500);
    assert!(differing.is_empty(), "{}\n{} differ", differing.join("\n"), differing.len());
}

/// Starts a script that is suspended at its first pause.
fn suspended(bench: &mut Bench, body: &str) -> RunId {
    bench.fake.verdicts = vec![Verdict::Suspend];
    let mut out = Output::default();
    let mut reply = Reply::new(&mut out, Protocol::Two);
    let script = bench.scripts.add(body.as_bytes(), Origin::Eval, &|_| false).unwrap();
    let mut ran = Ran::Returned;
    Words::default().with(|invocation| {
        ran = bench.vm.run_script(&script, invocation, &mut bench.fake, &mut reply);
    });
    assert!(out.is_empty(), "a suspended script has not replied");
    let Ran::Suspended(id) = ran else { panic!("it is {ran:?}") };
    id
}

fn resumed(bench: &mut Bench, id: RunId) -> (Ran, String) {
    let mut out = Output::default();
    let ran = bench.vm.resume(id, &mut bench.fake, &mut Reply::new(&mut out, Protocol::Two));
    (ran, String::from_utf8_lossy(&out.to_vec()).into_owned())
}

const LONG: &str = "local n = 0 for i = 1, 1e6 do n = n + 1 end return n";

#[test]
fn a_suspended_script_goes_on() {
    let mut bench = Bench::new();
    let id = suspended(&mut bench, LONG);
    assert_eq!(resumed(&mut bench, id), (Ran::Returned, ":1000000\r\n".to_string()));
    // Inside of pcall, of a callback of gsub and of a metamethod.
    let body = "local function long() for i = 1, 1e6 do end return 'x' end \
                local t = setmetatable({}, {__index = function() return long() end}) \
                local ok, s = pcall(string.gsub, 'abc', 'b', function() return t.y end) return s";
    let id = suspended(&mut bench, body);
    assert_eq!(resumed(&mut bench, id), (Ran::Returned, "$3\r\naxc\r\n".to_string()));
}

#[test]
fn scripts_run_while_others_are_suspended() {
    let mut bench = Bench::new();
    let body = "redis.call('incr', 'n') for i = 1, 1e6 do end return redis.call('incr', 'n')";
    let ids: Vec<RunId> = (0..3).map(|_| suspended(&mut bench, body)).collect();
    assert_eq!(bench.text("return redis.call('get', 'n')"), "$1\r\n3\r\n");
    assert_eq!(resumed(&mut bench, ids[1]).1, ":4\r\n");
    bench.fake.verdicts = vec![Verdict::Kill];
    let (ran, text) = resumed(&mut bench, ids[0]);
    assert_eq!(ran, Ran::Failed);
    assert!(text.starts_with("-ERR Script killed by user with SCRIPT KILL."), "{text}");
    bench.vm.abandon(ids[2]);
    assert_eq!(bench.text("return redis.call('get', 'n')"), "$1\r\n4\r\n");
    bench.vm.tidy();
    assert_eq!(bench.vm.eval.engines.len(), 1);
}

#[test]
fn an_idle_state_collects_what_scripts_have_left() {
    let mut bench = Bench::new();
    bench.text("local t = {} for i = 1, 30000 do t[i] = tostring(i) end return #t");
    let before = bench.vm.eval.used_bytes();
    assert!(before > 1 << 20, "{before}");
    (0..100).for_each(|_| bench.vm.tidy());
    let after = bench.vm.eval.used_bytes();
    assert!(after < before / 4, "{after} of {before}");
    assert_eq!(bench.vm.eval.engines[0].rounds_left, 0, "it then rests");
}

#[test]
fn a_suspended_script_is_dropped_with_its_vm() {
    let mut bench = Bench::new();
    suspended(&mut bench, LONG);
}

#[test]
fn above_the_limit_scripts_are_refused() {
    let mut bench = Bench::new();
    let ids: Vec<RunId> = (0..SUSPENDED_MAX).map(|_| suspended(&mut bench, LONG)).collect();
    assert!(bench.text("return 1").starts_with("-BUSY "));
    for id in ids {
        assert_eq!(resumed(&mut bench, id).0, Ran::Returned);
    }
    assert_eq!(bench.text("return 1"), ":1\r\n");
}

#[test]
fn a_suspended_script_moves_to_another_thread() {
    let mut bench = Bench::new();
    let id = suspended(&mut bench, LONG);
    let Bench { vm, .. } = bench;
    let ran = std::thread::spawn(move || {
        let (mut vm, mut out) = (vm, Output::default());
        let ran = vm.resume(id, &mut Fake::default(), &mut Reply::new(&mut out, Protocol::Two));
        (ran, out.to_vec())
    });
    assert_eq!(ran.join().unwrap(), (Ran::Returned, b":1000000\r\n".to_vec()));
}

#[test]
fn a_kill_ends_scripts_that_catch_errors() {
    let mut bench = Bench::new();
    bench.fake.pauses_left = Some(3);
    let text = bench.text("while true do pcall(function() while true do end end) end");
    assert_eq!(text, "-ERR Script killed by user with SCRIPT KILL. script: on @user_script:1.\r\n");
    assert_eq!(bench.fake.log[0], "Notice Script killed by user with SCRIPT KILL.");
}

#[test]
fn hostile_scripts_end() {
    let memory = "not enough memory";
    let cases = [
        ("local s = 'x' while true do s = s .. s end", memory),
        ("return #string.rep('x', 2147483647)", memory),
        ("local t = {} for i = 1, 1e9 do t[i] = i end", memory),
        ("local t = {} for i = 1, 1e9 do t['k' .. i] = i end", memory),
        ("collectgarbage('stop') for i = 1, 1e9 do local s = 'k' .. i end", memory),
        ("return cjson.decode('[' .. string.rep('[],', 1e6) .. '[]]')", memory),
        ("return cmsgpack.unpack('\\221\\0\\255\\255\\255' .. string.rep('\\144', 1e6))", memory),
        ("local t = {} for i = 1, 1e5 do t[i] = 'x' end return {unpack(t)}", "too many results"),
        ("local function f() return pcall(f) end return tostring(f())", ""),
        ("local function f() return coroutine.wrap(f)() end return f()", "C stack overflow"),
        ("local function f(s) return (s:gsub('.', f)) end return f('a')", "C stack overflow"),
        ("local f = loadstring(string.rep('(', 1e5)) return f()", "nil value"),
        ("return ('a'):find(string.rep('a?', 1e5))", "pattern too complex"),
        ("return ('a'):find(string.rep('a', 1e5))", "$-1"),
        ("return xpcall(error, function() error('again') end)", ""),
        ("local t = {} t[1] = t return t", "reached lua stack limit"),
        ("local t = {} for i = 1, 60 do t = {t, t} end return t", "too large"),
        ("return cjson.encode(string.rep('x', 1e6)):len()", ":1000002"),
        (
            "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
            "loop in gettable",
        ),
        (
            "local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function() return true end)",
            "in",
        ),
    ];
    let mut bench = Bench::new();
    for (script, expected) in cases {
        let text = bench.text(script);
        assert!(text.contains(expected), "{script}: {}", &text[text.len().saturating_sub(200)..]);
        bench.vm.tidy();
    }
    assert_eq!(bench.text("return 1"), ":1\r\n");
    bench.scripts.flush();
    bench.vm.tidy();
    assert_eq!(bench.vm.bytes(), (0, 0));
}

#[test]
fn libraries_are_replaced_restored_and_listed() {
    let mut bench = Bench::new();
    let library = |name: &str, function: &str, value: &str| {
        format!(
            "#!lua name={name}\nredis.register_function('{function}', \
                 function() return '{value}' end)"
        )
    };
    let list = |libraries: &Libraries| {
        let mut out = Output::default();
        libraries.list(Some(b"A*"), false, &mut Reply::new(&mut out, Protocol::Two));
        String::from_utf8(out.to_vec()).unwrap()
    };
    bench.load(library("a", "f", "one").as_bytes());
    bench.load(library("b", "g", "two").as_bytes());
    assert_eq!(bench.fcall(Protocol::Two, "F", &Words::default()), b"$3\r\none\r\n");
    let old = bench.libraries.clone();
    bench.load(library("a", "f", "new").as_bytes());
    assert_eq!(bench.fcall(Protocol::Two, "f", &Words::default()), b"$3\r\nnew\r\n");
    assert_eq!(bench.libraries.counts(), (2, 2));
    assert_eq!(
        list(&bench.libraries),
        "*1\r\n*6\r\n$12\r\nlibrary_name\r\n$1\r\na\r\n$6\r\nengine\r\n$3\r\nLUA\r\n\
         $9\r\nfunctions\r\n*1\r\n*6\r\n$4\r\nname\r\n$1\r\nf\r\n\
         $11\r\ndescription\r\n$-1\r\n$5\r\nflags\r\n*0\r\n"
    );
    let texts: Vec<Vec<u8>> = old.iter().map(|library| library.text().to_vec()).collect();
    let mut restore =
        |policy| bench.libraries.restore(&texts, policy, &bench.loader, &mut bench.fake);
    let refused = restore(RestorePolicy::Append).unwrap_err();
    assert_eq!(refused.text(), "ERR Library a already exists");
    assert_eq!(restore(RestorePolicy::Flush).unwrap().counts(), (2, 2));
    bench.libraries = restore(RestorePolicy::Replace).unwrap();
    assert_eq!(bench.fcall(Protocol::Two, "f", &Words::default()), b"$3\r\none\r\n");
    bench.libraries = bench.libraries.delete(b"a").unwrap();
    assert!(bench.libraries.delete(b"a").is_err() && bench.libraries.find(b"f").is_none());
    let collides = bench.load(library("c", "G", "x").as_bytes());
    assert_eq!(collides, b"-ERR Function G already exists\r\n");
    drop(old);
    bench.libraries = Libraries::default();
    bench.vm.tidy();
    assert_eq!(bench.vm.bytes().1, 0);
}

#[test]
fn errors_of_scripts_are_counted_once() {
    let mut bench = Bench::new();
    bench.text("return redis.call('nosuch')");
    bench.text("return redis.pcall('nosuch')");
    assert_eq!(bench.fake.errors, Vec::<String>::new(), "the command has counted them");
    bench.text("error('x')");
    bench.text("return {err = 'MY own'}");
    bench.text("return {{err = 'MY own'}, redis.error_reply('B c')}");
    let counted = ["ERR user_script:1: x script: on @user_script:1.", "MY own", "MY own", "B c"];
    assert_eq!(bench.fake.errors, counted);
}

/// Bytes that decoders and formats know, mixed with any others.
fn random_bytes(rng: &mut Rng, alphabet: &[u8]) -> Vec<u8> {
    let len = rng.below(24) as usize;
    let mut byte = || match rng.below(4) {
        0 => rng.below(256) as u8,
        _ => alphabet[rng.below(alphabet.len() as u64) as usize],
    };
    (0..len).map(|_| byte()).collect()
}

#[test]
fn decoders_survive_any_bytes() {
    let body = "local t = {} \
        local all = {cjson.decode, cmsgpack.unpack, struct.unpack, struct.size, struct.pack, \
                     loadstring, cmsgpack.unpack_one} \
        for i, f in ipairs(all) do \
            local ok, a = pcall(f, ARGV[1], ARGV[2], 3, 4, 'five') \
            if ok and i < 3 then pcall(cjson.encode, a) cmsgpack.pack(a) t[i] = a end \
        end \
        return t";
    let mut bench = Bench::new();
    for seed in 0..3_000 {
        let mut rng = Rng::new(seed);
        let alphabet: &[u8] = match seed % 3 {
            0 => b"{}[]:,\"\\\\u12ed+-.eaInfltrue ",
            1 => {
                b"\x80\x81\x82\x90\x91\x92\xa0\xa1\xc0\xc4\xca\xcb\xcc\xd3\xd9\xda\xdc\xdd\xde\xdf"
            }
            _ => b"<>!bBhHlLTiIfdsxc0123456789 ",
        };
        let argv = vec![random_bytes(&mut rng, alphabet), random_bytes(&mut rng, alphabet)];
        let protocol = if seed % 2 == 0 { Protocol::Two } else { Protocol::Three };
        let words = Words { keys: Vec::new(), argv };
        let reply = bench.eval(protocol, body.as_bytes(), &words);
        let end = crate::resp::reply_end(&reply);
        assert_eq!(end, Some(reply.len()), "seed {seed}: {}", shown(&reply));
    }
}

#[test]
fn attributes_of_replies_are_skipped() {
    let mut bench = Bench::new();
    assert_eq!(bench.text("redis.setresp(3) return redis.call('attribute')"), "$1\r\nv\r\n");
}

#[test]
fn many_libraries_load_fast() {
    let mut bench = Bench::new();
    for number in 0..2_000 {
        let text =
            format!("#!lua name=lib{number}\nredis.register_function('f{number}', function() end)");
        assert!(!bench.load(text.as_bytes()).starts_with(b"-"));
    }
    let before = bench.libraries.clone();
    bench.load(b"#!lua name=one_more\nredis.register_function('f', function() end)");
    assert_eq!((before.counts(), bench.libraries.counts()), ((2_000, 2_000), (2_001, 2_001)));
    assert!(bench.libraries.shares_most_with(&before), "a load copies a small part of the set");
    let names: Vec<&[u8]> = bench.libraries.iter().map(|library| library.name()).collect();
    assert!(names.is_sorted() && names.len() == 2_001);
}
