//! One checked run: shards on threads under a baton, clients at random, then the history.

use super::baton::{Baton, Blocking};
use super::history::History;
use super::observed::{Recorder, observed_table};
use super::workload::Workload;
use super::{Setup, World, check_rest};
use annulet::base::rng::Rng;
use annulet::mesh::Rules;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Steps without any progress of any client after which a run counts as stuck.
const STUCK_STEPS: u64 = 60_000;

/// What came of a run.
pub struct Outcome {
    /// The cycle in words, or the reply that is wrong.
    pub anomaly: Option<String>,
    /// Steps of the baton.
    pub steps: u64,
    /// Operations that the clients sent.
    pub ops: usize,
    /// The same for the same run.
    pub fingerprint: u64,
}

/// Runs one seed under these rules. Panics when the server hangs or leaks.
pub fn simulate(seed: u64, rules: Rules) -> Outcome {
    let mut rng = Rng::new(seed);
    let shards = 2 + rng.below(3) as usize;
    let clients = 4 + rng.below(8) as usize;
    let baton = Baton::new(shards + 1, seed);
    let recorder = Recorder::new(Arc::clone(&baton));
    let preempt = Arc::clone(&baton);
    let setup = Setup {
        rules,
        preempt: Some(preempt),
        commands: observed_table(),
        ..Setup::new(shards, seed)
    };
    let world = World::new(setup);
    let drivers: Vec<_> = (0..shards).map(|me| world.driver(me)).collect();
    let mut workload = Workload::new(&world, shards, clients, 12);
    std::thread::scope(|scope| {
        for (me, driver) in drivers.into_iter().enumerate() {
            let (world, baton, recorder) = (&world, &baton, &recorder);
            scope.spawn(move || {
                let _membership = baton.join(me);
                recorder.attend();
                let driver = Blocking::new(driver, Arc::clone(baton));
                let mut shard = world.shard(me, Box::new(driver));
                while !baton.is_over() {
                    shard.turn().expect("the simulation does not break");
                }
                check_rest(me, &shard);
            });
        }
        let _membership = baton.join(shards);
        drive(&mut workload, &world, &baton);
    });
    let touches = recorder.take();
    let mut hasher = DefaultHasher::new();
    for touch in &touches {
        (touch.op, &touch.key).hash(&mut hasher);
    }
    let anomaly = match History::new(&workload.ops, &touches) {
        Err(wrong) => Some(wrong),
        Ok(history) => history.is_anomalous().then(|| history.anomaly().expect("a cycle")),
    };
    let (steps, fingerprint) = (baton.steps(), hasher.finish());
    Outcome { anomaly, steps, ops: workload.ops.len(), fingerprint }
}

/// Lets the clients do their part until they are through, then lets the shards come to rest.
fn drive(workload: &mut Workload, world: &World, baton: &Baton) {
    let mut moved_at = baton.steps();
    while !workload.is_over() {
        if workload.step(world) {
            moved_at = baton.steps();
        }
        if baton.draw(200) == 0 {
            world.clock.advance_ms(1);
        }
        let waited = baton.steps() - moved_at;
        assert!(waited < STUCK_STEPS, "seed {}: stuck:\n{}", world.seed, workload.describe());
        baton.pass();
    }
    let shards = world.mesh.shards();
    let is_empty = || (0..shards).all(|shard| world.mesh.depth(shard) == 0);
    let ended_at = baton.steps();
    let mut quiet = 0;
    while quiet < 50 {
        quiet = if world.network.is_idle() && is_empty() { quiet + 1 } else { 0 };
        let waited = baton.steps() - ended_at;
        assert!(waited < STUCK_STEPS, "seed {}: the shards do not come to rest", world.seed);
        baton.pass();
    }
    baton.finish();
}

/// How somebody else gets to see the same.
pub fn repeat(seed: u64) -> String {
    format!("to repeat: ANNULET_SIM_SEED={seed} cargo test --test sim")
}
