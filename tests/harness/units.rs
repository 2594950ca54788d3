//! The input of clients: units drawn at random from a mix of commands.

use super::model::{Action, Command, DATABASES};
use super::ok;
use annulet::base::rng::Rng;
use annulet::resp::Value;

/// The longest time to live, in units of the scale. Also the longest jump of the clock, in
/// milliseconds.
pub const MS_MAX: u64 = 20;

/// One unit in this number is a mark, if there are marks.
const MARK_ONCE_IN: u64 = 6;

/// The kind of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Get,
    Set,
    SetNx,
    SetPx,
    Incr,
    GetDel,
    Mget,
    Mset,
    MsetNx,
    Del,
    Exists,
    Rename,
    RenameNx,
    Copy,
    CopyDb,
    Pexpire,
    Pttl,
    Persist,
    Select,
    SwapDb,
    FlushDb,
    FlushAll,
    DbSize,
    Ask,
    Sort,
    SortStore,
    Sorted,
    BitCopy,
    BitCount,
    SetRange,
}

/// The behaviour of the clients of a run.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// The name of the mix.
    pub name: &'static str,
    /// The commands that the mix needs.
    pub needs: &'static [&'static str],
    /// The kinds to draw from; repeated ones are more likely.
    pub kinds: &'static [Kind],
    /// One unit in this number is a transaction; 0: none.
    pub exec_once_in: u64,
    /// The percentage of transactions that watch keys.
    pub watch_percent: u64,
    /// One step of the clients in this number moves the clock; 0: the clock stands still.
    pub jump_once_in: u64,
    /// Whether the clocks of the shards may differ for the length of a turn.
    pub has_clocks: bool,
    /// One move in this number cuts the connection; 0: none.
    pub cut_once_in: u64,
    /// Whether a client kills others and pauses clients, and others read slowly.
    pub has_admin: bool,
    /// Whether hash slots move meanwhile.
    pub moves_slots: bool,
    /// Whether a replica attaches, whose keys are compared with what clients saw.
    pub has_feed: bool,
    /// The percentage of commands that a script runs.
    pub script_percent: u64,
}

/// The next input of a client.
pub struct Step {
    /// The arguments.
    pub args: Vec<String>,
    /// The action that takes effect with it.
    pub action: Option<Action>,
    /// The reply, if it does not depend on the keys.
    pub due: Option<Value>,
}

fn queued() -> Value {
    Value::Simple(b"QUEUED".to_vec())
}

/// Draws units.
pub struct Draw {
    /// The source of randomness.
    pub rng: Rng,
    /// The mix to draw from.
    pub mix: &'static Mix,
    /// The names of the keys.
    pub names: Vec<String>,
    /// Times to live are multiples of this number of milliseconds.
    pub ms_scale: u64,
    /// The last written value.
    values: i64,
    /// The last of `names` is the mark, which only marks set.
    has_mark: bool,
}

impl Draw {
    /// Creates a generator for a mix, with times to live of few milliseconds.
    pub fn new(rng: Rng, mix: &'static Mix, names: Vec<String>) -> Draw {
        Draw { rng, mix, names, ms_scale: 1, values: 0, has_mark: false }
    }

    /// Makes one unit in `MARK_ONCE_IN` a mark, which sets the last key.
    pub fn with_mark(self) -> Draw {
        Draw { has_mark: true, ..self }
    }

    /// Draws the next unit: a command, or a transaction with its WATCH before it.
    pub fn unit(&mut self) -> Vec<Step> {
        let names = self.names.clone();
        let run = |command: Command| Step {
            args: command.args(&names),
            action: Some(Action::Run(command)),
            due: None,
        };
        if self.has_mark && self.rng.below(MARK_ONCE_IN) == 0 {
            return self.mark();
        }
        let execs = self.mix.exec_once_in;
        if execs == 0 || self.rng.below(execs) != 0 {
            return vec![run(self.command())];
        }
        let plain = |arg: &str, action: Option<Action>, due: Option<Value>| Step {
            args: vec![arg.to_string()],
            action,
            due,
        };
        let mut steps = Vec::new();
        if self.rng.below(100) < self.mix.watch_percent {
            let watched = self.keys(2);
            let keys = watched.iter().map(|key| names[*key].clone());
            let args = std::iter::once("WATCH".to_string()).chain(keys).collect();
            steps.push(Step { args, action: Some(Action::Watch(watched)), due: None });
            let more = self.rng.below(3);
            steps.extend((0..more).map(|_| run(self.command())));
            if self.rng.below(12) == 0 {
                steps.push(plain("UNWATCH", Some(Action::Unwatch), None));
            }
        }
        steps.push(plain("MULTI", None, Some(ok())));
        let count = 1 + self.rng.below(4);
        let commands: Vec<Command> = (0..count).map(|_| self.command()).collect();
        for command in &commands {
            let args = command.args(&names);
            steps.push(Step { args, action: None, due: Some(queued()) });
        }
        let (arg, action) = match self.rng.below(12) {
            0 => ("DISCARD", Action::Discard),
            1 => {
                let due = "ERR wrong number of arguments for 'get' command";
                let due = Some(Value::Error(due.as_bytes().to_vec()));
                steps.push(plain("GET", None, due));
                ("EXEC", Action::ExecRefused)
            }
            _ => ("EXEC", Action::Exec(commands)),
        };
        steps.push(plain(arg, Some(action), None));
        steps
    }

    /// Returns a transaction that sets the mark to a new value and reads all keys.
    fn mark(&mut self) -> Vec<Step> {
        self.values += 1_000;
        let all: Vec<usize> = (0..self.names.len()).collect();
        let mut commands = vec![Command::Set(all.len() - 1, self.values)];
        for db in 0..DATABASES {
            commands.extend([Command::Select(db), Command::Mget(all.clone())]);
        }
        let plain = |args: Vec<String>, due| Step { args, action: None, due: Some(due) };
        let mut steps = vec![plain(vec!["MULTI".to_string()], ok())];
        steps.extend(commands.iter().map(|command| plain(command.args(&self.names), queued())));
        let args = vec!["EXEC".to_string()];
        steps.push(Step { args, action: Some(Action::Exec(commands)), due: None });
        steps
    }

    /// Returns the number of keys to draw from.
    fn count(&self) -> u64 {
        self.names.len() as u64 - u64::from(self.has_mark)
    }

    /// Draws at most `most` different keys.
    fn keys(&mut self, most: u64) -> Vec<usize> {
        let all = self.count();
        let mut keys = Vec::new();
        for _ in 0..1 + self.rng.below(most) {
            let key = self.rng.below(all) as usize;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Draws two different keys.
    fn pair(&mut self) -> (usize, usize) {
        let all = self.count();
        let from = self.rng.below(all);
        let to = (from + 1 + self.rng.below(all - 1)) % all;
        (from as usize, to as usize)
    }

    fn command(&mut self) -> Command {
        let kind = self.mix.kinds[self.rng.below(self.mix.kinds.len() as u64) as usize];
        let key = self.keys(1)[0];
        let (from, to) = self.pair();
        let db = self.rng.below(DATABASES as u64) as usize;
        let ms = (1 + self.rng.below(MS_MAX)) * self.ms_scale;
        let is_same = self.rng.below(10) == 0;
        let replaces = self.rng.below(2) == 0;
        // Far enough apart that INCR does not lead from one value to the next.
        self.values += 1_000;
        let value = self.values;
        match kind {
            Kind::Get => Command::Get(key),
            Kind::Set => Command::Set(key, value),
            Kind::SetNx => Command::SetNx(key, value),
            Kind::SetPx => Command::SetPx(key, value, ms),
            Kind::Incr => Command::Incr(key),
            Kind::GetDel => Command::GetDel(key),
            Kind::Mget => Command::Mget(self.keys(4)),
            Kind::Mset => Command::Mset(self.keys(4), value),
            Kind::MsetNx => Command::MsetNx(self.keys(3), value),
            Kind::Del => Command::Del(self.keys(3)),
            Kind::Exists => Command::Exists(self.keys(4)),
            // Sometimes from a key to itself.
            Kind::Rename => Command::Rename(from, if is_same { from } else { to }),
            Kind::RenameNx => Command::RenameNx(from, if is_same { from } else { to }),
            Kind::Copy => Command::Copy { from, to, db: None, replaces },
            Kind::CopyDb => Command::Copy { from, to: key, db: Some(db), replaces },
            Kind::Pexpire => Command::Pexpire(key, ms),
            Kind::Pttl => Command::Pttl(key),
            Kind::Persist => Command::Persist(key),
            Kind::Select => Command::Select(db),
            Kind::SwapDb => Command::SwapDb(0, 1),
            Kind::FlushDb => Command::FlushDb,
            Kind::FlushAll => Command::FlushAll,
            Kind::DbSize => Command::DbSize,
            Kind::Ask => Command::Ask,
            Kind::Sort => Command::Sort,
            Kind::SortStore => Command::SortStore,
            Kind::Sorted => Command::Sorted,
            Kind::BitCopy => Command::BitCopy(from, if is_same { from } else { to }),
            Kind::BitCount => Command::BitCount(key),
            Kind::SetRange => Command::SetRange(key, 1 + (value / 1_000 % 9) as u8),
        }
    }
}
