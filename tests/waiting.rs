//! Clients that wait for keys of all shards, clients that vanish meanwhile, and clients that push:
//! at the end nothing is lost, nothing came twice, and who waited first was served first.
//!
//! ```text
//!   producers   LPUSH, RPUSH in and out of MULTI, ZADD, XADD: every item has a number
//!   consumers   BLPOP, BRPOP, BLMOVE, BZPOPMIN, XREADGROUP with short timeouts
//!   vanishing   BLMOVE and XREADGROUP, and the connection is closed at some moment
//!   unblocking  CLIENT UNBLOCK of any of the consumers
//! ```
//! What a client that vanishes has taken is in the list that it moved to, or is pending in its
//! group: it counts as served. `ANNULET_TORTURE_SECONDS` says how long it goes on.

#[path = "process/server.rs"]
#[allow(dead_code)]
mod server;
#[path = "process/wire.rs"]
mod wire;

use annulet::base::rng::Rng;
use server::{Server, Setup, drivers, wait_for};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use wire::{Wire, info_field};

const SHARDS: usize = 4;

/// Keys of each type; their names lie in slots of all shards.
const KEYS: usize = 6;

/// Lists that items are moved to.
const SHELVES: [&str; 2] = ["shelf:0", "shelf:1"];

const PRODUCERS: u64 = 3;
const CONSUMERS: u64 = 10;
const VANISHING: u64 = 3;

/// Milliseconds of the run if nothing else is said.
const RUN_MS_DEFAULT: u64 = 1_500;

/// What all clients share.
struct Floor {
    port: u16,
    is_over: AtomicBool,
    next_item: AtomicU64,
    /// Items that the server took.
    sent: Mutex<Vec<u64>>,
    /// Items that consumers got.
    got: Mutex<Vec<u64>>,
    /// Connections that may be unblocked.
    clients: Mutex<Vec<String>>,
}

impl Floor {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn item(&self) -> u64 {
        self.next_item.fetch_add(1, Ordering::Relaxed)
    }
}

fn key(kind: &str, rng: &mut Rng) -> String {
    format!("{kind}:{}", rng.below(KEYS as u64))
}

/// The numbers behind `i` in a reply.
fn items_in(reply: &str) -> Vec<u64> {
    let words = reply.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter_map(|word| word.strip_prefix('i')?.parse().ok()).collect()
}

fn produce(floor: &Floor, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut wire = Wire::connect(floor.port);
    while !floor.is_over() {
        let numbers = [floor.item(), floor.item()];
        let [one, other] = numbers.map(|number| format!("i{number}"));
        let (first, second) = (key("list", &mut rng), key("list", &mut rng));
        match rng.below(5) {
            0 => drop(wire.ask(&["RPUSH", &first, &one, &other])),
            1 => drop(wire.ask(&["LPUSH", &first, &one, &other])),
            2 => {
                wire.ask(&["MULTI"]);
                wire.ask(&["RPUSH", &first, &one]);
                wire.ask(&["LPUSH", &second, &other]);
                let reply = wire.ask(&["EXEC"]);
                assert!(reply.starts_with('['), "{reply}");
            }
            3 => {
                let set = key("zset", &mut rng);
                assert_eq!(wire.ask(&["ZADD", &set, "1", &one, "2", &other]), ":2");
            }
            _ => {
                for item in [&one, &other] {
                    wire.ask(&["XADD", &key("stream", &mut rng), "*", "item", item]);
                }
            }
        }
        floor.sent.lock().expect("nobody panics").extend(numbers);
        if rng.below(4) == 0 {
            thread::sleep(Duration::from_millis(rng.below(4)));
        }
    }
}

/// A command that waits, as words.
fn waiting(rng: &mut Rng, name: &str, timeout: &str) -> Vec<String> {
    let lists = [key("list", rng), key("list", rng), SHELVES[rng.below(2) as usize].to_string()];
    let [a, b, c] = &lists;
    let words: Vec<&str> = match rng.below(5) {
        0 => vec!["BLPOP", a, b, c, timeout],
        1 => vec!["BRPOP", b, c, timeout],
        2 => vec!["BLMOVE", a, SHELVES[rng.below(2) as usize], "LEFT", "RIGHT", timeout],
        3 => {
            let sets = [key("zset", rng), key("zset", rng)];
            return ["BZPOPMIN", &sets[0], &sets[1], timeout].map(String::from).to_vec();
        }
        _ => {
            let ms = if timeout == "0" { "0" } else { "20" };
            let streams = [key("stream", rng), key("stream", rng)];
            let head = ["XREADGROUP", "GROUP", "g", name, "COUNT", "3", "BLOCK", ms, "STREAMS"];
            let tail = [streams[0].as_str(), streams[1].as_str(), ">", ">"];
            return head.into_iter().chain(tail).map(String::from).collect();
        }
    };
    words.into_iter().map(String::from).collect()
}

fn consume(floor: &Floor, number: u64) {
    let mut rng = Rng::new(1_000 + number);
    let mut wire = Wire::connect(floor.port);
    let id = wire.ask(&["CLIENT", "ID"]).trim_start_matches(':').to_string();
    floor.clients.lock().expect("nobody panics").push(id);
    while !floor.is_over() {
        let words = waiting(&mut rng, &format!("c{number}"), "0.05");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let asked = std::panic::AssertUnwindSafe(|| wire.ask(&words));
        let reply =
            std::panic::catch_unwind(asked).unwrap_or_else(|_| panic!("no reply: {words:?}"));
        let is_error = reply.starts_with('-') && !reply.starts_with("-UNBLOCKED");
        assert!(!is_error, "{words:?}: {reply}");
        if words[0] != "BLMOVE" {
            floor.got.lock().expect("nobody panics").extend(items_in(&reply));
        }
    }
}

/// Waits and is gone. What it takes stays where others find it.
fn vanish(floor: &Floor, number: u64) {
    let mut rng = Rng::new(2_000 + number);
    while !floor.is_over() {
        let mut wire = Wire::connect(floor.port);
        let words = loop {
            let words = waiting(&mut rng, "vanished", "0");
            if matches!(words[0].as_str(), "BLMOVE" | "XREADGROUP") {
                break words;
            }
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        wire.send(&words);
        thread::sleep(Duration::from_millis(rng.below(8)));
    }
}

fn unblock(floor: &Floor) {
    let mut rng = Rng::new(3_000);
    let mut wire = Wire::connect(floor.port);
    while !floor.is_over() {
        let clients = floor.clients.lock().expect("nobody panics").clone();
        if !clients.is_empty() {
            let client = &clients[rng.below(clients.len() as u64) as usize];
            let how = ["TIMEOUT", "ERROR"][rng.below(2) as usize];
            let reply = wire.ask(&["CLIENT", "UNBLOCK", client, how]);
            assert!(matches!(reply.as_str(), ":0" | ":1"), "{reply}");
        }
        thread::sleep(Duration::from_millis(rng.below(5)));
    }
}

/// What is left in all keys, and what those that vanished have not acknowledged.
fn left(wire: &mut Wire) -> Vec<u64> {
    let mut items = Vec::new();
    let names = |kind: &'static str| (0..KEYS).map(move |number| format!("{kind}:{number}"));
    for list in names("list").chain(SHELVES.map(String::from)) {
        items.extend(items_in(&wire.ask(&["LRANGE", &list, "0", "-1"])));
    }
    for set in names("zset") {
        items.extend(items_in(&wire.ask(&["ZRANGE", &set, "0", "-1"])));
    }
    for stream in names("stream") {
        let pending = ["XREADGROUP", "GROUP", "g", "vanished", "STREAMS", &stream, "0"];
        items.extend(items_in(&wire.ask(&pending)));
        let unread = ["XREADGROUP", "GROUP", "g", "last", "STREAMS", &stream, ">"];
        items.extend(items_in(&wire.ask(&unread)));
    }
    items
}

fn run_ms() -> u64 {
    let seconds = std::env::var("ANNULET_TORTURE_SECONDS").ok();
    seconds.map_or(RUN_MS_DEFAULT, |text| text.parse::<u64>().expect("seconds") * 1_000)
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice() {
    for driver in drivers() {
        let server = Server::start(Setup { shards: SHARDS, driver }, &[]);
        let mut wire = Wire::connect(server.port);
        for number in 0..KEYS {
            let stream = format!("stream:{number}");
            let made = wire.ask(&["XGROUP", "CREATE", &stream, "g", "$", "MKSTREAM"]);
            assert_eq!(made, "+OK");
        }
        let floor = Floor {
            port: server.port,
            is_over: AtomicBool::new(false),
            next_item: AtomicU64::new(1),
            sent: Mutex::default(),
            got: Mutex::default(),
            clients: Mutex::default(),
        };
        thread::scope(|scope| {
            let floor = &floor;
            (0..PRODUCERS).for_each(|seed| drop(scope.spawn(move || produce(floor, seed))));
            (0..CONSUMERS).for_each(|number| drop(scope.spawn(move || consume(floor, number))));
            (0..VANISHING).for_each(|number| drop(scope.spawn(move || vanish(floor, number))));
            scope.spawn(move || unblock(floor));
            thread::sleep(Duration::from_millis(run_ms()));
            floor.is_over.store(true, Ordering::Relaxed);
        });
        // Those that have gone are noticed, and nobody takes anything any more.
        let is_quiet = wait_for(|| {
            let info = wire.ask(&["INFO", "clients"]);
            info_field(&info, "blocked_clients") == Some(0)
        });
        assert!(is_quiet, "{driver}: clients that are gone still wait");
        let mut sent = floor.sent.into_inner().expect("nobody panics");
        let mut found = floor.got.into_inner().expect("nobody panics");
        let taken = found.len();
        found.extend(left(&mut wire));
        sent.sort_unstable();
        found.sort_unstable();
        assert!(taken > 0 && sent.len() > 100, "{driver}: {taken} of {}", sent.len());
        let twice: Vec<_> = found.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{driver}: came twice: {twice:?}");
        let lost: Vec<_> = sent.iter().filter(|item| found.binary_search(item).is_err()).collect();
        assert!(lost.is_empty(), "{driver}: lost {lost:?}");
        assert_eq!(found.len(), sent.len(), "{driver}: what nobody sent");
    }
}

/// Clients that wait for the same key, one after the other.
#[test]
fn who_waits_first_is_served_first() {
    const WAITERS: usize = 12;
    let forms: [(&[&str], &[&str]); 4] = [
        (&["BLPOP", "k", "other", "0"], &["RPUSH", "k"]),
        (&["BRPOP", "other", "k", "0"], &["LPUSH", "k"]),
        (&["BLMOVE", "k", "shelf", "LEFT", "LEFT", "0"], &["RPUSH", "k"]),
        (&["BZPOPMIN", "k", "0"], &["ZADD", "k"]),
    ];
    let server = Server::start(Setup { shards: SHARDS, driver: "epoll" }, &[]);
    let mut wire = Wire::connect(server.port);
    let is_waiting = |wire: &mut Wire, count: u64| {
        let reached = wait_for(|| {
            let info = wire.ask(&["INFO", "clients"]);
            info_field(&info, "blocked_clients") == Some(count)
        });
        assert!(reached, "{count} clients wait");
    };
    for (words, push) in forms {
        let mut waiters: Vec<Option<Wire>> = Vec::new();
        let mut ids = Vec::new();
        for number in 0..WAITERS {
            let mut waiter = Wire::connect(server.port);
            ids.push(waiter.ask(&["CLIENT", "ID"]).trim_start_matches(':').to_string());
            waiter.send(words);
            waiters.push(Some(waiter));
            is_waiting(&mut wire, number as u64 + 1);
        }
        // One vanishes and one is told to go on: the others keep their places.
        waiters[3] = None;
        assert_eq!(wire.ask(&["CLIENT", "UNBLOCK", &ids[7]]), ":1");
        assert_eq!(waiters[7].take().expect("it is there").reply(), "(nil)");
        is_waiting(&mut wire, WAITERS as u64 - 2);
        let items: Vec<String> = (0..WAITERS).map(|number| format!("i{number:02}")).collect();
        let mut words: Vec<&str> = push.to_vec();
        for item in &items[..WAITERS - 2] {
            if push[0] == "ZADD" {
                words.push("1");
            }
            words.push(item);
        }
        wire.ask(&words);
        let mut expected = items.iter();
        for waiter in waiters.iter_mut().flatten() {
            let reply = waiter.reply();
            let item = expected.next().expect("as many as waiters");
            assert!(reply.contains(item.as_str()), "{words:?}: {reply} and not {item}");
        }
        is_waiting(&mut wire, 0);
        assert_eq!(wire.ask(&["EXISTS", "k"]), ":0");
        wire.ask(&["DEL", "shelf"]);
    }
}
