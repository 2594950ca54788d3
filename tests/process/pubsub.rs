//! Pub/sub against the real process: clients on all shards, publishers on all cores.

use super::server::wait_for;
use super::wire::{Wire, info_field, request};
use super::{crowd, on_each_setup};
use std::collections::HashMap;
use std::thread;

/// Messages of each publisher.
const COUNT: usize = 2_000;

#[test]
fn a_client_blocks_on_keys_of_all_shards_while_changes_are_told() {
    on_each_setup(&["--notify-keyspace-events", "KEA"], |server| {
        let mut wires = crowd(server);
        let keys: Vec<String> = (0..9).map(|at| format!("list:{at}")).collect();
        for round in 0..9 {
            let key = &keys[round];
            let (pusher, others) = wires.split_first_mut().expect("there are clients");
            let waiter = &mut others[round % 8];
            let args = ["BLPOP"].into_iter().chain(keys.iter().map(String::as_str)).chain(["0"]);
            waiter.send(&args.collect::<Vec<_>>());
            let is_blocked = |wire: &mut Wire| {
                info_field(&wire.ask(&["INFO", "clients"]), "blocked_clients") == Some(1)
            };
            assert!(wait_for(|| is_blocked(pusher)));
            assert_eq!(pusher.ask(&["RPUSH", key, "a"]), ":1");
            assert_eq!(waiter.reply(), format!("[{key}, a]"));
            assert_eq!(pusher.ask(&["EXISTS", key]), ":0");
        }
    });
}

#[test]
fn a_message_reaches_the_clients_of_all_shards() {
    on_each_setup(&[], |server| {
        let mut wires = crowd(server);
        for (at, wire) in wires.iter_mut().enumerate().skip(1) {
            let (name, command) =
                if at % 2 == 0 { ("n?ws", "PSUBSCRIBE") } else { ("news", "SUBSCRIBE") };
            wire.ask(&[command, name]);
        }
        let (publisher, others) = wires.split_first_mut().expect("there are clients");
        assert_eq!(publisher.ask(&["PUBLISH", "news", "hello"]), ":8");
        assert_eq!(publisher.ask(&["PUBLISH", "nothing", "hello"]), ":0");
        for (at, wire) in others.iter_mut().enumerate() {
            let expected = if at % 2 == 1 {
                "[pmessage, n?ws, news, hello]"
            } else {
                "[message, news, hello]"
            };
            assert_eq!(wire.reply(), expected);
        }
        let stats = publisher.ask(&["INFO", "commandstats"]);
        assert!(stats.contains("cmdstat_publish:calls=2,"), "{stats}");
        assert_eq!(publisher.ask(&["PUBSUB", "NUMSUB", "news"]), "[news, :4]");
        drop(wires);
        let mut wire = Wire::connect(server.port);
        assert!(wait_for(|| wire.ask(&["PUBSUB", "CHANNELS"]) == "[]"), "the clients leave");
        assert!(wait_for(|| wire.ask(&["PUBSUB", "NUMPAT"]) == ":0"), "all of them leave");
    });
}

#[test]
fn publishers_on_all_shards_at_once() {
    on_each_setup(&[], |server| {
        let mut readers = crowd(server);
        for (at, wire) in readers.iter_mut().enumerate() {
            if at % 3 == 0 {
                wire.ask(&["PSUBSCRIBE", "news:*"]);
            } else {
                wire.ask(&["SUBSCRIBE", "news:0", "news:1", "news:2"]);
                (0..2).for_each(|_| drop(wire.reply()));
            }
        }
        let publish = |writer: usize| {
            let mut wire = Wire::connect(server.port);
            let channel = format!("news:{writer}");
            for from in (0..COUNT).step_by(50) {
                let all = from..from + 50;
                let bytes = all.flat_map(|at| request(&["PUBLISH", &channel, &at.to_string()]));
                wire.write(bytes.collect::<Vec<u8>>());
                (0..50).for_each(|_| assert_eq!(wire.reply(), ":9"));
            }
        };
        let read = |wire: &mut Wire| -> Vec<String> {
            let message = |_| wire.reply().replace("pmessage, news:*, ", "message, ");
            (0..3 * COUNT).map(message).collect()
        };
        let seen: Vec<Vec<String>> = thread::scope(|scope| {
            (0..3).for_each(|writer| drop(scope.spawn(move || publish(writer))));
            let reading: Vec<_> =
                readers.iter_mut().map(|wire| scope.spawn(move || read(wire))).collect();
            reading.into_iter().map(|it| it.join().expect("it reads all")).collect()
        });
        assert!(seen.iter().all(|messages| *messages == seen[0]), "all see one order");
        let mut next: HashMap<&str, usize> = HashMap::new();
        for message in &seen[0] {
            let words: Vec<&str> = message.trim_matches(['[', ']']).split(", ").collect();
            let number = next.entry(words[1]).or_default();
            assert_eq!(words[2], number.to_string(), "each publisher's messages are in order");
            *number += 1;
        }
    });
}

#[test]
fn changes_of_keys_are_published() {
    on_each_setup(&["--notify-keyspace-events", "KEA"], |server| {
        let mut wires = crowd(server);
        wires[3].ask(&["PSUBSCRIBE", "__keyspace@*"]);
        wires[5].ask(&["SUBSCRIBE", "__keyevent@0__:set"]);
        for key in ["a", "b", "c", "d"] {
            wires[1].ask(&["SET", key, "1"]);
            let expected = format!("[pmessage, __keyspace@*, __keyspace@0__:{key}, set]");
            assert_eq!(wires[3].reply(), expected);
            assert_eq!(wires[5].reply(), format!("[message, __keyevent@0__:set, {key}]"));
        }
        wires[1].ask(&["RENAME", "a", "e"]);
        assert_eq!(wires[3].reply(), "[pmessage, __keyspace@*, __keyspace@0__:a, rename_from]");
        assert_eq!(wires[3].reply(), "[pmessage, __keyspace@*, __keyspace@0__:e, rename_to]");
        wires[1].ask(&["SET", "a", "1", "PX", "1"]);
        let messages: Vec<String> = (0..3).map(|_| wires[3].reply()).collect();
        assert!(messages[2].ends_with("__keyspace@0__:a, expired]"), "{messages:?}");
        wires[1].ask(&["CONFIG", "SET", "notify-keyspace-events", ""]);
        wires[1].ask(&["SET", "a", "1"]);
        wires[1].ask(&["PUBLISH", "__keyspace@0__:last", "x"]);
        assert!(wires[3].reply().contains("last"), "no event is published any more");
    });
}
