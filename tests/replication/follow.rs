//! A replica that attaches and follows has the same keys as its primary.

use super::load::{Mix, fill, write_until};
use super::peer;
use super::primary::Primary;
use super::support::{Info, assert_equal};
use super::{seed, shards};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const WRITERS: u64 = 3;
const WRITING: Duration = Duration::from_millis(1_500);

#[test]
fn a_replica_follows() {
    let Some(program) = peer::program() else { return };
    for shards in shards() {
        follow(&program, shards);
    }
}

fn follow(program: &str, shards: usize) {
    let primary = Primary::start(program, shards, &[]);
    let mut wire = primary.connect();
    fill(&mut wire);
    let (_first, mut first) = primary.follow(program);
    let what = format!("{shards} shards, after the snapshot");
    let filled = assert_equal(&mut wire, &mut first, &what);
    assert!(filled > 3_000, "{filled} keys in the snapshot");

    // A second replica attaches while there are writes.
    let is_over = AtomicBool::new(false);
    let mix = move |writer| Mix::new((seed() << 16) + (shards as u64) * 100 + writer, 0);
    let (sent, (_second, mut second)) = thread::scope(|scope| {
        let (port, is_over) = (primary.port(), &is_over);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write_until(port, mix(writer), is_over)))
            .collect();
        thread::sleep(WRITING / 2);
        let second = primary.follow(program);
        thread::sleep(WRITING / 2);
        is_over.store(true, Ordering::Relaxed);
        let sent: u64 = writers.into_iter().map(|it| it.join().expect("a writer")).sum();
        (sent, second)
    });
    fill(&mut wire);
    for (name, replica) in [("first", &mut first), ("second", &mut second)] {
        let what = format!("{shards} shards, the {name} replica after {sent} commands");
        let keys = assert_equal(&mut wire, replica, &what);
        println!("{what}: {keys} keys are equal");
    }
    let stats = Info::of(&mut wire, "stats");
    assert_eq!((stats.number("sync_full"), stats.number("sync_partial_ok")), (2, 0));
    let info = Info::of(&mut wire, "replication");
    assert_eq!(info.number("connected_slaves"), 2);
}
