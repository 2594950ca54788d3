//! The long run: multi-shard writes at full speed, a replica, a reader of its states, and a
//! comparison of all keys at the end. It is ignored by default; `scripts/replication` runs it and
//! shows its figures.

use super::cross_shard::{Keys, watch_until};
use super::load::{Mix, write_until};
use super::peer;
use super::primary::Primary;
use super::support::{Info, assert_equal, connect};
use super::wire::Wire;
use super::{numbers, seed};
use annulet::base::clock::Clock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const SHARDS: usize = 4;
const WRITERS: u64 = 3;

/// First database of the random commands, which may empty whole databases. The databases below are
/// for keys that change together.
const FIRST_DB: u64 = 4;

/// Samples the lag of the replica until `is_over`. It asks the replica first, so the figure is
/// never below the real lag.
fn lags_until(primary: &Primary, replica: u16, is_over: &AtomicBool) -> Vec<u64> {
    let (mut ours, mut theirs) = (primary.connect(), connect(replica));
    let mut lags = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let taken = Info::of(&mut theirs, "replication").number("slave_repl_offset");
        lags.push(stream_bytes(&mut ours).saturating_sub(taken));
        thread::sleep(Duration::from_millis(100));
    }
    lags.sort_unstable();
    lags
}

fn stream_bytes(wire: &mut Wire) -> u64 {
    Info::of(wire, "replication").number("master_repl_offset")
}

#[test]
#[ignore = "takes a minute: scripts/replication"]
fn a_long_run() {
    let Some(program) = peer::program() else { return };
    let seconds = numbers("ANNULET_REPL_SECONDS", "60")[0];
    let arguments =
        ["--repl-backlog-size", "64mb", "--client-output-buffer-limit", "replica 1gb 0 0"];
    let primary = Primary::start(&program, SHARDS, &arguments);
    let mut wire = primary.connect();
    let keys = Keys::new();
    keys.prepare(&mut wire);
    let (peer, mut replica) = primary.follow(&program);
    let at_first = stream_bytes(&mut wire);
    let (port, is_over) = (primary.port(), &AtomicBool::new(false));
    let (sent, moves, seen, lags) = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| Mix::new((seed() << 8) + writer, FIRST_DB))
            .map(|mix| scope.spawn(move || write_until(port, mix, is_over)))
            .collect();
        let movers = scope.spawn(|| keys.move_until(port, is_over));
        let reader = scope.spawn(|| watch_until(peer.port, &keys, is_over));
        let lags = scope.spawn(|| lags_until(&primary, peer.port, is_over));
        thread::sleep(Duration::from_secs(seconds));
        is_over.store(true, Ordering::Relaxed);
        let sent: u64 = writers.into_iter().map(|it| it.join().expect("a writer")).sum();
        let moves = movers.join().expect("the movers");
        let seen = reader.join().expect("the invariants hold");
        (sent, moves, seen, lags.join().expect("INFO is answered"))
    });
    let over_ms = Clock::System.unix_ms();
    let keys = assert_equal(&mut wire, &mut replica, "after the long run");
    let caught_up_ms = Clock::System.unix_ms() - over_ms;
    let bytes = stream_bytes(&mut wire) - at_first;
    let lag = |share: usize| lags[(lags.len() * share / 100).min(lags.len() - 1)];
    println!("{seconds} s, {SHARDS} shards, {WRITERS} writers of pipelines, 5 movers");
    println!("commands     {sent} mixed, {moves} moves ({} per second)", (sent + moves) / seconds);
    println!("stream       {bytes} bytes ({} per second)", bytes / seconds);
    println!("lag at most  median {}, 99 % {}, most {} bytes", lag(50), lag(99), lag(100));
    println!("states seen  {}, {} distinct, none torn", seen.states, seen.distinct.len());
    println!("in the end   {keys} keys, equal {caught_up_ms} ms after the last write");
    let stats = Info::of(&mut wire, "stats");
    assert_eq!((stats.number("sync_full"), stats.number("sync_partial_ok")), (1, 0));
}
