//! BGREWRITEAOF with `aof-use-rdb-preamble no`: the base has commands, which this server and Valkey
//! load to the same keys. `ANNULET_PEER` names the program of Valkey; without it, only this server
//! loads them.

use super::server::{Server, Setup, free_port, wait_for};
use super::wire::{Wire, info_field};
use super::{logs, setups};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const OPTIONS: [&str; 6] =
    ["--appendonly", "yes", "--enable-debug-command", "yes", "--aof-use-rdb-preamble", "no"];

/// Sends `name key args...` with the arguments that `element` adds for each number.
fn add(
    wire: &mut Wire,
    name: &str,
    key: &str,
    count: usize,
    element: &dyn Fn(usize) -> Vec<String>,
) {
    let elements: Vec<String> = (0..count).flat_map(element).collect();
    let args = [name, key].into_iter().chain(elements.iter().map(String::as_str));
    let reply = wire.ask(&args.collect::<Vec<_>>());
    assert!(!reply.starts_with('-'), "{name} {key}: {reply}");
}

fn fill_containers(wire: &mut Wire, count: usize) {
    let key = |kind: &str| format!("{kind}:{count}");
    let word = |at: usize| vec![format!("word-{at}")];
    add(wire, "RPUSH", &key("list"), count, &word);
    add(wire, "SADD", &key("set"), count, &word);
    add(wire, "SADD", &key("numbers"), count, &|at| vec![at.to_string()]);
    let scored = |at: usize| vec![(at as f64 / 7.0 * 1e-9).to_string(), format!("m{at}")];
    add(wire, "ZADD", &key("sorted"), count, &scored);
    let field = |at: usize| vec![format!("f{at}"), at.to_string()];
    add(wire, "HSET", &key("hash"), count, &field);
    add(wire, "HSET", &key("volatile"), count, &field);
    let fields: Vec<String> = (0..count).step_by(3).map(|at| format!("f{at}")).collect();
    let (volatile, number) = (key("volatile"), fields.len().to_string());
    let head = ["HPEXPIRE", &volatile, "10000000", "FIELDS", &number];
    let args = head.into_iter().chain(fields.iter().map(String::as_str));
    wire.ask(&args.collect::<Vec<_>>());
    wire.ask(&["PEXPIRE", &key("list"), "20000000"]);
}

fn fill_streams(wire: &mut Wire) {
    for at in 1..100 {
        let name = format!("field{}", at % 3);
        wire.ask(&["XADD", "stream", &format!("{at}-{}", at % 2), &name, "a value", "b", "c"]);
    }
    wire.ask(&["XDEL", "stream", "99-1", "7-1"]);
    wire.ask(&["XGROUP", "CREATE", "stream", "readers", "0"]);
    wire.ask(&["XGROUP", "CREATE", "stream", "far", "50-0"]);
    wire.ask(&["XGROUP", "CREATECONSUMER", "stream", "readers", "idle"]);
    for consumer in ["first", "second"] {
        let read = ["XREADGROUP", "GROUP", "readers", consumer, "COUNT", "9", "STREAMS"];
        wire.ask(&[&read[..], &["stream", ">"]].concat());
    }
    wire.ask(&["XACK", "stream", "readers", "3-1"]);
    wire.ask(&["XCLAIM", "stream", "readers", "second", "0", "1-1", "RETRYCOUNT", "7"]);
    // Without entries, and with an entry that is pending but deleted.
    wire.ask(&["XGROUP", "CREATE", "empty", "group", "0", "MKSTREAM"]);
    wire.ask(&["XADD", "deleted", "5-5", "a", "b"]);
    wire.ask(&["XGROUP", "CREATE", "deleted", "group", "0"]);
    wire.ask(&["XREADGROUP", "GROUP", "group", "consumer", "STREAMS", "deleted", ">"]);
    wire.ask(&["XDEL", "deleted", "5-5"]);
}

fn fill(wire: &mut Wire) {
    for db in ["0", "3", "9"] {
        wire.ask(&["SELECT", db]);
        for at in 0..100 {
            wire.ask(&["SET", &format!("key:{at}"), &at.to_string()]);
        }
        wire.ask(&["SET", "brief", "v", "PX", "10000000"]);
        wire.ask(&["SET", "large", &"l".repeat(100_000), "PX", "10000000"]);
        wire.ask(&["SET", "lines\r\n", "\r\n*1\r\n"]);
        wire.ask(&["ZADD", "extremes", "inf", "a", "-inf", "b", "-0", "c", "1e17", "d"]);
        let counts = if db == "3" { &[1, 64, 65, 2_100][..] } else { &[65] };
        counts.iter().for_each(|count| fill_containers(wire, *count));
        fill_streams(wire);
    }
    let code = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    wire.ask(&["FUNCTION", "LOAD", code]);
}

/// Returns what can be seen of the keys.
fn survey(wire: &mut Wire) -> Vec<String> {
    let mut seen =
        vec![wire.ask(&["DEBUG", "DIGEST"]), wire.ask(&["FUNCTION", "LIST", "WITHCODE"])];
    for db in ["0", "3", "9"] {
        wire.ask(&["SELECT", db]);
        for key in ["brief", "large", "list:65", "key:1"] {
            seen.push(wire.ask(&["PEXPIRETIME", key]));
        }
        seen.push(wire.ask(&["ZRANGE", "extremes", "0", "-1", "WITHSCORES"]));
        for field in ["f0", "f1", "f2097"] {
            seen.push(wire.ask(&["HPEXPIRETIME", "volatile:2100", "FIELDS", "1", field]));
        }
        for (key, group) in [("stream", "readers"), ("empty", "group"), ("deleted", "group")] {
            let info = wire.ask(&["XINFO", "STREAM", key]);
            // How an entry is stored is not compared.
            seen.extend(info.split(", ").filter(|it| !it.starts_with(':')).map(str::to_owned));
            seen.push(wire.ask(&["XINFO", "GROUPS", key]));
            let pending = wire.ask(&["XPENDING", key, group]);
            seen.push(pending);
        }
        let consumers = wire.ask(&["XINFO", "CONSUMERS", "stream", "readers"]);
        seen.push(consumers.matches("name").count().to_string());
    }
    seen
}

fn rewrite(wire: &mut Wire) {
    assert_eq!(wire.ask(&["BGREWRITEAOF"]), "+Background append only file rewriting started");
    let is_over = |wire: &mut Wire| {
        let info = wire.ask(&["INFO", "persistence"]);
        info_field(&info, "aof_rewrite_in_progress") == Some(0)
            && info_field(&info, "aof_rewrite_scheduled") == Some(0)
            && info.contains("aof_last_bgrewrite_status:ok")
    };
    assert!(wait_for(|| is_over(wire)), "the rewrite ends");
}

/// A Valkey server, killed on drop.
struct Peer(Child, u16);

impl Peer {
    /// Starts Valkey in a folder, if there is one.
    fn start(folder: &Path) -> Option<Peer> {
        let program = std::env::var_os("ANNULET_PEER")?;
        let port = free_port();
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--save", "", "--dir"])
            .arg(folder)
            .args(OPTIONS)
            .stdout(Stdio::null())
            .spawn()
            .expect("the peer starts");
        Some(Peer(child, port))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be over already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connects, and waits until the server has loaded its keys.
fn ready(port: u16) -> Wire {
    assert!(wait_for(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));
    let mut wire = Wire::connect(port);
    assert!(wait_for(|| wire.ask(&["PING"]) == "+PONG"));
    wire
}

#[test]
fn a_base_of_commands_has_all_keys() {
    for setup in setups() {
        println!("{setup:?}");
        let mut server = Server::start(setup, &OPTIONS);
        let mut wire = Wire::connect(server.port);
        fill(&mut wire);
        let before = survey(&mut wire);
        rewrite(&mut wire);
        assert_eq!(survey(&mut wire), before);
        let base = server.folder.join("appendonlydir/appendonly.aof.2.base.aof");
        let head = std::fs::read(&base).expect("a base of commands");
        assert!(head.starts_with(b"*3\r\n$8\r\nFUNCTION\r\n$4\r\nLOAD\r\n"));
        wire.ask(&["SELECT", "3"]);
        assert_eq!(wire.ask(&["INCR", "behind"]), ":1");
        let after = survey(&mut wire);
        server.child.kill().expect("it runs");
        server.child.wait().expect("it ends");
        let folder = server.folder.clone();
        if let Some(peer) = Peer::start(&folder) {
            assert_eq!(survey(&mut ready(peer.1)), after, "Valkey");
        }
        // The next process owns the folder.
        server.folder = Default::default();
        let setup = Setup { shards: 3, ..setup };
        let server = Server::launch_in(folder, setup, free_port(), &OPTIONS, Stdio::null());
        let mut wire = ready(server.port);
        assert_eq!(survey(&mut wire), after);
        assert_eq!(wire.ask(&["DEBUG", "LOADAOF"]), "+OK");
        assert_eq!(survey(&mut wire), after);
        assert_eq!(wire.ask(&["CONFIG", "SET", "aof-use-rdb-preamble", "yes"]), "+OK");
        rewrite(&mut wire);
        let base = server.folder.join("appendonlydir/appendonly.aof.3.base.rdb");
        assert!(std::fs::read(base).is_ok(), "the setting is followed");
        assert_eq!(survey(&mut wire), after);
    }
}

#[test]
fn a_rewrite_that_is_given_up_is_no_failure() {
    super::on_each_setup(&OPTIONS, |server| {
        let mut wire = Wire::connect(server.port);
        wire.ask(&["MSET", "a", "1", "b", "2", "c", "3"]);
        for _ in 0..3 {
            wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "10000000"]);
            assert_eq!(
                wire.ask(&["BGREWRITEAOF"]),
                "+Background append only file rewriting started"
            );
            wire.ask(&["CONFIG", "SET", "appendonly", "no"]);
            wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
            rewrite(&mut wire);
            wire.ask(&["CONFIG", "SET", "appendonly", "yes"]);
            let is_on = |wire: &mut Wire| {
                let info = wire.ask(&["INFO", "persistence"]);
                info_field(&info, "aof_enabled") == Some(1)
                    && info_field(&info, "aof_rewrite_in_progress") == Some(0)
                    && info_field(&info, "aof_rewrite_scheduled") == Some(0)
            };
            assert!(wait_for(|| is_on(&mut wire)), "{}", server.log());
        }
        assert!(logs(server, "Killing running AOF rewrite child"));
        assert!(!server.logged("terminated with error"), "{}", server.log());
    });
}

#[test]
fn replaced_files_stay_as_long_as_the_setting_says() {
    super::on_each_setup(&OPTIONS, |server| {
        let mut wire = Wire::connect(server.port);
        let count = || {
            let folder = std::fs::read_dir(server.folder.join("appendonlydir"));
            folder.expect("the folder exists").count()
        };
        wire.ask(&["CONFIG", "SET", "aof-disable-auto-gc", "yes"]);
        rewrite(&mut wire);
        rewrite(&mut wire);
        assert_eq!(count(), 7, "a manifest, three bases, three files of commands");
        wire.ask(&["CONFIG", "SET", "aof-disable-auto-gc", "no"]);
        assert!(wait_for(|| count() == 3), "{} files", count());
        assert_eq!(wire.ask(&["DEBUG", "LOADAOF"]), "+OK");
    });
}
