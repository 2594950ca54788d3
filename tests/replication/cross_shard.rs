//! Every state of a replica is a state that the primary has had: keys that change together on the
//! primary never differ on the replica.
//!
//! ```text
//!   changed by                          invariant                   keys (of different shards)
//!   one EXEC over two databases         equal                       exec:* of databases 0 and 1
//!   one MSET                            equal                       mset:*
//!   RENAME there and back               exactly one exists          rename:*
//!   SET of one, its reply seen, then    the second is not ahead     first:*, second:*
//!   SET of the other by another client
//! ```

use super::peer;
use super::primary::Primary;
use super::support::{Info, assert_equal, connect, demand, number, wait_for_link};
use super::wire::{Wire, children};
use annulet::base::slot::{SLOT_COUNT, slot_of};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const WATCHING: Duration = Duration::from_secs(3);

/// Snapshots that the replica takes while the keys change.
const SNAPSHOTS: u32 = 6;

/// Shards of the primary.
const SHARDS: usize = 4;

/// Quarters of the hash slots. With 1 or 4 shards, keys of different quarters are on one shard or
/// on four.
const QUARTERS: u16 = 4;

/// Returns a key in a quarter of the hash slots.
fn key_in(quarter: u16, name: &str) -> String {
    let is_there = |key: &String| slot_of(key.as_bytes()) / (SLOT_COUNT / QUARTERS) == quarter;
    (0..).map(|number| format!("{name}:{number}")).find(is_there).expect("slots are spread evenly")
}

/// The keys that change together.
pub struct Keys {
    exec: [String; 2],
    mset: [String; 2],
    rename: [String; 2],
    chain: [String; 2],
}

impl Keys {
    pub fn new() -> Keys {
        Keys {
            exec: [key_in(0, "exec"), key_in(3, "exec")],
            mset: [key_in(3, "mset"), key_in(1, "mset")],
            rename: [key_in(1, "rename"), key_in(2, "rename")],
            chain: [key_in(2, "first"), key_in(0, "second")],
        }
    }

    /// Sets values that satisfy the invariants at the start.
    pub fn prepare(&self, wire: &mut Wire) {
        let ([mset, other_mset], [first, second]) = (&self.mset, &self.chain);
        demand(wire, &["MSET", mset, "0", other_mset, "0", first, "0", second, "0"]);
        demand(wire, &["MSET", &self.rename[0], "here", &self.exec[0], "0"]);
        demand(wire, &["SELECT", "1"]);
        demand(wire, &["SET", &self.exec[1], "0"]);
        demand(wire, &["SELECT", "0"]);
    }

    /// Checks the invariants of one state, whose texts `text` returns.
    pub fn check(&self, text: &dyn Fn(u64, &str) -> Option<String>) {
        let ([here, there], [mset, other_mset]) = (&self.exec, &self.mset);
        assert_eq!(text(0, here), text(1, there), "moved by one EXEC");
        assert_eq!(text(0, mset), text(0, other_mset), "moved by one MSET");
        let present = self.rename.iter().filter(|key| text(0, key).is_some()).count();
        assert_eq!(present, 1, "moved by RENAME");
        let number = |key: &str| text(0, key).and_then(|text| text.parse::<u64>().ok());
        let [first, second] = [0, 1].map(|at| number(&self.chain[at]).expect("a number"));
        assert!(first >= second, "a write is saved without the write that it follows");
    }

    /// Changes all keys, each way on its own thread, until `is_over`; returns the number of
    /// changes.
    pub fn move_until(&self, port: u16, is_over: &AtomicBool) -> u64 {
        let goes_on = || !is_over.load(Ordering::Relaxed);
        thread::scope(|scope| {
            let movers = [
                scope.spawn(move || self.exec(port, &goes_on)),
                scope.spawn(move || self.mset(port, 0, &goes_on)),
                scope.spawn(move || self.mset(port, 1, &goes_on)),
                scope.spawn(move || self.rename(port, &goes_on)),
                scope.spawn(move || self.chain(port, &goes_on)),
            ];
            movers.into_iter().map(|mover| mover.join().expect("a mover")).sum()
        })
    }

    fn exec(&self, port: u16, goes_on: &dyn Fn() -> bool) -> u64 {
        let mut wire = connect(port);
        let mut moves = 0;
        while goes_on() {
            let [here, there] = &self.exec;
            let commands: [&[&str]; 6] = [
                &["MULTI"],
                &["INCR", here],
                &["SELECT", "1"],
                &["INCR", there],
                &["SELECT", "0"],
                &["EXEC"],
            ];
            let replies = wire.ask_all(&commands);
            assert!(replies[5].starts_with(b"*4\r\n"), "{replies:?}");
            moves += 1;
        }
        moves
    }

    fn mset(&self, port: u16, offset: u64, goes_on: &dyn Fn() -> bool) -> u64 {
        let mut wire = connect(port);
        let mut moves = 0;
        while goes_on() {
            moves += 1;
            let value = (2 * moves + offset).to_string();
            demand(&mut wire, &["MSET", &self.mset[0], &value, &self.mset[1], &value]);
        }
        moves
    }

    fn rename(&self, port: u16, goes_on: &dyn Fn() -> bool) -> u64 {
        let mut wire = connect(port);
        let mut moves = 0;
        while goes_on() {
            let (from, to) = (moves % 2, 1 - moves % 2);
            demand(&mut wire, &["RENAME", &self.rename[from], &self.rename[to]]);
            moves += 1;
        }
        moves as u64
    }

    fn chain(&self, port: u16, goes_on: &dyn Fn() -> bool) -> u64 {
        let (mut one, mut other) = (connect(port), connect(port));
        let mut moves = 0;
        while goes_on() {
            moves += 1;
            let value = moves.to_string();
            demand(&mut one, &["SET", &self.chain[0], &value]);
            demand(&mut other, &["SET", &self.chain[1], &value]);
        }
        moves
    }
}

/// States that a reader of a replica has seen.
#[derive(Default)]
pub struct Seen {
    pub states: u64,
    /// Different values of the keys of the EXEC.
    pub distinct: HashSet<i64>,
}

/// Reads the replica until `is_over` and checks each state. Errors of a replica that loads a
/// snapshot do not count.
pub fn watch_until(port: u16, keys: &Keys, is_over: &AtomicBool) -> Seen {
    let mut wire = connect(port);
    let mut seen = Seen::default();
    let commands: [&[&str]; 7] = [
        &["MULTI"],
        &["MGET", &keys.exec[0], &keys.mset[0], &keys.mset[1], &keys.chain[0], &keys.chain[1]],
        &["EXISTS", &keys.rename[0], &keys.rename[1]],
        &["SELECT", "1"],
        &["GET", &keys.exec[1]],
        &["SELECT", "0"],
        &["EXEC"],
    ];
    while !is_over.load(Ordering::Relaxed) {
        let replies = wire.ask_all(&commands);
        if replies[6].starts_with(b"-") {
            continue;
        }
        let results = children(&replies[6]).expect("EXEC has an array for reply");
        let together = children(results[0]).expect("MGET has an array for reply");
        let values: Vec<i64> = together.iter().map(|reply| number(reply)).collect();
        let shown = || String::from_utf8_lossy(&replies[6]).replace("\r\n", " ");
        assert_eq!(values[0], number(results[3]), "moved by one EXEC: {}", shown());
        assert_eq!(values[1], values[2], "moved by one MSET: {}", shown());
        assert_eq!(number(results[1]), 1, "moved by RENAME: {}", shown());
        assert!(
            values[3] >= values[4],
            "a write is visible before the write that it follows: {}",
            shown()
        );
        seen.states += 1;
        seen.distinct.insert(values[0]);
    }
    seen
}

/// Moves the slots of the keys from shard to shard until `is_over`; returns the number of moves.
fn move_slots_until(port: u16, keys: &Keys, is_over: &AtomicBool) -> u64 {
    let mut wire = connect(port);
    let all = [&keys.exec, &keys.mset, &keys.rename, &keys.chain];
    let slots: Vec<u16> = all.into_iter().flatten().map(|key| slot_of(key.as_bytes())).collect();
    let mut moves = 0;
    while !is_over.load(Ordering::Relaxed) {
        let slot = slots[moves as usize % slots.len()].to_string();
        let shard = (moves / 3 % SHARDS as u64).to_string();
        let reply = wire.ask(&["ANNULET", "MOVESLOTS", &slot, &slot, &shard]);
        let is_due = reply.starts_with(b"+OK") || reply.starts_with(b"-TRYAGAIN ");
        assert!(is_due, "{}", String::from_utf8_lossy(&reply));
        moves += u64::from(reply.starts_with(b"+"));
    }
    moves
}

#[test]
fn replicas_show_only_states_of_the_primary() {
    follow_states(false);
}

#[test]
fn replicas_show_only_states_of_the_primary_while_slots_move() {
    follow_states(true);
}

fn follow_states(moves_slots: bool) {
    let Some(program) = peer::program() else { return };
    let primary = Primary::start(&program, SHARDS, &[]);
    let keys = Keys::new();
    let mut wire = primary.connect();
    keys.prepare(&mut wire);
    let (replica, mut theirs) = primary.follow(&program);
    let is_over = AtomicBool::new(false);
    let port = primary.port().to_string();
    let (moves, seen) = thread::scope(|scope| {
        let movers = scope.spawn(|| keys.move_until(primary.port(), &is_over));
        let slots =
            moves_slots.then(|| scope.spawn(|| move_slots_until(primary.port(), &keys, &is_over)));
        let reader = scope.spawn(|| watch_until(replica.port, &keys, &is_over));
        // The replica first follows, then takes one snapshot after another.
        thread::sleep(WATCHING / 2);
        for _ in 0..SNAPSHOTS {
            demand(&mut theirs, &["REPLICAOF", "NO", "ONE"]);
            demand(&mut theirs, &["REPLICAOF", "127.0.0.1", &port]);
            wait_for_link(&mut theirs);
            thread::sleep(WATCHING / 2 / SNAPSHOTS);
        }
        is_over.store(true, Ordering::Relaxed);
        let seen = reader.join().expect("the invariants hold");
        if let Some(slots) = slots {
            let moved = slots.join().expect("slots move");
            println!("{moved} moves of slots");
            assert!(moved >= 20, "too few moves to prove anything: {moved}");
        }
        (movers.join().expect("the movers"), seen)
    });
    let distinct = seen.distinct.len();
    println!("{moves} moves, {} states seen, {distinct} distinct", seen.states);
    assert!(distinct >= 100, "too few states to prove anything: {distinct}");
    assert_eq!(Info::of(&mut wire, "stats").number("sync_full"), 1 + u64::from(SNAPSHOTS));
    assert_equal(&mut wire, &mut theirs, "after all moves");
}
