//! The server's commands, each behind a handler that first writes down which operation touches
//! which key, and lets other shards run before and after it.
//!
//! Which operation it is stands in the words: commands on one key have one more word, `#17`, which
//! the real handler does not get to see; MSET writes values that begin with it, `17,`; the other
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

/// One operation's turn at one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The operation.
    pub op: usize,
    /// The key.
    pub key: String,
}

/// What all shards wrote down, in the order in which it happened.
pub struct Recorder {
    lockstep: Arc<Lockstep>,
    log: Mutex<Vec<Touch>>,
}

thread_local! {
    static RECORDER: RefCell<Option<Arc<Recorder>>> = const { RefCell::new(None) };
}

impl Recorder {
    /// An empty record.
    pub fn new(lockstep: Arc<Lockstep>) -> Arc<Recorder> {
        Arc::new(Recorder { lockstep, log: Mutex::new(Vec::new()) })
    }

    /// Commands that run on this thread are recorded here from now on.
    pub fn attend(self: &Arc<Recorder>) {
        RECORDER.set(Some(Arc::clone(self)));
    }

    /// What was recorded.
    pub fn take(&self) -> Vec<Touch> {
        std::mem::take(&mut self.log.lock().expect("no writer has failed"))
    }
}

/// The observed commands.
pub fn observed_table() -> &'static CommandTable {
    static TABLE: OnceLock<CommandTable> = OnceLock::new();
    TABLE.get_or_init(|| {
        let commands: Vec<&'static Command> = NAMES.iter().map(|name| observe(name)).collect();
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

fn number(word: &[u8]) -> usize {
    let text = std::str::from_utf8(word).expect("a number is text");
    text.parse().expect("an operation has a number")
}

fn key(word: &[u8]) -> String {
    String::from_utf8(word.to_vec()).expect("keys are text")
}

/// The operation and the keys that a command's words name; takes the mark from its words.
fn touches(name: &str, words: &mut Vec<Vec<u8>>) -> Vec<Touch> {
    match name {
        "mset" => {
            let pairs = words[1..].chunks(2);
            let op = |value: &[u8]| number(value.split(|b| *b == b',').next().expect("a number"));
            pairs.map(|pair| Touch { op: op(&pair[1]), key: key(&pair[0]) }).collect()
        }
        "mget" | "del" | "exists" => {
            let marked = |word: &Vec<u8>| word.iter().position(|b| *b == b'#');
            let op = words.iter().find_map(|w| marked(w).map(|at| number(&w[at + 1..])));
            let op = op.expect("every part has a mark");
            let keys = words[1..].iter().filter(|word| marked(word).is_none());
            keys.map(|word| Touch { op, key: key(word) }).collect()
        }
        _ => {
            let mark = words.pop().expect("commands on one key end in a mark");
            vec![Touch { op: number(&mark[1..]), key: key(&words[1]) }]
        }
    }
}

fn observed(context: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let entry = plain_table().find(&args[0]).expect("it is one of the server's");
    let Handler::Keys(run) = entry.command.handler else {
        unreachable!("it runs on keys");
    };
    let mut words: Vec<Vec<u8>> = args.iter_from(0).map(<[u8]>::to_vec).collect();
    let touched = touches(&entry.name, &mut words);
    let recorder = RECORDER.with_borrow(Clone::clone).expect("the shard's thread attends");
    recorder.lockstep.pass(At::Command);
    recorder.log.lock().expect("no writer has failed").extend(touched);
    let mut text = Vec::new();
    let mut spans = Vec::new();
    for word in &words {
        spans.push(Span::text(text.len(), word.len()));
        text.extend_from_slice(word);
    }
    let result = run(context, &mut Args::new(&text, &spans, &mut []));
    recorder.lockstep.pass(At::Command);
    result
}
