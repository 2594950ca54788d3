//! All parts of a command or transaction see one time, whenever their shards run them.

use super::histories::{Repeat, seeds};
use crate::harness::{Client, Server, int, key_on, ok};
use annulet::base::rng::Rng;
use annulet::resp::Value;

const SEEDS: u64 = 150;
const ROUNDS: usize = 12;
const LOOKS: usize = 60;

/// Returns how many of the keys a reply shows.
fn shown(reply: &Value) -> usize {
    match reply {
        Value::Array(values) => values.iter().filter(|value| **value != Value::Null).count(),
        Value::Integer(count) => *count as usize,
        other => panic!("{other:?}"),
    }
}

/// Sends a command, or a transaction of reads, that shows all keys or none.
fn look(client: &mut Client, rng: &mut Rng, keys: &[String]) -> usize {
    let names = keys.iter().map(String::as_str);
    let of = |name| [name].into_iter().chain(names.clone()).collect::<Vec<_>>();
    match rng.below(4) {
        0 => client.send(&of("MGET")),
        1 => client.send(&of("EXISTS")),
        2 => client.send(&of("TOUCH")),
        _ => {
            client.send(&["MULTI"]);
            names.for_each(|key| client.send(&["GET", key]));
            client.send(&["EXEC"]);
            return keys.len() + 2;
        }
    }
    1
}

/// Runs looks at keys of all shards that expire at one instant, while others hold locks on them.
fn look_at_random(seed: u64) {
    let mut rng = Rng::new(seed ^ 0x71e);
    let shards = 2 + rng.below(3) as usize;
    let mut server = Server::new(shards, seed);
    let keys: Vec<String> = (0..2 * shards).map(|at| key_on(shards, at % shards, at)).collect();
    let mut lookers: Vec<_> = (0..4).map(|_| (server.client(), 0)).collect();
    let mut locker = server.client();
    let mut writer = server.client();
    for _ in 0..ROUNDS {
        for key in &keys {
            assert_eq!(writer.run(&mut server, ["SET", key, "v", "PX", "5"]), ok());
        }
        for _ in 0..LOOKS {
            let (client, due) = &mut lookers[rng.below(4) as usize];
            while let Some(reply) = client.try_read() {
                *due -= 1;
                let count = if *due == 0 { shown(&reply) } else { 0 };
                assert!(count == 0 || count == keys.len(), "some of the keys only: {reply:?}");
            }
            if *due == 0 {
                *due = look(client, &mut rng, &keys);
            }
            while let Some(reply) = locker.try_read() {
                let is_missing = matches!(&reply, Value::Error(text) if text == b"ERR no such key");
                assert!(reply == int(0) || is_missing, "one of two keys only: {reply:?}");
            }
            if rng.below(4) == 0 {
                let [from, to] = [0, 1].map(|_| &keys[rng.below(keys.len() as u64) as usize]);
                locker.send(&["RENAMENX", from, to]);
            }
            server.steps(rng.below(5));
            if rng.below(8) == 0 {
                server.world.clock.advance_ms(1);
            }
        }
        server.advance_ms(10);
        for (client, due) in &mut lookers {
            (0..std::mem::take(due)).for_each(|_| drop(client.read(&mut server)));
        }
    }
    server.check();
}

#[test]
fn keys_that_expire_together_are_seen_together() {
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "one_time");
        look_at_random(seed);
    }
}

#[test]
fn a_transaction_sees_one_time() {
    let mut server = Server::new(2, 0);
    let mut client = server.client();
    let keys = [key_on(2, 0, 0), key_on(2, 1, 0)];
    for first_to_run in [0, 1] {
        for key in &keys {
            assert_eq!(client.run(&mut server, ["SET", key, "v", "PX", "1000"]), ok());
        }
        for args in [&["MULTI"][..], &["TIME"], &["PTTL", &keys[0]], &["PTTL", &keys[1]], &["TIME"]]
        {
            client.send(args);
        }
        client.send(&["EXEC"]);
        for shard in [first_to_run, 1 - first_to_run, first_to_run, 1 - first_to_run] {
            server.turns_of(shard, 1);
            server.world.clock.advance_ms(3);
        }
        (0..5).for_each(|_| drop(client.read(&mut server)));
        let Value::Array(replies) = client.read(&mut server) else { panic!("an array") };
        assert_eq!(replies[0], replies[3]);
        assert_eq!(replies[1], replies[2]);
    }
}
