//! One checked run: shards on threads under the lockstep scheduler, random clients, then the
//! history.

use super::history::History;
use super::lockstep::{At, Blocking, Lockstep};
use super::mixed::Mixed;
use super::observed::{Recorder, observed_table};
use super::search::Verdict;
use super::units::Mix;
use super::workload::Workload;
use super::{Client, Setup, World, check_rest};
use annulet::base::rng::Rng;
use annulet::config::Permission;
use annulet::mesh::{Preempt, Rules};
use annulet::resp::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Steps without progress of any client after which a run counts as stuck.
const STUCK_STEPS: u64 = 200_000;

/// One in this many seeds runs every command on the offload pool that may run there.
const OFFLOADING_ONCE_IN: u64 = 3;

/// One in this many steps of the clients runs a job of the offload pool.
const JOB_ONCE_IN: u64 = 5;

/// The behaviour of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// All kinds of operations, by patient and impatient clients, over connections that break.
    Broad,
    /// Reads of single keys, and sometimes an MSET, by slow clients. This best shows states between
    /// the parts of one unit.
    Narrow,
    /// Like [`Focus::Broad`], while hash slots move.
    Moved,
    /// Like [`Focus::Narrow`], while hash slots move.
    NarrowMoved,
}

impl Focus {
    /// Returns whether the clients read slowly.
    pub fn is_narrow(self) -> bool {
        matches!(self, Focus::Narrow | Focus::NarrowMoved)
    }
}

/// The outcome of a run.
pub struct Outcome {
    /// The cycle or the wrong reply, as text.
    pub anomaly: Option<String>,
    /// Steps of the scheduler.
    pub steps: u64,
    /// Operations that the clients sent.
    pub ops: usize,
    /// Partitions that were borrowed.
    pub borrows: u64,
    /// A hash that is equal for equal runs.
    pub fingerprint: u64,
}

/// Runs one seed under these rules. Panics if the server hangs or leaks.
pub fn simulate(seed: u64, rules: Rules, focus: Focus) -> Outcome {
    let mut rng = Rng::new(seed);
    let shards = if focus.is_narrow() { 3 } else { 2 + rng.below(3) as usize };
    let clients = 4 + rng.below(8) as usize;
    let lockstep = Lockstep::new(shards + 1, seed);
    let recorder = Recorder::new(Arc::clone(&lockstep));
    let preempt = Arc::clone(&lockstep);
    let setup = Setup {
        rules,
        preempt: Some(preempt),
        commands: observed_table(),
        scatters_slots: true,
        moves_slots: matches!(focus, Focus::Moved | Focus::NarrowMoved),
        ..Setup::new(shards, seed)
    };
    let world = World::new(setup);
    let mut workload = None;
    run(&world, &lockstep, Some(&recorder), || {
        let workload = workload.insert(Workload::new(&world, shards, clients, focus));
        drive(workload, &world, &lockstep);
    });
    let workload = workload.expect("the run has set the clients");
    let touches = recorder.take();
    let mut hasher = DefaultHasher::new();
    for touch in &touches {
        (touch.op, &touch.key).hash(&mut hasher);
    }
    let anomaly = match History::new(&workload.ops, &touches) {
        Err(wrong) => Some(wrong),
        Ok(history) => history.is_anomalous().then(|| history.anomaly().expect("a cycle")),
    };
    let (steps, fingerprint) = (lockstep.steps(), hasher.finish());
    Outcome { anomaly, steps, ops: workload.ops.len(), borrows: borrows(&world), fingerprint }
}

/// Returns how many times a shard of this world has borrowed a partition.
pub fn borrows(world: &World) -> u64 {
    let boards = (0..world.mesh.shards()).map(|shard| world.process.boards.board(shard));
    boards.map(|board| board.counters.borrows.get()).sum()
}

/// The outcome of a run of a mix.
pub struct Judged {
    /// Whether there is an order of what the clients saw.
    pub verdict: Verdict,
    /// Partitions that were borrowed.
    pub borrows: u64,
    /// Marks at which a replica was compared.
    pub marks: u64,
}

/// Runs one seed of a mix under these rules, and searches for an order of what the clients saw.
/// Panics if the server hangs or leaks.
pub fn judge(seed: u64, rules: Rules, mix: &'static Mix) -> Judged {
    let shards = 2 + Rng::new(seed).below(3) as usize;
    let lockstep = Lockstep::new(shards + 1, seed);
    let preempt: Arc<dyn Preempt> = Arc::<Lockstep>::clone(&lockstep);
    let offloads = seed.is_multiple_of(OFFLOADING_ONCE_IN);
    let mut setup = Setup { rules, preempt: Some(preempt), offloads, ..Setup::new(shards, seed) };
    setup.scatters_slots = true;
    setup.moves_slots = mix.moves_slots;
    setup.config.repl_diskless_sync_delay = 0;
    setup.config.enable_debug_command = Permission::Yes;
    let world = World::new(setup);
    let mut clients = None;
    run(&world, &lockstep, None, || {
        let clients = clients.insert(Mixed::new(&world, shards, mix));
        if mix.needs.contains(&"sort") {
            clients.prepare(&world, &lockstep);
        }
        drive(clients, &world, &lockstep);
        clients.finish(&world, &lockstep);
    });
    let clients = clients.expect("the run has set the clients");
    let marks = clients.marks();
    let verdict = match clients.result() {
        Ok(observed) => observed.judge(),
        Err(wrong) => Verdict::Impossible(wrong),
    };
    Judged { verdict, borrows: borrows(&world), marks }
}

/// Runs each shard of a world on its own thread while `clients` runs, then waits until they are
/// idle. Panics if they do not become idle, or leak.
pub fn run(
    world: &World,
    lockstep: &Arc<Lockstep>,
    recorder: Option<&Arc<Recorder>>,
    clients: impl FnOnce(),
) {
    let shards = world.mesh.shards();
    let drivers: Vec<_> = (0..shards).map(|me| world.driver(me)).collect();
    std::thread::scope(|scope| {
        for (me, driver) in drivers.into_iter().enumerate() {
            scope.spawn(move || {
                let _membership = lockstep.join(me);
                if let Some(recorder) = recorder {
                    recorder.attend();
                }
                let driver = Blocking::new(driver, Arc::clone(lockstep));
                let mut shard = world.shard(me, Box::new(driver));
                while !lockstep.is_over() {
                    shard.turn().expect("the simulated driver does not fail");
                }
                check_rest(me, &shard);
            });
        }
        let _membership = lockstep.join(shards);
        clients();
        rest(world, lockstep);
    });
}

/// Lets other threads run until `is_there` returns true. Panics if it takes too long.
pub fn wait_until(lockstep: &Lockstep, what: &str, mut is_there: impl FnMut() -> bool) {
    let began = lockstep.steps();
    while !is_there() {
        let waited = lockstep.steps() - began;
        assert!(waited < STUCK_STEPS, "stuck before {what}: {}", lockstep.describe());
        lockstep.pass(At::Client);
    }
}

/// Sends a command, and lets other threads run until its reply has arrived.
pub fn ask(client: &mut Client, world: &World, lockstep: &Lockstep, args: &[&str]) -> Value {
    client.send(args);
    let mut reply = None;
    wait_until(lockstep, "a reply", || {
        world.run_offloaded();
        reply = client.try_read();
        reply.is_some()
    });
    reply.expect("waited for")
}

/// Clients that act step by step.
trait Clients {
    fn is_over(&self) -> bool;
    /// Returns whether anything moved.
    fn step(&mut self, world: &World, lockstep: &Lockstep) -> bool;
    fn describe(&self) -> String;
}

impl Clients for Workload {
    fn is_over(&self) -> bool {
        Workload::is_over(self)
    }

    fn step(&mut self, world: &World, lockstep: &Lockstep) -> bool {
        let moved = Workload::step(self, world);
        if lockstep.draw(200) == 0 {
            world.clock.advance_ms(1);
        }
        moved
    }

    fn describe(&self) -> String {
        Workload::describe(self)
    }
}

impl Clients for Mixed {
    fn is_over(&self) -> bool {
        Mixed::is_over(self)
    }

    fn step(&mut self, world: &World, lockstep: &Lockstep) -> bool {
        Mixed::step(self, world, lockstep)
    }

    fn describe(&self) -> String {
        Mixed::describe(self)
    }
}

/// Steps the clients until they are finished.
fn drive(workload: &mut impl Clients, world: &World, lockstep: &Lockstep) {
    let mut moved_at = lockstep.steps();
    while !workload.is_over() {
        if workload.step(world, lockstep) {
            moved_at = lockstep.steps();
        }
        if world.offloads() && lockstep.draw(JOB_ONCE_IN) == 0 {
            world.run_offloaded();
        }
        world.step_mover();
        let waited = lockstep.steps() - moved_at;
        if waited >= STUCK_STEPS {
            let depths: Vec<_> = (0..world.mesh.shards()).map(|s| world.mesh.depth(s)).collect();
            let idle = if world.network.is_idle() { "idle" } else { "not idle" };
            let (waits, threads) = (workload.describe(), lockstep.describe());
            panic!("stuck: the network is {idle}, inboxes {depths:?}, {threads}:\n{waits}");
        }
        lockstep.pass(At::Client);
    }
}

/// Waits until the shards are idle, and stops them.
fn rest(world: &World, lockstep: &Lockstep) {
    let shards = world.mesh.shards();
    let is_empty = || (0..shards).all(|shard| world.mesh.depth(shard) == 0);
    wait_until(lockstep, "the last move", || !world.end_move());
    let mut quiet = 0;
    wait_until(lockstep, "the shards become idle", || {
        let has_run = world.run_offloaded();
        let is_quiet = !has_run && world.network.is_idle() && is_empty();
        quiet = if is_quiet { quiet + 1 } else { 0 };
        quiet == 50
    });
    lockstep.finish();
}
