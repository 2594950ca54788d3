//! Commands that gather very many keys: the home works on them in steps, the owners lend and store
//! the values in slices. The limits are so small here that every such command does.

use crate::harness::{Client, Server, Setup, bulk, int, key_on, list, ok};
use annulet::resp::Value;

const SEEDS: u64 = 40;
const KEYS: usize = 40;
const STEPS: u64 = 2_500;

fn server(shards: usize, seed: u64) -> Server {
    Server::with(Setup { offloads: true, ..Setup::new(shards, seed) })
}

fn names() -> Vec<String> {
    (0..KEYS).map(|at| format!("key:{at}")).collect()
}

/// Joins the words of a command with its keys and further words.
fn args(words: &[&str], keys: &[String], rest: &[&str]) -> Vec<String> {
    let words = words.iter().map(|word| word.to_string());
    words.chain(keys.iter().cloned()).chain(rest.iter().map(|word| word.to_string())).collect()
}

/// A client with at most one command in flight.
struct Asker {
    client: Client,
    id: String,
    /// Set while a command is in flight: the last round that was over when it was sent.
    asked: Option<Option<u64>>,
}

impl Asker {
    fn new(server: &mut Server) -> Asker {
        let mut client = server.client();
        let Value::Integer(id) = client.run(server, ["CLIENT", "ID"]) else { panic!("an id") };
        Asker { client, id: id.to_string(), asked: None }
    }
}

/// Returns the round that a union of all keys has seen; none if it has seen no key. Each key has
/// the round's number as its member, with score 1.
fn round_of(reply: &Value, told: &str) -> Option<u64> {
    let Value::Array(values) = reply else { panic!("{told}: {reply:?} is no array") };
    match &values[..] {
        [] => None,
        [Value::Bulk(member), score] => {
            assert_eq!(*score, bulk(&KEYS.to_string()), "{told}: it has seen some of the keys");
            Some(String::from_utf8_lossy(member).parse().expect("a round"))
        }
        other => panic!("{told}: it has seen keys of several rounds: {other:?}"),
    }
}

/// Sends the next round: all keys get the same member, some rounds with an expiry.
fn write(writer: &mut Client, round: u64, expires_ms: Option<u64>) {
    let number = round.to_string();
    writer.send(&["MULTI"]);
    for name in names() {
        writer.send(&["DEL", &name]);
        writer.send(&["ZADD", &name, "1", &number]);
        if let Some(ms) = expires_ms {
            writer.send(&["PEXPIRE", &name, &ms.to_string()]);
        }
    }
    writer.send(&["EXEC"]);
}

/// Readers of all keys see one round and no torn one, whatever happens meanwhile: a writer changes
/// all keys, keys expire, readers are killed, and clients of single keys wait for the locks.
#[test]
fn a_command_on_many_keys_sees_one_moment() {
    let (mut seen, mut seen_nothing, mut killed) = (0, 0, 0);
    for seed in 0..SEEDS {
        let shards = 1 + seed as usize % 4;
        let mut server = server(shards, seed);
        let told = format!("seed {seed}, {shards} shards");
        let (mut writer, mut single, mut admin) =
            (server.client(), server.client(), server.client());
        let mut readers: Vec<Asker> = (0..3).map(|_| Asker::new(&mut server)).collect();
        let (mut round, mut is_writing, mut done) = (0, false, None);
        let (mut waits, mut has_expiry) = (false, false);
        for _ in 0..STEPS {
            server.steps(1);
            while let Some(reply) = writer.try_read() {
                if let Value::Array(_) = reply {
                    (is_writing, done) = (false, Some(round));
                }
            }
            waits &= single.try_read().is_none();
            while admin.try_read().is_some() {}
            for reader in &mut readers {
                let Some(reply) = reader.client.try_read() else { continue };
                let round_seen = round_of(&reply, &told);
                let since = reader.asked.take().expect("it has asked");
                assert!(round_seen.is_none_or(|it| Some(it) >= since), "{told}: it is stale");
                assert!(round_seen.is_some() || since.is_none() || has_expiry, "{told}: no keys");
                seen += usize::from(round_seen.is_some());
                seen_nothing += usize::from(round_seen.is_none());
            }
            let dice = server.draw(300);
            match dice {
                0..4 if !is_writing => {
                    (round, is_writing) = (round + 1, true);
                    let expiry = server.draw(3) == 0;
                    has_expiry |= expiry;
                    let ms = 1 + server.draw(20);
                    write(&mut writer, round, expiry.then_some(ms));
                }
                4..7 => server.world.clock.advance_ms(1 + dice),
                7..10 if !waits => {
                    let name = format!("key:{}", server.draw(KEYS as u64));
                    single.send(&[["ZCARD", &name], ["TTL", &name]][(dice % 2) as usize]);
                    waits = true;
                }
                10 => {
                    let at = server.draw(readers.len() as u64) as usize;
                    admin.send(&["CLIENT", "KILL", "ID", &readers[at].id]);
                    readers[at] = Asker::new(&mut server);
                    killed += 1;
                }
                11..20 => {
                    let at = server.draw(readers.len() as u64) as usize;
                    if readers[at].asked.is_none() {
                        readers[at].asked = Some(done);
                        let count = KEYS.to_string();
                        let union = args(&["ZUNION", &count], &names(), &["WITHSCORES"]);
                        readers[at].client.send(&union);
                    }
                }
                _ => {}
            }
        }
        server.settle();
        server.check();
    }
    println!("{seen} saw a round, {seen_nothing} nothing, {killed} were killed");
    assert!(seen > 200 && seen_nothing > 50 && killed > 100);
}

/// A command that stores on many keys takes effect at once for others, and replies as in one step.
#[test]
fn a_command_that_changes_many_keys_is_atomic() {
    for seed in 0..SEEDS {
        let shards = 1 + seed as usize % 4;
        let mut server = server(shards, seed);
        let (mut writer, mut reader) = (server.client(), server.client());
        let pairs: Vec<String> = names().into_iter().flat_map(|name| [name, "v".into()]).collect();
        writer.send(&args(&["MSETNX"], &pairs, &[]));
        let mut replies = Vec::new();
        loop {
            reader.send(&args(&["EXISTS"], &names(), &[]));
            reader.send(&["DBSIZE"]);
            server.steps(server_draw(seed, replies.len()));
            let [exists, size] = [0, 1].map(|_| reader.read(&mut server));
            assert!([0, KEYS as i64].map(int).contains(&exists), "seed {seed}: {exists:?}");
            assert!([0, KEYS as i64].map(int).contains(&size), "seed {seed}: {size:?}");
            replies.push(exists);
            if let Some(reply) = writer.try_read() {
                assert_eq!(reply, int(1), "seed {seed}");
                break;
            }
        }
        writer.send(&args(&["MSETNX", "fresh", "v"], &pairs, &[]));
        assert_eq!(writer.read(&mut server), int(0), "seed {seed}: the keys exist");
        assert_eq!(reader.run(&mut server, ["EXISTS", "fresh"]), int(0));
        server.check();
    }
}

fn server_draw(seed: u64, at: usize) -> u64 {
    (seed * 7 + at as u64 * 3) % 40
}

/// A key that is given several times is fetched once.
#[test]
fn a_key_may_be_among_the_keys_several_times() {
    for (shards, seed) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
        let mut server = server(shards, seed);
        let mut client = server.client();
        let keys: Vec<String> = (0..shards).map(|shard| key_on(shards, shard, 0)).collect();
        for (at, key) in keys.iter().enumerate() {
            client.run(&mut server, ["SADD", key, "all", &at.to_string()]);
        }
        let many: Vec<String> = keys.iter().cycle().take(30).cloned().collect();
        client.send(&args(&["SINTER"], &many, &[]));
        let expected = if shards == 1 { list(&["all", "0"]) } else { list(&["all"]) };
        let Value::Array(mut common) = client.read(&mut server) else { panic!("an array") };
        common.sort_by_key(|member| *member != bulk("all"));
        assert_eq!(Value::Array(common), expected);
        // The target is a source too.
        client.send(&args(&["SINTERSTORE", &keys[0]], &many, &[]));
        assert_eq!(client.read(&mut server), int(if shards == 1 { 2 } else { 1 }));
        assert_eq!(client.run(&mut server, ["SISMEMBER", &keys[0], "all"]), int(1));
        client.send(&args(&["MSETNX"], &[many, keys].concat(), &[]));
        assert!(matches!(client.read(&mut server), Value::Integer(0) | Value::Error(_)));
        assert_eq!(client.run(&mut server, ["SET", "other", "v"]), ok());
        server.check();
    }
}

/// A unit is finished although its client has left.
#[test]
fn a_client_that_leaves_does_not_stop_its_command() {
    for seed in 0..SEEDS {
        let shards = 1 + seed as usize % 4;
        let mut server = server(shards, seed);
        let (mut client, mut other) = (server.client(), server.client());
        for name in names() {
            other.run(&mut server, ["SADD", &name, "member"]);
        }
        client.send(&args(&["SUNIONSTORE", "target"], &names(), &[]));
        let steps = server.draw(1_500);
        server.steps(steps);
        client.link.close();
        server.settle();
        let stored = other.run(&mut server, ["SCARD", "target"]);
        // It may have left before its command was received as a whole.
        assert!([int(1), int(0)].contains(&stored), "seed {seed}: {stored:?}");
        for name in names() {
            assert_eq!(other.run(&mut server, ["SCARD", &name]), int(1), "seed {seed}");
        }
        server.check();
    }
}
