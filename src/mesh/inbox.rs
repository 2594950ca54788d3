//! The inboxes of all shards, and how a parked shard is woken.
//!
//! See `hold` for who may take messages from an inbox, and when a shard is woken.

use super::envelope::Envelope;
use super::hold::Hold;
use super::partial::PartialUnits;
use super::sequencer::Sequencer;
use super::told::Told;
use super::{CREDITS_PER_PAIR, HANDOVERS_MAX, TOLD_WAITING_MAX, WAITING_WITH_CREDIT_MAX};
use crate::io::{Ring, Socket};
use crate::pubsub::Published;
use crossbeam_queue::ArrayQueue;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A message in an inbox.
#[derive(Debug)]
pub enum Message {
    /// Work for this shard.
    Part(Box<Envelope>),
    /// The reply to a part that this shard sent.
    Reply(Box<Envelope>),
    /// A new connection for this shard.
    Handover(Box<Handover>),
    /// This shard gives a credit back: a part that it has received waits, and its reply comes
    /// later.
    Credit(u16),
    /// A message for subscribers among this shard's connections.
    Published(Arc<Published>),
    /// What this shard must tell its tracking clients.
    Told(Box<Told>),
}

/// A socket on its way from the acceptor to its shard.
#[derive(Debug)]
pub struct Handover {
    /// The socket, which no driver has adopted yet.
    pub socket: Socket,
    /// Id of the client.
    pub client_id: u64,
    /// Whether the client speaks TLS.
    pub is_tls: bool,
    /// The shard whose port the client has connected to; none for the main port.
    pub port_of: Option<u16>,
}

/// What bounds the messages of a mesh. A test's scheduler may lower the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most envelopes in progress from one shard to another that have a credit.
    pub credits_per_pair: u32,
    /// The most parts that wait at their owner and keep their credits.
    pub waiting_with_credit_max: usize,
    /// Messages in the array of an inbox. Further messages wait behind it.
    pub inbox_messages: usize,
    /// Invalidations that wait for a shard, above which no shard serves connections.
    pub told_waiting: usize,
}

impl Bounds {
    fn new(shards: usize) -> Bounds {
        Bounds {
            credits_per_pair: CREDITS_PER_PAIR,
            waiting_with_credit_max: WAITING_WITH_CREDIT_MAX,
            inbox_messages: 2 * shards * CREDITS_PER_PAIR as usize + HANDOVERS_MAX as usize,
            told_waiting: TOLD_WAITING_MAX,
        }
    }
}

/// Scheduler of a test. Called at each point where other shards could observe a preemption.
pub trait Preempt: Send + Sync {
    /// Lets another shard run.
    fn point(&self);

    /// Returns the most commands of the next batch, at most `most`.
    fn batch_commands_max(&self, most: usize) -> usize {
        most
    }

    /// Returns whether a shard borrows a partition that it has posted to. `usual` is the result by
    /// the limits.
    fn borrows(&self, usual: bool) -> bool {
        usual
    }

    /// Returns whether a shard gives a borrowed partition back now, although messages may be left.
    fn stops_borrowing(&self) -> bool {
        false
    }

    /// Returns a shard, one of `shards`, whose partition the calling shard borrows without having
    /// posted to it.
    fn stray(&self, _shards: usize) -> Option<usize> {
        None
    }

    /// Returns the bounds of the mesh, at most `usual`.
    fn bounds(&self, usual: Bounds) -> Bounds {
        usual
    }
}

/// Ordering rules of the mesh. All are on, except in the test that shows why each is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A connection has at most one batch in flight.
    pub one_in_flight: bool,
    /// Units with several parts are posted under the sequencer.
    pub sequencer: bool,
    /// A part runs only after its sibling parts were posted.
    pub runnable_when_posted: bool,
    /// The inbox is drained before sockets are served.
    pub drain_first: bool,
    /// A borrower of a partition drains the inbox in order. Without the rule it takes its own
    /// messages first, the last one before the others.
    pub whole_inbox: bool,
    /// A reply that a borrower makes for its own connection goes through its own inbox. Without the
    /// rule the reply lands at once, and the connection's next command runs before the inbox is
    /// drained.
    pub own_inbox_first: bool,
    /// A borrower checks the inbox again after it has let the partition go.
    pub look_again: bool,
    /// A unit on a partition whose slice was handed over waits until the slice is back. Without the
    /// rule it runs at once, on an empty stand-in.
    pub await_slice: bool,
    /// A unit that runs in slices locks its keys. Without the rule it locks none of the keys that
    /// it states as a set.
    pub lock_sets: bool,
    /// A reply to a tracking client waits until the units that had begun have run on all of their
    /// shards. Without the rule it is sent at once.
    pub await_units: bool,
    /// Commands on keys wait while hash slots move. Without the rule they are routed all the time,
    /// and run on a partition that has the slot no more.
    pub hold_moves: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            one_in_flight: true,
            sequencer: true,
            runnable_when_posted: true,
            drain_first: true,
            whole_inbox: true,
            own_inbox_first: true,
            look_again: true,
            await_slice: true,
            lock_sets: true,
            await_units: true,
            hold_moves: true,
        }
    }
}

/// Inbox of one shard.
#[repr(align(128))]
struct Inbox {
    queue: Queue,
    hold: Hold,
    handovers: AtomicU32,
    bell: OnceLock<Arc<dyn Ring>>,
}

/// A queue, first in first out, whose usual capacity is an array without locks. Only messages
/// without a credit can exceed the array. They go behind it, under a lock.
///
/// ```text
///   push: nothing is behind --room--> array       pop: array --empty--> behind, oldest first
///              |                '-no-> behind
///              '-no--> behind
/// ```
/// # Why the order is kept
///
/// Suppose that message A was pushed before the push of B began. If B is in the array, nothing was
/// behind when its push began, so A is in the array ahead of B or was taken. If B is behind and A
/// in the array, the taker of B has found the array empty under the lock, and A was there before.
struct Queue {
    array: ArrayQueue<Message>,
    behind: Mutex<VecDeque<Message>>,
    /// Number of messages behind the array. Changes under the lock.
    behind_len: AtomicUsize,
}

impl Queue {
    fn new(capacity: usize) -> Queue {
        let array = ArrayQueue::new(capacity);
        Queue { array, behind: Mutex::default(), behind_len: AtomicUsize::new(0) }
    }

    fn len(&self) -> usize {
        self.array.len() + self.behind_len.load(Ordering::Acquire)
    }

    fn is_empty(&self) -> bool {
        self.array.is_empty() && self.behind_len.load(Ordering::Acquire) == 0
    }

    fn push(&self, message: Message) {
        if self.behind_len.load(Ordering::Acquire) > 0 {
            return self.push_behind(message);
        }
        if let Err(message) = self.array.push(message) {
            self.push_behind(message);
        }
    }

    #[cold]
    fn push_behind(&self, message: Message) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.push_back(message);
        self.behind_len.store(behind.len(), Ordering::Release);
    }

    fn pop(&self) -> Option<Message> {
        let message = self.array.pop();
        if message.is_none() && self.behind_len.load(Ordering::Acquire) > 0 {
            return self.pop_behind();
        }
        message
    }

    #[cold]
    fn pop_behind(&self) -> Option<Message> {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(message) = self.array.pop() {
            return Some(message);
        }
        let message = behind.pop_front();
        self.behind_len.store(behind.len(), Ordering::Release);
        if behind.is_empty() {
            *behind = VecDeque::new();
        }
        message
    }
}

/// State of the mesh that all shards share.
pub struct Mesh {
    inboxes: Box<[Inbox]>,
    pub(super) sequencer: Sequencer,
    pub(super) partial: PartialUnits,
    /// By shard, the number of invalidations that wait for it.
    pub(super) told_waiting: Box<[AtomicUsize]>,
    pub(super) rules: Rules,
    pub(super) bounds: Bounds,
    preempt: Option<Arc<dyn Preempt>>,
}

impl Mesh {
    /// Creates inboxes for `shards` shards.
    pub fn new(shards: usize, rules: Rules, preempt: Option<Arc<dyn Preempt>>) -> Arc<Mesh> {
        assert!((1..=usize::from(crate::base::slot::SLOT_COUNT)).contains(&shards));
        let usual = Bounds::new(shards);
        let bounds = preempt.as_ref().map_or(usual, |preempt| preempt.bounds(usual));
        let inbox = || Inbox {
            queue: Queue::new(bounds.inbox_messages),
            hold: Hold::new(),
            handovers: AtomicU32::new(0),
            bell: OnceLock::new(),
        };
        let inboxes = (0..shards).map(|_| inbox()).collect();
        Arc::new(Mesh {
            inboxes,
            sequencer: Sequencer::default(),
            partial: PartialUnits::default(),
            told_waiting: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            rules,
            bounds,
            preempt,
        })
    }

    /// Returns the units that have run on some of their shards only.
    #[inline]
    pub fn partial(&self) -> &PartialUnits {
        &self.partial
    }

    /// Returns the number of shards.
    pub fn shards(&self) -> usize {
        self.inboxes.len()
    }

    /// Returns the rules in force.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Returns the most parts that wait at their owner and keep their credits.
    pub fn waiting_with_credit_max(&self) -> usize {
        self.bounds.waiting_with_credit_max
    }

    /// Sets the doorbell of shard `shard`.
    pub fn set_bell(&self, shard: usize, bell: Arc<dyn Ring>) {
        assert!(self.inboxes[shard].bell.set(bell).is_ok(), "a shard has one doorbell");
    }

    /// Rings a shard's doorbell, whether it is parked or not.
    pub fn ring_bell(&self, shard: usize) {
        if let Some(bell) = self.inboxes[shard].bell.get() {
            bell.ring();
        }
    }

    /// Rings every shard's doorbell, whether parked or not.
    pub fn ring_all(&self) {
        for inbox in &self.inboxes {
            if let Some(bell) = inbox.bell.get() {
                bell.ring();
            }
        }
    }

    /// Lets another shard run here, under a test's scheduler.
    #[inline]
    pub fn point(&self) {
        if let Some(preempt) = &self.preempt {
            preempt.point();
        }
    }

    /// Waits a little while another shard finishes something short.
    pub fn idle(&self) {
        self.point();
        std::thread::yield_now();
    }

    /// Returns the most commands of the next batch: `most`, or fewer under a test's scheduler.
    #[inline]
    pub fn batch_commands_max(&self, most: usize) -> usize {
        self.preempt.as_ref().map_or(most, |preempt| preempt.batch_commands_max(most))
    }

    /// Returns whether a shard borrows a partition: `usual`, or the choice of a test's scheduler.
    #[inline]
    pub fn borrows(&self, usual: bool) -> bool {
        self.preempt.as_ref().map_or(usual, |preempt| preempt.borrows(usual))
    }

    /// Returns whether a test's scheduler makes a shard give a borrowed partition back now.
    #[inline]
    pub fn stops_borrowing(&self) -> bool {
        self.preempt.as_ref().is_some_and(|preempt| preempt.stops_borrowing())
    }

    /// Returns a shard whose partition is borrowed without a post, by choice of a test's scheduler.
    #[inline]
    pub fn stray(&self) -> Option<usize> {
        self.preempt.as_ref()?.stray(self.shards())
    }

    /// Returns the number of messages in the inbox of `shard`.
    #[inline]
    pub fn depth(&self, shard: usize) -> usize {
        self.inboxes[shard].queue.len()
    }

    pub(super) fn push(&self, shard: usize, message: Message) {
        self.inboxes[shard].queue.push(message);
        self.point();
    }

    /// Takes the next message. Only the holder of the partition may call it.
    pub(super) fn pop(&self, shard: usize) -> Option<Message> {
        let message = self.inboxes[shard].queue.pop();
        if let Some(Message::Handover(_)) = &message {
            self.inboxes[shard].handovers.fetch_sub(1, Ordering::Relaxed);
        }
        message
    }

    /// Takes the next message from an inbox, in the order of posting. Only the holder of the
    /// shard's partition may call it. Returns a part only after all parts of its unit were posted.
    pub fn receive(&self, shard: usize) -> Option<Message> {
        let message = self.pop(shard)?;
        let sequence = match &message {
            Message::Part(part) => part.sequence,
            Message::Published(message) => message.sequence,
            Message::Told(told) => told.sequence(),
            Message::Reply(_) | Message::Handover(_) | Message::Credit(_) => 0,
        };
        if sequence != 0 && self.rules.runnable_when_posted {
            self.sequencer.wait_posted(sequence, || self.point());
        }
        Some(message)
    }

    /// Hands a connection over to a shard. Returns it if too many connections wait for the shard.
    pub fn hand_over(&self, shard: usize, handover: Box<Handover>) -> Result<(), Box<Handover>> {
        let inbox = &self.inboxes[shard];
        if inbox.handovers.fetch_add(1, Ordering::Relaxed) >= HANDOVERS_MAX {
            inbox.handovers.fetch_sub(1, Ordering::Relaxed);
            return Err(handover);
        }
        self.push(shard, Message::Handover(handover));
        if self.is_free(shard) {
            self.wake(shard);
        }
        Ok(())
    }

    /// Rings the shard's doorbell if it is parked. Returns whether it did. Call it after the
    /// pushes.
    pub(super) fn wake(&self, shard: usize) -> bool {
        let inbox = &self.inboxes[shard];
        if !inbox.hold.take_parked() {
            return false;
        }
        inbox.bell.get().expect("a parked shard has a doorbell").ring();
        true
    }

    /// Returns whether no shard holds the partition of `shard`. Call it after the pushes: a holder
    /// would find them.
    #[inline]
    pub(super) fn is_free(&self, shard: usize) -> bool {
        self.inboxes[shard].hold.is_free_after_push()
    }

    /// Takes the partition of another shard if no shard holds it. Returns whether it did.
    pub fn try_hold(&self, shard: usize) -> bool {
        let is_taken = self.inboxes[shard].hold.try_hold();
        self.point();
        is_taken
    }

    /// Lets the partition of another shard go. Rings that shard if it waits for its partition, if
    /// messages are left, or if `has_left` says that it has other work. Returns whether it rang a
    /// doorbell.
    pub fn let_go(&self, shard: usize, has_left: bool) -> bool {
        let inbox = &self.inboxes[shard];
        let is_given = inbox.hold.let_go();
        self.point();
        if is_given {
            self.ring_bell(shard);
            return true;
        }
        let has_messages = !inbox.queue.is_empty() && self.rules.look_again;
        (has_left || has_messages) && self.wake(shard)
    }

    /// Takes the shard's own partition back after blocking. Returns false while another shard holds
    /// it, which will ring.
    pub(super) fn hold_or_ask(&self, shard: usize) -> bool {
        self.inboxes[shard].hold.hold_or_ask()
    }

    /// Records that the shard is about to block, and lets its partition go. Returns false if the
    /// inbox has a message and the shard could take its partition back.
    pub(super) fn park(&self, shard: usize) -> bool {
        let inbox = &self.inboxes[shard];
        inbox.hold.park();
        self.point();
        if inbox.queue.is_empty() || !inbox.hold.try_hold() {
            return true;
        }
        inbox.hold.unpark();
        false
    }

    /// Lets the shard's partition go while the shard polls, see [`Hold::rest`]. Returns false like
    /// [`Mesh::park`].
    pub(super) fn rest(&self, shard: usize) -> bool {
        let inbox = &self.inboxes[shard];
        inbox.hold.rest();
        self.point();
        inbox.queue.is_empty() || !inbox.hold.try_hold()
    }

    /// Records that the shard is awake.
    pub(super) fn unpark(&self, shard: usize) {
        self.inboxes[shard].hold.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    /// Takes all messages that are there, and returns their numbers.
    fn numbers(queue: &Queue) -> Vec<u16> {
        let number = |message| match message {
            Message::Credit(number) => number,
            other => unreachable!("{other:?}"),
        };
        std::iter::from_fn(|| queue.pop()).map(number).collect()
    }

    #[test]
    fn messages_beyond_the_array_keep_their_order() {
        let queue = Queue::new(4);
        (0..10).for_each(|number| queue.push(Message::Credit(number)));
        assert_eq!((queue.len(), queue.is_empty()), (10, false));
        assert!(matches!(queue.pop(), Some(Message::Credit(0))));
        // There is room in the array, but older messages are behind it.
        queue.push(Message::Credit(10));
        assert_eq!(numbers(&queue), (1..11).collect::<Vec<u16>>());
        queue.push(Message::Credit(11));
        assert_eq!((queue.array.len(), queue.len()), (1, 1));
        assert_eq!(numbers(&queue), [11]);
        assert!(queue.is_empty());
    }

    #[test]
    fn each_sender_is_heard_in_its_order() {
        const SENDERS: u16 = 3;
        const EACH: u16 = 10_000;
        let (queue, is_over) = (Queue::new(8), AtomicBool::new(false));
        let mut next = [0; SENDERS as usize];
        std::thread::scope(|scope| {
            let queue = &queue;
            let send = |sender: u16| {
                (0..EACH).for_each(|at| queue.push(Message::Credit(at * SENDERS + sender)));
            };
            let senders: Vec<_> =
                (0..SENDERS).map(|sender| scope.spawn(move || send(sender))).collect();
            let is_over = &is_over;
            scope.spawn(move || {
                senders.into_iter().for_each(|sender| sender.join().expect("it does not panic"));
                is_over.store(true, Ordering::Release);
            });
            while !is_over.load(Ordering::Acquire) || !queue.is_empty() {
                for number in numbers(queue) {
                    let (at, sender) = (number / SENDERS, usize::from(number % SENDERS));
                    assert_eq!(at, next[sender], "messages of sender {sender}");
                    next[sender] += 1;
                }
            }
        });
        assert_eq!(next, [EACH; SENDERS as usize]);
    }
}
