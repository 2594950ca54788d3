//! Nodes of a cluster as processes.

use super::certificates::Certificates;
use super::server::{Server, Setup, free_port, wait_for};
use super::tls::connect;
use super::wire::Wire;
use super::{crowd, logs, on_each_setup, setups};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

/// Arguments of a node. The port of the bus is given, because free ports may be above 55,535.
pub const NODE: &[&str] = &["--cluster-enabled", "yes", "--cluster-port", "17000"];

const CROSSED: &str = "-CROSSSLOT Keys in request don't hash to the same slot";

#[test]
fn a_node_serves_its_slots_on_all_shards() {
    on_each_setup(NODE, |server| {
        let mut wires = crowd(server);
        for wire in &mut wires {
            assert_eq!(wire.ask(&["SET", "a", "1"]), "-CLUSTERDOWN Hash slot not served");
        }
        assert_eq!(wires[1].ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "+OK");
        for (at, wire) in wires.iter_mut().enumerate() {
            let key = format!("{{a}}{at}");
            assert_eq!(wire.ask(&["SET", &key, "1"]), "+OK");
            assert_eq!(wire.ask(&["GET", &key]), "1");
            assert_eq!(wire.ask(&["MSET", "a", "1", "b", "2"]), CROSSED);
            assert_eq!(wire.ask(&["MGET", "{a}0", "{a}1000"]), "[1, (nil)]");
            assert_eq!(wire.ask(&["EVAL", "return redis.call('get', KEYS[1])", "1", &key]), "1");
            assert_eq!(wire.ask(&["EVAL", "return 1", "2", "a", "b"]), CROSSED);
        }
        let slot = wires[0].ask(&["CLUSTER", "KEYSLOT", "a"]);
        let slot = slot.trim_start_matches(':');
        for wire in &mut wires {
            assert_eq!(wire.ask(&["CLUSTER", "COUNTKEYSINSLOT", slot]), ":9");
            let keys = wire.ask(&["CLUSTER", "GETKEYSINSLOT", slot, "3"]);
            assert_eq!(keys.matches("{a}").count(), 3, "{keys}");
            assert_eq!(wire.ask(&["CLUSTER", "GETKEYSINSLOT", "0", "3"]), "[]");
            let stats = wire.ask(&["CLUSTER", "SLOT-STATS", "SLOTSRANGE", slot, slot]);
            assert_eq!(stats, format!("[[:{slot}, [key-count, :9]]]"));
            let stats = wire.ask(&["CLUSTER", "SLOT-STATS", "ORDERBY", "key-count", "LIMIT", "2"]);
            assert_eq!(stats, format!("[[:{slot}, [key-count, :9]], [:0, [key-count, :0]]]"));
        }
        assert_eq!(wires[0].ask(&["CLUSTER", "COUNTKEYSINSLOT", "x"]), NOT_A_NUMBER);
        assert_eq!(wires[0].ask(&["CLUSTER", "COUNTKEYSINSLOT", "16384"]), "-ERR Invalid slot");
        assert_eq!(wires[0].ask(&["CLUSTER", "FLUSHSLOT", slot]), "+OK");
        for wire in &mut wires {
            assert_eq!(wire.ask(&["CLUSTER", "COUNTKEYSINSLOT", slot]), ":0");
            assert_eq!(wire.ask(&["DBSIZE"]), ":0");
        }
    });
}

const NOT_A_NUMBER: &str = "-ERR value is not an integer or out of range";

/// Returns what CLUSTER SLOT-STATS shows of a slot.
fn slot_stats(wire: &mut Wire, slot: &str) -> String {
    wire.ask(&["CLUSTER", "SLOT-STATS", "SLOTSRANGE", slot, slot])
}

#[test]
fn bytes_and_time_of_commands_count_for_their_slot() {
    on_each_setup(NODE, |server| {
        let (mut wire, mut other) = (Wire::connect(server.port), Wire::connect(server.port));
        assert_eq!(wire.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "+OK");
        let slot = "12182";
        assert_eq!(wire.ask(&["SET", "foo", "value"]), "+OK");
        assert_eq!(slot_stats(&mut wire, slot), "[[:12182, [key-count, :1]]]");
        let unknown = "-ERR Unrecognized sort metric for ORDERBY.";
        assert_eq!(wire.ask(&["CLUSTER", "SLOT-STATS", "ORDERBY", "cpu-usec"]), unknown);
        let turn = |wire: &mut Wire, to: &str| {
            assert_eq!(wire.ask(&["CONFIG", "SET", "cluster-slot-stats-enabled", to]), "+OK");
        };
        turn(&mut wire, "yes");
        let expect = |wire: &mut Wire, bytes_in: u64, bytes_out: u64| {
            let text = slot_stats(wire, slot);
            let bytes = format!("network-bytes-in, :{bytes_in}, network-bytes-out, :{bytes_out}]");
            assert!(text.contains(&bytes), "{text} has {bytes}");
            assert_eq!(wire.ask(&["CONFIG", "RESETSTAT"]), "+OK");
            let text = slot_stats(wire, slot);
            let zero = "cpu-usec, :0, network-bytes-in, :0, network-bytes-out, :0]";
            assert!(text.contains(zero), "{text}");
        };
        assert_eq!(other.ask(&["SET", "foo", "value"]), "+OK");
        assert_eq!(other.ask(&["GET", "foo"]), "value");
        expect(&mut wire, 33 + 22, 5 + 11);
        other.write(b"SET foo value\r\nGET foo\r\n");
        assert_eq!((other.reply(), other.reply()), ("+OK".to_owned(), "value".to_owned()));
        expect(&mut wire, 15 + 9, 5 + 11);
        for (line, reply) in
            [("MULTI", "+OK"), ("SET foo value", "+QUEUED"), ("EXEC", "[+OK]"), ("PING", "+PONG")]
        {
            assert_eq!(other.ask(&line.split(' ').collect::<Vec<_>>()), reply);
        }
        expect(&mut wire, 15 + 33 + 14, 4 + 5);
        let list = "{foo}l";
        other.send(&["BLPOP", list, "0"]);
        assert!(wait_for(|| wire.ask(&["INFO", "clients"]).contains("blocked_clients:1")));
        assert!(slot_stats(&mut wire, slot).contains("network-bytes-in, :0"));
        assert_eq!(wire.ask(&["RPUSH", list, "x"]), ":1");
        assert_eq!(other.reply(), "[{foo}l, x]");
        expect(&mut wire, 34 + 34, 4 + 23);
        assert_eq!(other.ask(&["SET", "foo", &"v".repeat(200_000)]), "+OK");
        let order = ["CLUSTER", "SLOT-STATS", "ORDERBY", "network-bytes-in", "LIMIT", "1"];
        let first = wire.ask(&order);
        assert!(first.starts_with("[[:12182, [key-count, :1, cpu-usec, :"), "{first}");
        assert!(first.contains("network-bytes-in, :200033"), "{first}");
        assert_eq!(wire.ask(&["CLUSTER", "DELSLOTS", slot]), "+OK");
        assert_eq!(wire.ask(&["CLUSTER", "ADDSLOTS", slot]), "+OK");
        expect(&mut wire, 0, 0);
        turn(&mut wire, "no");
        assert_eq!(other.ask(&["GET", "foo"]).len(), 200_000);
        assert_eq!(slot_stats(&mut wire, slot), "[[:12182, [key-count, :1]]]");
    });
}

#[test]
fn a_transaction_is_of_one_slot() {
    on_each_setup(NODE, |server| {
        let mut wires = crowd(server);
        wires[0].ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "10000"]);
        wires[0].ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
        for wire in &mut wires {
            let mut ask = |line: &str| wire.ask(&line.split(' ').collect::<Vec<_>>());
            // Slots: bar 5061, hello 866, foo 12182.
            for (line, reply) in [
                ("MULTI", "+OK"),
                ("SET bar 1", "+QUEUED"),
                ("SET hello 1", "+QUEUED"),
                ("EXEC", CROSSED),
                ("EXEC", "-ERR EXEC without MULTI"),
                ("MULTI", "+OK"),
                ("SET bar 1", "+QUEUED"),
                ("MSET bar 1 hello 1", CROSSED),
                ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
                ("MULTI", "+OK"),
                ("GET foo", "-CLUSTERDOWN Hash slot not served"),
                ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
                ("WATCH bar hello", CROSSED),
                ("WATCH bar", "+OK"),
                ("MULTI", "+OK"),
                ("PING", "+QUEUED"),
                ("SET bar 2", "+QUEUED"),
                ("GET {bar}x", "+QUEUED"),
                ("EXEC", "[+PONG, +OK, (nil)]"),
            ] {
                assert_eq!(ask(line), reply, "{line}");
            }
        }
    });
}

#[test]
fn scripts_stay_in_their_slot() {
    on_each_setup(NODE, |server| {
        let mut wires = crowd(server);
        wires[0].ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "10000"]);
        wires[0].ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
        let crossed = "-ERR Script attempted to access keys that do not hash to the same slot";
        let far = "-ERR Attempted to access a non local key in a cluster node";
        for wire in &mut wires {
            let mut eval = |script: &str, keys: &[&str]| {
                let count = keys.len().to_string();
                wire.ask(&[&["EVAL", script, &count], keys].concat())
            };
            let both = "redis.call('set', 'bar', 1) redis.call('set', 'hello', 1) return 1";
            assert_eq!(eval(both, &[]), ":1");
            assert!(eval(&format!("#!lua\n{both}"), &[]).starts_with(crossed));
            let flags = "#!lua flags=allow-cross-slot-keys\n";
            assert_eq!(eval(&format!("{flags}{both}"), &[]), ":1");
            let hello = "#!lua\nreturn redis.call('get', 'hello')";
            assert_eq!(eval(hello, &["{hello}x"]), "1");
            assert!(eval(hello, &["bar"]).starts_with(crossed));
            assert!(eval("return redis.call('get', 'foo')", &[]).starts_with(far));
            let refused = eval("#!lua flags=no-cluster\nreturn 1", &[]);
            assert_eq!(refused, "-ERR Can not run script on cluster, 'no-cluster' flag is set.");
            let slots = eval("return #redis.call('cluster', 'slots')", &[]);
            assert_eq!(slots, ":1");
        }
        // A script without keys is of no slot, whatever its arguments are.
        assert_eq!(wires[0].ask(&["CLUSTER", "DELSLOTSRANGE", "0", "100"]), "+OK");
        for wire in &mut wires {
            assert_eq!(wire.ask(&["EVAL", "return ARGV[1]", "0", "x"]), "x");
            let script = "return redis.call('get', ARGV[1])";
            assert_eq!(wire.ask(&["EVAL", script, "0", "bar", "y"]), "1");
            let refused = wire.ask(&["FCALL", "none", "0", "x"]);
            assert_eq!(refused, "-ERR Function not found");
        }
    });
}

#[test]
fn databases_of_a_node() {
    let arguments = [NODE, &["--cluster-databases", "4"]].concat();
    on_each_setup(&arguments, |server| {
        let mut wire = Wire::connect(server.port);
        wire.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        assert_eq!(wire.ask(&["SELECT", "4"]), "-ERR DB index is out of range");
        assert_eq!(wire.ask(&["SWAPDB", "0", "1"]), "-ERR SWAPDB is not allowed in cluster mode");
        for db in ["0", "1", "2", "3"] {
            assert_eq!(wire.ask(&["SELECT", db]), "+OK");
            assert_eq!(wire.ask(&["SET", "foo", db]), "+OK");
            assert_eq!(wire.ask(&["CLUSTER", "COUNTKEYSINSLOT", "12182"]), ":1");
        }
        let stats = wire.ask(&["CLUSTER", "SLOT-STATS", "SLOTSRANGE", "12182", "12182"]);
        assert_eq!(stats, "[[:12182, [key-count, :4]]]");
        let refused = wire.ask(&["CLUSTER", "FLUSHSLOTS"]);
        assert_eq!(refused, "-ERR DB must be empty to perform CLUSTER FLUSHSLOTS.");
        assert_eq!(wire.ask(&["CLUSTER", "FLUSHSLOT", "12182", "SYNC"]), "+OK");
        assert_eq!(wire.ask(&["CLUSTER", "FLUSHSLOTS"]), "+OK");
    });
}

/// Returns a new folder for a server.
pub fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("annulet-cluster-{}-{count}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder for the server");
    folder
}

/// Starts a server in a folder and waits until it accepts connections.
pub fn start_in(folder: &Path, setup: Setup, port: u16, arguments: &[&str]) -> Server {
    let mut server = Server::launch_in(folder.to_path_buf(), setup, port, arguments, Stdio::null());
    let is_up = wait_for(|| server.logged("Ready to accept connections") || server.is_over());
    assert!(is_up && !server.is_over(), "{}", server.log());
    server
}

/// Ends a server and keeps its folder.
pub fn end(mut server: Server) {
    Wire::connect(server.port).send(&["SHUTDOWN", "NOSAVE"]);
    assert!(wait_for(|| server.is_over()), "it stops");
    server.folder = PathBuf::new();
}

#[test]
fn a_node_keeps_its_id_and_its_slots() {
    let setup = setups()[0];
    let (folder, port) = (folder(), free_port());
    let server = start_in(&folder, setup, port, NODE);
    let mut wire = Wire::connect(port);
    let id = wire.ask(&["CLUSTER", "MYID"]);
    assert_eq!(wire.ask(&["CLUSTER", "ADDSLOTS", "1", "2", "7"]), "+OK");
    let nodes = wire.ask(&["CLUSTER", "NODES"]);
    let line = format!("{id} :{port}@17000 myself,master - 0 0 0 connected 1-2 7\n");
    assert_eq!(nodes, line);
    // A second process must not use the same file.
    let mut second = Server::launch_in(folder.clone(), setup, free_port(), NODE, Stdio::null());
    assert!(wait_for(|| second.is_over()), "it stops");
    let log = second.log();
    assert!(log.contains("nodes.conf is already used by a different Cluster node"), "{log}");
    second.folder = PathBuf::new();
    end(server);
    let server = start_in(&folder, setup, port, NODE);
    assert_eq!(Wire::connect(port).ask(&["CLUSTER", "NODES"]), line);
    end(server);
    std::fs::write(folder.join("nodes.conf"), "junk\n").expect("the folder can be written");
    let mut server = Server::launch_in(folder, setup, port, NODE, Stdio::null());
    assert!(wait_for(|| server.is_over()), "it stops");
    assert!(logs(&server, "Unrecoverable error: corrupted cluster config file \"junk\"."));
}

/// Two nodes that know each other from their files: `a` has the slots up to 9,999.
struct Pair {
    _servers: [Server; 2],
    a: Wire,
    b: Wire,
    ids: [String; 2],
    ports: [u16; 2],
}

impl Pair {
    fn start(setup: Setup) -> Pair {
        let ids = ["a", "b"].map(|letter| letter.repeat(40));
        let ports = [free_port(), free_port()];
        let servers = [0, 1].map(|me| {
            let line = |at: usize| {
                let (id, port) = (&ids[at], ports[at]);
                let mark = if at == me { "myself," } else { "" };
                let slots = ["0-9999", "10000-16383"][at];
                let epoch = at + 1;
                format!(
                    "{id} 127.0.0.1:{port}@17000 {mark}master - 0 0 {epoch} connected {slots}\n"
                )
            };
            let folder = folder();
            let text = line(0) + &line(1) + "vars currentEpoch 2 lastVoteEpoch 0\n";
            std::fs::write(folder.join("nodes.conf"), text).expect("the folder can be written");
            start_in(&folder, setup, ports[me], NODE)
        });
        let [a, b] = ports.map(Wire::connect);
        Pair { _servers: servers, a, b, ids, ports }
    }
}

#[test]
fn a_slot_moves_between_two_nodes() {
    for setup in setups() {
        println!("{setup:?}");
        let mut pair = Pair::start(setup);
        let ([a_id, b_id], [a_port, b_port]) = (pair.ids.clone(), pair.ports);
        let (a, b) = (&mut pair.a, &mut pair.b);
        let to_a = format!("-MOVED 5061 127.0.0.1:{a_port}");
        let ask_b = format!("-ASK 5061 127.0.0.1:{b_port}");
        let again = "-TRYAGAIN Multiple keys request during rehashing of slot";
        assert_eq!(b.ask(&["SET", "bar", "1"]), to_a);
        assert_eq!(a.ask(&["MSET", "bar", "1", "{bar}2", "2"]), "+OK");
        let unknown = a.ask(&["CLUSTER", "SETSLOT", "5061", "MIGRATING", "x"]);
        assert_eq!(unknown, "-ERR I don't know about node x");
        let myself = a.ask(&["CLUSTER", "SETSLOT", "5061", "MIGRATING", &a_id]);
        assert_eq!(myself, "-ERR Target node is myself");
        let not_mine = b.ask(&["CLUSTER", "SETSLOT", "5061", "MIGRATING", &a_id]);
        assert_eq!(not_mine, "-ERR I'm not the owner of hash slot 5061");
        let holds = a.ask(&["CLUSTER", "SETSLOT", "5061", "NODE", &b_id]);
        assert!(holds.contains("while I still hold keys for this hash slot."), "{holds}");
        assert_eq!(b.ask(&["CLUSTER", "SETSLOT", "5061", "IMPORTING", &a_id]), "+OK");
        assert_eq!(a.ask(&["CLUSTER", "SETSLOT", "5061", "MIGRATING", &b_id]), "+OK");
        let open = a.ask(&["CLUSTER", "NODES"]);
        assert!(open.contains(&format!(" 0-9999 [5061->-{b_id}]\n")), "{open}");

        // All keys are still here.
        assert_eq!(a.ask(&["GET", "bar"]), "1");
        assert_eq!(a.ask(&["GET", "{bar}3"]), ask_b);
        assert_eq!(a.ask(&["MGET", "bar", "{bar}2"]), "[1, 2]");
        assert_eq!(a.ask(&["MGET", "bar", "{bar}3"]), again);
        assert_eq!(a.ask(&["SET", "{bar}3", "3"]), ask_b);
        let script = "return redis.call('set', ARGV[1], '1')";
        assert_eq!(a.ask(&["EVAL", script, "1", "bar", "{bar}2"]), "+OK");
        let undeclared = a.ask(&["EVAL", script, "1", "bar", "{bar}3"]);
        let far = "-ERR Attempted to access a non local key in a cluster node";
        assert!(undeclared.starts_with(far), "{undeclared}");
        assert_eq!(a.ask(&["SET", "{bar}2", "2"]), "+OK");
        assert_eq!(a.ask(&["MOVE", "bar", "0"]), again);
        // A pipeline sees its own deletions.
        a.write(b"DEL {bar}2\r\nGET {bar}2\r\nGET bar\r\n");
        assert_eq!([a.reply(), a.reply(), a.reply()], [":1", &ask_b, "1"]);
        // So do transactions, as a whole.
        for (line, reply) in [
            ("MULTI", "+OK"),
            ("SET bar 1", "+QUEUED"),
            ("GET {bar}2", "+QUEUED"),
            ("EXEC", again),
            ("MULTI", "+OK"),
            ("SET {bar}2 1", "+QUEUED"),
            ("EXEC", &ask_b),
            ("MULTI", "+OK"),
            ("GET bar", "+QUEUED"),
            ("EXEC", "[1]"),
        ] {
            assert_eq!(a.ask(&line.split(' ').collect::<Vec<_>>()), reply, "{line}");
        }
        take_keys(&mut pair);
    }
}

/// Moves the keys, and then the slot.
fn take_keys(pair: &mut Pair) {
    let (b_id, [a_port, b_port]) = (pair.ids[1].clone(), pair.ports);
    let (a, b) = (&mut pair.a, &mut pair.b);
    let to_a = format!("-MOVED 5061 127.0.0.1:{a_port}");
    let to_b = format!("-MOVED 5061 127.0.0.1:{b_port}");
    let ask_b = format!("-ASK 5061 127.0.0.1:{b_port}");
    let again = "-TRYAGAIN Multiple keys request during rehashing of slot";
    // The other node takes keys only from clients that ask.
    assert_eq!(b.ask(&["SET", "{bar}3", "3"]), to_a);
    assert_eq!(b.ask(&["ASKING"]), "+OK");
    assert_eq!(b.ask(&["SET", "{bar}3", "3"]), "+OK");
    assert_eq!(b.ask(&["GET", "{bar}3"]), to_a);
    b.write(b"ASKING\r\nGET {bar}3\r\nGET {bar}3\r\n");
    assert_eq!([b.reply(), b.reply(), b.reply()], ["+OK", "3", &to_a]);
    b.write(b"ASKING\r\nMGET {bar}3 bar\r\n");
    assert_eq!([b.reply(), b.reply()], ["+OK", again]);
    b.write(b"ASKING\r\nMULTI\r\nGET {bar}3\r\nEXEC\r\nGET {bar}3\r\n");
    let replies: Vec<String> = (0..5).map(|_| b.reply()).collect();
    assert_eq!(replies, ["+OK", "+OK", "+QUEUED", "[3]", &to_a]);

    assert_eq!(a.ask(&["DEL", "bar"]), ":1");
    b.write(b"ASKING\r\nSET bar 9\r\n");
    assert_eq!([b.reply(), b.reply()], ["+OK", "+OK"]);
    assert_eq!(a.ask(&["GET", "bar"]), ask_b);
    assert_eq!(b.ask(&["CLUSTER", "SETSLOT", "5061", "NODE", &b_id]), "+OK");
    assert_eq!(b.ask(&["GET", "bar"]), "9");
    assert_eq!(a.ask(&["CLUSTER", "SETSLOT", "5061", "NODE", &b_id]), "+OK");
    assert_eq!(a.ask(&["GET", "bar"]), to_b);
    assert_eq!(b.ask(&["CLUSTER", "BUMPEPOCH"]), "+STILL 2");
    let nodes = a.ask(&["CLUSTER", "NODES"]);
    assert!(nodes.contains("connected 0-5060 5062-9999\n"), "{nodes}");
}

#[test]
fn keys_of_a_slot_migrate_while_clients_use_them() {
    for setup in setups() {
        println!("{setup:?}");
        let mut pair = Pair::start(setup);
        let ([a_id, b_id], ports) = (pair.ids.clone(), pair.ports);
        let (a, b) = (&mut pair.a, &mut pair.b);
        for number in 0..50 {
            assert_eq!(a.ask(&["SET", &format!("{{bar}}{number}"), "0"]), "+OK");
        }
        assert_eq!(b.ask(&["CLUSTER", "SETSLOT", "5061", "IMPORTING", &a_id]), "+OK");
        assert_eq!(a.ask(&["CLUSTER", "SETSLOT", "5061", "MIGRATING", &b_id]), "+OK");
        let clients: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(move || (0..500).map(|at| increment(ports, at)).count()))
            .collect();
        let port = ports[1].to_string();
        loop {
            let keys = a.ask(&["CLUSTER", "GETKEYSINSLOT", "5061", "7"]);
            let keys: Vec<&str> = keys.trim_matches(['[', ']']).split(", ").collect();
            if keys == [""] {
                break;
            }
            let head = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            let moved = a.ask(&[&head[..], &keys].concat());
            assert!(moved == "+OK" || moved == "+NOKEY", "{moved}");
        }
        assert_eq!(b.ask(&["CLUSTER", "SETSLOT", "5061", "NODE", &b_id]), "+OK");
        while a.ask(&["CLUSTER", "SETSLOT", "5061", "NODE", &b_id]) != "+OK" {}
        let done: usize = clients.into_iter().map(|it| it.join().expect("a client")).sum();
        assert_eq!(done, 2000);
        let sum: usize = (0..50)
            .map(|number| b.ask(&["GET", &format!("{{bar}}{number}")]))
            .map(|value| value.parse::<usize>().expect("a number"))
            .sum();
        assert_eq!(sum, 2000, "no increment is lost or repeated");
    }
}

/// Increments a key wherever it is, as a cluster client does.
fn increment(ports: [u16; 2], at: usize) {
    let key = format!("{{bar}}{}", at % 50);
    let mut wires = ports.map(Wire::connect);
    let (mut to, mut asks) = (0, false);
    for _ in 0..1000 {
        if asks {
            assert_eq!(wires[to].ask(&["ASKING"]), "+OK");
        }
        let reply = wires[to].ask(&["INCR", &key]);
        if reply.starts_with(':') {
            return;
        }
        asks = reply.starts_with("-ASK ");
        let (_, port) = reply.rsplit_once(':').expect("a redirection");
        to = ports.iter().position(|own| own.to_string() == port).expect("a node");
    }
    panic!("nobody serves {key}");
}

/// Returns the port in a MOVED error.
fn moved_to(reply: &str) -> u16 {
    assert!(reply.starts_with("-MOVED "), "{reply}");
    let (_, port) = reply.rsplit_once(':').expect("an address");
    port.parse().expect("a port")
}

#[test]
fn each_shard_is_a_node_on_its_own_port() {
    for arguments in [&["--cluster-shard-ports", "yes"][..], &[NODE, SHARD_PORTS].concat()] {
        let is_cluster = arguments.len() > 2;
        on_each_setup(arguments, |server| {
            let mut main = Wire::connect(server.port);
            if is_cluster {
                assert_eq!(main.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "+OK");
            } else {
                assert_eq!(main.ask(&["MSET", "a", "0", "b", "0", "c", "0"]), "+OK");
            }
            let slots = main.ask(&["CLUSTER", "SLOTS"]);
            let ports = server.port + 1..;
            let mut wires: Vec<(u16, Wire)> = ports
                .take_while(|port| slots.contains(&format!("127.0.0.1, :{port}, ")))
                .map(|port| (port, Wire::connect(port)))
                .collect();
            assert_eq!(wires.len(), slots.matches("127.0.0.1").count(), "{slots}");
            follow(&mut wires, &mut main);
            let info = main.ask(&["CLUSTER", "INFO"]);
            assert!(info.contains(&format!("cluster_known_nodes:{}\r\n", wires.len())), "{info}");
            let ids: Vec<String> =
                wires.iter_mut().map(|(_, wire)| wire.ask(&["CLUSTER", "MYID"])).collect();
            let nodes = wires[0].1.ask(&["CLUSTER", "NODES"]);
            let shown: Vec<&str> = nodes.lines().map(|line| &line[..40]).collect();
            assert_eq!(shown, ids);
            assert_eq!(main.ask(&["CLUSTER", "MYID"]), ids[0]);
            assert_eq!(nodes.matches("myself").count(), 1);
        });
    }
}

const SHARD_PORTS: &[&str] = &["--cluster-shard-ports", "yes"];

/// Stores keys through the ports of the shards, which follow redirections, and reads them back.
fn follow(wires: &mut [(u16, Wire)], main: &mut Wire) {
    main.ask(&["FLUSHALL"]);
    let shards = wires.len();
    for number in 0..100 {
        let key = format!("key:{number}");
        let (at, reply) = (number % shards, "1");
        let (mut port, wire) = (wires[at].0, &mut wires[at].1);
        let first = wire.ask(&["SET", &key, reply]);
        if first != "+OK" {
            port = moved_to(&first);
            let owner = wires.iter_mut().find(|(own, _)| *own == port).expect("a shard's port");
            assert_eq!(owner.1.ask(&["SET", &key, reply]), "+OK");
        }
        for (own, wire) in wires.iter_mut() {
            let shown = wire.ask(&["GET", &key]);
            assert!(if *own == port { shown == reply } else { moved_to(&shown) == port });
        }
        assert_eq!(main.ask(&["GET", &key]), reply);
    }
    let mut keys = 0;
    for (_, wire) in wires.iter_mut() {
        let all = wire.ask(&["KEYS", "*"]).matches("key:").count();
        assert_eq!(wire.ask(&["DBSIZE"]), format!(":{all}"));
        let mut cursor = "0".to_string();
        let mut scanned = 0;
        loop {
            wire.send(&["SCAN", &cursor, "COUNT", "7"]);
            assert_eq!(wire.line(), "*2");
            cursor = wire.reply();
            scanned += wire.reply().matches("key:").count();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(scanned, all);
        let key = wire.ask(&["RANDOMKEY"]);
        assert_eq!(wire.ask(&["GET", &key]), "1");
        for line in ["MULTI", "DBSIZE"] {
            wire.ask(&[line]);
        }
        assert_eq!(wire.ask(&["EXEC"]), format!("[:{all}]"));
        keys += all;
    }
    assert_eq!(keys, 100);
    assert_eq!(main.ask(&["DBSIZE"]), ":100");
}

#[test]
fn clients_of_a_slot_that_leaves_are_told() {
    for setup in setups() {
        println!("{setup:?}");
        let mut pair = Pair::start(setup);
        let mut wires: Vec<Wire> = (0..8).map(|_| Wire::connect(pair.ports[0])).collect();
        let (readers, poppers) = wires.split_at_mut(4);
        for wire in readers.iter_mut() {
            assert_eq!(wire.ask(&["SSUBSCRIBE", "bar", "{bar}2"]), "[ssubscribe, bar, :1]");
            assert_eq!(wire.reply(), "[ssubscribe, {bar}2, :2]");
            assert_eq!(wire.ask(&["SSUBSCRIBE", "hello"]), "[ssubscribe, hello, :3]");
        }
        poppers.iter_mut().for_each(|wire| wire.send(&["BLPOP", "bar", "0"]));
        let has_blocked = |pair: &mut Pair| {
            let info = pair.a.ask(&["INFO", "clients"]);
            info.contains("blocked_clients:4\r\n")
        };
        assert!(wait_for(|| has_blocked(&mut pair)), "all of them wait");
        let b_id = pair.ids[1].clone();
        assert_eq!(pair.a.ask(&["CLUSTER", "SETSLOT", "5061", "NODE", &b_id]), "+OK");
        let to_b = format!("-MOVED 5061 127.0.0.1:{}", pair.ports[1]);
        for wire in poppers {
            assert_eq!(wire.reply(), to_b);
            assert_eq!(wire.ask(&["PING"]), "+PONG");
        }
        for wire in readers {
            let mut told = [wire.reply(), wire.reply()].map(|it| it.replace(", :1", ", :2"));
            told.sort();
            assert_eq!(told, ["[sunsubscribe, bar, :2]", "[sunsubscribe, {bar}2, :2]"]);
        }
        assert_eq!(pair.a.ask(&["SPUBLISH", "hello", "x"]), ":4");
    }
}

#[test]
fn loaded_keys_and_slots_are_made_to_agree() {
    let setup = setups()[0];
    let (folder, port) = (folder(), free_port());
    let alone = start_in(&folder, Setup { shards: 4, ..setup }, port, &[]);
    let mut wire = Wire::connect(port);
    assert_eq!(wire.ask(&["MSET", "bar", "1", "hello", "2", "foo", "3"]), "+OK");
    assert_eq!(wire.ask(&["SAVE"]), "+OK");
    end(alone);
    let id = "a".repeat(40);
    let other = "b".repeat(40);
    let text = format!(
        "{id} :{port}@17000 myself,master - 0 0 0 connected 1-3\n\
         {other} 127.0.0.1:1@2 master - 0 0 0 connected 12000-12999\n"
    );
    std::fs::write(folder.join("nodes.conf"), text).expect("the folder can be written");
    let server = start_in(&folder, Setup { shards: 4, ..setup }, port, NODE);
    let mut wire = Wire::connect(port);
    let nodes = wire.ask(&["CLUSTER", "NODES"]);
    assert!(nodes.contains(" connected 1-3 866 5061\n"), "{nodes}");
    assert_eq!(wire.ask(&["DBSIZE"]), ":2");
    assert!(logs(&server, "I have keys for unassigned slot 866. Taking responsibility for it."));
    assert!(logs(&server, "Deleting keys in the slot."));
}

#[test]
fn clients_are_sent_to_the_port_of_their_kind() {
    for setup in setups() {
        println!("{setup:?}");
        let (folder, port, tls_port) = (folder(), free_port(), free_port());
        let files = Certificates::new();
        let options = files.options(tls_port);
        let options: Vec<&str> =
            NODE.iter().copied().chain(options.iter().map(|it| &**it)).collect();
        let (id, other) = ("a".repeat(40), "b".repeat(40));
        let text = format!(
            "{id} :{port}@17000 myself,master - 0 0 0 connected 0-15000\n\
             {other} 127.0.0.1:7000@17001,,tls-port=7999 master - 0 0 0 connected 15001-16383\n"
        );
        std::fs::write(folder.join("nodes.conf"), text).expect("the folder can be written");
        let server = start_in(&folder, setup, port, &options);
        let mut plain = Wire::connect(port);
        let mut secured = connect(tls_port, &files.client(Some("client")));
        // The slots of "b" and "a" are 3,300 and 15,495.
        assert_eq!(plain.ask(&["CLUSTER", "SETSLOT", "3300", "MIGRATING", &other]), "+OK");
        assert_eq!(plain.ask(&["GET", "a"]), "-MOVED 15495 127.0.0.1:7000");
        assert_eq!(secured.ask(&["GET", "a"]), "-MOVED 15495 127.0.0.1:7999");
        assert_eq!(plain.ask(&["GET", "b"]), "-ASK 3300 127.0.0.1:7000");
        assert_eq!(secured.ask(&["GET", "b"]), "-ASK 3300 127.0.0.1:7999");
        for line in [&["MULTI"][..], &["GET", "b"]] {
            plain.ask(line);
            secured.ask(line);
        }
        assert_eq!(plain.ask(&["EXEC"]), "-ASK 3300 127.0.0.1:7000");
        assert_eq!(secured.ask(&["EXEC"]), "-ASK 3300 127.0.0.1:7999");
        end(server);
    }
}

/// Runs CLUSTERSCAN to its end. Returns the keys and the number of calls.
fn cluster_scan(wire: &mut Wire, options: &[&str]) -> (Vec<String>, usize) {
    let (mut keys, mut cursor, mut calls) = (Vec::new(), "0".to_owned(), 0);
    loop {
        let reply = wire.ask(&[&["CLUSTERSCAN", &cursor], options].concat());
        let text = reply.strip_prefix('[').and_then(|text| text.strip_suffix("]]"));
        let (next, found) = text.and_then(|text| text.split_once(", [")).expect(&reply);
        keys.extend(found.split(", ").filter(|key| !key.is_empty()).map(str::to_owned));
        cursor = next.to_owned();
        calls += 1;
        if cursor == "0" {
            keys.sort();
            return (keys, calls);
        }
        assert!(calls < 5_000, "the walk does not end: {reply}");
    }
}

#[test]
fn clusterscan_walks_over_all_slots() {
    on_each_setup(NODE, |server| {
        let mut wire = Wire::connect(server.port);
        assert_eq!(wire.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "12000"]), "+OK");
        assert_eq!(wire.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]), "+OK");
        let moved = "-CLUSTERDOWN Hash slot not served";
        assert_eq!(wire.ask(&["CLUSTERSCAN", "0"]), moved, "the slot of \"0\" is 13,907");
        assert_eq!(wire.ask(&["CLUSTER", "ADDSLOTSRANGE", "12001", "16383"]), "+OK");
        let mut expected: Vec<String> = (0..400).map(|number| format!("{{{number}}}")).collect();
        expected.iter().for_each(|key| assert_eq!(wire.ask(&["SET", key, "1"]), "+OK"));
        assert_eq!(wire.ask(&["RPUSH", "{7}list", "1"]), ":1");
        expected.push("{7}list".to_owned());
        expected.sort();
        let (keys, calls) = cluster_scan(&mut wire, &["COUNT", "50"]);
        assert_eq!(keys, expected);
        assert!(calls < 60, "{calls} calls");
        assert_eq!(cluster_scan(&mut wire, &["TYPE", "list"]).0, ["{7}list"]);
        assert_eq!(cluster_scan(&mut wire, &["MATCH", "{7}*"]).0, ["{7}", "{7}list"]);
        let slot = wire.ask(&["CLUSTER", "KEYSLOT", "7"]);
        assert_eq!(cluster_scan(&mut wire, &["SLOT", &slot[1..]]).0, ["{7}", "{7}list"]);
        let apart = ["SLOT", "1", "MATCH", "{7}*"];
        assert_eq!(wire.ask(&[&["CLUSTERSCAN", "0"], &apart[..]].concat()), "[0, []]");
        for (args, expected) in [
            (&["invalid"][..], "-ERR Invalid cursor"),
            (&["abc-def-ghi"], "-ERR Invalid cursor"),
            (&["0-"], "-ERR Invalid cursor"),
            (&["0-{0}"], "-ERR Invalid cursor"),
            (&["0-{06S}-0", "SLOT", "1"], "-ERR Cursor slot mismatch with SLOT argument"),
            (&["0", "SLOT", "16384"], "-ERR Invalid or out of range slot"),
            (&["0", "SLOT", "1", "SLOT", "1"], "-ERR SLOT option can only be specified once"),
            (&["0", "COUNT", "0"], "-ERR syntax error"),
            (&["0", "NOVALUES"], "-ERR NOVALUES option can only be used in HSCAN"),
            (&["0", "SLOT", "0"], "[0-{06S}-0, []]"),
            (&["0-{06S}-0", "SLOT", "0"], "[0, []]"),
        ] {
            assert_eq!(wire.ask(&[&["CLUSTERSCAN"], args].concat()), expected, "{args:?}");
        }
        let script = "return redis.call('clusterscan', KEYS[1], 'slot', ARGV[1])";
        assert_eq!(wire.ask(&["EVAL", script, "1", "0", "0"]), "[0-{06S}-0, []]");
        assert_eq!(wire.ask(&["MULTI"]), "+OK");
        assert_eq!(wire.ask(&["CLUSTERSCAN", "0-{06S}-0", "SLOT", "0"]), "+QUEUED");
        assert_eq!(wire.ask(&["EXEC"]), "[[0, []]]");
    });
    on_each_setup(&[], |server| {
        let mut wire = Wire::connect(server.port);
        let disabled = "-ERR This instance has cluster support disabled";
        assert_eq!(wire.ask(&["CLUSTERSCAN", "0"]), disabled);
        assert_eq!(wire.ask(&["SCAN", "0", "SLOT", "1"]), "-ERR syntax error");
    });
}
