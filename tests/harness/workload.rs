//! The clients of a checked run: random operations on few keys, alone and in pipelines, over
//! connections that are sometimes cut at any moment.

use super::linear::Focus;
use super::{Client, World, encode, key_on};
use annulet::base::rng::Rng;
use annulet::resp::Value;

/// Largest number of pending replies of an impatient client.
const OUTSTANDING_MAX: usize = 24;

/// Number of times that a client sends something.
const BATCHES: usize = 12;
/// Largest number of chances to act that a client skips.
const PAUSE_MAX: u64 = 30;

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Get,
    Set,
    SetGet,
    Append,
    GetDel,
    Incr,
    Mget,
    Mset,
    Del,
    Exists,
}

/// The mixes to draw from, one row per run.
const MIXES: [&[Kind]; 4] = {
    use Kind::*;
    [
        &[
            Get, Get, Get, Set, Set, SetGet, Append, Incr, Incr, GetDel, Mget, Mget, Mget, Mset,
            Mset, Mset, Del, Exists,
        ],
        &[Get, Get, Get, Mset],
        &[Get, Set, Mget, Mset],
        &[Get, Get, Get, Get, Get, Get, Get, Get, Get, Mset],
    ]
};

/// One operation of one client.
#[derive(Clone, Debug)]
pub struct Op {
    /// The number of the client.
    pub client: usize,
    /// The number of its connection.
    pub session: usize,
    /// The kind of the operation.
    pub kind: Kind,
    /// The keys.
    pub keys: Vec<String>,
    /// The time at which it was sent.
    pub invoked: u64,
    /// The time at which its reply was read.
    pub done: Option<u64>,
    /// The reply.
    pub reply: Option<Value>,
}

impl Op {
    /// Returns the arguments.
    pub fn args(&self, id: usize) -> Vec<String> {
        let key = || self.keys[0].clone();
        let mark = format!("#{id}");
        let value = format!("{id},");
        let marked = |name: &str| {
            let keys = self.keys.iter().flat_map(|k| [k.clone(), format!("{{{k}}}{mark}")]);
            std::iter::once(name.to_string()).chain(keys).collect()
        };
        match self.kind {
            Kind::Get => vec!["GET".into(), key(), mark],
            Kind::Set => vec!["SET".into(), key(), value, mark],
            Kind::SetGet => vec!["SET".into(), key(), value, "GET".into(), mark],
            Kind::Append => vec!["APPEND".into(), key(), value, mark],
            Kind::GetDel => vec!["GETDEL".into(), key(), mark],
            Kind::Incr => vec!["INCR".into(), key(), mark],
            Kind::Mget => marked("MGET"),
            Kind::Del => marked("DEL"),
            Kind::Exists => marked("EXISTS"),
            Kind::Mset => {
                let pairs = self.keys.iter().flat_map(|k| [k.clone(), value.clone()]);
                std::iter::once("MSET".to_string()).chain(pairs).collect()
            }
        }
    }
}

/// A running client.
struct Actor {
    number: usize,
    client: Client,
    session: usize,
    /// Operations with pending replies, in order.
    due: std::collections::VecDeque<usize>,
    batches_left: usize,
    /// Sends more before the earlier replies have arrived.
    is_eager: bool,
    /// Number of chances to act that it still skips.
    pause: u64,
    /// Sends nothing more on this connection, and waits for its end.
    is_finishing: bool,
}

/// All clients of a run.
pub struct Workload {
    rng: Rng,
    shards: usize,
    texts: Vec<String>,
    numbers: Vec<String>,
    actors: Vec<Actor>,
    /// All operations, by number.
    pub ops: Vec<Op>,
    now: u64,
    may_cut: bool,
    mix: usize,
    is_patient: bool,
}

impl Workload {
    /// Connects the clients.
    pub fn new(world: &World, shards: usize, clients: usize, focus: Focus) -> Workload {
        let mut rng = Rng::new(world.seed ^ 0xc11e);
        let is_narrow = focus.is_narrow();
        let each = if is_narrow { 1 } else { 1 + rng.below(2) as usize };
        let texts = (0..shards).flat_map(|s| (0..each).map(move |n| key_on(shards, s, n)));
        let numbers = (0..shards).map(|s| key_on(shards, s, 2));
        let last = MIXES.len() - 1;
        let mix = if is_narrow { last } else { rng.below(MIXES.len() as u64) as usize };
        let is_patient = mix == last;
        let batches = if is_patient { 3 * BATCHES } else { BATCHES };
        let actor = |number: usize| Actor {
            number,
            client: world.connect(),
            session: 0,
            due: Default::default(),
            batches_left: batches,
            is_eager: !is_patient && rng.below(2) == 0,
            pause: 0,
            is_finishing: false,
        };
        Workload {
            shards,
            texts: texts.collect(),
            numbers: numbers.collect(),
            actors: (0..clients).map(actor).collect(),
            ops: Vec::new(),
            now: 0,
            may_cut: !is_narrow && rng.below(2) == 0,
            mix,
            is_patient,
            rng,
        }
    }

    /// Whether every client has finished.
    pub fn is_over(&self) -> bool {
        self.actors.iter().all(|actor| actor.batches_left == 0 && actor.due.is_empty())
    }

    /// Describes which client waits for which reply.
    pub fn describe(&self) -> String {
        let waits = self.actors.iter().filter_map(|actor| {
            let first = *actor.due.front()?;
            let args = self.ops[first].args(first).join(" ");
            Some(format!("client {} waits for the reply to {args}", actor.number))
        });
        waits.collect::<Vec<_>>().join("\n")
    }

    /// Lets some clients act. Returns whether anything moved.
    pub fn step(&mut self, world: &World) -> bool {
        let count = 1 + self.rng.below(self.actors.len() as u64);
        (0..count).fold(false, |moved, _| self.step_one(world) || moved)
    }

    fn step_one(&mut self, world: &World) -> bool {
        let at = self.rng.below(self.actors.len() as u64) as usize;
        let mut moved = self.read(at);
        let is_lost = !self.actors[at].due.is_empty() && self.actors[at].client.is_closed();
        assert!(!is_lost, "the server ended a connection:\n{}", self.describe());
        let actor = &mut self.actors[at];
        if actor.is_finishing {
            if actor.due.is_empty() && actor.client.is_closed() {
                self.reconnect(at, world);
                moved = true;
            }
            return moved;
        }
        let can_send = actor.due.is_empty() || actor.is_eager && actor.due.len() < OUTSTANDING_MAX;
        if actor.batches_left > 0 && can_send {
            moved = true;
            if actor.pause > 0 {
                actor.pause -= 1;
            } else {
                self.send(at);
                self.actors[at].pause = self.rng.below(2) * self.rng.below(PAUSE_MAX);
            }
        }
        if self.may_cut && moved && self.rng.below(40) == 0 && self.actors[at].batches_left > 0 {
            self.cut(at, world);
        }
        moved
    }

    fn read(&mut self, at: usize) -> bool {
        let actor = &mut self.actors[at];
        let mut moved = false;
        while let Some(reply) = actor.client.try_read() {
            let op = actor.due.pop_front().expect("every reply answers something");
            self.now += 1;
            self.ops[op].done = Some(self.now);
            self.ops[op].reply = Some(reply);
            moved = true;
        }
        moved
    }

    fn send(&mut self, at: usize) {
        let counts: &[usize] = if self.is_patient { &[1] } else { &[1, 1, 1, 2, 3, 4, 8] };
        let count = counts[self.rng.below(counts.len() as u64) as usize];
        self.now += 1;
        let mut bytes = Vec::new();
        for _ in 0..count {
            let op = self.draw_op(at);
            let id = self.ops.len();
            bytes.extend(encode(&op.args(id)));
            self.ops.push(op);
            self.actors[at].due.push_back(id);
        }
        self.actors[at].batches_left -= 1;
        self.actors[at].client.send_bytes(&bytes);
    }

    fn draw_op(&mut self, at: usize) -> Op {
        let kinds = MIXES[self.mix];
        let kind = kinds[self.rng.below(kinds.len() as u64) as usize];
        use Kind::{Del, Exists, Get, Incr, Mget, Mset};
        let count = match kind {
            Mget | Mset | Del | Exists => 1 + self.rng.below(3.min(self.shards as u64) + 1),
            _ => 1,
        };
        let reads = matches!(kind, Get | Mget | Exists) && !self.is_patient;
        let mut keys: Vec<String> = Vec::new();
        for _ in 0..count {
            let number = kind == Incr || reads && self.rng.below(5) == 0;
            let from = if number { &self.numbers } else { &self.texts };
            let key = &from[self.rng.below(from.len() as u64) as usize];
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        let (client, session) = (self.actors[at].number, self.actors[at].session);
        Op { client, session, kind, keys, invoked: self.now, done: None, reply: None }
    }

    /// Ends a connection in one of the possible ways.
    fn cut(&mut self, at: usize, world: &World) {
        let actor = &mut self.actors[at];
        match self.rng.below(3) {
            0 if actor.client.has_sent() => {
                actor.client.link.finish();
                actor.is_finishing = true;
                return;
            }
            1 => actor.client.link.close(),
            _ => actor.client.link.reset(),
        }
        actor.due.clear();
        self.reconnect(at, world);
    }

    fn reconnect(&mut self, at: usize, world: &World) {
        let actor = &mut self.actors[at];
        actor.client = world.connect();
        actor.session += 1;
        actor.is_finishing = false;
    }
}
