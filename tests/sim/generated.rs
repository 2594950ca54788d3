//! More tests of the checker: histories drawn at random from the model, which all have an order,
//! and from models with one fault each, whose histories sometimes have none.

use super::workloads::{DATABASES, DEADLINES, EVERYTHING, MOVES, TRANSACTIONS, WATCHES};
use crate::harness::model::{Action, Command, Model, State};
use crate::harness::search::{Event, Observed, Verdict};
use crate::harness::units::{Draw, Mix};
use annulet::base::rng::Rng;
use annulet::resp::Value;
use std::collections::VecDeque;

/// Connections besides the clock's.
const SESSIONS: usize = 3;
const ACTIONS: usize = 45;
const SEEDS: u64 = 100;
/// Seeds after which a fault counts as never seen.
const HUNT_SEEDS_MAX: u64 = 300;

/// A fault of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// An atomic action happens in pieces.
    Torn,
    /// A transaction ignores its watched keys.
    Deaf,
    /// Some writes get a reply but have no effect.
    Lost,
    /// Deadlines take effect too late.
    Late,
}

/// An action that was called and has not returned.
struct Call {
    event: usize,
    pieces: VecDeque<Action>,
    replies: Vec<Value>,
}

struct Generator {
    draw: Draw,
    model: Model,
    state: State,
    fault: Fault,
    events: Vec<Event>,
    /// The numbers of the connections in use.
    sessions: Vec<usize>,
    plans: Vec<VecDeque<Action>>,
    calls: Vec<Option<Call>>,
    /// A jump that is still to happen.
    late: Option<Action>,
    now: u64,
    now_ms: u64,
}

/// Returns the pieces of a torn action.
fn pieces(action: &Action) -> Vec<Action> {
    let run = |command: &Command| Action::Run(command.clone());
    match action {
        Action::Exec(commands) => commands.iter().map(run).collect(),
        Action::Run(Command::Mset(keys, value)) => {
            keys.iter().map(|key| Action::Run(Command::Set(*key, *value))).collect()
        }
        Action::Run(Command::MsetNx(keys, value)) => {
            let look = Command::Exists(keys.clone());
            vec![run(&look), run(&Command::Mset(keys.clone(), *value))]
        }
        Action::Run(Command::Rename(from, to)) if from != to => {
            let copy = Command::Copy { from: *from, to: *to, db: None, replaces: true };
            vec![run(&copy), run(&Command::Del(vec![*from]))]
        }
        Action::Run(Command::FlushAll) => vec![run(&Command::FlushDb), action.clone()],
        _ => vec![action.clone()],
    }
}

/// Merges the replies of the pieces into the reply of the action.
fn whole(action: &Action, mut replies: Vec<Value>) -> Value {
    match action {
        Action::Exec(_) => Value::Array(replies),
        Action::Run(Command::MsetNx(..)) => Value::Integer(i64::from(replies.len() == 2)),
        Action::Run(Command::Rename(..)) if replies[0] == Value::Integer(0) => {
            Value::Error(b"ERR no such key".to_vec())
        }
        Action::Run(Command::Rename(..)) => Value::Simple(b"OK".to_vec()),
        _ => replies.pop().expect("every action has a piece"),
    }
}

impl Generator {
    fn new(seed: u64, mix: &'static Mix, fault: Fault) -> Generator {
        let names = ["a", "b", "c"].map(str::to_string).to_vec();
        let model = Model { names: names.clone(), clocks: vec![0; names.len()], has_order: false };
        let state = model.start(1 + SESSIONS + ACTIONS, 0);
        let draw = Draw::new(Rng::new(seed), mix, names);
        let plans = (0..SESSIONS).map(|_| VecDeque::new()).collect();
        let calls = (0..SESSIONS).map(|_| None).collect();
        Generator {
            draw,
            model,
            state,
            fault,
            events: Vec::new(),
            sessions: (1..=SESSIONS).collect(),
            plans,
            calls,
            late: None,
            now: 0,
            now_ms: 0,
        }
    }

    fn act(&mut self, session: usize, action: &Action) -> Value {
        let mut outcomes = self.model.outcomes(&self.state, session, action);
        let (reply, after) = outcomes.pop().expect("every action has an outcome");
        let is_lost = self.fault == Fault::Lost && !action.is_private();
        if !is_lost || self.draw.rng.below(10) != 0 {
            self.state = after;
        }
        reply
    }

    /// Replaces the connection, because the reply was never read.
    fn reconnect(&mut self, at: usize) {
        self.plans[at].clear();
        self.sessions[at] = 1 + *self.sessions.iter().max().expect("there are connections");
    }

    fn note(&mut self, session: usize, action: Action) -> usize {
        let invoked = self.now;
        self.events.push(Event { session, action, invoked, done: None, reply: None });
        self.events.len() - 1
    }

    fn jump(&mut self) {
        if let Some(late) = self.late.take() {
            self.act(0, &late);
        }
        self.now_ms += 1 + self.draw.rng.below(9);
        let action = Action::Jump { clock: 0, to_ms: self.now_ms };
        let event = self.note(0, action.clone());
        self.events[event].done = Some(self.now);
        match self.fault {
            Fault::Late => self.late = Some(action),
            _ => drop(self.act(0, &action)),
        }
    }

    fn call(&mut self, at: usize) {
        if self.plans[at].is_empty() {
            let actions = self.draw.unit().into_iter().filter_map(|step| step.action);
            self.plans[at].extend(actions);
        }
        let action = self.plans[at].pop_front().expect("a unit has an action");
        let pieces = if self.fault == Fault::Torn { pieces(&action) } else { vec![action.clone()] };
        let event = self.note(self.sessions[at], action);
        self.calls[at] = Some(Call { event, pieces: pieces.into(), replies: Vec::new() });
    }

    /// Executes one piece.
    fn proceed(&mut self, at: usize, call: &mut Call) {
        let Some(piece) = call.pieces.pop_front() else { return };
        let session = self.sessions[at];
        let is_exec = matches!(self.events[call.event].action, Action::Exec(_));
        if is_exec && matches!(self.fault, Fault::Deaf | Fault::Torn) {
            self.act(session, &Action::Unwatch);
        }
        let reply = self.act(session, &piece);
        let is_taken = matches!(self.events[call.event].action, Action::Run(Command::MsetNx(..)))
            && matches!(piece, Action::Run(Command::Exists(_)))
            && reply != Value::Integer(0);
        if is_taken {
            call.pieces.clear();
        }
        call.replies.push(reply);
    }

    fn run(mut self) -> Observed {
        while self.events.len() < ACTIONS || self.calls.iter().any(Option::is_some) {
            self.now += 1;
            if self.draw.mix.jump_once_in > 0 && self.draw.rng.below(30) == 0 {
                self.jump();
                continue;
            }
            let at = self.draw.rng.below(SESSIONS as u64) as usize;
            match self.calls[at].take() {
                None if self.events.len() < ACTIONS => self.call(at),
                None => {}
                Some(mut call) if call.replies.is_empty() || !call.pieces.is_empty() => {
                    self.proceed(at, &mut call);
                    self.calls[at] = Some(call);
                }
                Some(call) => {
                    let event = &mut self.events[call.event];
                    let reply = match self.fault {
                        Fault::Torn => whole(&event.action, call.replies),
                        _ => call.replies.into_iter().next().expect("the action has a reply"),
                    };
                    if self.draw.rng.below(20) != 0 {
                        (event.done, event.reply) = (Some(self.now), Some(reply));
                    } else {
                        self.reconnect(at);
                    }
                }
            }
        }
        Observed { model: self.model, start_ms: 0, events: self.events }
    }
}

#[test]
fn histories_of_one_redis_have_an_order() {
    let mixes = [&MOVES, &DATABASES, &TRANSACTIONS, &WATCHES, &DEADLINES, &EVERYTHING];
    for (seed, mix) in (0..SEEDS).flat_map(|seed| mixes.map(|mix| (seed, mix))) {
        let verdict = Generator::new(seed, mix, Fault::None).run().judge();
        if let Verdict::Impossible(why) = &verdict {
            panic!("seed {seed}, {}:\n{why}", mix.name);
        }
        assert_eq!(verdict, Verdict::Possible, "seed {seed}, {}", mix.name);
    }
}

/// Checks that some seed of each mix shows the fault.
fn is_seen(fault: Fault, mixes: &[&'static Mix]) {
    for mix in mixes {
        let is_bad = |seed: &u64| {
            let verdict = Generator::new(*seed, mix, fault).run().judge();
            matches!(verdict, Verdict::Impossible(_))
        };
        let seed = (0..HUNT_SEEDS_MAX).find(is_bad);
        let bad = (0..SEEDS).filter(is_bad).count();
        println!("{fault:?}, {}: seed {seed:?}, {bad} of {SEEDS}", mix.name);
        assert!(seed.is_some(), "{fault:?} is never seen in {}", mix.name);
    }
}

#[test]
fn torn_actions_are_detected() {
    is_seen(Fault::Torn, &[&MOVES, &DATABASES, &TRANSACTIONS, &EVERYTHING]);
}

#[test]
fn ignored_watches_are_detected() {
    is_seen(Fault::Deaf, &[&WATCHES, &EVERYTHING]);
}

#[test]
fn lost_writes_are_detected() {
    is_seen(Fault::Lost, &[&MOVES, &DATABASES, &TRANSACTIONS, &EVERYTHING]);
}

#[test]
fn late_deadlines_are_detected() {
    is_seen(Fault::Late, &[&DEADLINES]);
}
