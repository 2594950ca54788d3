//! Decides whether a single Redis could have produced a history.
//!
//! First the touches are replayed key by key on a model: every reply must be the model's. Then the
//! operations become the nodes of a graph (an MSET or MGET over several shards is one node). An
//! edge leads to each operation that must take effect later:
//!
//! ```text
//!   session      the next operation on the same connection
//!   real time    an operation sent after this one's reply was read
//!   write-write  the next write of the same key         (in the order of the touches)
//!   write-read   a read of the value that this one wrote
//!   read-write   the next write after the value that this one read
//! ```
//! The history is strictly serializable, in the order of each session, if the graph has no cycle.

use super::observed::Touch;
use super::workload::{Kind, Op};
use annulet::resp::Value;
use std::collections::{BTreeMap, VecDeque};

/// Why one operation comes before another.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    Session,
    RealTime,
    WriteWrite(String),
    WriteRead(String),
    ReadWrite(String),
}

/// The effect of one touch in the model.
struct Effect {
    writes: bool,
    partial: Value,
}

/// The value of one key in the model.
type Cell = Option<Vec<u8>>;

fn bulk(cell: &Cell) -> Value {
    cell.clone().map_or(Value::Null, Value::Bulk)
}

/// Applies one operation to one of its keys.
fn apply(id: usize, op: &Op, cell: &mut Cell) -> Effect {
    let value = format!("{id},").into_bytes();
    let before = bulk(cell);
    let existed = Value::Integer(i64::from(cell.is_some()));
    let ok = Value::Simple(b"OK".to_vec());
    let (writes, partial) = match op.kind {
        Kind::Get | Kind::Mget => (false, before),
        Kind::Exists => (false, existed),
        Kind::Del => (cell.take().is_some(), existed),
        Kind::GetDel => (cell.take().is_some(), before),
        Kind::Set | Kind::Mset => {
            *cell = Some(value);
            (true, ok)
        }
        Kind::SetGet => {
            *cell = Some(value);
            (true, before)
        }
        Kind::Append => {
            let text = cell.get_or_insert_default();
            text.extend(value);
            (true, Value::Integer(text.len() as i64))
        }
        Kind::Incr => {
            let text = cell.get_or_insert_with(|| b"0".to_vec());
            let number: i64 = std::str::from_utf8(text).expect("text").parse().expect("a number");
            *text = (number + 1).to_string().into_bytes();
            (true, Value::Integer(number + 1))
        }
    };
    Effect { writes, partial }
}

/// Merges the replies for single keys into one reply.
fn merged(op: &Op, partials: &BTreeMap<String, Value>) -> Value {
    let integer = |value: &Value| if let Value::Integer(n) = value { *n } else { 0 };
    match op.kind {
        Kind::Mget => Value::Array(
            op.keys.iter().flat_map(|key| [partials[key].clone(), Value::Null]).collect(),
        ),
        Kind::Del | Kind::Exists => Value::Integer(partials.values().map(integer).sum()),
        _ => partials[&op.keys[0]].clone(),
    }
}

/// The graph of a history.
pub struct History<'a> {
    ops: &'a [Op],
    edges: Vec<Vec<(usize, Why)>>,
    /// Whether each operation took effect or had a reply.
    is_there: Vec<bool>,
}

impl<'a> History<'a> {
    /// Replays the touches and builds the graph. Returns an error for a reply that differs from the
    /// model's.
    pub fn new(ops: &'a [Op], touches: &[Touch]) -> Result<History<'a>, String> {
        let mut history =
            History { ops, edges: vec![Vec::new(); ops.len()], is_there: vec![false; ops.len()] };
        history.replay(touches)?;
        history.add_sessions();
        history.add_real_time();
        Ok(history)
    }

    fn replay(&mut self, touches: &[Touch]) -> Result<(), String> {
        let mut cells: BTreeMap<&str, Cell> = BTreeMap::new();
        let mut partials: BTreeMap<usize, BTreeMap<String, Value>> = BTreeMap::new();
        let mut last: BTreeMap<&str, (Option<usize>, Vec<usize>)> = BTreeMap::new();
        for Touch { op, key } in touches {
            let effect = apply(*op, &self.ops[*op], cells.entry(key).or_default());
            let of_op = partials.entry(*op).or_default();
            if of_op.insert(key.clone(), effect.partial).is_some() {
                return Err(format!("{} ran twice on {key}", self.name(*op)));
            }
            self.is_there[*op] = true;
            let (writer, readers) = last.entry(key).or_default();
            if let Some(writer) = *writer {
                let key = key.clone();
                let why = if effect.writes { Why::WriteWrite(key) } else { Why::WriteRead(key) };
                self.add(writer, *op, why);
            }
            if effect.writes {
                for reader in readers.drain(..) {
                    self.add(reader, *op, Why::ReadWrite(key.clone()));
                }
                *writer = Some(*op);
            } else {
                readers.push(*op);
            }
        }
        for (id, op) in self.ops.iter().enumerate() {
            let Some(reply) = &op.reply else { continue };
            let of_op = partials.get(&id).map_or(0, BTreeMap::len);
            if of_op != op.keys.len() {
                return Err(format!("{} was answered, but ran on {of_op} keys", self.name(id)));
            }
            let expected = merged(op, &partials[&id]);
            if *reply != expected {
                let name = self.name(id);
                return Err(format!("{name} got {reply:?} instead of {expected:?}"));
            }
        }
        Ok(())
    }

    fn add(&mut self, from: usize, to: usize, why: Why) {
        if from != to {
            self.edges[from].push((to, why));
        }
    }

    fn add_sessions(&mut self) {
        let mut last: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for id in 0..self.ops.len() {
            if self.is_there[id] {
                let op = &self.ops[id];
                if let Some(before) = last.insert((op.client, op.session), id) {
                    self.add(before, id, Why::Session);
                }
            }
        }
    }

    fn add_real_time(&mut self) {
        for from in 0..self.ops.len() {
            let Some(done) = self.ops[from].done else { continue };
            for to in 0..self.ops.len() {
                if self.is_there[to] && done < self.ops[to].invoked {
                    self.add(from, to, Why::RealTime);
                }
            }
        }
    }

    /// Returns the operations on cycles or behind them. These are left after repeatedly removing
    /// every operation without a predecessor.
    fn tangled(&self) -> Vec<bool> {
        let mut before = vec![0usize; self.ops.len()];
        for (to, _) in self.edges.iter().flatten() {
            before[*to] += 1;
        }
        let mut free: Vec<usize> = (0..before.len()).filter(|id| before[*id] == 0).collect();
        let mut tangled = vec![true; self.ops.len()];
        while let Some(id) = free.pop() {
            tangled[id] = false;
            for (to, _) in &self.edges[id] {
                before[*to] -= 1;
                if before[*to] == 0 {
                    free.push(*to);
                }
            }
        }
        tangled
    }

    /// Whether there is a cycle.
    pub fn is_anomalous(&self) -> bool {
        self.tangled().contains(&true)
    }

    /// Describes the shortest cycle, if there is one.
    pub fn anomaly(&self) -> Option<String> {
        let tangled = self.tangled();
        let starts = (0..self.ops.len()).filter(|id| tangled[*id]);
        let cycle = starts.filter_map(|id| self.cycle(id, &tangled)).min_by_key(Vec::len)?;
        let lines = cycle.iter().map(|(from, to, why)| {
            let (from, to) = (self.name(*from), self.name(*to));
            match why {
                Why::Session => format!("{from}\n  was sent before, on the same connection:\n{to}"),
                Why::RealTime => format!("{from}\n  was answered before this was sent:\n{to}"),
                Why::WriteWrite(key) => {
                    format!("{from}\n  wrote {key} before it was written by\n{to}")
                }
                Why::WriteRead(key) => format!("{from}\n  wrote {key}, which was read by\n{to}"),
                Why::ReadWrite(key) => {
                    format!("{from}\n  read {key} before it was written by\n{to}")
                }
            }
        });
        Some(lines.collect::<Vec<_>>().join("\n  and\n"))
    }

    /// Returns the shortest path from an operation back to itself.
    fn cycle(&self, start: usize, tangled: &[bool]) -> Option<Vec<(usize, usize, &Why)>> {
        let mut came: Vec<Option<(usize, &Why)>> = vec![None; self.ops.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(id) = queue.pop_front() {
            for (to, why) in self.edges[id].iter().filter(|(to, _)| tangled[*to]) {
                if came[*to].is_some() {
                    continue;
                }
                came[*to] = Some((id, why));
                if *to != start {
                    queue.push_back(*to);
                    continue;
                }
                let mut path = Vec::new();
                let mut at = start;
                while let Some((from, why)) = came[at] {
                    path.push((from, at, why));
                    at = from;
                    if at == start {
                        break;
                    }
                }
                path.reverse();
                return Some(path);
            }
        }
        None
    }

    fn name(&self, id: usize) -> String {
        let op = &self.ops[id];
        let args: Vec<String> = op.args(id).into_iter().filter(|arg| !arg.contains('#')).collect();
        let reply = match &op.reply {
            Some(reply) => format!("{reply:?}"),
            None => "no reply".to_string(),
        };
        format!("client {} [{}] -> {reply}", op.client, args.join(" "))
    }
}
