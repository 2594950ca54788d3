//! Clients that wait for keys of all shards, clients that disconnect meanwhile, and clients that
//! push. In the end no item is lost or delivered twice, and the first client to wait was served
//! first.
//!
//! ```text
//!   producers   LPUSH, RPUSH in and out of MULTI, ZADD, XADD: every item has a number
//!   consumers   BLPOP, BRPOP, BLMOVE, BZPOPMIN, XREADGROUP with short timeouts
//!   vanishing   BLMOVE and XREADGROUP, and the connection is closed at some moment
//!   unblocking  CLIENT UNBLOCK of any of the consumers
//! ```
//! An item taken by a vanishing client is in its destination list, or pending in its group, and
//! counts as delivered. `ANNULET_TORTURE_SECONDS` sets the duration.

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

/// Keys of each type, with hash slots on all shards.
const KEYS: usize = 6;

/// Lists that items are moved to.
const SHELVES: [&str; 2] = ["shelf:0", "shelf:1"];

const PRODUCERS: u64 = 3;
const CONSUMERS: u64 = 10;
const VANISHING: u64 = 3;

/// Default duration in milliseconds.
const RUN_MS_DEFAULT: u64 = 1_500;

/// The state that all clients share.
struct Floor {
    port: u16,
    is_over: AtomicBool,
    next_item: AtomicU64,
    /// Items that the server accepted.
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

/// Returns the numbers behind `i` in a reply.
fn items_in(reply: &str) -> Vec<u64> {
    let args = reply.split(|letter: char| !letter.is_ascii_alphanumeric());
    args.filter_map(|arg| arg.strip_prefix('i')?.parse().ok()).collect()
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
        floor.sent.lock().expect("no other thread panics").extend(numbers);
        if rng.below(4) == 0 {
            thread::sleep(Duration::from_millis(rng.below(4)));
        }
    }
}

/// Returns the arguments of a command that waits.
fn waiting(rng: &mut Rng, name: &str, timeout: &str) -> Vec<String> {
    let lists = [key("list", rng), key("list", rng), SHELVES[rng.below(2) as usize].to_string()];
    let [a, b, c] = &lists;
    let args: Vec<&str> = match rng.below(5) {
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
    args.into_iter().map(String::from).collect()
}

fn consume(floor: &Floor, number: u64) {
    let mut rng = Rng::new(1_000 + number);
    let mut wire = Wire::connect(floor.port);
    let id = wire.ask(&["CLIENT", "ID"]).trim_start_matches(':').to_string();
    floor.clients.lock().expect("no other thread panics").push(id);
    while !floor.is_over() {
        let args = waiting(&mut rng, &format!("c{number}"), "0.05");
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let asked = std::panic::AssertUnwindSafe(|| wire.ask(&args));
        let reply =
            std::panic::catch_unwind(asked).unwrap_or_else(|_| panic!("no reply: {args:?}"));
        let is_error = reply.starts_with('-') && !reply.starts_with("-UNBLOCKED");
        assert!(!is_error, "{args:?}: {reply}");
        if args[0] != "BLMOVE" {
            floor.got.lock().expect("no other thread panics").extend(items_in(&reply));
        }
    }
}

/// Waits and disconnects. Other clients can find the items that it has taken.
fn vanish(floor: &Floor, number: u64) {
    let mut rng = Rng::new(2_000 + number);
    while !floor.is_over() {
        let mut wire = Wire::connect(floor.port);
        let args = loop {
            let args = waiting(&mut rng, "vanished", "0");
            if matches!(args[0].as_str(), "BLMOVE" | "XREADGROUP") {
                break args;
            }
        };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        wire.send(&args);
        thread::sleep(Duration::from_millis(rng.below(8)));
    }
}

fn unblock(floor: &Floor) {
    let mut rng = Rng::new(3_000);
    let mut wire = Wire::connect(floor.port);
    while !floor.is_over() {
        let clients = floor.clients.lock().expect("no other thread panics").clone();
        if !clients.is_empty() {
            let client = &clients[rng.below(clients.len() as u64) as usize];
            let how = ["TIMEOUT", "ERROR"][rng.below(2) as usize];
            let reply = wire.ask(&["CLIENT", "UNBLOCK", client, how]);
            assert!(matches!(reply.as_str(), ":0" | ":1"), "{reply}");
        }
        thread::sleep(Duration::from_millis(rng.below(5)));
    }
}

/// Returns the items left in all keys, and the pending ones of vanished clients.
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
fn no_item_is_lost_or_delivered_twice() {
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
        // Waits until the disconnected clients are removed and no client waits.
        let is_quiet = wait_for(|| {
            let info = wire.ask(&["INFO", "clients"]);
            info_field(&info, "blocked_clients") == Some(0)
        });
        assert!(is_quiet, "{driver}: disconnected clients still wait");
        let mut sent = floor.sent.into_inner().expect("no other thread panics");
        let mut found = floor.got.into_inner().expect("no other thread panics");
        let taken = found.len();
        found.extend(left(&mut wire));
        sent.sort_unstable();
        found.sort_unstable();
        assert!(taken > 0 && sent.len() > 100, "{driver}: {taken} of {}", sent.len());
        let twice: Vec<_> = found.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{driver}: came twice: {twice:?}");
        let lost: Vec<_> = sent.iter().filter(|item| found.binary_search(item).is_err()).collect();
        assert!(lost.is_empty(), "{driver}: lost {lost:?}");
        assert_eq!(found.len(), sent.len(), "{driver}: items that were never sent");
    }
}

/// Clients that wait for the same key, one after another.
#[test]
fn the_first_to_wait_is_served_first() {
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
    for (args, push) in forms {
        let mut waiters: Vec<Option<Wire>> = Vec::new();
        let mut ids = Vec::new();
        for number in 0..WAITERS {
            let mut waiter = Wire::connect(server.port);
            ids.push(waiter.ask(&["CLIENT", "ID"]).trim_start_matches(':').to_string());
            waiter.send(args);
            waiters.push(Some(waiter));
            is_waiting(&mut wire, number as u64 + 1);
        }
        // One client disconnects and one is unblocked: the others keep their order.
        waiters[3] = None;
        assert_eq!(wire.ask(&["CLIENT", "UNBLOCK", &ids[7]]), ":1");
        assert_eq!(waiters[7].take().expect("the waiter exists").reply(), "(nil)");
        is_waiting(&mut wire, WAITERS as u64 - 2);
        let items: Vec<String> = (0..WAITERS).map(|number| format!("i{number:02}")).collect();
        let mut args: Vec<&str> = push.to_vec();
        for item in &items[..WAITERS - 2] {
            if push[0] == "ZADD" {
                args.push("1");
            }
            args.push(item);
        }
        wire.ask(&args);
        let mut expected = items.iter();
        for waiter in waiters.iter_mut().flatten() {
            let reply = waiter.reply();
            let item = expected.next().expect("one item per waiter");
            assert!(reply.contains(item.as_str()), "{args:?}: {reply} and not {item}");
        }
        is_waiting(&mut wire, 0);
        assert_eq!(wire.ask(&["EXISTS", "k"]), ":0");
        wire.ask(&["DEL", "shelf"]);
    }
}

fn blocked_clients(wire: &mut Wire) -> u64 {
    let info = wire.ask(&["INFO", "clients"]);
    info_field(&info, "blocked_clients").expect("the field exists")
}

/// Opens a connection that blocks with this command. Returns it with its client id.
fn blocked(server: &Server, wire: &mut Wire, args: &[&str]) -> (Wire, String) {
    let mut waiter = Wire::connect(server.port);
    let id = waiter.ask(&["CLIENT", "ID"]).trim_start_matches(':').to_string();
    waiter.send(args);
    assert!(wait_for(|| blocked_clients(wire) == 1), "{args:?} blocks");
    (waiter, id)
}

#[test]
fn wait_is_a_blocked_client() {
    for shards in [1, 2] {
        let server = Server::start(Setup { shards, driver: "epoll" }, &[]);
        let mut wire = Wire::connect(server.port);
        let (mut waiter, id) = blocked(&server, &mut wire, &["WAIT", "1", "0"]);
        let line = wire.ask(&["CLIENT", "LIST", "ID", &id]);
        assert!(line.contains(" flags=b ") && line.contains(" cmd=wait "), "{line}");
        assert_eq!(wire.ask(&["CLIENT", "UNBLOCK", &id]), ":1");
        assert_eq!(waiter.reply(), ":0");
        waiter.send(&["WAIT", "1", "0"]);
        assert!(wait_for(|| blocked_clients(&mut wire) == 1));
        assert_eq!(wire.ask(&["CLIENT", "UNBLOCK", &id, "ERROR"]), ":1");
        assert_eq!(waiter.reply(), "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
        assert_eq!(waiter.ask(&["WAIT", "1", "20"]), ":0");
        waiter.send(&["WAIT", "1", "0"]);
        assert!(wait_for(|| blocked_clients(&mut wire) == 1));
        drop(waiter);
        assert!(wait_for(|| blocked_clients(&mut wire) == 0), "the client has left");
        assert!(wait_for(|| wire.ask(&["CLIENT", "LIST", "ID", &id]).trim().is_empty()));
    }
}

/// A blocked client that leaves is noticed behind any amount of pipelined commands, and takes no
/// item with it.
#[test]
fn a_blocked_client_that_leaves_takes_nothing() {
    for driver in drivers() {
        let server = Server::start(Setup { shards: 2, driver }, &[]);
        let mut wire = Wire::connect(server.port);
        for (number, bytes) in [1_000, 600_000, 3_000_000].into_iter().enumerate() {
            let key = format!("list:{number}");
            let (mut waiter, _) = blocked(&server, &mut wire, &["BRPOPLPUSH", &key, "shelf", "0"]);
            let behind = wire::request(&["SET", "behind", &"x".repeat(1_000)]);
            (0..bytes / 1_000).for_each(|_| waiter.write(&behind));
            drop(waiter);
            assert!(wait_for(|| blocked_clients(&mut wire) == 0), "{driver}: {bytes} bytes");
            assert_eq!(wire.ask(&["RPUSH", &key, "item"]), ":1");
            assert_eq!(wire.ask(&["LLEN", &key]), ":1");
        }
    }
}
