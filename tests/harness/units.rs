//! What clients are to send: units drawn at random from a mix of commands.

use super::model::{Action, Command, DATABASES};
use super::ok;
use annulet::base::rng::Rng;
use annulet::resp::Value;

/// The longest time to live that is set, in units of the scale; the longest jump of the clock,
/// milliseconds.
pub const MS_MAX: u64 = 20;

/// What a unit is made of.
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
}

/// What the clients of a run do.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// What it is called.
    pub name: &'static str,
    /// The commands that it needs.
    pub needs: &'static [&'static str],
    /// What is drawn from.
    pub kinds: &'static [Kind],
    /// One in so many units is a transaction; 0: none.
    pub exec_once_in: u64,
    /// So many in a hundred transactions watch something.
    pub watch_percent: u64,
    /// One in so many steps of the clients moves the clock; 0: it stands still.
    pub jump_once_in: u64,
    /// Whether the clocks of the shards may differ for as long as a turn takes.
    pub has_clocks: bool,
    /// One in so many moves cuts the connection; 0: none.
    pub cut_once_in: u64,
}

/// What is sent next.
pub struct Step {
    /// Its words.
    pub words: Vec<String>,
    /// What takes effect with it.
    pub action: Option<Action>,
    /// The reply, where it does not depend on the keys.
    pub due: Option<Value>,
}

fn queued() -> Value {
    Value::Simple(b"QUEUED".to_vec())
}

/// Draws units.
pub struct Draw {
    /// Where chance comes from.
    pub rng: Rng,
    /// What is drawn from.
    pub mix: &'static Mix,
    /// The names of the keys.
    pub names: Vec<String>,
    /// Milliseconds that times to live are multiples of.
    pub ms_scale: u64,
    /// The last value that was written.
    values: i64,
}

impl Draw {
    /// Draws from a mix, with times to live of few milliseconds.
    pub fn new(rng: Rng, mix: &'static Mix, names: Vec<String>) -> Draw {
        Draw { rng, mix, names, ms_scale: 1, values: 0 }
    }

    /// The next unit: a command, or a transaction with what is watched before it.
    pub fn unit(&mut self) -> Vec<Step> {
        let names = self.names.clone();
        let run = |command: Command| Step {
            words: command.words(&names),
            action: Some(Action::Run(command)),
            due: None,
        };
        let execs = self.mix.exec_once_in;
        if execs == 0 || self.rng.below(execs) != 0 {
            return vec![run(self.command())];
        }
        let plain = |word: &str, action: Option<Action>, due: Option<Value>| Step {
            words: vec![word.to_string()],
            action,
            due,
        };
        let mut steps = Vec::new();
        if self.rng.below(100) < self.mix.watch_percent {
            let watched = self.keys(2);
            let keys = watched.iter().map(|key| names[*key].clone());
            let words = std::iter::once("WATCH".to_string()).chain(keys).collect();
            steps.push(Step { words, action: Some(Action::Watch(watched)), due: None });
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
            let words = command.words(&names);
            steps.push(Step { words, action: None, due: Some(queued()) });
        }
        let (word, action) = match self.rng.below(12) {
            0 => ("DISCARD", Action::Discard),
            1 => {
                let due = "ERR wrong number of arguments for 'get' command";
                let due = Some(Value::Error(due.as_bytes().to_vec()));
                steps.push(plain("GET", None, due));
                ("EXEC", Action::ExecRefused)
            }
            _ => ("EXEC", Action::Exec(commands)),
        };
        steps.push(plain(word, Some(action), None));
        steps
    }

    /// So many different keys, or fewer.
    fn keys(&mut self, most: u64) -> Vec<usize> {
        let all = self.names.len() as u64;
        let mut keys = Vec::new();
        for _ in 0..1 + self.rng.below(most) {
            let key = self.rng.below(all) as usize;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Two different keys.
    fn pair(&mut self) -> (usize, usize) {
        let all = self.names.len() as u64;
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
        // Far enough apart that INCR does not lead from one to the next.
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
            // Sometimes to itself.
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
        }
    }
}
