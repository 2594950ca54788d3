//! A Valkey server whose keyspace notifications a subscriber receives.

use crate::harness::encode;
use crate::peer::Peer;
use crate::{Subject, Told};
use annulet::resp::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

/// Longest time until a command that blocks has reached the server.
const ARRIVAL: Duration = Duration::from_millis(20);

struct Link {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Link {
    fn connect(port: u16) -> Link {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts");
        stream.set_nodelay(true).expect("it is a TCP socket");
        Link { stream, received: Vec::new() }
    }

    fn send(&mut self, args: &[impl AsRef<[u8]>]) {
        self.stream.write_all(&encode(args)).expect("the server takes bytes");
    }

    fn read(&mut self) -> Value {
        loop {
            if let Some((value, len)) = Value::read(&self.received) {
                self.received.drain(..len);
                return value;
            }
            let mut some = [0; 4096];
            let count = self.stream.read(&mut some).expect("the server answers");
            assert!(count > 0, "the server hung up");
            self.received.extend_from_slice(&some[..count]);
        }
    }
}

pub struct Theirs {
    peer: Peer,
    client: Link,
    observer: Link,
    subscriber: Link,
    blocked: Vec<Link>,
}

impl Theirs {
    pub fn start(program: &str, classes: &str) -> Theirs {
        let peer = Peer::start_with(program, &["--notify-keyspace-events", classes]);
        let mut subscriber = Link::connect(peer.port);
        subscriber.send(&["PSUBSCRIBE", "__keyevent@*__:*"]);
        subscriber.read();
        let (client, observer) = (Link::connect(peer.port), Link::connect(peer.port));
        Theirs { client, observer, subscriber, blocked: Vec::new(), peer }
    }
}

fn text(value: &Value) -> String {
    let Value::Bulk(bytes) = value else { panic!("{value:?}") };
    String::from_utf8_lossy(bytes).into_owned()
}

impl Subject for Theirs {
    fn run(&mut self, args: &[Vec<u8>]) -> Value {
        self.client.send(args);
        self.client.read()
    }

    fn observe(&mut self, args: &[Vec<u8>]) -> Value {
        self.observer.send(args);
        self.observer.read()
    }

    fn block(&mut self, args: &[Vec<u8>]) {
        let mut link = Link::connect(self.peer.port);
        link.send(args);
        sleep(ARRIVAL);
        self.blocked.push(link);
    }

    fn pass_ms(&mut self, ms: u64) {
        sleep(Duration::from_millis(ms));
    }

    fn told(&mut self) -> Vec<Told> {
        // The answer comes behind all messages that the server has sent before.
        self.subscriber.send(&["PING"]);
        let mut told = Vec::new();
        loop {
            let Value::Array(values) = self.subscriber.read() else { panic!("it is no message") };
            if text(&values[0]) == "pong" {
                return told;
            }
            let channel = text(&values[2]);
            let rest = channel.strip_prefix("__keyevent@").expect("the pattern");
            let (db, name) = rest.split_once("__:").expect("the pattern");
            let db = db.parse().expect("a number");
            told.push((name.to_string(), db, text(&values[3])));
        }
    }
}
