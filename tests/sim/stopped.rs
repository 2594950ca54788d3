//! Shards that stop at any moment: also while a partition is lent, or wanted back.

use super::histories::{Borrowed, Repeat, seeds};
use crate::harness::linear::{borrows, wait_until};
use crate::harness::lockstep::{At, Blocking, Lockstep};
use crate::harness::{Client, Setup, World, key_on};
use annulet::base::rng::Rng;
use annulet::mesh::Preempt;
use annulet::shard::Turn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SEEDS: u64 = 60;

/// Stops a server amid the commands of its clients. Returns how many partitions were borrowed.
fn stop_at_random(seed: u64) -> u64 {
    let mut rng = Rng::new(seed ^ 0x5709);
    let shards = 2 + rng.below(3) as usize;
    let lockstep = Lockstep::new(shards + 1, seed);
    let preempt: Arc<dyn Preempt> = Arc::<Lockstep>::clone(&lockstep);
    let world = World::new(Setup { preempt: Some(preempt), ..Setup::new(shards, seed) });
    let keys: Vec<String> = (0..2 * shards).map(|at| key_on(shards, at % shards, at)).collect();
    let stopped = AtomicUsize::new(0);
    let drivers: Vec<_> = (0..shards).map(|me| world.driver(me)).collect();
    std::thread::scope(|scope| {
        for (me, driver) in drivers.into_iter().enumerate() {
            let (world, lockstep, stopped) = (&world, &lockstep, &stopped);
            scope.spawn(move || {
                let _membership = lockstep.join(me);
                let driver = Blocking::new(driver, Arc::clone(lockstep));
                let mut shard = world.shard(me, Box::new(driver));
                while shard.turn().expect("the simulation does not break") != Turn::Stopped {}
                stopped.fetch_add(1, Ordering::Relaxed);
            });
        }
        let _membership = lockstep.join(shards);
        let mut clients: Vec<Client> = (0..5).map(|_| world.connect()).collect();
        for _ in 0..20 + rng.below(60) {
            let at = rng.below(4) as usize;
            let mut key = || keys[rng.below(keys.len() as u64) as usize].as_str();
            clients[at].send(&["MSET", key(), "1", key(), "2", key(), "3"]);
            clients[at].send(&["GET", key()]);
            (0..rng.below(10)).for_each(|_| lockstep.pass(At::Client));
        }
        clients[4].send(&["SHUTDOWN", "NOSAVE"]);
        wait_until(&lockstep, "all shards stop", || {
            clients.iter_mut().for_each(Client::pump);
            world.clock.advance_ms(1);
            stopped.load(Ordering::Relaxed) == shards
        });
    });
    borrows(&world)
}

#[test]
fn shards_stop_while_partitions_are_lent() {
    let mut borrowed = Borrowed::default();
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "stopped");
        borrowed.add(stop_at_random(seed));
    }
    borrowed.check("stops");
}
