//! Wraps commands in scripts and functions: the commands of a script have to do what they do alone.

use super::compare::Check;
use super::generate::Made;
use super::vocabulary::{Dice, KEYS};
use super::wire::{self, Wire};

/// How a script is called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Eval,
    EvalReadOnly,
    Sha,
    Function,
    FunctionReadOnly,
}

/// A script that runs the command in its arguments.
struct Form {
    /// The name in the table of counts.
    name: &'static str,
    call: Call,
    /// The code, or the name of a function.
    text: &'static str,
    /// Whether it runs the command on its first key instead of on the first argument.
    takes_key: bool,
    /// The oldest version of the protocol that it is compared with. A connection of RESP2 gets a
    /// map as an array, and a script's maps have a random order.
    protocol_min: u8,
}

const fn form(name: &'static str, call: Call, text: &'static str) -> Form {
    Form { name, call, text, takes_key: false, protocol_min: 2 }
}

const FORMS: &[Form] = &[
    form("script that calls", Call::Eval, "return redis.call(unpack(ARGV))"),
    form("script that catches", Call::Eval, "return server.pcall(unpack(ARGV))"),
    Form {
        name: "script of RESP3",
        call: Call::Eval,
        text: "redis.setresp(3) return redis.pcall(unpack(ARGV))",
        takes_key: false,
        protocol_min: 3,
    },
    form(
        "script that shows errors",
        Call::Eval,
        "local r = redis.pcall(unpack(ARGV)) \
         if type(r) == 'table' and r.err then return {r.err} end \
         return r",
    ),
    form(
        "script that has written",
        Call::Eval,
        "redis.pcall('INCR', 'counter') return redis.call(unpack(ARGV))",
    ),
    form(
        "script that writes after",
        Call::Eval,
        "local r = redis.pcall(unpack(ARGV)) redis.pcall('APPEND', 'text', '.') return r",
    ),
    Form {
        name: "script on its key",
        call: Call::Eval,
        text: "return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))",
        takes_key: true,
        protocol_min: 2,
    },
    form(
        "script without writes",
        Call::Eval,
        "#!lua flags=no-writes\nreturn redis.pcall(unpack(ARGV))",
    ),
    form("script with flags", Call::Eval, "#!lua\nreturn redis.pcall(unpack(ARGV))"),
    form("script to read", Call::EvalReadOnly, "return redis.call(unpack(ARGV))"),
    form("cached script", Call::Sha, "return redis.pcall(unpack(ARGV))"),
    form("function", Call::Function, "run"),
    form("function to read", Call::FunctionReadOnly, "look"),
];

/// The library with the functions of the forms.
pub const LIBRARY: &str = "#!lua name=differential\n\
    redis.register_function('run', function(keys, args) \
    return redis.call(unpack(args)) end)\n\
    redis.register_function{function_name='look', flags={'no-writes'}, \
    callback=function(keys, args) return redis.pcall(unpack(args)) end}";

/// Commands on the state of the connection, which the session follows.
const APART: &[&str] = &["MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "RESET", "HELLO"];

/// The scripts that both servers know.
pub struct Scripts {
    /// The digest of the cached script.
    sha: Vec<u8>,
    forms: Vec<&'static Form>,
}

/// Returns the forms for connections with this version of the protocol.
fn forms(protocol: u8) -> impl Iterator<Item = &'static Form> {
    FORMS.iter().filter(move |form| form.protocol_min <= protocol)
}

impl Scripts {
    /// Loads the library and the cached script on both servers.
    pub fn load(ours: &mut Wire, theirs: &mut Wire, protocol: u8) -> Scripts {
        let cached = FORMS.iter().find(|form| form.call == Call::Sha).expect("there is one");
        let [sha, other] = [ours, theirs].map(|wire| {
            wire.ask(&["FUNCTION", "LOAD", "REPLACE", LIBRARY]);
            wire.ask(&["SCRIPT", "LOAD", cached.text])
        });
        assert_eq!(sha, other);
        let sha = wire::text(&sha).expect("a digest is a text").to_vec();
        Scripts { sha, forms: forms(protocol).collect() }
    }

    /// Returns scripts for servers that have loaded nothing.
    #[allow(dead_code)]
    pub fn unloaded(protocol: u8) -> Scripts {
        Scripts { sha: vec![b'0'; 40], forms: forms(protocol).collect() }
    }

    /// Returns the names of the forms for connections with this version of the protocol.
    pub fn names(protocol: u8) -> impl Iterator<Item = &'static str> {
        forms(protocol).map(|form| form.name)
    }

    /// Puts a command into a script.
    pub fn wrap(&self, made: &mut Made, dice: &mut Dice) {
        if APART.contains(&made.command.name) || made.command.name.starts_with("CLIENT") {
            return;
        }
        let check = made.check();
        let form = *dice.pick(&self.forms);
        let is_key = |arg: &&Vec<u8>| KEYS.contains(&arg.as_slice());
        let mut keys: Vec<Vec<u8>> = Vec::new();
        if form.takes_key {
            if made.args.len() < 2 || made.command.name.contains(' ') {
                return;
            }
            keys.push(made.args.remove(1));
        } else if dice.one_in(2) {
            keys.extend(made.args[1..].iter().filter(is_key).cloned());
        }
        let (command, text): (&str, &[u8]) = match form.call {
            Call::Eval => ("EVAL", form.text.as_bytes()),
            Call::EvalReadOnly => ("EVAL_RO", form.text.as_bytes()),
            Call::Sha => ("EVALSHA", &self.sha),
            Call::Function => ("FCALL", form.text.as_bytes()),
            Call::FunctionReadOnly => ("FCALL_RO", form.text.as_bytes()),
        };
        let count = keys.len().to_string().into_bytes();
        let mut args = vec![command.as_bytes().to_vec(), text.to_vec(), count];
        args.append(&mut keys);
        made.wrapped = Some(Wrapped { form: form.name, check, at: args.len() });
        args.append(&mut made.args);
        made.args = args;
    }
}

/// That a command runs in a script.
pub struct Wrapped {
    /// The name of the script's form.
    pub form: &'static str,
    /// How the replies are compared.
    pub check: Check,
    /// The place of the command's name among the arguments.
    pub at: usize,
}
