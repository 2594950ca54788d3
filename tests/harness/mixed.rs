//! The clients of a checked run: few operations on few keys, so that all possible orders can be
//! searched.
//!
//! A client draws a unit (a command, or a transaction with its WATCH before it). It sends the unit
//! at once, or command by command as the replies arrive. Connections are sometimes cut at any
//! moment. With an admin, one more client kills the others and pauses them, and some read slowly.
//! With a feed, a replica follows, see `followed`.

use super::followed::Followed;
use super::linear::wait_until;
use super::lockstep::Lockstep;
use super::model::{Action, Command, Model, ORDER};
use super::ok;
use super::search::{Event, Observed};
use super::units::{Draw, MS_MAX, Mix, Step};
use super::{Client, START_MS, World, encode, key_on, plain_table};
use annulet::base::rng::Rng;
use annulet::resp::Value;
use std::collections::VecDeque;

/// Largest number of units of all clients together.
const UNITS_MAX: u64 = 36;
/// Largest number of chances to act that a client skips.
const PAUSE_MAX: u64 = 40;
/// Logical time between two steps of the scheduler.
const TIME_PER_STEP: u64 = 1_000;
/// Largest number of jumps of the clock.
const JUMPS_MAX: u64 = 10;
/// Units of the admin.
const ADMIN_UNITS: u64 = 10;
/// Milliseconds of a pause that only UNPAUSE ends.
const PAUSE_MS_LONG: u64 = 1_000_000;
/// Steps without a move after which the clock jumps, because a pause may have stopped all clients.
const STILL_STEPS_MAX: u64 = 200;
/// Actions that a failure shows.
const SHOWN_MAX: usize = 40;
/// Unread bytes that a slow client holds.
const WINDOW_BYTES: usize = 40;

/// An expected reply.
struct Due {
    event: Option<usize>,
    value: Option<Value>,
    /// The sent command, for messages.
    sent: String,
}

/// A jump of a clock.
struct Jump {
    event: usize,
    clock: usize,
    at: u64,
}

struct Actor {
    client: Client,
    session: usize,
    plan: VecDeque<Step>,
    due: VecDeque<Due>,
    units_left: u64,
    /// Sends a unit command by command.
    is_slow: bool,
    pause: u64,
    is_finishing: bool,
    /// The connection's id, once it has come.
    id: Option<i64>,
    /// Whether the admin has sent a command that ends the connection.
    is_doomed: bool,
    is_admin: bool,
}

/// All clients of a run.
pub struct Mixed {
    draw: Draw,
    shards: usize,
    actors: Vec<Actor>,
    sessions: usize,
    observed: Observed,
    now: u64,
    now_ms: u64,
    jumps_left: u64,
    /// Jumps that a shard may not have seen yet.
    jumps: Vec<Jump>,
    wrong: Option<String>,
    /// Steps since anything moved.
    still_steps: u64,
    /// The end of the last pause, in Unix milliseconds, if time ends it.
    paused_until_ms: u64,
    followed: Option<Followed>,
}

impl Mixed {
    /// Connects the clients. With clocks, the first connections stand for the clocks.
    pub fn new(world: &World, shards: usize, mix: &'static Mix) -> Mixed {
        let mut rng = Rng::new(world.seed ^ 0x317e);
        let clients = 2 + rng.below(3) as usize;
        let each = if shards == 2 { 1 + rng.below(2) as usize } else { 1 };
        let keys = (0..each).flat_map(|n| (0..shards).map(move |s| (s, n)));
        let mark = mix.has_feed.then(|| (rng.below(shards as u64) as usize, 9));
        let keys: Vec<(usize, usize)> = keys.chain(mark).collect();
        let clocks = if mix.has_clocks { shards } else { 1 };
        let model = Model {
            names: keys.iter().map(|(shard, n)| key_on(shards, *shard, *n)).collect(),
            clocks: keys.iter().map(|(shard, _)| shard % clocks).collect(),
            has_order: mix.needs.contains(&"sort"),
        };
        let is_admin = |number: usize| number == clients;
        let actors = (0..clients + usize::from(mix.has_admin)).map(|number| Actor {
            client: world.connect(),
            session: clocks + number,
            plan: VecDeque::new(),
            due: VecDeque::new(),
            units_left: if is_admin(number) { ADMIN_UNITS } else { UNITS_MAX / clients as u64 },
            is_slow: false,
            pause: 0,
            is_finishing: false,
            id: None,
            is_doomed: false,
            is_admin: is_admin(number),
        });
        let draw = Draw::new(rng, mix, model.names.clone());
        let mut mixed = Mixed {
            draw: if mix.has_feed { draw.with_mark() } else { draw },
            shards,
            actors: actors.collect(),
            sessions: clocks + clients + 1,
            followed: mix.has_feed.then(|| Followed::new(world, &model.names)),
            observed: Observed { model, start_ms: START_MS, events: Vec::new() },
            now: 0,
            now_ms: START_MS,
            jumps_left: JUMPS_MAX,
            jumps: Vec::new(),
            wrong: None,
            still_steps: 0,
            paused_until_ms: 0,
        };
        (0..mixed.actors.len()).for_each(|at| mixed.greet(at));
        mixed
    }

    /// Writes the list that SORT reads, before the clients act.
    pub fn prepare(&mut self, world: &World, lockstep: &Lockstep) {
        let names = self.observed.model.names.iter().map(String::as_str);
        let args: Vec<&str> = ["RPUSH", ORDER].into_iter().chain(names).collect();
        let mut client = world.connect();
        client.send(&args);
        wait_until(lockstep, "the list of all keys", || {
            world.run_offloaded();
            client.try_read().is_some()
        });
        client.link.close();
    }

    /// Waits until the replica has all keys, and compares them.
    pub fn finish(&mut self, world: &World, lockstep: &Lockstep) {
        if let (Some(followed), None) = (&mut self.followed, &self.wrong) {
            self.wrong = followed.finish(world, lockstep).err();
        }
    }

    /// Returns the number of marks at which a replica was compared.
    pub fn marks(&self) -> u64 {
        self.followed.as_ref().map_or(0, |followed| followed.compared)
    }

    /// Whether every client has finished.
    pub fn is_over(&self) -> bool {
        self.wrong.is_some() || self.actors.iter().all(|a| a.is_through() && a.due.is_empty())
    }

    /// Returns a reply that is wrong in any order, or else everything that the clients saw.
    pub fn result(self) -> Result<Observed, String> {
        self.wrong.map_or(Ok(self.observed), Err)
    }

    /// Describes which client waits for which reply, and the last actions.
    pub fn describe(&self) -> String {
        let waits = self.actors.iter().filter_map(|actor| {
            let first = actor.due.front()?;
            let received = String::from_utf8_lossy(&actor.client.received);
            let (session, sent) = (actor.session, &first.sent);
            Some(format!("connection {session} waits for the reply to {sent}, {received:?} so far"))
        });
        let events = &self.observed.events;
        let last = events[events.len().saturating_sub(SHOWN_MAX)..].iter();
        let last = last.map(|event| event.describe(&self.observed.model.names));
        waits.chain(last).collect::<Vec<_>>().join("\n")
    }

    /// Lets some clients act. Returns whether anything moved.
    pub fn step(&mut self, world: &World, lockstep: &Lockstep) -> bool {
        self.now = (self.now + 1).max(lockstep.steps() * TIME_PER_STEP);
        self.settle_jumps(lockstep);
        let mut moved = false;
        for _ in 0..1 + self.draw.rng.below(self.actors.len() as u64) {
            moved |= self.step_one(world);
        }
        if let Some(followed) = &mut self.followed {
            moved |= followed.step(world);
            self.wrong = self.wrong.take().or(followed.wrong.take());
        }
        self.still_steps = if moved { 0 } else { self.still_steps + 1 };
        let may_jump = self.draw.mix.jump_once_in > 0 && moved && self.jumps_left > 0;
        if may_jump && self.draw.rng.below(self.draw.mix.jump_once_in) == 0 {
            self.jumps_left -= 1;
            self.jump(world);
            self.settle_jumps(lockstep);
        }
        if self.still_steps >= STILL_STEPS_MAX && self.now_ms < self.paused_until_ms {
            self.still_steps = 0;
            self.jump(world);
            self.settle_jumps(lockstep);
        }
        moved
    }

    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// Moves the clock forward. With clocks, each part of a command over several shards runs at the
    /// time of its shard. A shard in the middle of a turn keeps its time until the next turn. A
    /// part that is posted but still in the inbox runs at the new time. So a jump of one shard's
    /// clock lies anywhere between the call of the oldest pending command and the shard's next
    /// turn.
    fn jump(&mut self, world: &World) {
        let ms = 1 + self.draw.rng.below(MS_MAX);
        world.clock.advance_ms(ms);
        if self.draw.mix.has_admin {
            // A waiting shard of the simulation does not see that its deadline passes.
            world.mesh.ring_all();
        }
        self.now_ms += ms;
        let now = self.tick();
        let under_way = self.actors.iter().flat_map(|actor| &actor.due);
        let calls = under_way.filter_map(|due| Some(self.observed.events[due.event?].invoked));
        let invoked = if self.draw.mix.has_clocks { calls.min().unwrap_or(now) } else { now };
        let clocks = if self.draw.mix.has_clocks { self.shards } else { 1 };
        for clock in 0..clocks {
            self.jumps.push(Jump { event: self.observed.events.len(), clock, at: now });
            self.observed.events.push(Event {
                session: clock,
                action: Action::Jump { clock, to_ms: self.now_ms },
                invoked,
                done: None,
                reply: None,
            });
        }
        if !self.draw.mix.has_clocks {
            let jump = self.jumps.pop().expect("there is one clock");
            self.observed.events[jump.event].done = Some(self.tick());
        }
    }

    /// Ends a jump for a shard once the shard waits, because it reads the clock after each wait.
    fn settle_jumps(&mut self, lockstep: &Lockstep) {
        let events = &mut self.observed.events;
        self.jumps.retain(|Jump { event, clock, at }| {
            let waited = lockstep.waited_at(*clock) * TIME_PER_STEP;
            let done = if waited > *at { Some(waited) } else { None };
            let done = done.or_else(|| lockstep.is_waiting(*clock).then_some(at + 1));
            events[*event].done = done;
            done.is_none()
        });
    }

    fn step_one(&mut self, world: &World) -> bool {
        let at = self.draw.rng.below(self.actors.len() as u64) as usize;
        let mut moved = self.read(at);
        let is_closed = self.actors[at].client.is_closed();
        // A killed client may have part of a reply. A pause ends with the client's input.
        let actor = &self.actors[at];
        let may_end = actor.is_doomed || actor.is_finishing && self.draw.mix.has_admin;
        if may_end && actor.client.link.is_closed() {
            self.reconnect(at, world);
            return true;
        }
        if is_closed && !self.actors[at].due.is_empty() {
            let session = self.actors[at].session;
            let text = format!("the server ended connection {session}:\n{}", self.describe());
            self.wrong = Some(text);
        }
        let actor = &mut self.actors[at];
        if actor.is_finishing {
            if actor.due.is_empty() && actor.client.is_closed() {
                self.reconnect(at, world);
                moved = true;
            }
            return moved;
        }
        if actor.due.is_empty() && !actor.is_through() {
            moved = true;
            if actor.pause > 0 {
                actor.pause -= 1;
            } else {
                self.send(at);
                self.actors[at].pause = self.draw.rng.below(2) * self.draw.rng.below(PAUSE_MAX);
            }
        }
        let may_cut = self.draw.mix.cut_once_in > 0 && moved && !self.actors[at].is_through();
        let may_cut = may_cut && !self.actors[at].is_admin;
        if may_cut && self.draw.rng.below(self.draw.mix.cut_once_in) == 0 {
            self.cut(at, world);
        }
        moved
    }

    fn read(&mut self, at: usize) -> bool {
        let before = self.actors[at].client.received.len();
        self.actors[at].client.pump();
        let mut moved = self.actors[at].client.received.len() != before;
        while let Some(reply) = self.actors[at].client.try_read() {
            let due = self.actors[at].due.pop_front().expect("every reply answers something");
            moved = true;
            if due.value.as_ref().is_some_and(|value| *value != reply) {
                let (sent, value) = (due.sent, due.value);
                self.wrong = Some(format!("{sent} got {reply:?} instead of {value:?}"));
                return true;
            }
            let now = self.tick();
            if let Some(event) = due.event {
                let event = &mut self.observed.events[event];
                if let (Some(followed), Action::Exec(commands)) =
                    (&mut self.followed, &event.action)
                    && let Some(Command::Set(key, value)) = commands.first()
                    && *key + 1 == self.observed.model.names.len()
                {
                    followed.note(*value, &reply, self.now_ms);
                }
                if let Action::Pause { ms, .. } = event.action
                    && self.draw.mix.jump_once_in > 0
                {
                    self.paused_until_ms = self.paused_until_ms.max(self.now_ms + ms);
                }
                (event.done, event.reply) = (Some(now), Some(reply));
            } else if let (None, Value::Integer(id)) = (&due.value, &reply) {
                self.actors[at].id = self.actors[at].id.or(Some(*id));
            }
        }
        moved
    }

    /// Sends the plan: all of it, or the next command.
    fn send(&mut self, at: usize) {
        if self.actors[at].plan.is_empty() {
            self.actors[at].is_slow = self.draw.rng.below(2) == 0;
            // Sometimes several units at once.
            let units = if self.draw.rng.below(5) == 0 { 2 } else { 1 };
            for _ in 0..units.min(self.actors[at].units_left) {
                let plan =
                    if self.actors[at].is_admin { self.admin_unit(at) } else { self.draw.unit() };
                self.actors[at].plan.extend(plan);
                self.actors[at].units_left -= 1;
            }
        }
        let invoked = self.tick();
        let actor = &mut self.actors[at];
        let count = if actor.is_slow { 1 } else { actor.plan.len() };
        let mut bytes = Vec::new();
        for Step { args, action, due } in actor.plan.drain(..count) {
            let percent = self.draw.mix.script_percent;
            let is_scripted = percent > 0 && self.draw.rng.below(100) < percent;
            let args = if is_scripted { scripted(args, &mut self.draw.rng) } else { args };
            bytes.extend(encode(&args));
            let event = action.map(|action| {
                let session = actor.session;
                let event = Event { session, action, invoked, done: None, reply: None };
                self.observed.events.push(event);
                self.observed.events.len() - 1
            });
            if let (Some(followed), Some(Action::Exec(commands))) =
                (&mut self.followed, event.map(|event| &self.observed.events[event].action))
                && let Some(Command::Set(key, value)) = commands.first()
                && *key + 1 == self.observed.model.names.len()
            {
                followed.expect(*value);
            }
            actor.due.push_back(Due { event, value: due, sent: args.join(" ") });
        }
        actor.client.send_bytes(&bytes);
    }

    /// Draws what the admin sends. It ends the last pause.
    fn admin_unit(&mut self, at: usize) -> Vec<Step> {
        let has_jumps = self.draw.mix.jump_once_in > 0;
        let is_last = self.actors[at].units_left == 1;
        let other = self.draw.rng.below(self.actors.len() as u64 - 1) as usize;
        let kind = if is_last { 9 } else { self.draw.rng.below(10) };
        let step = |text: String, action, due| {
            let args = text.split(' ').map(str::to_string).collect();
            vec![Step { args, action, due }]
        };
        match (kind, self.actors[other].id) {
            (0..=2, Some(id)) => {
                self.actors[other].is_doomed = true;
                step(format!("CLIENT KILL ID {id}"), None, None)
            }
            (3, _) => step("CLIENT LIST".to_string(), None, None),
            (4, _) => step("CONFIG SET timeout 0".to_string(), None, Some(ok())),
            (5..=7, _) => {
                let is_all = has_jumps && self.draw.rng.below(2) == 0;
                let ms = if has_jumps { 1 + self.draw.rng.below(MS_MAX) } else { PAUSE_MS_LONG };
                let action = Action::Pause { ms, is_all };
                step(action.describe(&[]), Some(action), None)
            }
            _ => step(Action::Unpause.describe(&[]), Some(Action::Unpause), None),
        }
    }

    /// Asks for the connection's id, and decides how fast it reads.
    fn greet(&mut self, at: usize) {
        if !self.draw.mix.has_admin || self.actors[at].is_admin {
            return;
        }
        if self.draw.rng.below(4) == 0 {
            self.actors[at].client.link.set_window(WINDOW_BYTES);
        }
        let args = ["CLIENT", "ID"].map(str::to_string).to_vec();
        let step = Step { args, action: None, due: None };
        self.actors[at].plan.push_back(step);
    }

    /// Ends a connection in one of the possible ways.
    fn cut(&mut self, at: usize, world: &World) {
        let actor = &mut self.actors[at];
        match self.draw.rng.below(3) {
            0 if actor.client.has_sent() => {
                actor.client.link.finish();
                actor.plan.clear();
                actor.is_finishing = true;
                return;
            }
            1 => actor.client.link.close(),
            _ => actor.client.link.reset(),
        }
        self.reconnect(at, world);
    }

    fn reconnect(&mut self, at: usize, world: &World) {
        let actor = &mut self.actors[at];
        actor.client = world.connect();
        actor.session = self.sessions;
        self.sessions += 1;
        actor.plan.clear();
        actor.due.clear();
        actor.is_finishing = false;
        actor.is_doomed = false;
        actor.id = None;
        self.greet(at);
    }
}

impl Actor {
    /// Whether the client will send nothing more.
    fn is_through(&self) -> bool {
        self.plan.is_empty() && self.units_left == 0
    }
}

/// Returns the EVAL that runs a command, with or without declared keys. Commands on the session and
/// incomplete commands stay as they are.
fn scripted(args: Vec<String>, rng: &mut Rng) -> Vec<String> {
    let entry = plain_table().find(args[0].as_bytes()).expect("a known command");
    if !entry.is_on_keys() || !entry.command.card.takes(args.len()) {
        return args;
    }
    if rng.below(2) == 0 {
        let script = format!("{}return redis.pcall(unpack(ARGV))", pause(rng));
        return ["EVAL", &script, "0"].map(str::to_string).into_iter().chain(args).collect();
    }
    let keys = entry.command.card.used_args(args.len(), |at| args[at].as_bytes());
    let keys: Vec<usize> = keys.unwrap_or_default().into_iter().map(|(at, _)| at).collect();
    let (mut declared, mut others) = (Vec::new(), Vec::new());
    let mut call = format!("redis.pcall('{}'", args[0]);
    for (at, arg) in args.iter().enumerate().skip(1) {
        let (list, name) =
            if keys.contains(&at) { (&mut declared, "KEYS") } else { (&mut others, "ARGV") };
        list.push(arg.clone());
        call.push_str(&format!(", {name}[{}]", list.len()));
    }
    let count = declared.len().to_string();
    ["EVAL".to_string(), format!("{}return {call})", pause(rng)), count]
        .into_iter()
        .chain(declared)
        .chain(others)
        .collect()
}

/// Returns the beginning of a script: sometimes a loop that is suspended if all scripts are long.
fn pause(rng: &mut Rng) -> &'static str {
    if rng.below(3) == 0 { "for i = 1, 50000 do end " } else { "" }
}
