//! The lockstep scheduler: threads that run one at a time. Only the holder runs, and at every point
//! a seeded choice selects the next holder. So a run over several threads is reproducible by its
//! seed.
//!
//! Sometimes one thread is frozen for long, as if the kernel had preempted it. Many ordering faults
//! show only if the others do much between two steps of one thread.

use annulet::base::rng::Rng;
use annulet::io::simulated::SimulatedDriver;
use annulet::io::{
    BufferId, Chunk, Completion, ConnId, Driver, ListenerId, Ring, Socket, Statistics, Wait,
};
use annulet::mesh::{Bounds, Preempt};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

thread_local! {
    /// The number of this thread under its scheduler.
    static ACTOR: Cell<Option<usize>> = const { Cell::new(None) };
}

/// A sleeping thread gets one in this number of its turns.
const SLEEPER_ONCE_IN: u64 = 10;
/// The place at which a thread calls the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Between two steps of the mesh, or of a turn.
    Mesh,
    /// Before or after a command.
    Command,
    /// Before a wait for input.
    Wait,
    /// In a wait that found nothing.
    Sleep,
    /// In the thread of the clients.
    Client,
}

/// How often threads change; drawn once per seed.
struct Habits {
    /// A thread passes the turn on once in this number of points.
    pass_once_in: u64,
    /// A thread that passes the turn on is frozen once in this number of times.
    freeze_once_in: u64,
    /// The only place at which threads freeze; `None`: any.
    freeze_at: Option<At>,
    /// The largest number of steps for which a thread is frozen.
    freeze_steps_max: u64,
    /// A batch is cut to a random length once in this number of times.
    cut_once_in: u64,
    /// Percentage of posts to a free partition that borrow it. None: as the limits say.
    borrow_percent: Option<u64>,
    /// One in this many messages has a borrower give the partition back early.
    stop_once_in: u64,
    /// One in this many turns has a shard borrow a partition that it has not posted to.
    stray_once_in: u64,
}

struct State {
    holder: usize,
    rng: Rng,
    habits: Habits,
    step: u64,
    frozen_until: Vec<u64>,
    asleep: Vec<bool>,
    /// Whether each thread is in a wait.
    waiting: Vec<bool>,
    /// The step at which each thread last began to wait.
    waited_at: Vec<u64>,
    left: Vec<bool>,
    aborted: bool,
    over: bool,
}

/// The scheduler.
pub struct Lockstep {
    state: Mutex<State>,
    /// Credits of each pair of shards; `None`: as many as in the server.
    credits: Option<u32>,
    turns: Vec<Condvar>,
}

/// Unwinds the threads that end because another one has failed.
struct Aborted;

impl Lockstep {
    /// Creates a scheduler of `threads` threads; the last one is the caller's and holds the turn.
    pub fn new(threads: usize, seed: u64) -> Arc<Lockstep> {
        let mut rng = Rng::new(seed ^ 0xba70);
        let habits = Habits {
            pass_once_in: [1, 2, 4][rng.below(3) as usize],
            freeze_once_in: [6, 20, 60, 1_000_000][rng.below(4) as usize],
            freeze_at: [None, None, Some(At::Mesh), Some(At::Wait)][rng.below(4) as usize],
            freeze_steps_max: [100, 500, 2_000][rng.below(3) as usize],
            cut_once_in: [1, 2, 20][rng.below(3) as usize],
            borrow_percent: [None, Some(30), Some(80), Some(100)][rng.below(4) as usize],
            stop_once_in: [2, 10, 1_000_000][rng.below(3) as usize],
            stray_once_in: [3, 20, 1_000_000][rng.below(3) as usize],
        };
        let state = State {
            holder: threads - 1,
            rng,
            habits,
            step: 0,
            frozen_until: vec![0; threads],
            asleep: vec![false; threads],
            waiting: vec![false; threads],
            waited_at: vec![0; threads],
            left: vec![false; threads],
            aborted: false,
            over: false,
        };
        let turns = (0..threads).map(|_| Condvar::new()).collect();
        // Of their own random stream, so that a seed has the same schedule with and without them.
        let credits = [None, None, Some(1), Some(3)][Rng::new(seed ^ 0xc4ed).below(4) as usize];
        Arc::new(Lockstep { state: Mutex::new(state), credits, turns })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the calling thread as number `me`; returns when it first gets the turn.
    pub fn join(&self, me: usize) -> Membership<'_> {
        ACTOR.set(Some(me));
        let membership = Membership { lockstep: self, me };
        self.wait_for(me, self.lock());
        membership
    }

    /// Passes the turn to another thread, perhaps.
    pub fn pass(&self, at: At) {
        let Some(me) = ACTOR.get() else { return };
        let mut state = self.lock();
        assert!(state.holder == me || state.aborted, "only the holder of the turn runs");
        state.step += 1;
        let asleep = at == At::Sleep;
        state.asleep[me] = asleep;
        state.waiting[me] = matches!(at, At::Wait | At::Sleep);
        if at == At::Wait {
            state.waited_at[me] = state.step;
        }
        let passes = state.habits.pass_once_in;
        if !asleep && state.rng.below(passes) != 0 {
            return;
        }
        let freezes = state.habits.freeze_once_in;
        let is_one = state.frozen_until.iter().any(|until| *until > state.step);
        let may_freeze = match state.habits.freeze_at {
            Some(only) => only == at,
            None => !matches!(at, At::Sleep | At::Client),
        };
        if may_freeze && !is_one && state.rng.below(freezes) == 0 {
            let steps = state.habits.freeze_steps_max;
            state.frozen_until[me] = state.step + state.rng.below(steps);
        }
        self.hand_on(me, state);
    }

    /// Chooses the next holder, and waits until this thread has the turn again.
    fn hand_on(&self, me: usize, mut state: MutexGuard<'_, State>) {
        state.choose();
        if state.holder != me {
            self.turns[state.holder].notify_one();
        }
        self.wait_for(me, state);
    }

    fn wait_for(&self, me: usize, mut state: MutexGuard<'_, State>) {
        while state.holder != me && !state.aborted {
            state = self.turns[me].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let aborted = state.aborted;
        drop(state);
        if aborted && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new(Aborted));
        }
    }

    /// Freezes thread `me` (`true`) until it is released.
    pub fn freeze(&self, me: usize, on: bool) {
        let mut state = self.lock();
        state.frozen_until[me] = if on { u64::MAX } else { 0 };
    }

    /// Asks the threads to end.
    pub fn finish(&self) {
        self.lock().over = true;
    }

    /// Whether the threads are asked to end.
    pub fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Returns the number of steps so far.
    pub fn steps(&self) -> u64 {
        self.lock().step
    }

    /// Whether thread `me` is in a wait, after which it reads the clock.
    pub fn is_waiting(&self, me: usize) -> bool {
        self.lock().waiting[me]
    }

    /// Returns the step at which thread `me` last began to wait.
    pub fn waited_at(&self, me: usize) -> u64 {
        self.lock().waited_at[me]
    }

    /// Describes the state of the threads.
    pub fn describe(&self) -> String {
        let state = self.lock();
        let State { step, frozen_until, asleep, .. } = &*state;
        format!("step {step}, frozen until {frozen_until:?}, asleep {asleep:?}")
    }

    /// Returns a number below `bound`, from the scheduler's own random stream.
    pub fn draw(&self, bound: u64) -> u64 {
        self.lock().rng.below(bound)
    }
}

impl State {
    fn choose(&mut self) {
        let here: Vec<usize> = (0..self.left.len()).filter(|at| !self.left[*at]).collect();
        if here.is_empty() {
            return;
        }
        let step = self.step;
        let free = here.iter().copied().filter(|at| self.frozen_until[*at] <= step);
        let mut free: Vec<usize> = free.collect();
        if free.is_empty() {
            free = here;
        }
        loop {
            let pick = free[self.rng.below(free.len() as u64) as usize];
            if !self.asleep[pick] || self.rng.below(SLEEPER_ONCE_IN) == 0 {
                self.holder = pick;
                return;
            }
        }
    }
}

/// A thread's membership. Dropping it lets the other threads continue, or ends them in a panic.
pub struct Membership<'a> {
    lockstep: &'a Lockstep,
    me: usize,
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        ACTOR.set(None);
        let mut state = self.lockstep.lock();
        state.left[self.me] = true;
        state.aborted |= std::thread::panicking();
        state.choose();
        for turn in &self.lockstep.turns {
            turn.notify_all();
        }
    }
}

impl Preempt for Lockstep {
    fn point(&self) {
        self.pass(At::Mesh);
    }

    fn batch_commands_max(&self, most: usize) -> usize {
        let mut state = self.lock();
        let cuts = state.habits.cut_once_in;
        if state.rng.below(cuts) == 0 { 1 + state.rng.below(3) as usize } else { most }
    }

    fn borrows(&self, usual: bool) -> bool {
        let mut state = self.lock();
        let percent = state.habits.borrow_percent;
        percent.map_or(usual, |percent| state.rng.below(100) < percent)
    }

    fn stops_borrowing(&self) -> bool {
        let mut state = self.lock();
        let stops = state.habits.stop_once_in;
        state.rng.below(stops) == 0
    }

    fn bounds(&self, usual: Bounds) -> Bounds {
        self.credits.map_or(usual, |credits| Bounds {
            credits_per_pair: credits,
            waiting_with_credit_max: credits as usize / 2,
            inbox_messages: 2,
            told_waiting: 1,
        })
    }

    fn stray(&self, shards: usize) -> Option<usize> {
        let mut state = self.lock();
        let strays = state.habits.stray_once_in;
        let is_chosen = state.rng.below(strays) == 0;
        is_chosen.then(|| state.rng.below(shards as u64) as usize)
    }
}

/// A driver whose waits block until an event. So a shard stays parked as long as a real one would,
/// and a missing doorbell shows.
pub struct Blocking {
    inner: SimulatedDriver,
    lockstep: Arc<Lockstep>,
    done: VecDeque<Completion>,
}

impl Blocking {
    /// Makes the waits of a driver block.
    pub fn new(inner: SimulatedDriver, lockstep: Arc<Lockstep>) -> Blocking {
        Blocking { inner, lockstep, done: VecDeque::new() }
    }
}

impl Driver for Blocking {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn listen(&mut self, listener: ListenerId, socket: Socket) -> io::Result<()> {
        self.inner.listen(listener, socket)
    }

    fn unlisten(&mut self, listener: ListenerId) {
        self.inner.unlisten(listener);
    }

    fn open(&mut self, conn: ConnId, socket: Socket) -> io::Result<()> {
        self.inner.open(conn, socket)
    }

    fn receive(&mut self, conn: ConnId, on: bool) {
        self.inner.receive(conn, on);
    }

    fn send(&mut self, conn: ConnId, chunk: Chunk) -> Option<(Chunk, io::Result<()>)> {
        self.inner.send(conn, chunk)
    }

    fn close(&mut self, conn: ConnId) {
        self.inner.close(conn);
    }

    fn wait(&mut self, wait: Wait) -> io::Result<()> {
        self.lockstep.pass(At::Wait);
        self.inner.wait(wait)?;
        let blocks = !matches!(wait, Wait::Poll | Wait::AtMost(0));
        while blocks && !self.lockstep.is_over() {
            self.done.extend(self.inner.next());
            if !self.done.is_empty() {
                break;
            }
            self.lockstep.pass(At::Sleep);
            self.inner.wait(wait)?;
        }
        Ok(())
    }

    fn has_completions(&self) -> bool {
        !self.done.is_empty() || self.inner.has_completions()
    }

    fn next(&mut self) -> Option<Completion> {
        self.done.pop_front().or_else(|| self.inner.next())
    }

    fn bytes(&self, buffer: BufferId, len: u32) -> &[u8] {
        self.inner.bytes(buffer, len)
    }

    fn release(&mut self, buffer: BufferId) {
        self.inner.release(buffer);
    }

    fn doorbell(&self) -> Arc<dyn Ring> {
        self.inner.doorbell()
    }

    fn set_keepalive(&mut self, seconds: u32) {
        self.inner.set_keepalive(seconds);
    }

    fn statistics(&self) -> Statistics {
        self.inner.statistics()
    }
}
