//! Searches for an order of all actions in which a single Redis could have executed them. Each
//! action takes effect between its call and its return, the actions of a connection keep their
//! order, and every reply is the model's.
//!
//! A place of the search is how far each connection has come. The search never visits the same
//! place in the same state twice. An action that changes nothing for others is taken as soon as it
//! fits, because a later time would fit no better. An action without a reply may take effect at any
//! time after its call, or never; in that case no later action of its connection does.

use super::model::{Action, Model, State};
use annulet::resp::Value;
use std::collections::HashSet;

/// Number of places after which the search gives up.
const PLACES_MAX: usize = 2_000_000;
/// Number of actions of the best attempt that are shown.
const SHOWN_MAX: usize = 14;

/// An action as a client saw it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The number of the connection.
    pub session: usize,
    /// The action.
    pub action: Action,
    /// The time at which it was sent.
    pub invoked: u64,
    /// The time at which its reply was read; `None` without a reply.
    pub done: Option<u64>,
    /// The reply.
    pub reply: Option<Value>,
}

impl Event {
    /// Describes the event, for keys with these names.
    pub fn describe(&self, names: &[String]) -> String {
        let seen = self.reply.as_ref().map_or("no reply".to_string(), show);
        let done = self.done.map_or("never".to_string(), |done| done.to_string());
        let action = self.action.describe(names);
        format!("{}..{done} by {}: {action} -> {seen}", self.invoked, self.session)
    }
}

/// Formats a reply for messages.
fn show(value: &Value) -> String {
    match value {
        Value::Simple(text) | Value::Error(text) | Value::Bulk(text) => {
            String::from_utf8_lossy(text).into_owned()
        }
        Value::Integer(number) => format!(":{number}"),
        Value::Null => "nil".to_string(),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(show).collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

/// What the clients saw, in the order of each connection.
pub struct Observed {
    /// The model of the server.
    pub model: Model,
    /// The start of the run, in Unix milliseconds.
    pub start_ms: u64,
    /// The events.
    pub events: Vec<Event>,
}

/// The result of the search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A single Redis could have done this.
    Possible,
    /// No single Redis could have done this; the text explains why.
    Impossible(String),
    /// There are too many orders to try them all.
    Undecided,
}

struct Search<'a> {
    observed: &'a Observed,
    /// The events of each connection.
    sessions: Vec<Vec<&'a Event>>,
    seen: HashSet<(Vec<usize>, State)>,
    /// The events on the path to the present place.
    path: Vec<&'a Event>,
    /// The longest path so far, with its end.
    best: Option<(Vec<&'a Event>, Vec<usize>, State)>,
}

impl Observed {
    /// Searches for an order.
    pub fn judge(&self) -> Verdict {
        let count = self.events.iter().map(|event| event.session + 1).max().unwrap_or(0);
        let mut sessions = vec![Vec::new(); count];
        for event in &self.events {
            sessions[event.session].push(event);
        }
        let state = self.model.start(count, self.start_ms);
        let places = vec![0; count];
        let mut search =
            Search { observed: self, sessions, seen: HashSet::new(), path: Vec::new(), best: None };
        match search.descend(places, state) {
            Some(true) => Verdict::Possible,
            Some(false) => Verdict::Impossible(search.explain()),
            None => Verdict::Undecided,
        }
    }
}

impl<'a> Search<'a> {
    /// Returns the next event of each connection that no other event must precede.
    fn candidates(&self, places: &[usize]) -> Vec<&'a Event> {
        let next = self.sessions.iter().zip(places).filter_map(|(events, at)| events.get(*at));
        let next: Vec<&'a Event> = next.copied().collect();
        let first_done = next.iter().filter_map(|event| event.done).min().unwrap_or(u64::MAX);
        next.into_iter().filter(|event| event.invoked <= first_done).collect()
    }

    /// Whether every event with a reply is on the path.
    fn is_whole(&self, places: &[usize]) -> bool {
        let rest = |(events, at): (&Vec<&Event>, &usize)| {
            events[*at..].iter().all(|event| event.done.is_none())
        };
        self.sessions.iter().zip(places).all(rest)
    }

    /// Returns whether the rest fits behind this state; `None` if the search takes too long.
    fn descend(&mut self, mut places: Vec<usize>, mut state: State) -> Option<bool> {
        let kept = self.path.len();
        let found = loop {
            if self.is_whole(&places) {
                return Some(true);
            }
            let mut steps = self.steps(&places, &state);
            let is_safe = |event: &Event| event.done.is_some() && event.action.is_private();
            let safe = steps.iter().position(|(event, _)| is_safe(event));
            let Some(safe) = safe else { break self.branch(&places, &state, steps) };
            let (event, after) = steps.swap_remove(safe);
            places[event.session] += 1;
            state = after;
            self.path.push(event);
        };
        self.path.truncate(kept);
        found
    }

    /// Returns every next event that fits, and the state after it.
    fn steps(&self, places: &[usize], state: &State) -> Vec<(&'a Event, State)> {
        let mut steps = Vec::new();
        for event in self.candidates(places) {
            let outcomes = self.observed.model.outcomes(state, event.session, &event.action);
            let fits = |reply: &Value| event.reply.as_ref().is_none_or(|seen| seen == reply);
            let fitting = outcomes.into_iter().filter(|(reply, _)| fits(reply));
            steps.extend(fitting.map(|(_, after)| (event, after)));
        }
        steps
    }

    fn branch(
        &mut self,
        places: &[usize],
        state: &State,
        steps: Vec<(&'a Event, State)>,
    ) -> Option<bool> {
        if self.best.as_ref().is_none_or(|(path, ..)| path.len() < self.path.len()) {
            self.best = Some((self.path.clone(), places.to_vec(), state.clone()));
        }
        if !self.seen.insert((places.to_vec(), state.clone())) {
            return Some(false);
        }
        if self.seen.len() > PLACES_MAX {
            return None;
        }
        for (event, after) in steps {
            let mut next = places.to_vec();
            next[event.session] += 1;
            self.path.push(event);
            let found = self.descend(next, after);
            self.path.pop();
            if found != Some(false) {
                return found;
            }
        }
        Some(false)
    }

    /// Describes how far the best attempt came, and why it ended there.
    fn explain(&self) -> String {
        let Some((path, places, state)) = &self.best else { return String::new() };
        let names = &self.observed.model.names;
        let skipped = path.len().saturating_sub(SHOWN_MAX);
        let mut lines = vec![format!("after {skipped} actions, in this order:")];
        lines.extend(path[skipped..].iter().map(|event| format!("  {}", event.describe(names))));
        lines.push(format!(
            "the keys are {}, and the next action could only be",
            state.describe(names)
        ));
        for event in self.candidates(places) {
            let outcomes = self.observed.model.outcomes(state, event.session, &event.action);
            let due: Vec<String> = outcomes.iter().map(|(reply, _)| show(reply)).collect();
            lines.push(format!("  {}\n    instead of {}", event.describe(names), due.join(" or ")));
        }
        lines.push("everything that clients saw:".to_string());
        lines.extend(self.observed.events.iter().map(|event| event.describe(names)));
        lines.join("\n")
    }
}
