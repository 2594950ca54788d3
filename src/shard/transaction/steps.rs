//! Units with very many commands or keys (EXEC, MGET, DEL): all their work at home goes in steps,
//! one a turn, between which other connections are served.
//!
//! ```text
//!   EXEC, MGET --> Plan --> Split --> round out .. back --> Merge --> reply
//!                  ^  |     ^  |  ^                   |     ^  |
//!                  '--'     '--'  '---next round------'     '--'
//! ```
//! - Plan: finds each command's place, and collects the hashes of the keys as the unit's locks.
//! - Split: copies commands into the parts of the owners. A command with very many keys becomes
//!   several commands on some of the keys each.
//! - Merge: writes the replies in the order of the commands.
//!
//! The unit takes effect as if when its first round is posted, which follows the last Split. Until
//! then nothing has happened: a pause of clients delays it, and a shard that has saved its keys for
//! the last time does not send it. Its connection waits from the first step to the reply. If the
//! connection closes, the unit continues, as a single Redis runs what it has received.
//!
//! The owners run the commands in slices, see `partition/sliced_part`.

use super::planned::Plan;
use super::rounds::{Launch, StepsOf, Task};
use super::sliced::{Ahead, MergeStep, Needs, Planning, Step};
use crate::base::slot::slot_of;
use crate::client::{Merging, Transaction};
use crate::exec::{Item, Process, for_each_key_lock, mode_of, step_weight};
use crate::gate::Place;
use crate::io::ConnId;
use crate::resp::{Args, Output, Reply};
use crate::shard::limits::STEP_COMMANDS_MAX;
use crate::shard::state::Shard;
use crate::shard::telemetry::large::LargeReplies;
use crate::spec::Flag;
use crate::txn::Queue;

impl Shard {
    /// Returns whether queued commands are too many for one step, or may run for too long.
    pub(super) fn is_long(&self, queue: &Queue) -> bool {
        step_weight(queue.items.len(), queue.args()) >= self.long_elements_min()
            || queue.items.iter().any(|item| item.entry.command.runs_commands)
    }

    pub(super) fn long_elements_min(&self) -> usize {
        self.env.config.offload_elements_min as usize
    }

    /// Returns the most commands and keys of one step.
    pub(super) fn step_commands_max(&self) -> usize {
        STEP_COMMANDS_MAX.min(self.long_elements_min())
    }

    /// Runs one command with very many keys, which has just been returned by the input.
    pub(in crate::shard) fn run_many_keys(&mut self, conn: ConnId, item: Item) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let (text, large) = connection.input.take_returned();
        let spans = std::mem::take(&mut self.batch.spans);
        let now_ms = self.env.now.monotonic_ms();
        connection.session.note_commands(1, Some(item.entry.index), now_ms);
        let queue = Box::new(Queue::with_one(item, text, spans, large));
        self.begin_steps(conn, queue, Vec::new(), false);
    }

    /// Begins a unit that goes in steps.
    pub(super) fn begin_steps(
        &mut self,
        conn: ConnId,
        mut queue: Box<Queue>,
        watched: Vec<u16>,
        is_exec: bool,
    ) {
        let to = self.defer(conn);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let session = connection.session.clone();
        let mut plan = Plan::default();
        plan.shards.extend_from_slice(&watched);
        let keys = match queue.items.len() {
            1 => queue.args(),
            // Most commands have one key and at most two more arguments.
            commands => commands.max(queue.args() / 3),
        };
        let is_replica = session.replica.is_attached;
        let flags = flags_of(&mut queue, &self.env.process);
        let planning = Planning {
            to,
            flags: (!is_replica).then_some(flags),
            watched,
            is_exec,
            plan,
            ahead: Ahead { db: session.db, session: None },
            session,
            next: 0,
            arg: 0,
            keys: Vec::new(),
            needs: Needs::new(self.env.router.shards(), keys),
            queue,
        };
        self.transactions.steps.push_back(Step::Plan(Box::new(planning)));
    }

    /// Returns whether a step can run now.
    pub(in crate::shard) fn has_steps(&self) -> bool {
        self.transactions.steps.iter().any(|step| self.may_step(step))
    }

    /// Returns whether a step may run now. Before a unit's first round is posted, the unit waits
    /// for the end of a pause, and does not begin after the last save.
    fn may_step(&self, step: &Step) -> bool {
        match step {
            Step::Plan(planning) => self.may_begin(planning.flags),
            Step::Split { is_first: true, flags, .. } => self.may_begin(*flags),
            Step::Split { .. } | Step::Bring(_) | Step::Close(_) | Step::Merge(_) => true,
        }
    }

    fn may_begin(&self, flags: Option<Flag>) -> bool {
        let is_paused = flags.is_some_and(|flags| self.env.facts.postpones(flags));
        !is_paused && !self.partition.is_leaving()
    }

    /// Runs the step that has waited longest. Returns whether there was any.
    pub(in crate::shard) fn step_on(&mut self) -> bool {
        let Some(at) = self.transactions.steps.iter().position(|step| self.may_step(step)) else {
            return false;
        };
        let step = self.transactions.steps.remove(at).expect("found above");
        self.transactions.step_left = self.step_commands_max();
        match step {
            Step::Plan(planning) => self.plan_on(planning),
            Step::Split { transaction, is_first, .. } => self.advance(transaction, is_first),
            Step::Bring(bringing) => self.bring_on(bringing),
            Step::Close(closing) => self.close_on(closing),
            Step::Merge(merging) => self.merge_on(merging),
        }
        self.transactions.step_left = 0;
        true
    }

    /// Plans further commands. After the last one, launches the transaction.
    fn plan_on(&mut self, mut planning: Box<Planning>) {
        while planning.next < planning.queue.items.len() {
            if self.transactions.step_left == 0 {
                return self.transactions.steps.push_back(Step::Plan(planning));
            }
            let item = planning.queue.items[planning.next];
            let enough = self.long_elements_min();
            if !planning.keys.is_empty() {
                self.plan_gathered(&mut planning);
            } else if item.entry.has_many_keys(item.argc as usize, enough) {
                self.plan_keys(&mut planning);
            } else {
                self.plan_next(&mut planning);
            }
        }
        let Planning { to, queue, watched, is_exec, session, flags, mut plan, needs, .. } =
            *planning;
        let of_shards = (self.env.me as u16, self.env.router.shards());
        plan.complete(of_shards, &queue.items, &session);
        let task = Task { queue, is_exec, attempt: None };
        let (watcher, protocol) = (session.id, session.protocol);
        let steps = Some(StepsOf { needs, flags });
        self.begin_rounds(Launch { to, task, plan, watched: &watched, watcher, protocol, steps });
    }

    /// Plans the next command as a whole; begins with one that gathers very many keys.
    fn plan_next(&mut self, planning: &mut Planning) {
        let enough = self.long_elements_min();
        let Planning { queue, session, plan, ahead, needs, next, keys, .. } = planning;
        let (items, mut batch_args) = queue.parts();
        let item = &mut items[*next];
        Shard::plan_item(&self.env, plan, (session, ahead), item, &mut batch_args);
        if gathers_in_steps(item, plan.places[*next], &batch_args.of(item), enough) {
            *keys = item.entry.key_args(&batch_args.of(item)).unwrap_or_default();
            plan.places[*next] = Place::Several;
            plan.gathers = true;
            return;
        }
        Shard::plan_shards(&self.env, plan, item, &mut batch_args);
        let args = batch_args.of(item);
        let (slice, router) = (self.partition.slice(), &self.env.router);
        let hash = |key: &[u8]| slice.key(key).hash;
        let mut locks = 0;
        for_each_key_lock(item, &args, &hash, &mut |arg, key_lock| match arg {
            None => needs.add_wide(key_lock),
            Some(arg) => {
                let owner = router.owner_of(&args[arg]);
                needs.shards[usize::from(owner)].add(key_lock);
                locks += 1;
            }
        });
        if let Place::Shard(shard) = plan.places[*next] {
            let needs = &mut needs.shards[usize::from(shard)];
            needs.items += 1;
            needs.args += args.len();
            needs.bytes += args.iter_from(0).map(<[u8]>::len).sum::<usize>();
        }
        *next += 1;
        let left = &mut self.transactions.step_left;
        *left = left.saturating_sub(1 + locks);
    }

    /// Plans further keys of the next command, which has very many.
    fn plan_keys(&mut self, planning: &mut Planning) {
        let Planning { queue, session, plan, ahead, needs, next, arg, .. } = planning;
        let (items, mut batch_args) = queue.parts();
        let item = &mut items[*next];
        let args = batch_args.of(item);
        let keys = item.entry.keys;
        if *arg == 0 {
            item.db = ahead.db as u16;
            item.sees_due = session.is_import_source;
            item.is_quiet = session.is_no_touch;
            item.is_tracked = session.tracks_reads();
            *arg = keys.first;
        }
        let last = keys.last_of(args.len());
        let count = (last + 1).saturating_sub(keys.first).div_ceil(keys.step);
        let mode = mode_of(&item.entry.command.card.keys[0], count);
        while *arg <= last && self.transactions.step_left > 0 {
            self.transactions.step_left -= 1;
            let key = &args[*arg];
            let slot = slot_of(key);
            let owner = self.env.router.owner(slot);
            plan.add(owner);
            let needs = &mut needs.shards[usize::from(owner)];
            needs.add_key(self.partition.slice().key_in_slot(key, slot).hash, mode);
            needs.args += keys.step;
            needs.bytes += (*arg..*arg + keys.step).map(|at| args[at].len()).sum::<usize>();
            *arg += keys.step;
        }
        if *arg > last {
            (*next, *arg) = (*next + 1, 0);
            plan.places.push(Place::Several);
        }
    }

    /// Continues to split a transaction into parts, in the next step.
    pub(super) fn split_later(&mut self, transaction: Box<Transaction>, is_first: bool) {
        let flags = transaction.pause_flags;
        self.transactions.steps.push_back(Step::Split { transaction, is_first, flags });
    }

    /// Begins to merge the replies of a transaction.
    pub(super) fn merge_later(&mut self, mut transaction: Box<Transaction>) {
        let mut output = Output::default();
        if transaction.is_exec {
            Reply::new(&mut output, transaction.protocol).array(transaction.places.len());
        }
        let own = std::mem::replace(&mut transaction.own, self.port.envelope(self.env.me));
        transaction.flight.put_back(own);
        let large = LargeReplies::new(&self.env.thresholds, output.len());
        let step = MergeStep { transaction, merging: Merging::default(), output, large };
        self.transactions.steps.push_back(Step::Merge(Box::new(step)));
    }

    /// Merges further replies of a transaction. After the last one, replies to its client.
    fn merge_on(&mut self, mut step: Box<MergeStep>) {
        let MergeStep { transaction, merging, output, large } = &mut *step;
        let client = transaction.to.client;
        if self.connections.get_same(client.conn, client.generation).is_some() {
            let (rng, left) = (&mut self.rng, &mut self.transactions.step_left);
            let draw = |below| rng.below(below);
            let see = |at, output: &Output| large.see(at, output.len());
            let (flight, protocol) = (&transaction.flight, transaction.protocol);
            if !flight.merge_some((merging, left), protocol, output, draw, see) {
                return self.transactions.steps.push_back(Step::Merge(step));
            }
        }
        let MergeStep { mut transaction, output, large, .. } = *step;
        if transaction.flight.is_notable() || !large.found.is_empty() {
            let Transaction { flight, queue, .. } = &mut *transaction;
            self.log_flight(client, flight, &large.found, Some(queue));
        }
        let mut answer = self.answer_to(transaction.to);
        answer.output.append_moved(output);
        self.end_transaction(transaction, answer);
    }
}

/// Returns whether a command of a plan gathers its keys in steps.
fn gathers_in_steps(item: &Item, place: Place, args: &Args<'_>, enough: usize) -> bool {
    let is_one = place != Place::Several;
    !item.is_at_home()
        && !item.entry.publishes()
        && !item.discovers
        && item.entry.gathers_in_steps(args, is_one, enough)
}

/// Returns the flags of all commands together, without those of scripts that change nothing.
fn flags_of(queue: &mut Queue, process: &Process) -> Flag {
    let (items, mut batch_args) = queue.parts();
    let mut flags = Flag::NONE;
    for item in items {
        if !item.entry.only_reads(&batch_args.of(item), process) {
            flags = flags.and(item.entry.command.card.flags);
        }
    }
    flags
}
