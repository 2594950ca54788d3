//! A small sequential Redis: two databases of few keys, whose values are numbers. It returns the
//! reply to each action of a client, and the state after it.
//!
//! Each key lives by the clock of its shard. A key whose deadline has passed is removed when its
//! shard's clock passes the deadline, and its watchers are notified. To a client that looks like a
//! key that is removed on the next access.

use annulet::resp::Value;

/// Databases in use.
pub const DATABASES: usize = 2;
/// The list of the names of all keys, which SORT reads. No other command uses it.
pub const ORDER: &str = "order";
/// The list that SORT stores.
pub const SORTED: &str = "sorted";
/// The deadline of a key without one.
const NEVER_MS: u64 = u64::MAX;

/// A command; keys are given by number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    Get(usize),
    Set(usize, i64),
    SetNx(usize, i64),
    SetPx(usize, i64, u64),
    Incr(usize),
    GetDel(usize),
    Mget(Vec<usize>),
    Mset(Vec<usize>, i64),
    MsetNx(Vec<usize>, i64),
    Del(Vec<usize>),
    Exists(Vec<usize>),
    Rename(usize, usize),
    RenameNx(usize, usize),
    Copy {
        from: usize,
        to: usize,
        db: Option<usize>,
        replaces: bool,
    },
    Pexpire(usize, u64),
    Pttl(usize),
    Persist(usize),
    Select(usize),
    SwapDb(usize, usize),
    FlushDb,
    FlushAll,
    DbSize,
    /// A request to all shards that needs their slices and changes nothing.
    Ask,
    /// BITOP OR of one key: copies the value of the first key, without its deadline, to the second.
    BitCopy(usize, usize),
    /// BITCOUNT.
    BitCount(usize),
    /// SETRANGE that replaces the first digit.
    SetRange(usize, u8),
    /// SORT, which discovers all keys.
    Sort,
    /// SORT that stores the values of all keys.
    SortStore,
    /// Reads what SORT has stored.
    Sorted,
}

/// An action that takes effect at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A single command.
    Run(Command),
    /// WATCH.
    Watch(Vec<usize>),
    /// UNWATCH.
    Unwatch,
    /// The EXEC of a transaction with these commands.
    Exec(Vec<Command>),
    /// The EXEC of a transaction with a refused command.
    ExecRefused,
    /// The DISCARD of a transaction.
    Discard,
    /// CLIENT PAUSE.
    Pause {
        /// The length in milliseconds.
        ms: u64,
        /// Whether all commands wait, and not only writes.
        is_all: bool,
    },
    /// CLIENT UNPAUSE.
    Unpause,
    /// A jump of a clock to this time.
    Jump {
        /// The number of the clock.
        clock: usize,
        /// Unix time in milliseconds.
        to_ms: u64,
    },
}

fn args(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| text.to_string()).collect()
}

impl Command {
    /// Whether the command changes nothing except the session, at any time.
    fn is_private(&self) -> bool {
        use Command::{Ask, BitCount, DbSize, Exists, Get, Mget, Pttl, Select, Sort, Sorted};
        let is_read = matches!(self, Get(_) | Mget(_) | Exists(_) | Pttl(_) | DbSize | BitCount(_));
        is_read || matches!(self, Ask | Select(_) | Sort | Sorted)
    }

    /// Returns the arguments, for keys with these names.
    pub fn args(&self, names: &[String]) -> Vec<String> {
        let key = |at: &usize| names[*at].as_str();
        let many = |name: &str, keys: &[usize]| {
            let keys = keys.iter().map(|at| names[*at].clone());
            std::iter::once(name.to_string()).chain(keys).collect()
        };
        let pairs = |name: &str, keys: &[usize], value: &i64| {
            let pairs = keys.iter().flat_map(|at| [names[*at].clone(), value.to_string()]);
            std::iter::once(name.to_string()).chain(pairs).collect()
        };
        match self {
            Command::Get(at) => args(&["GET", key(at)]),
            Command::Set(at, value) => args(&["SET", key(at), &value.to_string()]),
            Command::SetNx(at, value) => args(&["SET", key(at), &value.to_string(), "NX"]),
            Command::SetPx(at, value, ms) => {
                args(&["SET", key(at), &value.to_string(), "PX", &ms.to_string()])
            }
            Command::Incr(at) => args(&["INCR", key(at)]),
            Command::GetDel(at) => args(&["GETDEL", key(at)]),
            Command::Mget(keys) => many("MGET", keys),
            Command::Mset(keys, value) => pairs("MSET", keys, value),
            Command::MsetNx(keys, value) => pairs("MSETNX", keys, value),
            Command::Del(keys) => many("DEL", keys),
            Command::Exists(keys) => many("EXISTS", keys),
            Command::Rename(from, to) => args(&["RENAME", key(from), key(to)]),
            Command::RenameNx(from, to) => args(&["RENAMENX", key(from), key(to)]),
            Command::Copy { from, to, db, replaces } => {
                let mut all = args(&["COPY", key(from), key(to)]);
                all.extend(db.iter().flat_map(|db| ["DB".to_string(), db.to_string()]));
                all.extend(replaces.then(|| "REPLACE".to_string()));
                all
            }
            Command::Pexpire(at, ms) => args(&["PEXPIRE", key(at), &ms.to_string()]),
            Command::Pttl(at) => args(&["PTTL", key(at)]),
            Command::Persist(at) => args(&["PERSIST", key(at)]),
            Command::Select(db) => args(&["SELECT", &db.to_string()]),
            Command::SwapDb(one, other) => args(&["SWAPDB", &one.to_string(), &other.to_string()]),
            Command::FlushDb => args(&["FLUSHDB"]),
            Command::FlushAll => args(&["FLUSHALL"]),
            Command::DbSize => args(&["DBSIZE"]),
            Command::Ask => args(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]),
            Command::BitCopy(from, to) => args(&["BITOP", "OR", key(to), key(from)]),
            Command::BitCount(at) => args(&["BITCOUNT", key(at)]),
            Command::SetRange(at, digit) => args(&["SETRANGE", key(at), "0", &digit.to_string()]),
            Command::Sort => args(&["SORT", ORDER, "BY", "*", "GET", "*"]),
            Command::SortStore => {
                args(&["SORT", ORDER, "BY", "nosort", "GET", "*", "STORE", SORTED])
            }
            Command::Sorted => args(&["LRANGE", SORTED, "0", "-1"]),
        }
    }
}

impl Action {
    /// Whether the action changes nothing except the session, and always in the same way.
    pub fn is_private(&self) -> bool {
        match self {
            Action::Run(command) => command.is_private(),
            Action::Exec(commands) => commands.iter().all(Command::is_private),
            Action::Unwatch | Action::Discard | Action::ExecRefused => true,
            Action::Watch(_) | Action::Jump { .. } => false,
            Action::Pause { .. } | Action::Unpause => false,
        }
    }

    /// Whether a pause of writes delays the action.
    fn is_write(&self) -> bool {
        match self {
            Action::Run(command) => !command.is_private(),
            Action::Exec(commands) => !commands.iter().all(Command::is_private),
            _ => false,
        }
    }

    /// Describes the action, for messages.
    pub fn describe(&self, names: &[String]) -> String {
        let keys = |keys: &[usize]| keys.iter().map(|at| names[*at].as_str()).collect::<Vec<_>>();
        match self {
            Action::Run(command) => command.args(names).join(" "),
            Action::Watch(watched) => format!("WATCH {}", keys(watched).join(" ")),
            Action::Unwatch => "UNWATCH".to_string(),
            Action::Exec(commands) => {
                let lines = commands.iter().map(|command| command.args(names).join(" "));
                format!("EXEC ({})", lines.collect::<Vec<_>>().join("; "))
            }
            Action::ExecRefused => "EXEC of a refused command".to_string(),
            Action::Discard => "DISCARD".to_string(),
            Action::Pause { ms, is_all } => {
                format!("CLIENT PAUSE {ms} {}", if *is_all { "ALL" } else { "WRITE" })
            }
            Action::Unpause => "CLIENT UNPAUSE".to_string(),
            Action::Jump { clock, to_ms } => format!("clock {clock} jumps to {to_ms}"),
        }
    }
}

/// One key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Cell {
    value: i64,
    /// The last millisecond in which the key is visible.
    due_ms: u64,
}

/// The server's state of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Session {
    db: usize,
    /// A bit per cell.
    watched: u64,
    /// Whether a watched key has changed.
    is_broken: bool,
}

/// The whole state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The keys of database 0, then the keys of database 1.
    cells: Vec<Option<Cell>>,
    /// The time of each clock, in Unix milliseconds.
    now_ms: Vec<u64>,
    sessions: Vec<Session>,
    /// Whether each database has the list that SORT reads.
    ordered: [bool; DATABASES],
    /// The list that SORT has stored in each database.
    sorted: [Vec<Option<i64>>; DATABASES],
    pause: Option<Pause>,
}

/// A pause of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pause {
    until_ms: u64,
    is_all: bool,
}

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn error(text: &str) -> Value {
    Value::Error(text.as_bytes().to_vec())
}

/// Returns the text of a value, which is never negative.
fn digits(value: i64) -> String {
    value.to_string()
}

/// The keys, and the clocks by which they live.
#[derive(Clone, Debug)]
pub struct Model {
    /// The names of the keys.
    pub names: Vec<String>,
    /// The clock of each key.
    pub clocks: Vec<usize>,
    /// Whether database 0 has the list that SORT reads at the start.
    pub has_order: bool,
}

impl Model {
    /// Returns an empty server at this time, with this number of connections.
    pub fn start(&self, sessions: usize, now_ms: u64) -> State {
        let clocks = self.clocks.iter().max().map_or(1, |last| last + 1);
        assert!(self.names.len() * DATABASES <= 64, "a cell is a bit of a u64");
        State {
            cells: vec![None; self.names.len() * DATABASES],
            now_ms: vec![now_ms; clocks],
            sessions: vec![Session::default(); sessions],
            ordered: [self.has_order, false],
            sorted: Default::default(),
            pause: None,
        }
    }

    /// Returns the possible outcomes of an action: the reply and the next state. Only a transaction
    /// while the clocks differ has several, because it runs by any one of them. An action that a
    /// pause delays has none.
    pub fn outcomes(&self, state: &State, session: usize, action: &Action) -> Vec<(Value, State)> {
        if state.delays(action) {
            return Vec::new();
        }
        let Action::Exec(commands) = action else {
            let mut after = state.clone();
            let reply = self.act(&mut after, session, action);
            return vec![(reply, after)];
        };
        if state.sessions[session].is_broken {
            let mut after = state.clone();
            after.unwatch(session);
            return vec![(Value::Null, after)];
        }
        let mut times = state.now_ms.clone();
        times.sort_unstable();
        times.dedup();
        let run_at = |now_ms: u64| {
            let mut after = state.clone();
            after.unwatch(session);
            let mut run = Run { model: self, state: &mut after, session, now_ms: Some(now_ms) };
            let replies = commands.iter().map(|command| run.command(command)).collect();
            (Value::Array(replies), after)
        };
        times.into_iter().map(run_at).collect()
    }

    fn act(&self, state: &mut State, session: usize, action: &Action) -> Value {
        match action {
            Action::Run(command) => {
                Run { model: self, state, session, now_ms: None }.command(command)
            }
            Action::Watch(keys) => {
                let first = state.sessions[session].db * self.names.len();
                let bits = keys.iter().fold(0, |bits, key| bits | 1 << (first + key));
                state.sessions[session].watched |= bits;
                ok()
            }
            Action::Unwatch | Action::Discard => {
                state.unwatch(session);
                ok()
            }
            Action::ExecRefused => {
                state.unwatch(session);
                error("EXECABORT Transaction discarded because of previous errors.")
            }
            Action::Pause { ms, is_all } => {
                let before = state.paused();
                let until_ms = state.now_ms.iter().min().expect("there is a clock") + ms;
                state.pause = Some(Pause {
                    until_ms: before.map_or(until_ms, |pause| pause.until_ms.max(until_ms)),
                    is_all: *is_all || before.is_some_and(|pause| pause.is_all),
                });
                ok()
            }
            Action::Unpause => {
                state.pause = None;
                ok()
            }
            Action::Jump { clock, to_ms } => {
                assert!(state.now_ms[*clock] <= *to_ms, "clocks do not go back");
                state.now_ms[*clock] = *to_ms;
                for at in 0..state.cells.len() {
                    self.expire(state, at);
                }
                Value::Null
            }
            Action::Exec(_) => unreachable!("EXEC is handled in `outcomes`"),
        }
    }

    /// Removes the key of a cell if its deadline has passed.
    fn expire(&self, state: &mut State, at: usize) {
        let now_ms = state.now_ms[self.clocks[at % self.names.len()]];
        if state.cells[at].is_some_and(|cell| cell.due_ms < now_ms) {
            state.put(at, None);
        }
    }
}

impl State {
    /// Describes the keys and their values.
    pub fn describe(&self, names: &[String]) -> String {
        let cells = self.cells.iter().enumerate().filter_map(|(at, cell)| {
            let cell = (*cell)?;
            let until = if cell.due_ms == NEVER_MS {
                String::new()
            } else {
                format!(" until {}", cell.due_ms)
            };
            let (db, name) = (at / names.len(), &names[at % names.len()]);
            Some(format!("{db}/{name} = {}{until}", cell.value))
        });
        let text = cells.collect::<Vec<_>>().join(", ");
        format!("[{text}] at {:?}", self.now_ms)
    }

    /// Returns the pause, unless one of the clocks has reached its end.
    fn paused(&self) -> Option<Pause> {
        self.pause.filter(|pause| self.now_ms.iter().all(|now_ms| *now_ms < pause.until_ms))
    }

    fn delays(&self, action: &Action) -> bool {
        let is_clock = matches!(action, Action::Jump { .. });
        self.paused().is_some_and(|pause| !is_clock && (pause.is_all || action.is_write()))
    }

    fn unwatch(&mut self, session: usize) {
        let session = &mut self.sessions[session];
        (session.watched, session.is_broken) = (0, false);
    }

    /// Makes the next EXEC of the cell's watchers fail.
    fn touch(&mut self, at: usize) {
        for session in &mut self.sessions {
            session.is_broken |= session.watched & 1 << at != 0;
        }
    }

    fn put(&mut self, at: usize, cell: Option<Cell>) {
        self.cells[at] = cell;
        self.touch(at);
    }

    /// Removes all keys of a database.
    fn empty(&mut self, db: usize) {
        let keys = self.cells.len() / DATABASES;
        for at in db * keys..(db + 1) * keys {
            if self.cells[at].is_some() {
                self.put(at, None);
            }
        }
        self.ordered[db] = false;
        self.sorted[db].clear();
    }
}

/// A command while it runs.
struct Run<'a> {
    model: &'a Model,
    state: &'a mut State,
    session: usize,
    /// The time, if it does not depend on each key's clock.
    now_ms: Option<u64>,
}

impl Run<'_> {
    fn keys(&self) -> usize {
        self.model.names.len()
    }

    /// Returns the cell of a key in the selected database.
    fn at(&self, key: usize) -> usize {
        self.db() * self.keys() + key
    }

    /// Returns the selected database.
    fn db(&self) -> usize {
        self.state.sessions[self.session].db
    }

    fn get(&self, key: usize) -> Option<Cell> {
        self.state.cells[self.at(key)]
    }

    fn bulk(&self, key: usize) -> Value {
        let text = |cell: Cell| Value::Bulk(cell.value.to_string().into_bytes());
        self.get(key).map_or(Value::Null, text)
    }

    fn now_ms(&self, key: usize) -> u64 {
        self.now_ms.unwrap_or(self.state.now_ms[self.model.clocks[key]])
    }

    fn put(&mut self, at: usize, cell: Cell) {
        self.state.put(at, Some(cell));
        self.model.expire(self.state, at);
    }

    fn set(&mut self, key: usize, value: i64) -> Value {
        self.put(self.at(key), Cell { value, due_ms: NEVER_MS });
        ok()
    }

    fn remove(&mut self, key: usize) -> i64 {
        let existed = self.get(key).is_some();
        if existed {
            self.state.put(self.at(key), None);
        }
        i64::from(existed)
    }

    fn command(&mut self, command: &Command) -> Value {
        match command {
            Command::Get(key) => self.bulk(*key),
            Command::Mget(keys) => Value::Array(keys.iter().map(|key| self.bulk(*key)).collect()),
            Command::Exists(keys) => {
                Value::Integer(keys.iter().filter(|key| self.get(**key).is_some()).count() as i64)
            }
            Command::Pttl(key) => Value::Integer(match self.get(*key) {
                None => -2,
                Some(Cell { due_ms: NEVER_MS, .. }) => -1,
                Some(cell) => cell.due_ms.saturating_sub(self.now_ms(*key)) as i64,
            }),
            Command::DbSize => {
                let first = self.at(0);
                let cells = &self.state.cells[first..first + self.keys()];
                let db = self.db();
                let lists = [self.state.ordered[db], !self.state.sorted[db].is_empty()];
                let lists = lists.iter().filter(|exists| **exists).count();
                Value::Integer((cells.iter().flatten().count() + lists) as i64)
            }
            Command::Set(key, value) => self.set(*key, *value),
            Command::SetNx(key, _) if self.get(*key).is_some() => Value::Null,
            Command::SetNx(key, value) => self.set(*key, *value),
            Command::SetPx(key, value, ms) => {
                let due_ms = self.now_ms(*key) + ms;
                self.put(self.at(*key), Cell { value: *value, due_ms });
                ok()
            }
            Command::Incr(key) => {
                let before = self.get(*key).unwrap_or(Cell { value: 0, due_ms: NEVER_MS });
                self.put(self.at(*key), Cell { value: before.value + 1, ..before });
                Value::Integer(before.value + 1)
            }
            Command::GetDel(key) => {
                let before = self.bulk(*key);
                self.remove(*key);
                before
            }
            Command::Del(keys) => Value::Integer(keys.iter().map(|key| self.remove(*key)).sum()),
            Command::Mset(keys, value) => {
                keys.iter().for_each(|key| drop(self.set(*key, *value)));
                ok()
            }
            Command::MsetNx(keys, value) => {
                let is_free = keys.iter().all(|key| self.get(*key).is_none());
                if is_free {
                    keys.iter().for_each(|key| drop(self.set(*key, *value)));
                }
                Value::Integer(i64::from(is_free))
            }
            _ => self.wide(command),
        }
    }

    /// Returns the values of all keys, sorted by value and name. A missing value counts as 0.
    fn sort(&self) -> Value {
        if !self.state.ordered[self.db()] {
            return Value::Array(Vec::new());
        }
        let value = |key: &usize| self.get(*key).map_or(0, |cell| cell.value);
        let mut keys: Vec<usize> = (0..self.keys()).collect();
        keys.sort_by_key(|key| (value(key), &self.model.names[*key]));
        Value::Array(keys.into_iter().map(|key| self.bulk(key)).collect())
    }

    /// Runs the commands that move keys, set deadlines, or affect whole databases.
    fn wide(&mut self, command: &Command) -> Value {
        match command {
            Command::Sort => self.sort(),
            Command::SortStore => {
                let db = self.db();
                let keys = if self.state.ordered[db] { self.keys() } else { 0 };
                let values = (0..keys).map(|key| self.get(key).map(|cell| cell.value));
                self.state.sorted[db] = values.collect();
                Value::Integer(keys as i64)
            }
            Command::Sorted => {
                let text = |value: &Option<i64>| value.map_or(String::new(), |it| it.to_string());
                let texts = self.state.sorted[self.db()].iter().map(text);
                Value::Array(texts.map(|text| Value::Bulk(text.into_bytes())).collect())
            }
            Command::Rename(from, to) => match self.rename(*from, *to, true) {
                None => error("ERR no such key"),
                Some(_) => ok(),
            },
            Command::RenameNx(from, to) => match self.rename(*from, *to, false) {
                None => error("ERR no such key"),
                Some(moved) => Value::Integer(i64::from(moved)),
            },
            Command::Copy { from, to, db, replaces } => {
                let to = db.map_or(self.at(*to), |db| db * self.keys() + to);
                if to == self.at(*from) {
                    return error("ERR source and destination objects are the same");
                }
                let Some(cell) = self.get(*from) else { return Value::Integer(0) };
                let is_free = self.state.cells[to].is_none();
                if is_free || *replaces {
                    self.put(to, cell);
                }
                Value::Integer(i64::from(is_free || *replaces))
            }
            Command::Pexpire(key, ms) => {
                let Some(cell) = self.get(*key) else { return Value::Integer(0) };
                let due_ms = self.now_ms(*key) + ms;
                self.put(self.at(*key), Cell { due_ms, ..cell });
                Value::Integer(1)
            }
            Command::Persist(key) => match self.get(*key) {
                None | Some(Cell { due_ms: NEVER_MS, .. }) => Value::Integer(0),
                Some(cell) => {
                    self.put(self.at(*key), Cell { due_ms: NEVER_MS, ..cell });
                    Value::Integer(1)
                }
            },
            Command::Ask => ok(),
            Command::Select(db) => {
                self.state.sessions[self.session].db = *db;
                ok()
            }
            Command::SwapDb(one, other) => {
                self.swap(*one, *other);
                ok()
            }
            Command::FlushDb => {
                self.state.empty(self.db());
                ok()
            }
            Command::FlushAll => {
                (0..DATABASES).for_each(|db| self.state.empty(db));
                ok()
            }
            _ => self.bits(command),
        }
    }

    /// Runs the commands on the text of a value, which may be offloaded.
    fn bits(&mut self, command: &Command) -> Value {
        match command {
            Command::BitCopy(from, to) => {
                let Some(cell) = self.get(*from) else {
                    self.remove(*to);
                    return Value::Integer(0);
                };
                self.set(*to, cell.value);
                Value::Integer(digits(cell.value).len() as i64)
            }
            Command::BitCount(key) => {
                let text = self.get(*key).map_or(String::new(), |cell| digits(cell.value));
                Value::Integer(text.bytes().map(|byte| i64::from(byte.count_ones())).sum())
            }
            Command::SetRange(key, digit) => {
                let before = self.get(*key);
                let mut text = before.map_or(String::from("0"), |cell| digits(cell.value));
                text.replace_range(..1, &digit.to_string());
                let value = text.parse().expect("a number");
                let due_ms = before.map_or(NEVER_MS, |cell| cell.due_ms);
                self.put(self.at(*key), Cell { value, due_ms });
                Value::Integer(text.len() as i64)
            }
            _ => unreachable!("{command:?} is none of these"),
        }
    }

    /// Returns whether a key was moved; `None` if it does not exist. A key renamed to itself stays
    /// unchanged, and so RENAMENX to its own name moves nothing.
    fn rename(&mut self, from: usize, to: usize, replaces: bool) -> Option<bool> {
        let cell = self.get(from)?;
        if from == to || !replaces && self.get(to).is_some() {
            return Some(false);
        }
        self.state.put(self.at(from), None);
        self.put(self.at(to), cell);
        Some(true)
    }

    /// A key that exists on either side counts as changed on both.
    fn swap(&mut self, one: usize, other: usize) {
        if one == other {
            return;
        }
        self.state.ordered.swap(one, other);
        self.state.sorted.swap(one, other);
        for key in 0..self.keys() {
            let (one, other) = (one * self.keys() + key, other * self.keys() + key);
            let cells = &mut self.state.cells;
            if cells[one].is_some() || cells[other].is_some() {
                cells.swap(one, other);
                self.state.touch(one);
                self.state.touch(other);
            }
        }
    }
}
