//! The `redis` crate as a client.

use super::on_each_setup;
use super::server::{Server, Setup};
use redis::{Commands, ConnectionLike, ErrorKind, RedisResult, Value, cmd, pipe};

fn connect(server: &Server, query: &str) -> redis::Connection {
    let address = format!("redis://127.0.0.1:{}/{query}", server.port);
    let client = redis::Client::open(address).expect("the address is one");
    client.get_connection().expect("the server accepts")
}

#[test]
fn simple_commands_and_many_keys() {
    on_each_setup(&[], |server| {
        let mut client = connect(server, "");
        let _: () = client.set("greeting", "hello").expect("SET");
        assert_eq!(client.get::<_, String>("greeting"), Ok("hello".to_string()));
        assert_eq!(client.get::<_, Option<String>>("absent"), Ok(None));
        assert_eq!(client.incr::<_, _, i64>("counter", 7), Ok(7));
        let pairs: Vec<(String, usize)> = (0..100).map(|n| (format!("key:{n}"), n)).collect();
        let _: () = client.mset(&pairs).expect("MSET");
        let keys: Vec<&String> = pairs.iter().map(|(key, _)| key).collect();
        let values: Vec<usize> = client.mget(&keys).expect("MGET");
        assert_eq!(values, (0..100).collect::<Vec<_>>());
        assert_eq!(client.del::<_, usize>(&keys), Ok(100));
        assert_eq!(cmd("DBSIZE").query::<usize>(&mut client), Ok(2));
    });
}

#[test]
fn pipelines_keep_their_order() {
    on_each_setup(&[], |server| {
        let mut client = connect(server, "");
        let mut pipeline = pipe();
        for n in 0..1_000 {
            pipeline.set(format!("key:{}", n % 50), n).ignore();
            pipeline.get(format!("key:{}", n % 50));
        }
        let values: Vec<usize> = pipeline.query(&mut client).expect("the pipeline runs");
        assert_eq!(values, (0..1_000).collect::<Vec<_>>());
    });
}

#[test]
fn errors_are_distinct_and_leave_the_connection_usable() {
    on_each_setup(&[], |server| {
        let mut client = connect(server, "");
        let unknown: RedisResult<()> = cmd("NOSUCH").arg("x").query(&mut client);
        let text = unknown.expect_err("there is no such command").to_string();
        assert!(text.contains("unknown command 'NOSUCH'"), "{text}");
        let _: () = client.set("text", "abc").expect("SET");
        let wrong: RedisResult<i64> = client.incr("text", 1);
        let text = wrong.expect_err("it is no number").to_string();
        assert!(text.contains("value is not an integer or out of range"), "{text}");
        let wrong: RedisResult<()> = cmd("GET").query(&mut client);
        let error = wrong.expect_err("GET needs a key");
        assert!(error.to_string().contains("wrong number of arguments"), "{error}");
        assert_ne!(error.kind(), ErrorKind::Io);
        assert!(client.check_connection());
    });
}

#[test]
fn resp3_has_its_own_types() {
    on_each_setup(&[], |server| {
        let mut client = connect(server, "?protocol=resp3");
        let _: () = client.set("key", "value").expect("SET");
        assert_eq!(client.get::<_, String>("key"), Ok("value".to_string()));
        assert_eq!(cmd("GET").arg("absent").query::<Value>(&mut client), Ok(Value::Nil));
        let settings = cmd("CONFIG").arg("GET").arg("maxclients").query::<Value>(&mut client);
        assert!(matches!(settings, Ok(Value::Map(pairs)) if pairs.len() == 1));
    });
}

#[test]
fn a_hundred_megabytes_are_returned_unchanged() {
    let value: Vec<u8> = (0..100_000_000_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    for driver in super::server::drivers() {
        let server = Server::start(Setup { shards: 2, driver }, &[]);
        let mut client = connect(&server, "");
        for key in ["large:1", "large:2"] {
            let _: () = client.set(key, &value).expect("SET");
            let back: Vec<u8> = client.get(key).expect("GET");
            assert!(back == value, "{key} has changed on {driver}");
        }
    }
}
