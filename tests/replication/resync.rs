//! Replicas that reconnect resynchronize: partially if the backlog has the missing bytes, else in
//! full.

use super::load::{Mix, write_until};
use super::peer;
use super::primary::Primary;
use super::server::wait_for;
use super::support::{Info, assert_equal, demand, is_linked, number};
use super::wire::{Wire, put_request};
use super::{seed, shards};
use annulet::base::rng::Rng;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Number of times that a link is cut under writes.
const CUTS: u64 = 3;

/// Returns the counters of full, accepted and refused partial resynchronizations.
fn syncs(wire: &mut Wire) -> [u64; 3] {
    let stats = Info::of(wire, "stats");
    ["sync_full", "sync_partial_ok", "sync_partial_err"].map(|name| stats.number(name))
}

/// Time during which visitors connect and leave.
const COMING_AND_GOING: Duration = Duration::from_millis(1_500);

/// Runs `act` while several connections write.
fn under_writes<T>(primary: &Primary, act: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..2 {
            let (port, is_over) = (primary.port(), &is_over);
            scope.spawn(move || write_until(port, Mix::new((seed() << 8) + writer, 0), is_over));
        }
        let outcome = act();
        is_over.store(true, Ordering::Relaxed);
        outcome
    })
}

#[test]
fn links_reconnect() {
    let Some(program) = peer::program() else { return };
    for shards in shards() {
        let primary = Primary::start(&program, shards, &["--repl-backlog-size", "256mb"]);
        let mut wire = primary.connect();
        let (_replica, mut replica) = primary.follow(&program);
        under_writes(&primary, || {
            for cut in 1..=CUTS {
                let killed = number(&wire.ask(&["CLIENT", "KILL", "TYPE", "replica"]));
                assert_eq!(killed, 1, "{shards} shards, cut {cut}");
                let back = || syncs(&mut wire) == [1, cut, 0] && is_linked(&mut replica);
                let is_back = wait_for(back);
                assert!(is_back, "{shards} shards, cut {cut}: {:?}", syncs(&mut wire));
            }
        });
        assert_equal(&mut wire, &mut replica, &format!("{shards} shards, after {CUTS} cuts"));
    }
}

#[test]
fn a_replica_with_its_own_history_resynchronizes_in_full() {
    let Some(program) = peer::program() else { return };
    let primary = Primary::start(&program, 4, &[]);
    let mut wire = primary.connect();
    let (_replica, mut replica) = primary.follow(&program);
    let port = primary.port().to_string();
    under_writes(&primary, || {
        demand(&mut replica, &["REPLICAOF", "NO", "ONE"]);
        demand(&mut replica, &["SET", "of its own", "1"]);
        demand(&mut replica, &["REPLICAOF", "127.0.0.1", &port]);
        assert!(wait_for(|| syncs(&mut wire)[0] == 2 && is_linked(&mut replica)));
    });
    assert_eq!(syncs(&mut wire), [2, 0, 1]);
    assert_equal(&mut wire, &mut replica, "a replica that had a history of its own");
}

#[test]
fn a_feed_without_readers_ends() {
    let Some(program) = peer::program() else { return };
    for shards in shards() {
        let primary = Primary::start(&program, shards, &["--repl-backlog-ttl", "1"]);
        let mut wire = primary.connect();
        let (first, replica) = primary.follow(&program);
        let history = |wire: &mut Wire| {
            let info = Info::of(wire, "replication");
            (info.text("master_replid").to_string(), info.number("repl_backlog_active"))
        };
        let (before, is_active) = history(&mut wire);
        assert_eq!(is_active, 1, "{shards} shards");
        drop((first, replica));
        assert!(wait_for(|| history(&mut wire).1 == 0), "{shards} shards: the feed still runs");
        under_writes(&primary, || ());
        let (_second, mut replica) = primary.follow(&program);
        under_writes(&primary, || ());
        assert_equal(&mut wire, &mut replica, &format!("{shards} shards, the second feed"));
        assert_ne!(history(&mut wire).0, before, "{shards} shards: it is another history");
    }
}

#[test]
fn a_small_backlog_requires_a_snapshot() {
    let Some(program) = peer::program() else { return };
    for shards in shards() {
        let primary = Primary::start(&program, shards, &["--repl-backlog-size", "16kb"]);
        let mut wire = primary.connect();
        let (peer, mut replica) = primary.follow(&program);
        // The replica sleeps, so it does not reconnect before the backlog has moved on.
        let port = peer.port;
        let sleeper = thread::spawn(move || {
            demand(&mut super::support::connect(port), &["DEBUG", "SLEEP", "1"]);
        });
        thread::sleep(Duration::from_millis(200));
        assert_eq!(number(&wire.ask(&["CLIENT", "KILL", "TYPE", "replica"])), 1);
        let value = "x".repeat(10_000);
        for key in 0..100 {
            demand(&mut wire, &["SET", &format!("key:{key}"), &value]);
        }
        sleeper.join().expect("the sleeper ends");
        assert!(wait_for(|| syncs(&mut wire) == [2, 0, 1]), "{:?}", syncs(&mut wire));
        assert_equal(
            &mut wire,
            &mut replica,
            &format!("{shards} shards, after a full resynchronization"),
        );
    }
}

/// Repeatedly attaches, reads for some milliseconds or not at all, and leaves; returns the number
/// of visits.
fn come_and_go(port: u16, seed: u64, is_over: &AtomicBool) -> u64 {
    let mut rng = Rng::new(seed);
    let mut visits = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts");
        stream.set_read_timeout(Some(Duration::from_millis(10))).expect("the timeout is not zero");
        let mut bytes = Vec::new();
        match rng.below(4) {
            0 => put_request(&mut bytes, &["SYNC"]),
            1 => put_request(&mut bytes, &["PSYNC", &"f".repeat(40), "1"]),
            _ => put_request(&mut bytes, &["PSYNC", "?", "-1"]),
        }
        stream.write_all(&bytes).expect("the server takes bytes");
        let mut taken = [0; 10_000];
        for _ in 0..rng.below(5) {
            // The read may fail: the visitor only has to be in the way.
            let _ = stream.read(&mut taken);
            thread::sleep(Duration::from_millis(rng.below(8)));
        }
        visits += 1;
    }
    visits
}

#[test]
fn many_replicas_connect_and_leave() {
    let Some(program) = peer::program() else { return };
    let primary = Primary::start(&program, 4, &[]);
    let mut wire = primary.connect();
    let (_replica, mut replica) = primary.follow(&program);
    let is_over = &AtomicBool::new(false);
    let visits: u64 = under_writes(&primary, || {
        thread::scope(|scope| {
            let visitors: Vec<_> = (0..3)
                .map(|visitor| (primary.port(), (seed() << 8) + visitor))
                .map(|(port, seed)| scope.spawn(move || come_and_go(port, seed, is_over)))
                .collect();
            thread::sleep(COMING_AND_GOING);
            is_over.store(true, Ordering::Relaxed);
            visitors.into_iter().map(|visitor| visitor.join().expect("a visitor")).sum()
        })
    });
    assert!(visits > 20, "{visits} visits prove nothing");
    assert_equal(&mut wire, &mut replica, &format!("beside {visits} visits"));
    let is_alone = wait_for(|| Info::of(&mut wire, "replication").number("connected_slaves") == 1);
    assert!(is_alone, "replicas that left are removed");
    let fulls = syncs(&mut wire)[0];
    println!("{visits} visits, {fulls} snapshots");
}
