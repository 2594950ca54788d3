//! Commands that discover keys run on the slices of all partitions, while these are away from
//! their shards.

use crate::harness::{Client, Server, Setup, bulk, int, key_on, list, ok};
use annulet::config::Permission;
use annulet::resp::Value;

const SHARD_COUNTS: [usize; 4] = [1, 2, 3, 4];

/// Creates a server that allows DEBUG.
fn server(shards: usize, seed: u64) -> Server {
    let mut setup = Setup::new(shards, seed);
    setup.config.enable_debug_command = Permission::Yes;
    Server::with(setup)
}

/// Writes the list `ids` and a weight and a name for each of its elements, on all shards.
fn fill(server: &mut Server, client: &mut Client) {
    assert_eq!(client.run(server, ["RPUSH", "ids", "1", "2", "3", "4", "5"]), int(5));
    for (id, weight) in [("1", "30"), ("2", "10"), ("3", "50"), ("4", "20")] {
        assert_eq!(client.run(server, ["SET", &format!("weight:{id}"), weight]), ok());
        let hash = format!("item:{id}");
        assert_eq!(client.run(server, ["HSET", &hash, "name", &format!("n{id}")]), int(1));
    }
}

fn nullable(texts: &[Option<&str>]) -> Value {
    Value::Array(texts.iter().map(|text| text.map_or(Value::Null, bulk)).collect())
}

fn on_servers(test: impl Fn(&mut Server, &mut Client, &mut Client)) {
    for shards in SHARD_COUNTS {
        for seed in 0..4 {
            let mut server = server(shards, seed);
            let (mut one, mut other) = (server.client(), server.client());
            fill(&mut server, &mut one);
            test(&mut server, &mut one, &mut other);
            server.check();
        }
    }
}

#[test]
fn sort_discovers_keys_on_all_shards() {
    on_servers(|server, one, other| {
        let by = ["SORT", "ids", "BY", "weight:*", "GET", "#", "GET", "item:*->name"];
        let texts = ["5", "2", "n2", "4", "n4", "1", "n1", "3", "n3"];
        let mut expected: Vec<Option<&str>> = texts.iter().map(|text| Some(*text)).collect();
        expected.insert(1, None);
        assert_eq!(one.run(server, by), nullable(&expected));
        let by = ["SORT_RO", "ids", "BY", "nosort", "GET", "weight:*", "LIMIT", "1", "2"];
        assert_eq!(other.run(server, by), list(&["10", "50"]));
        assert_eq!(one.run(server, ["SORT", "ids", "BY", "none->*", "GET", "ids"]).clone(), {
            nullable(&[None; 5])
        });
    });
}

#[test]
fn sort_stores_on_any_shard() {
    on_servers(|server, one, other| {
        for at in 0..server.shards() {
            let to = key_on(server.shards(), at, 0);
            let sort = ["SORT", "ids", "BY", "weight:*", "GET", "weight:*", "STORE", &to];
            assert_eq!(one.run(server, sort), int(5));
            let stored = list(&["", "10", "20", "30", "50"]);
            assert_eq!(other.run(server, ["LRANGE", &to, "0", "-1"]), stored);
            // An empty result removes the destination.
            let sort = ["SORT", "none", "BY", "weight:*", "STORE", &to];
            assert_eq!(one.run(server, sort), int(0));
            assert_eq!(other.run(server, ["EXISTS", &to]), int(0));
        }
        let errors = one.run(server, ["SORT", "ids", "BY", "item:*->name"]);
        assert!(matches!(errors, Value::Error(_)), "{errors:?}");
        assert_eq!(other.run(server, ["DBSIZE"]), int(9), "the error leaves all keys in place");
    });
}

#[test]
fn discovered_keys_expire() {
    on_servers(|server, one, other| {
        for id in 1..=4 {
            let key = format!("weight:{id}");
            assert_eq!(one.run(server, ["PEXPIRE", &key, "5"]), int(1));
        }
        server.world.clock.advance_ms(6);
        let get = ["SORT", "ids", "BY", "nosort", "GET", "weight:*"];
        assert_eq!(other.run(server, get), nullable(&[None; 5]));
        assert_eq!(other.run(server, ["DBSIZE"]), int(5));
    });
}

#[test]
fn a_transaction_discovers_keys_between_its_commands() {
    on_servers(|server, one, other| {
        let get = ["SORT", "ids", "BY", "nosort", "GET", "weight:*", "LIMIT", "0", "2"];
        one.run(server, ["MULTI"]);
        one.run(server, ["SET", "weight:1", "a"]);
        one.run(server, get);
        one.run(server, ["CLIENT", "LIST"]);
        one.run(server, get);
        one.run(server, ["SET", "weight:2", "b"]);
        one.run(server, get);
        one.run(server, get);
        one.run(server, ["DEBUG", "OBJECT", "weight:1"]);
        one.run(server, ["RENAME", "weight:1", "weight:9"]);
        one.run(server, get);
        let Value::Array(replies) = one.run(server, ["EXEC"]) else { panic!("EXEC has run") };
        let sorts: Vec<&Value> = [1, 3, 5, 6, 9].iter().map(|at| &replies[*at]).collect();
        let (before, after) = (list(&["a", "10"]), list(&["a", "b"]));
        let last = nullable(&[None, Some("b")]);
        assert_eq!(sorts, [&before, &before, &after, &after, &last]);
        assert_eq!(other.run(server, ["GET", "weight:9"]), bulk("a"));
    });
}

#[test]
fn a_stored_result_is_noticed_by_watches_and_blocked_clients() {
    on_servers(|server, one, other| {
        for at in 0..server.shards() {
            let to = key_on(server.shards(), at, 1);
            assert_eq!(other.run(server, ["WATCH", &to, "ids"]), ok());
            let sort = ["SORT", "ids", "BY", "weight:*", "GET", "#", "STORE", &to];
            assert_eq!(one.run(server, sort), int(5));
            other.run(server, ["MULTI"]);
            assert_eq!(other.run(server, ["EXEC"]), Value::Null);
            assert_eq!(one.run(server, ["DEL", &to]), int(1));
            // A command with keys on other shards is forwarded to its home.
            let next = key_on(server.shards(), (at + 1) % server.shards(), 2);
            other.send(&["BLMOVE", &to, &next, "RIGHT", "LEFT", "0"]);
            server.settle();
            assert_eq!(one.run(server, sort), int(5));
            assert_eq!(one.run(server, ["LRANGE", &to, "0", "-1"]), list(&["5", "2", "4", "1"]));
            assert_eq!(other.read(server), bulk("3"));
            other.send(&["BLPOP", &next, &to, "0"]);
            assert_eq!(other.read(server), list(&[&next, "3"]));
        }
    });
}

#[test]
fn a_client_without_touch_and_an_import_source_discover_keys() {
    on_servers(|server, one, other| {
        let sort = ["SORT", "ids", "BY", "weight:*", "GET", "weight:*", "STORE", "to"];
        assert_eq!(one.run(server, ["CLIENT", "NO-TOUCH", "ON"]), ok());
        assert_eq!(one.run(server, sort), int(5));
        assert_eq!(one.run(server, ["PEXPIRE", "weight:3", "5"]), int(1));
        assert_eq!(one.run(server, ["CONFIG", "SET", "import-mode", "yes"]), ok());
        server.world.clock.advance_ms(6);
        assert_eq!(other.run(server, ["CLIENT", "IMPORT-SOURCE", "ON"]), ok());
        let get = ["SORT", "ids", "BY", "nosort", "GET", "weight:*", "LIMIT", "2", "1"];
        assert_eq!(other.run(server, get), list(&["50"]), "the source sees expired keys");
        assert_eq!(one.run(server, get), nullable(&[None]));
    });
}

/// Lets the slices leave, and keeps their unit from going on.
fn hand_over(server: &mut Server, client: &mut Client, home: usize) {
    client.send(&["SORT", "ids", "BY", "weight:*", "GET", "#", "STORE", "to"]);
    server.turns_of(home, 30);
    for shard in (0..server.shards()).filter(|shard| *shard != home) {
        server.turns_of(shard, 5);
    }
}

/// Returns the shard of the newest client.
fn home_of_new(server: &mut Server) -> (Client, usize) {
    let clients = |server: &Server| -> Vec<u64> {
        let counts = server.world.process.clients.iter();
        counts.map(|count| count.load(std::sync::atomic::Ordering::Relaxed)).collect()
    };
    let before = clients(server);
    let client = server.client();
    let after = clients(server);
    let home = (0..server.shards()).find(|shard| before[*shard] != after[*shard]);
    (client, home.expect("some shard has taken the client"))
}

/// Sends commands on keys, beginning with another one for each `first`.
fn send_rotated(client: &mut Client, key: &str, first: usize) -> Vec<&'static str> {
    let mut commands =
        ["SET", "DBSIZE", "WATCH", "DEBUG", "EXISTS", "DEBUG SET-ACTIVE-EXPIRE", "SCAN"];
    let count = commands.len();
    commands.rotate_left(first % count);
    for command in commands {
        match command {
            "SET" => client.send(&["SET", key, "v"]),
            "WATCH" => client.send(&["WATCH", "ids", key]),
            "DEBUG" => client.send(&["DEBUG", "OBJECT", "ids"]),
            "DEBUG SET-ACTIVE-EXPIRE" => client.send(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]),
            "EXISTS" => client.send(&["EXISTS", "ids", "to"]),
            "SCAN" => client.send(&["SCAN", "0", "COUNT", "1000"]),
            _ => client.send(&[command]),
        }
    }
    commands.to_vec()
}

#[test]
fn a_shard_goes_on_while_its_slice_is_away() {
    for shards in 2..=4 {
        let mut server = server(shards, 7);
        let (mut sorter, home) = home_of_new(&mut server);
        fill(&mut server, &mut sorter);
        let clients: Vec<_> = (0..8 * shards).map(|_| home_of_new(&mut server)).collect();
        let mut others: Vec<_> = clients.into_iter().filter(|(_, shard)| *shard != home).collect();
        hand_over(&mut server, &mut sorter, home);
        let mut sent = Vec::new();
        for (number, (client, shard)) in others.iter_mut().enumerate() {
            client.send(&["PING"]);
            client.send(&["CLIENT", "SETNAME", "waits"]);
            sent.push(send_rotated(client, &key_on(shards, *shard, number), number / shards));
            server.turns_of(*shard, 30);
            assert_eq!(client.try_read(), Some(Value::Simple(b"PONG".to_vec())));
            assert_eq!(client.try_read(), Some(ok()));
            assert_eq!(client.try_read(), None, "{} waits for the keys", sent[number][0]);
        }
        for ((client, _), commands) in others.iter_mut().zip(sent) {
            for command in commands {
                let reply = client.read(&mut server);
                let is_right = match (command, &reply) {
                    ("SET" | "WATCH" | "DEBUG SET-ACTIVE-EXPIRE", reply) => *reply == ok(),
                    ("DBSIZE", Value::Integer(size)) => *size >= 10,
                    ("EXISTS", reply) => *reply == int(2),
                    ("SCAN", Value::Array(parts)) => parts.len() == 2,
                    ("DEBUG", Value::Simple(_)) => true,
                    _ => false,
                };
                assert!(is_right, "{command}: {reply:?}");
            }
        }
        assert_eq!(sorter.read(&mut server), int(5));
        let size = 10 + others.len() as i64;
        assert_eq!(sorter.run(&mut server, ["DBSIZE"]), int(size));
        server.check();
    }
}

/// A client that leaves does not keep the slices from coming home.
#[test]
fn the_slices_come_home_without_their_client() {
    for (shards, seed) in [(2, 1), (3, 2), (4, 3)] {
        let mut server = server(shards, seed);
        let (mut one, home) = home_of_new(&mut server);
        let mut other = server.client();
        fill(&mut server, &mut one);
        hand_over(&mut server, &mut one, home);
        one.link.reset();
        let sorted = other.run(&mut server, ["LRANGE", "to", "0", "-1"]);
        assert_eq!(sorted, list(&["5", "2", "4", "1", "3"]));
        server.check();
    }
}

/// What needs no lock waits for the slice too: ends of watches and of blocked clients.
#[test]
fn what_ends_meanwhile_is_caught_up_on() {
    for (shards, seed) in [(2, 4), (3, 5), (4, 6)] {
        let mut server = server(shards, seed);
        let (mut sorter, home) = home_of_new(&mut server);
        fill(&mut server, &mut sorter);
        let mut leaving: Vec<Client> = (0..2 * shards).map(|_| server.client()).collect();
        for (at, client) in leaving.iter_mut().enumerate() {
            let key = key_on(shards, at % shards, 3);
            if at < shards {
                assert_eq!(client.run(&mut server, ["WATCH", &key]), ok());
            } else {
                client.send(&["BLPOP", &key, "0"]);
                server.settle();
            }
        }
        hand_over(&mut server, &mut sorter, home);
        leaving.iter_mut().for_each(|client| client.link.reset());
        for shard in (0..shards).filter(|shard| *shard != home) {
            server.turns_of(shard, 5);
        }
        assert_eq!(sorter.read(&mut server), int(5));
        server.settle();
        let boards = (0..shards).map(|shard| server.world.process.boards.board(shard));
        let left =
            boards.map(|board| board.gauges.keys_watched.get() + board.gauges.keys_awaited.get());
        assert_eq!(left.sum::<i64>(), 0, "the watches and the blocked clients are gone");
        server.check();
    }
}

/// The process stops although slices are away.
#[test]
fn a_shutdown_needs_no_slice() {
    for (shards, seed) in [(2, 8), (4, 9)] {
        let mut server = server(shards, seed);
        let (mut sorter, home) = home_of_new(&mut server);
        let mut other = server.client();
        fill(&mut server, &mut sorter);
        hand_over(&mut server, &mut sorter, home);
        other.send(&["SHUTDOWN", "NOSAVE"]);
        server.run_until_stopped();
    }
}

/// Commands of all kinds, behind one that takes the slices.
const AFTER_SORT: &str = "\
    SORT ids BY weight:* GET #
    SET weight:1 a
    MGET weight:1 weight:2 weight:3 none
    MSET a 1 b 2 c 3 d 4
    DBSIZE
    DEL a b none
    RENAME c e
    RENAME none e
    RPUSH d x
    INCR d
    SADD s1 1 2 3
    SADD s2 2 3 4
    SINTERSTORE s3 s1 s2
    SORT s3 GET weight:* STORE t
    SUNION s1 s2 s3
    LMOVE t ids LEFT RIGHT
    SORT ids BY nosort GET weight:*
    COPY ids copied
    COPY ids copied DB 3
    SELECT 3
    LRANGE copied 0 -1
    SORT copied BY weight:* GET #
    SET only3 v PX 100000
    SWAPDB 3 4
    EXISTS only3 copied
    SELECT 4
    EXISTS only3 copied
    FLUSHDB
    DBSIZE
    SELECT 0
    KEYS *
    SCAN 0 COUNT 1000
    MSETNX f 1 g 2 e 3
    MSETNX f 1 g 2 h 3
    CLIENT LIST
    GET f
    SORT ids BY nosort GET f GET weight:* LIMIT 0 2
    DEBUG OBJECT f
    BLPOP none1 none2 0
    XREAD COUNT 1 STREAMS none1 none2 0 0
    UNLINK f g
    TOUCH f g h e
    PFMERGE p1 p2 p3
    GETDEL h";

/// Returns replies in a form that does not depend on the number of shards.
fn normalized(command: &str, reply: Value) -> String {
    let name = command.split(' ').next().expect("a command has a name");
    match (name, reply) {
        ("CLIENT" | "DEBUG", Value::Error(text)) => format!("{:?}", Value::Error(text)),
        ("CLIENT" | "DEBUG", _) => "a text".to_string(),
        ("KEYS" | "SCAN" | "SUNION", Value::Array(values)) => {
            let mut texts: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
            if let (Some(Value::Array(keys)), "SCAN") = (values.last(), name) {
                texts = keys.iter().map(|value| format!("{value:?}")).collect();
            }
            texts.sort();
            texts.concat()
        }
        (_, reply) => format!("{reply:?}"),
    }
}

/// Runs the commands in one transaction, and reads all keys afterwards.
fn run_after_sort(server: &mut Server) -> Vec<(String, String)> {
    let mut client = server.client();
    fill(server, &mut client);
    let commands: Vec<&str> = AFTER_SORT.lines().map(str::trim).collect();
    client.run(server, ["MULTI"]);
    for command in &commands {
        client.send(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(client.read(server), Value::Simple(b"QUEUED".to_vec()), "{command}");
    }
    let Value::Array(replies) = client.run(server, ["EXEC"]) else { panic!("EXEC has run") };
    let told = commands.iter().zip(replies);
    let mut told: Vec<_> =
        told.map(|(command, reply)| (command.to_string(), normalized(command, reply))).collect();
    for key in ["a", "b", "d", "e", "weight:1", "weight:9"] {
        told.push((key.to_string(), format!("{:?}", client.run(server, ["GET", key]))));
    }
    for key in ["ids", "t", "copied"] {
        let items = client.run(server, ["LRANGE", key, "0", "-1"]);
        told.push((key.to_string(), format!("{items:?}")));
    }
    server.check();
    told
}

/// Whatever follows in the transaction of a command that discovers keys runs on the slices, too.
#[test]
fn commands_of_all_kinds_run_on_the_slices() {
    let expected = run_after_sort(&mut server(1, 3));
    for (shards, seed) in [(2, 4), (3, 5), (4, 6), (7, 7)] {
        let found = run_after_sort(&mut server(shards, seed));
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{shards} shards");
        }
    }
}

/// A transaction has a command that names no keys, because it will be refused, on a shard where it
/// locks no key. The slice of that shard is not handed over before the transaction ends.
#[test]
fn a_refused_command_runs_under_its_transaction_beside_a_sort() {
    for seed in 0..60 {
        let shards = 2 + seed as usize % 3;
        let mut server = server(shards, seed);
        let (mut one, mut other) = (server.client(), server.client());
        fill(&mut server, &mut one);
        // The home of `one` is shard 0, on which the refused command runs.
        let pair = [1, shards - 1].map(|shard| key_on(shards, shard, 7));
        let [from, to] = if shards == 2 { [key_on(2, 0, 7), key_on(2, 1, 7)] } else { pair };
        for round in 0..6 {
            assert_eq!(one.run(&mut server, ["SET", &from, "v"]), ok());
            for args in [
                &["MULTI"][..],
                &["RENAME", &from, &to],
                &["SINTERCARD", "9", "ids"],
                &["RENAME", &to, &from],
                &["ZUNION", "9", "ids"],
                &["EXEC"],
            ] {
                one.send(args);
            }
            server.steps(round * 3);
            other.send(&["SORT", "ids", "BY", "weight:*", "GET", "#"]);
            other.send(&["PING"]);
            for _ in 0..5 {
                one.read(&mut server);
            }
            let Value::Array(replies) = one.read(&mut server) else { panic!("EXEC has run") };
            assert_eq!([&replies[0], &replies[2]], [&ok(), &ok()]);
            let is_refused = |at: usize| matches!(replies[at], Value::Error(_));
            assert!(is_refused(1) && is_refused(3), "{replies:?}");
            assert_eq!(other.read(&mut server), list(&["5", "2", "4", "1", "3"]));
            other.read(&mut server);
        }
        server.check();
    }
}

/// A transaction asks all shards, also those on which it locks no key. Their slices are not handed
/// over before the transaction ends.
#[test]
fn a_request_to_all_shards_in_a_transaction_is_answered_beside_a_sort() {
    let requests = [&["OBJECT", "ids"][..], &["SET-ACTIVE-EXPIRE", "1"], &["JMAP"]];
    for seed in 0..60 {
        let shards = 2 + seed as usize % 3;
        let mut server = server(shards, seed);
        let (mut one, mut other) = (server.client(), server.client());
        fill(&mut server, &mut one);
        for round in 0..6 {
            let key = key_on(shards, (round % shards as u64) as usize, 7);
            let request: Vec<&str> =
                [&["DEBUG"][..], requests[round as usize % requests.len()]].concat();
            for args in [&["MULTI"][..], &["SET", &key, "v"], &request, &["DEL", &key], &["EXEC"]] {
                one.send(args);
            }
            server.steps(round * 3);
            other.send(&["SORT", "ids", "BY", "weight:*", "GET", "#"]);
            for _ in 0..4 {
                one.read(&mut server);
            }
            let Value::Array(replies) = one.read(&mut server) else { panic!("EXEC has run") };
            assert_eq!([&replies[0], &replies[2]], [&ok(), &int(1)]);
            assert!(!matches!(replies[1], Value::Error(_)), "{replies:?}");
            assert_eq!(other.read(&mut server), list(&["5", "2", "4", "1", "3"]));
        }
        server.check();
    }
}
