//! Shards that stop at any moment: also while a partition is lent, or wanted back. The last save
//! has all that was acknowledged.

use super::histories::{Borrowed, Repeat, seeds};
use crate::harness::linear::{borrows, wait_until};
use crate::harness::lockstep::{At, Blocking, Lockstep};
use crate::harness::{Client, Server, Setup, World, bulk, int, key_on, list, ok};
use annulet::base::rng::Rng;
use annulet::mesh::Preempt;
use annulet::resp::Value;
use annulet::shard::Turn;
use std::path::{Path, PathBuf};
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

/// Returns an empty folder for a data file.
fn folder(seed: u64) -> PathBuf {
    let name = format!("annulet-sim-{}-{seed}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the temporary folder takes files");
    folder
}

/// Creates a server that saves into a folder.
fn saving_server(shards: usize, seed: u64, folder: &Path) -> Server {
    let mut setup = Setup::new(shards, seed);
    setup.config.dir = folder.to_path_buf();
    Server::with(setup)
}

/// A write of keys of two shards: the commands, the number of their replies, and the key that
/// exists afterwards.
type Move = (Vec<Vec<String>>, usize, String);

/// Returns writes that take several rounds, may block, or are a transaction.
fn moves(server: &mut Server, client: &mut Client) -> Vec<Move> {
    let shards = server.shards();
    let mut moves: Vec<Move> = Vec::new();
    for at in 0..6 {
        let [from, to] = [at, at + 1].map(|shard| key_on(shards, shard % shards, 10 * (at + 1)));
        let target = format!("{{{to}}}target:{at}");
        assert_eq!(client.run(server, ["RPUSH", &from, "v"]), int(1));
        let args = |text: &str| -> Vec<String> { text.split(' ').map(String::from).collect() };
        let commands = match at % 3 {
            0 => vec![args(&format!("RENAME {from} {target}"))],
            1 => vec![args(&format!("BLMOVE {from} {target} LEFT LEFT 0"))],
            _ => {
                let inner = [format!("LPOP {from}"), format!("RPUSH {target} v")];
                let all = ["MULTI", &inner[0], &inner[1], "EXEC"];
                all.map(args).to_vec()
            }
        };
        moves.push((commands.clone(), commands.len(), target));
    }
    moves
}

#[test]
fn the_last_save_has_all_that_was_acknowledged() {
    let (mut saved, mut lost) = (0, 0);
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "the_last_save");
        let folder = folder(seed);
        let mut server = saving_server(2 + seed as usize % 3, seed, &folder);
        let mut stopper = server.client();
        let moves = moves(&mut server, &mut stopper);
        let mut clients: Vec<Client> = moves.iter().map(|_| server.client()).collect();
        // Some begin before the shutdown, the others while the shares are made.
        let early = seed as usize % 3;
        for (at, (commands, ..)) in moves.iter().enumerate() {
            if at == early {
                stopper.send(&["SHUTDOWN", "SAVE"]);
            }
            commands.iter().for_each(|command| clients[at].send(command));
            let count = server.draw(8);
            server.steps(count);
            clients.iter_mut().for_each(Client::pump);
        }
        server.run_until_stopped();
        let file = std::fs::read(folder.join("dump.rdb")).expect("it was saved");
        for ((_, replies, target), client) in moves.iter().zip(&mut clients) {
            let last = std::iter::from_fn(|| client.try_read()).take(*replies).last();
            let is_done =
                matches!(&last, Some(Value::Array(_) | Value::Bulk(_))) || last == Some(ok());
            let is_there = file.windows(target.len()).any(|part| part == target.as_bytes());
            let is_queued = *replies > 1 && !matches!(last, Some(Value::Array(_)));
            assert!(is_there || !is_done || is_queued, "{target} is lost after {last:?}");
            (saved, lost) = (saved + u64::from(is_there), lost + u64::from(!is_there));
        }
        std::fs::remove_dir_all(&folder).expect("it can be removed");
    }
    assert!(saved > 0 && lost > 0, "{saved} saved and {lost} not: each happens");
}

#[test]
fn a_shutdown_that_cannot_save_goes_on_with_all_that_waits() {
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "a_shutdown_that_cannot_save");
        let missing = std::env::temp_dir().join("annulet-sim-no-such-folder");
        let mut server = saving_server(2 + seed as usize % 3, seed, &missing);
        let (mut stopper, mut looker) = (server.client(), server.client());
        let moves = moves(&mut server, &mut stopper);
        let mut clients: Vec<Client> = moves.iter().map(|_| server.client()).collect();
        for (at, (commands, ..)) in moves.iter().enumerate() {
            if at == 1 {
                stopper.send(&["SHUTDOWN", "SAVE"]);
            }
            commands.iter().for_each(|command| clients[at].send(command));
            let count = server.draw(8);
            server.steps(count);
        }
        assert!(matches!(stopper.read(&mut server), Value::Error(_)));
        for ((_, replies, target), client) in moves.iter().zip(&mut clients) {
            let last = (0..*replies).map(|_| client.read(&mut server)).last();
            let expected = match last {
                Some(Value::Array(replies)) => replies == [bulk("v"), int(1)],
                last => last == Some(ok()) || last == Some(bulk("v")),
            };
            assert!(expected, "{target}");
            let found = looker.run(&mut server, ["LRANGE", target, "0", "-1"]);
            assert_eq!(found, list(&["v"]), "{target}");
        }
        server.check();
    }
}
