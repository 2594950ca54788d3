//! Tests at the boundary of the engine, with a server that knows a few commands.

use super::*;
use crate::resp::{Output, Span};
use crate::script::host::{AclAnswer, LogLevel, Propagation, Verdict};
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
}

impl Fake {
    fn run(&mut self, args: &[&[u8]], reply: &mut Reply<'_>) -> Result<(), &'static str> {
        const ARITY: &str = "ERR Wrong number of args calling command from script";
        let name = args[0].to_ascii_lowercase();
        match (name.as_slice(), &args[1..]) {
            (b"ping", []) => reply.simple("PONG"),
            (b"echo", [text]) => reply.bulk(text),
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

/// One engine with its server.
struct Bench {
    scripts: Scripts,
    vm: Vm,
    fake: Fake,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            scripts: Scripts::default(),
            vm: Vm::new(VmOptions::default()),
            fake: Fake::default(),
        }
    }

    /// Runs EVAL and returns the reply.
    fn eval(&mut self, protocol: Protocol, body: &[u8], keys: &[&str], argv: &[&str]) -> Vec<u8> {
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, protocol);
        match self.scripts.add(body, Origin::Eval, &|_| false) {
            Err(error) => reply.error(&error),
            Ok(script) => {
                let mut text = Vec::new();
                let mut spans = vec![Span::text(0, 0); 3];
                for word in keys.iter().chain(argv) {
                    spans.push(Span::text(text.len(), word.len()));
                    text.extend_from_slice(word.as_bytes());
                }
                let args = Args::new(&text, &spans, &mut []);
                let invocation = Invocation { args: &args, first_key: 3, keys: keys.len() };
                self.vm.run_script(&script, &invocation, &mut self.fake, &mut reply);
            }
        }
        out.to_vec()
    }

    fn text(&mut self, body: &str) -> String {
        String::from_utf8_lossy(&self.eval(Protocol::Two, body.as_bytes(), &[], &[])).into_owned()
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
