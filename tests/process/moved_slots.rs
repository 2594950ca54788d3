//! Hash slots move from shard to shard while clients of all kinds use them: nothing is lost, and
//! nothing happens twice.

use super::server::{Server, Setup};
use super::setups;
use super::wire::Wire;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How long the clients run on each setup.
const RUN: Duration = Duration::from_secs(3);

/// Elements that a pusher is ahead of the poppers at most.
const AHEAD_MAX: u64 = 1_000;

/// The clients of a run share this.
#[derive(Default)]
struct Run {
    is_over: AtomicBool,
    pushed: AtomicU64,
    popped: AtomicU64,
}

impl Run {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }
}

/// Moves ranges of slots to and fro; returns the number of moves.
fn move_slots(port: u16, shards: usize, run: &Run) -> u64 {
    let mut wire = Wire::connect(port);
    let mut moves = 0;
    while run.goes_on() {
        let first = moves * 977 % 16_000;
        let last = first + [0, 30, 380][moves as usize % 3];
        let shard = moves % shards as u64;
        let [first, last, shard] = [first, last, shard].map(|number| number.to_string());
        let reply = wire.ask(&["ANNULET", "MOVESLOTS", &first, &last, &shard]);
        assert!(reply == "+OK" || reply.starts_with("-TRYAGAIN "), "{reply}");
        moves += u64::from(reply == "+OK");
    }
    moves
}

/// Writes keys and reads them back, alone and in pipelines; returns the number of rounds.
fn write_and_read(port: u16, number: usize, run: &Run) -> u64 {
    let mut wire = Wire::connect(port);
    let mut rounds = 0;
    while run.goes_on() {
        rounds += 1;
        let value = rounds.to_string();
        let keys: Vec<String> = (0..20).map(|at| format!("w{number}:{at}")).collect();
        for key in &keys {
            wire.send(&["SET", key, &value]);
        }
        let mget: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(|key| &key[..])).collect();
        wire.send(&mget);
        for _ in &keys {
            assert_eq!(wire.reply(), "+OK");
        }
        let expected = vec![&value[..]; keys.len()].join(", ");
        assert_eq!(wire.reply(), format!("[{expected}]"));
        assert_eq!(wire.ask(&["INCR", &format!("n{number}")]), format!(":{rounds}"));
        let lua = "return redis.call('INCR', KEYS[1]) - redis.call('INCR', KEYS[2])";
        let [one, other] = ["l", "m"].map(|name| format!("{name}{number}"));
        assert_eq!(wire.ask(&["EVAL", lua, "2", &one, &other]), ":0");
    }
    rounds
}

/// Increments two keys together, if nobody has changed them; returns the number of increments.
fn exec(port: u16, run: &Run) -> u64 {
    let mut wire = Wire::connect(port);
    let mut done = 0;
    while run.goes_on() {
        assert_eq!(wire.ask(&["WATCH", "t:a", "t:b"]), "+OK");
        let before = wire.ask(&["MGET", "t:a", "t:b"]);
        let (one, other) =
            before.trim_matches(['[', ']']).split_once(", ").expect("there are two values");
        assert_eq!(one, other, "both change together");
        assert_eq!(wire.ask(&["MULTI"]), "+OK");
        assert_eq!(wire.ask(&["INCR", "t:a"]), "+QUEUED");
        assert_eq!(wire.ask(&["INCR", "t:b"]), "+QUEUED");
        done += u64::from(wire.ask(&["EXEC"]) != "(nil)");
    }
    done
}

/// Pushes numbered elements to queues.
fn push(port: u16, run: &Run) {
    let mut wire = Wire::connect(port);
    while run.goes_on() {
        let ahead =
            run.pushed.load(Ordering::Relaxed).saturating_sub(run.popped.load(Ordering::Relaxed));
        if ahead > AHEAD_MAX {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let number = run.pushed.load(Ordering::Relaxed).to_string();
        let queue = format!("queue:{}", 1 + number.len() % 2 + number.len() % 3);
        let reply = wire.ask(&["RPUSH", &queue, &number]);
        assert!(reply.starts_with(':'), "{reply}");
        run.pushed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Pops from all queues, blocked most of the time; returns what it got.
fn pop(port: u16, is_mover: bool, run: &Run) -> Vec<String> {
    let mut wire = Wire::connect(port);
    let mut got = Vec::new();
    loop {
        let reply = match is_mover {
            true => wire.ask(&["BLMOVE", "queue:3", "moved", "LEFT", "RIGHT", "0.2"]),
            false => wire.ask(&["BLPOP", "queue:1", "queue:2", "queue:3", "queue:4", "0.2"]),
        };
        if reply == "(nil)" {
            if !run.goes_on() {
                return got;
            }
            continue;
        }
        assert!(!reply.starts_with('-'), "{reply}");
        let element = reply.trim_matches(['[', ']']).rsplit(", ").next().expect("an element");
        got.push(element.to_string());
        run.popped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Publishes numbers; a subscriber must get them all, in order.
fn publish(port: u16, run: &Run) -> u64 {
    let (mut subscriber, mut wire) = (Wire::connect(port), Wire::connect(port));
    assert_eq!(subscriber.ask(&["SUBSCRIBE", "numbers"]), "[subscribe, numbers, :1]");
    let mut number = 0;
    while run.goes_on() {
        number += 1;
        assert_eq!(wire.ask(&["PUBLISH", "numbers", &number.to_string()]), ":1");
        assert_eq!(subscriber.reply(), format!("[message, numbers, {number}]"));
    }
    number
}

/// Walks over all keys again and again: keys that exist all the time come once.
fn walk(port: u16, run: &Run) -> u64 {
    let mut wire = Wire::connect(port);
    let mut walks = 0;
    while run.goes_on() {
        let (mut cursor, mut found) = ("0".to_string(), Vec::new());
        loop {
            let reply = wire.ask(&["SCAN", &cursor, "MATCH", "fixed:*", "COUNT", "100"]);
            let (next, keys) = reply[1..].split_once(", ").expect("a cursor and keys");
            let keys = keys.trim_matches(['[', ']']);
            found.extend(keys.split(", ").filter(|key| !key.is_empty()).map(str::to_string));
            cursor = next.to_string();
            if cursor == "0" {
                break;
            }
        }
        let all: HashSet<&String> = found.iter().collect();
        assert_eq!((found.len(), all.len()), (500, 500));
        walks += 1;
    }
    walks
}

fn check(setup: Setup) {
    let server = Server::start(setup, &[]);
    let (port, run) = (server.port, Run::default());
    let mut wire = Wire::connect(port);
    assert_eq!(wire.ask(&["MSET", "t:a", "0", "t:b", "0"]), "+OK");
    for number in 0..500 {
        assert_eq!(wire.ask(&["SET", &format!("fixed:{number}"), "v"]), "+OK");
    }
    let (moves, rounds, execs, got) = thread::scope(|scope| {
        let run = &run;
        let mover = scope.spawn(move || move_slots(port, setup.shards, run));
        let writers: Vec<_> =
            (0..3).map(|at| scope.spawn(move || write_and_read(port, at, run))).collect();
        let execs: Vec<_> = (0..2).map(|_| scope.spawn(move || exec(port, run))).collect();
        scope.spawn(move || push(port, run));
        let poppers: Vec<_> =
            (0..4).map(|at| scope.spawn(move || pop(port, at == 0, run))).collect();
        scope.spawn(move || publish(port, run));
        scope.spawn(move || walk(port, run));
        thread::sleep(RUN);
        run.is_over.store(true, Ordering::Relaxed);
        let moves = mover.join().expect("slots move");
        let rounds: u64 = writers.into_iter().map(|it| it.join().expect("values are right")).sum();
        let execs: u64 = execs.into_iter().map(|it| it.join().expect("all is atomic")).sum();
        let got: Vec<String> =
            poppers.into_iter().flat_map(|it| it.join().expect("elements come")).collect();
        (moves, rounds, execs, got)
    });
    println!("{setup:?}: {moves} moves, {rounds} rounds, {execs} EXECs, {} popped", got.len());
    let different: HashSet<&String> = got.iter().collect();
    assert_eq!(different.len(), got.len(), "no element comes twice");
    assert_eq!(got.len() as u64, run.pushed.load(Ordering::Relaxed), "no element is lost");
    assert_eq!(wire.ask(&["GET", "t:a"]), execs.to_string());
    assert!(moves >= 10 && rounds > 10 && execs > 10 && got.len() > 10, "too few to prove much");
}

#[test]
fn clients_of_all_kinds_go_on_while_slots_move() {
    for setup in setups().into_iter().filter(|setup| setup.shards > 1) {
        check(setup);
    }
}

#[test]
fn clients_learn_where_slots_are() {
    let setup = Setup { shards: 2, driver: "epoll" };
    let server = Server::start(setup, &["--cluster-shard-ports", "yes"]);
    let mut wire = Wire::connect(server.port);
    // The slot of `foo`, 12182, is on shard 1.
    assert_eq!(wire.ask(&["SET", "foo", "1"]), "+OK");
    let mut first = Wire::connect(server.port + 1);
    let moved = |shard: u16| format!("-MOVED 12182 127.0.0.1:{}", server.port + 1 + shard);
    assert_eq!(first.ask(&["GET", "foo"]), moved(1));
    assert_eq!(wire.ask(&["ANNULET", "MOVESLOTS", "12182", "12182", "0"]), "+OK");
    assert_eq!(first.ask(&["GET", "foo"]), "1");
    let mut second = Wire::connect(server.port + 2);
    assert_eq!(second.ask(&["GET", "foo"]), moved(0));
    let shown = wire.ask(&["CLUSTER", "SLOTS"]);
    assert!(shown.contains(":12182, :12182"), "{shown}");
    let info = wire.ask(&["INFO", "cluster"]);
    assert!(info.contains("slot_map_epoch:2") && info.contains("slots_moved:1"), "{info}");
    let refused = wire.ask(&["ANNULET", "MOVESLOTS", "0", "16383", "0"]);
    assert_eq!(refused, "-ERR Each shard keeps at least one slot");
}
