//! One checked run: shards on threads under a lockstep, clients at random, then the history.

use super::history::History;
use super::lockstep::{At, Blocking, Lockstep};
use super::mixed::Mixed;
use super::observed::{Recorder, observed_table};
use super::search::Verdict;
use super::units::Mix;
use super::workload::Workload;
use super::{Setup, World, check_rest};
use annulet::base::rng::Rng;
use annulet::mesh::{Preempt, Rules};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Steps without any progress of any client after which a run counts as stuck.
const STUCK_STEPS: u64 = 60_000;

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// All sorts of operations, by patient and by impatient clients, over connections that break.
    Broad,
    /// Reads of single keys, and now and then an MSET, by clients that take their time: what lies
    /// between the parts of one unit is seen best so.
    Narrow,
}

/// What came of a run.
pub struct Outcome {
    /// The cycle in words, or the reply that is wrong.
    pub anomaly: Option<String>,
    /// Steps of the lockstep.
    pub steps: u64,
    /// Operations that the clients sent.
    pub ops: usize,
    /// Partitions that were borrowed.
    pub borrows: u64,
    /// The same for the same run.
    pub fingerprint: u64,
}

/// Runs one seed under these rules. Panics when the server hangs or leaks.
pub fn simulate(seed: u64, rules: Rules, focus: Focus) -> Outcome {
    let mut rng = Rng::new(seed);
    let shards = if focus == Focus::Narrow { 3 } else { 2 + rng.below(3) as usize };
    let clients = 4 + rng.below(8) as usize;
    let lockstep = Lockstep::new(shards + 1, seed);
    let recorder = Recorder::new(Arc::clone(&lockstep));
    let preempt = Arc::clone(&lockstep);
    let setup = Setup {
        rules,
        preempt: Some(preempt),
        commands: observed_table(),
        ..Setup::new(shards, seed)
    };
    let world = World::new(setup);
    let mut workload = None;
    run(&world, &lockstep, Some(&recorder), || {
        let workload = workload.insert(Workload::new(&world, shards, clients, focus));
        drive(workload, &world, &lockstep);
    });
    let workload = workload.expect("the clients were there");
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

/// Runs one seed of a mix under these rules, and looks for an order of what the clients saw.
/// Returns that, and how many partitions were borrowed. Panics when the server hangs or leaks.
pub fn judge(seed: u64, rules: Rules, mix: &'static Mix) -> (Verdict, u64) {
    let shards = 2 + Rng::new(seed).below(3) as usize;
    let lockstep = Lockstep::new(shards + 1, seed);
    let preempt: Arc<dyn Preempt> = Arc::<Lockstep>::clone(&lockstep);
    let setup = Setup { rules, preempt: Some(preempt), ..Setup::new(shards, seed) };
    let world = World::new(setup);
    let mut clients = None;
    run(&world, &lockstep, None, || {
        drive(clients.insert(Mixed::new(&world, shards, mix)), &world, &lockstep);
    });
    let verdict = match clients.expect("the clients were there").result() {
        Ok(observed) => observed.judge(),
        Err(wrong) => Verdict::Impossible(wrong),
    };
    (verdict, borrows(&world))
}

/// Runs the shards of a world on threads of their own while `clients` runs, then lets them come
/// to rest. Panics when they do not, or leak.
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
                    shard.turn().expect("the simulation does not break");
                }
                check_rest(me, &shard);
            });
        }
        let _membership = lockstep.join(shards);
        clients();
        rest(world, lockstep);
    });
}

/// Lets other threads run until `is_there`. Panics when it takes too long.
pub fn wait_until(lockstep: &Lockstep, what: &str, mut is_there: impl FnMut() -> bool) {
    let began = lockstep.steps();
    while !is_there() {
        let waited = lockstep.steps() - began;
        assert!(waited < STUCK_STEPS, "stuck before {what}: {}", lockstep.describe());
        lockstep.pass(At::Client);
    }
}

/// Clients that do their part, step by step.
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

/// Lets the clients do their part until they are through.
fn drive(workload: &mut impl Clients, world: &World, lockstep: &Lockstep) {
    let mut moved_at = lockstep.steps();
    while !workload.is_over() {
        if workload.step(world, lockstep) {
            moved_at = lockstep.steps();
        }
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

/// Lets the shards come to rest, and ends them.
fn rest(world: &World, lockstep: &Lockstep) {
    let shards = world.mesh.shards();
    let is_empty = || (0..shards).all(|shard| world.mesh.depth(shard) == 0);
    let mut quiet = 0;
    wait_until(lockstep, "the shards come to rest", || {
        quiet = if world.network.is_idle() && is_empty() { quiet + 1 } else { 0 };
        quiet == 50
    });
    lockstep.finish();
}
