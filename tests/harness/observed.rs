//! The server's commands behind a handler that records which operation touches which key, and lets
//! other shards run before and after.
//!
//! The arguments identify the operation. Commands on one key have one more argument, `#17`, which
//! the real handler does not get. MSET writes values that begin with the number, `17,`. The other
//! spread commands name, for each key `k`, also the key `{k}#17`, which does not exist.

use super::lockstep::{At, Lockstep};
use super::plain_table;
use annulet::exec::{Command, CommandTable, Context, Handler, KeyRouting};
use annulet::resp::{Args, Error, Span};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, OnceLock};

/// The commands that are observed.
const NAMES: [&str; 9] =
    ["get", "set", "append", "getdel", "incr", "mget", "mset", "del", "exists"];

/// The execution of one operation on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The operation.
    pub op: usize,
    /// The key.
    pub key: String,
}

/// The record of all shards, in the order of execution.
pub struct Recorder {
    lockstep: Arc<Lockstep>,
    log: Mutex<Vec<Touch>>,
}

thread_local! {
    static RECORDER: RefCell<Option<Arc<Recorder>>> = const { RefCell::new(None) };
}

impl Recorder {
    /// Creates an empty record.
    pub fn new(lockstep: Arc<Lockstep>) -> Arc<Recorder> {
        Arc::new(Recorder { lockstep, log: Mutex::new(Vec::new()) })
    }

    /// Records the commands of this thread here from now on.
    pub fn attend(self: &Arc<Recorder>) {
        RECORDER.set(Some(Arc::clone(self)));
    }

    /// Takes the record.
    pub fn take(&self) -> Vec<Touch> {
        std::mem::take(&mut self.log.lock().expect("no writer has failed"))
    }
}

/// The observed commands.
pub fn observed_table() -> &'static CommandTable {
    static TABLE: OnceLock<CommandTable> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut commands: Vec<&'static Command> = NAMES.iter().map(|name| observe(name)).collect();
        // For the client that moves slots.
        commands.push(plain_table().find(b"annulet").expect("the server knows it").command);
        CommandTable::new(Box::leak(Box::new([&*commands.leak()])))
    })
}

fn observe(name: &str) -> &'static Command {
    let command = plain_table().find(name.as_bytes()).expect("the server knows it").command;
    let more = match command.routing {
        KeyRouting::Single => 1,
        KeyRouting::PerKey(_) => 0,
        _ => panic!("{name} does not run on its own keys"),
    };
    let arity = command.card.arity;
    let card = command.card.arity(if arity < 0 { arity - more } else { arity + more });
    Box::leak(Box::new(Command { card, handler: Handler::Keys(observed), ..*command }))
}

fn number(arg: &[u8]) -> usize {
    let text = std::str::from_utf8(arg).expect("a number is text");
    text.parse().expect("an operation has a number")
}

fn key(arg: &[u8]) -> String {
    String::from_utf8(arg.to_vec()).expect("keys are text")
}

/// Returns the operation and the keys that a command's arguments name; removes the mark from the
/// arguments.
fn touches(name: &str, args: &mut Vec<Vec<u8>>) -> Vec<Touch> {
    match name {
        "mset" => {
            let pairs = args[1..].chunks(2);
            let op = |value: &[u8]| number(value.split(|b| *b == b',').next().expect("a number"));
            pairs.map(|pair| Touch { op: op(&pair[1]), key: key(&pair[0]) }).collect()
        }
        "mget" | "del" | "exists" => {
            let marked = |arg: &Vec<u8>| arg.iter().position(|b| *b == b'#');
            let op = args.iter().find_map(|w| marked(w).map(|at| number(&w[at + 1..])));
            let op = op.expect("every part has a mark");
            let keys = args[1..].iter().filter(|arg| marked(arg).is_none());
            keys.map(|arg| Touch { op, key: key(arg) }).collect()
        }
        _ => {
            let mark = args.pop().expect("commands on one key end in a mark");
            vec![Touch { op: number(&mark[1..]), key: key(&args[1]) }]
        }
    }
}

fn observed(context: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let entry = plain_table().find(&args[0]).expect("it is one of the server's");
    let Handler::Keys(run) = entry.command.handler else {
        unreachable!("it runs on keys");
    };
    let mut args: Vec<Vec<u8>> = args.iter_from(0).map(<[u8]>::to_vec).collect();
    let touched = touches(&entry.name, &mut args);
    let recorder =
        RECORDER.with_borrow(Clone::clone).expect("the shard's thread has called attend");
    recorder.lockstep.pass(At::Command);
    recorder.log.lock().expect("no writer has failed").extend(touched);
    let mut text = Vec::new();
    let mut spans = Vec::new();
    for arg in &args {
        spans.push(Span::text(text.len(), arg.len()));
        text.extend_from_slice(arg);
    }
    let result = run(context, &mut Args::new(&text, &spans, &mut []));
    recorder.lockstep.pass(At::Command);
    result
}
