//! The clients of a checked run: few operations on few keys, so that all possible orders can be
//! searched.
//!
//! A client draws a unit (a command, or a transaction with its WATCH before it). It sends the unit
//! at once, or command by command as the replies arrive. Connections are sometimes cut at any
//! moment.

use super::linear::wait_until;
use super::lockstep::Lockstep;
use super::model::{Action, Model, ORDER};
use super::search::{Event, Observed};
use super::units::{Draw, MS_MAX, Mix, Step};
use super::{Client, START_MS, World, encode, key_on};
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
}

impl Mixed {
    /// Connects the clients. With clocks, the first connections stand for the clocks.
    pub fn new(world: &World, shards: usize, mix: &'static Mix) -> Mixed {
        let mut rng = Rng::new(world.seed ^ 0x317e);
        let clients = 2 + rng.below(3) as usize;
        let each = if shards == 2 { 1 + rng.below(2) as usize } else { 1 };
        let keys = (0..each).flat_map(|n| (0..shards).map(move |s| (s, n)));
        let keys: Vec<(usize, usize)> = keys.collect();
        let clocks = if mix.has_clocks { shards } else { 1 };
        let model = Model {
            names: keys.iter().map(|(shard, n)| key_on(shards, *shard, *n)).collect(),
            clocks: keys.iter().map(|(shard, _)| shard % clocks).collect(),
            has_order: mix.needs.contains(&"sort"),
        };
        let actor = |number: usize| Actor {
            client: world.connect(),
            session: clocks + number,
            plan: VecDeque::new(),
            due: VecDeque::new(),
            units_left: UNITS_MAX / clients as u64,
            is_slow: false,
            pause: 0,
            is_finishing: false,
        };
        Mixed {
            draw: Draw::new(rng, mix, model.names.clone()),
            shards,
            actors: (0..clients).map(actor).collect(),
            sessions: clocks + clients,
            observed: Observed { model, start_ms: START_MS, events: Vec::new() },
            now: 0,
            now_ms: START_MS,
            jumps_left: JUMPS_MAX,
            jumps: Vec::new(),
            wrong: None,
        }
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

    /// Whether every client has finished.
    pub fn is_over(&self) -> bool {
        self.wrong.is_some() || self.actors.iter().all(|a| a.is_through() && a.due.is_empty())
    }

    /// Returns a reply that is wrong in any order, or else everything that the clients saw.
    pub fn result(self) -> Result<Observed, String> {
        self.wrong.map_or(Ok(self.observed), Err)
    }

    /// Describes which client waits for which reply.
    pub fn describe(&self) -> String {
        let waits = self.actors.iter().filter_map(|actor| {
            let first = actor.due.front()?;
            Some(format!("connection {} waits for the reply to {}", actor.session, first.sent))
        });
        waits.collect::<Vec<_>>().join("\n")
    }

    /// Lets some clients act. Returns whether anything moved.
    pub fn step(&mut self, world: &World, lockstep: &Lockstep) -> bool {
        self.now = (self.now + 1).max(lockstep.steps() * TIME_PER_STEP);
        self.settle_jumps(lockstep);
        let mut moved = false;
        for _ in 0..1 + self.draw.rng.below(self.actors.len() as u64) {
            moved |= self.step_one(world);
        }
        let may_jump = moved && self.draw.mix.jump_once_in > 0 && self.jumps_left > 0;
        if may_jump && self.draw.rng.below(self.draw.mix.jump_once_in) == 0 {
            self.jumps_left -= 1;
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
        let is_lost = !self.actors[at].due.is_empty() && self.actors[at].client.is_closed();
        if is_lost {
            self.wrong = Some(format!("the server ended a connection:\n{}", self.describe()));
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
        if may_cut && self.draw.rng.below(self.draw.mix.cut_once_in) == 0 {
            self.cut(at, world);
        }
        moved
    }

    fn read(&mut self, at: usize) -> bool {
        let mut moved = false;
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
                (event.done, event.reply) = (Some(now), Some(reply));
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
                let plan = self.draw.unit();
                self.actors[at].plan.extend(plan);
                self.actors[at].units_left -= 1;
            }
        }
        let invoked = self.tick();
        let actor = &mut self.actors[at];
        let count = if actor.is_slow { 1 } else { actor.plan.len() };
        let mut bytes = Vec::new();
        for Step { args, action, due } in actor.plan.drain(..count) {
            bytes.extend(encode(&args));
            let event = action.map(|action| {
                let session = actor.session;
                let event = Event { session, action, invoked, done: None, reply: None };
                self.observed.events.push(event);
                self.observed.events.len() - 1
            });
            actor.due.push_back(Due { event, value: due, sent: args.join(" ") });
        }
        actor.client.send_bytes(&bytes);
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
    }
}

impl Actor {
    /// Whether the client will send nothing more.
    fn is_through(&self) -> bool {
        self.plan.is_empty() && self.units_left == 0
    }
}
