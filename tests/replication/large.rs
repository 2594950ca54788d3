//! Replicas attach while large values and many keys change: the snapshot has the keys of one
//! moment.

use super::peer;
use super::primary::Primary;
use super::support::{assert_equal, connect, demand};
use super::{seed, shards};
use annulet::base::rng::Rng;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Large values of each type.
const LARGE: u64 = 4;
const ELEMENTS: usize = 4_000;
const SMALL: u64 = 20_000;
const WRITERS: u64 = 3;
const REPLICAS: usize = 2;

const TYPES: [&str; 6] = ["hash", "zset", "list", "set", "stream", "text"];

#[test]
fn replicas_attach_while_large_values_change() {
    let Some(program) = peer::program() else { return };
    for shards in shards() {
        let primary = Primary::start(&program, shards, &[]);
        let mut wire = primary.connect();
        (0..LARGE).for_each(|number| TYPES.iter().for_each(|kind| fill(&mut wire, kind, number)));
        for from in (0..SMALL).step_by(500) {
            let names: Vec<String> = (from..from + 500).map(|it| format!("small:{it}")).collect();
            let pairs = names.iter().flat_map(|name| [name.as_str(), "value"]);
            demand(&mut wire, &["MSET"].into_iter().chain(pairs).collect::<Vec<_>>());
        }
        let is_over = AtomicBool::new(false);
        let mut replicas = thread::scope(|scope| {
            let (port, is_over) = (primary.port(), &is_over);
            for writer in 0..WRITERS {
                let rng = Rng::new((seed() << 8) + writer);
                scope.spawn(move || write(port, rng, is_over));
            }
            let follow = |_| {
                thread::sleep(Duration::from_millis(200));
                primary.follow(&program)
            };
            let replicas: Vec<_> = (0..REPLICAS).map(follow).collect();
            is_over.store(true, Ordering::Relaxed);
            replicas
        });
        for (number, (_, replica)) in replicas.iter_mut().enumerate() {
            assert_equal(&mut wire, replica, &format!("{shards} shards, replica {number}"));
        }
    }
}

/// Sets a large value.
fn fill(wire: &mut super::wire::Wire, kind: &str, number: u64) {
    let key = format!("{kind}:{number}");
    demand(wire, &["DEL", &key]);
    let names: Vec<String> = (0..ELEMENTS).map(|at| format!("element:{at}")).collect();
    for names in names.chunks(500) {
        let mut args = vec![command(kind), key.as_str()];
        match kind {
            "hash" => args.extend(names.iter().flat_map(|name| [name.as_str(), "value"])),
            "zset" => args.extend(names.iter().flat_map(|name| ["1", name.as_str()])),
            "stream" => {
                for name in names {
                    demand(wire, &["XADD", &key, "*", name, "value"]);
                }
                continue;
            }
            "text" => args.push(&names[0]),
            _ => args.extend(names.iter().map(String::as_str)),
        }
        demand(wire, &args);
    }
    if kind == "text" {
        demand(wire, &["SETRANGE", &key, "150000", "end"]);
    }
}

fn command(kind: &str) -> &'static str {
    match kind {
        "hash" => "HSET",
        "zset" => "ZADD",
        "list" => "RPUSH",
        "set" => "SADD",
        _ => "APPEND",
    }
}

/// Changes values until the test is over.
fn write(port: u16, mut rng: Rng, is_over: &AtomicBool) {
    let mut wire = connect(port);
    while !is_over.load(Ordering::Relaxed) {
        let kind = TYPES[rng.below(6) as usize];
        let (key, other) = (large(kind, &mut rng), large(kind, &mut rng));
        let (at, small) = (rng.below(ELEMENTS as u64), format!("small:{}", rng.below(SMALL)));
        let (name, value) = (format!("element:{at}"), rng.below(1_000).to_string());
        let args: &[&str] = match (rng.below(12), kind) {
            (0, _) => &["COPY", &key, &other, "REPLACE"],
            (1, _) => &["PEXPIRE", &key, "100000"],
            (2, _) => {
                fill(&mut wire, kind, rng.below(LARGE));
                continue;
            }
            (3, _) => &["DEL", &small],
            (4, _) => &["SET", &small, &value, "PX", "3000"],
            (5, "set") => &["SUNIONSTORE", &key, &other, &key],
            (5, "zset") => &["ZREMRANGEBYRANK", &key, "0", "5"],
            (_, "hash") if at % 3 == 0 => &["HDEL", &key, &name],
            (_, "hash") => &["HSET", &key, &name, &value],
            (_, "zset") => &["ZADD", &key, &value, &name],
            (_, "list") if at % 3 == 0 => &["LPOP", &key, "2"],
            (_, "list") => &["LSET", &key, &value, &name],
            (_, "set") if at % 3 == 0 => &["SPOP", &key, "2"],
            (_, "set") => &["SADD", &key, &value],
            (_, "stream") => &["XADD", &key, "MAXLEN", "~", "5000", "*", &name, &value],
            (_, _) => &["SETRANGE", &key, &value, &name],
        };
        // LSET of an index that is not there is an error.
        wire.ask(args);
    }
}

fn large(kind: &str, rng: &mut Rng) -> String {
    format!("{kind}:{}", rng.below(LARGE))
}
