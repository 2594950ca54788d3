//! The values of commands that gather very many keys, step by step: in a unit whose work goes in
//! steps, see `steps`.
//!
//! ```text
//!   Split: the keys to be fetched --> round out .. back --> Bring --> command --> Close --> next
//!                                                           ^   |                ^   |     round
//!                                                           '---'                '---'
//! ```
//! - Split: collects the keys, each once, in the parts of their owners.
//! - Bring: puts the fetched values on the command's workspace.
//! - Close: takes them from it. The next round stores the values that the command has changed.
//!
//! The owners fetch and store in slices, see `partition/sliced_part`. The unit holds the locks of
//! all keys meanwhile, so the command sees them as of one moment.

use super::sliced::{BringStep, CloseStep, Planning, Step};
use crate::base::slot::slot_of;
use crate::client::Transaction;
use crate::exec::{
    Closing, Item, KeyCollector, Workspace, long_weight_of, mode_of, weight_of_value,
};
use crate::shard::state::Shard;

/// Commands in whose time a value is brought to a workspace, or taken from it.
const VALUE_STEPS: usize = 4;

impl Shard {
    /// Returns whether a command of a transaction with this number of fetched keys must be given
    /// them, and have them taken back, in steps.
    pub(super) fn goes_in_steps(&self, transaction: &Transaction, keys: usize) -> bool {
        let is_long = VALUE_STEPS * keys > self.step_commands_max();
        is_long && transaction.is_sliced && !transaction.has_slices()
    }

    /// Plans further keys of the next command, which gathers very many.
    pub(super) fn plan_gathered(&mut self, planning: &mut Planning) {
        let Planning { queue, plan, needs, next, arg, keys, .. } = planning;
        let (items, mut batch_args) = queue.parts();
        let args = batch_args.of(&items[*next]);
        while let Some(&(at, spec)) = keys.get(*arg)
            && self.transactions.step_left > 0
        {
            self.transactions.step_left -= 1;
            *arg += 1;
            let (key, slot) = (&args[at], slot_of(&args[at]));
            let owner = self.env.router.owner(slot);
            plan.add(owner);
            let hash = self.partition.slice().key_in_slot(key, slot).hash;
            let needs = &mut needs.shards[usize::from(owner)];
            needs.add_key(hash, mode_of(spec, keys.len()));
        }
        if *arg == keys.len() {
            (*next, *arg) = (*next + 1, 0);
            keys.clear();
        }
    }

    /// Requests the values of further keys of a command from their owners: of all keys, or of some
    /// if the unit goes in steps and there are very many. Returns whether all were requested.
    pub(super) fn request_more_keys(&mut self, transaction: &mut Transaction, item: &Item) -> bool {
        let enough = self.long_elements_min();
        let is_many = item.entry.gathers_many_keys(item.argc as usize, enough);
        if !transaction.is_sliced || !is_many {
            self.request_keys(transaction, item);
            return true;
        }
        let mut collector = transaction.collector.take();
        if collector.is_none() {
            self.begin_fetching(transaction, item);
        }
        let parts = transaction.parts();
        let Transaction { queue, flight, .. } = transaction;
        let (_, mut batch_args) = queue.parts();
        let args = batch_args.of(item);
        let keys = collector.get_or_insert_with(|| Box::new(KeyCollector::new(item, &args)));
        let (slice, router) = (self.partition.slice(), &self.env.router);
        while self.transactions.step_left > 0 {
            self.transactions.step_left -= 1;
            let is_more = keys.take_next((item, &args), slice, |slot| {
                let owner = router.owner(slot);
                let part = (0..parts).find(|part| flight.owner(*part) == owner);
                &mut flight.txn_mut(part.expect("the owners of its keys take part")).fetches
            });
            if !is_more {
                return true;
            }
        }
        transaction.collector = collector;
        false
    }

    /// Runs a command whose values were fetched, like [`Shard::run_gathered`], or begins to bring
    /// them to its workspace in steps. Returns none then too.
    pub(super) fn run_or_bring(
        &mut self,
        mut transaction: Box<Transaction>,
        at: usize,
    ) -> Option<Box<Transaction>> {
        let fetched = |transaction: &mut Transaction, part| {
            std::mem::take(&mut transaction.flight.txn_mut(part).fetches)
        };
        let parts = 0..transaction.parts();
        let counts = parts.clone().map(|part| transaction.flight.txn_mut(part).fetches.len());
        let keys = counts.sum();
        if !self.goes_in_steps(&transaction, keys) {
            return self.run_gathered(transaction, at);
        }
        let workspace = self.open_for(&mut transaction);
        let fetched = parts.map(|part| fetched(&mut transaction, part).into_iter()).collect();
        let step = BringStep { transaction, at, workspace, fetched, elements: 0 };
        self.transactions.steps.push_back(Step::Bring(Box::new(step)));
        None
    }

    /// Brings further values to a command's workspace. After the last one, runs the command.
    pub(super) fn bring_on(&mut self, mut step: Box<BringStep>) {
        let BringStep { workspace, fetched, elements, .. } = &mut *step;
        for (part, keys) in fetched.iter_mut().enumerate() {
            while self.transactions.step_left > 0
                && let Some(remote_key) = keys.next()
            {
                let left = &mut self.transactions.step_left;
                *left = left.saturating_sub(VALUE_STEPS);
                *elements += 1 + remote_key.value.as_ref().map_or(0, weight_of_value);
                workspace.add(part, remote_key);
            }
        }
        if fetched.iter().any(|keys| keys.len() > 0) {
            return self.transactions.steps.push_back(Step::Bring(step));
        }
        let BringStep { mut transaction, at, workspace, elements, .. } = *step;
        let long = self.long_weight_of(&mut transaction, at, elements);
        let now_us = transaction.now_us.expect("the owners of the keys have set it");
        let turn_us = self.partition.set_time(now_us);
        let rest = self.run_on_workspace(transaction, at, workspace, long);
        self.partition.set_time(turn_us);
        if let Some(transaction) = rest {
            self.advance(transaction, false);
        }
    }

    /// Returns the weight of a transaction's command that must be offloaded and whose values have
    /// this number of elements.
    fn long_weight_of(
        &self,
        transaction: &mut Transaction,
        at: usize,
        elements: usize,
    ) -> Option<usize> {
        self.transactions.offloads.as_ref()?;
        let item = transaction.queue.items[at];
        let (_, mut batch_args) = transaction.queue.parts();
        long_weight_of(&item, &mut batch_args, elements, self.long_elements_min())
    }

    /// Begins to take the values from the workspace of a command that has run.
    pub(super) fn close_later(&mut self, transaction: Box<Transaction>, workspace: Workspace) {
        let step = CloseStep { transaction, closing: Closing::new(workspace) };
        self.transactions.steps.push_back(Step::Close(Box::new(step)));
    }

    /// Takes further values from a command's workspace. After the last one, continues its
    /// transaction.
    pub(super) fn close_on(&mut self, mut step: Box<CloseStep>) {
        let CloseStep { transaction, closing } = &mut *step;
        let flight = &mut transaction.flight;
        let store = &mut |part, remote_key| flight.txn_mut(part).stores.push(remote_key);
        while self.transactions.step_left > 0 {
            if !closing.take_next(store) {
                let CloseStep { transaction, closing } = *step;
                self.partition.end_workspace(closing);
                return self.advance(transaction, false);
            }
            let left = &mut self.transactions.step_left;
            *left = left.saturating_sub(VALUE_STEPS);
        }
        self.transactions.steps.push_back(Step::Close(step));
    }
}
