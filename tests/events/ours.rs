//! An in-process server whose events a subscriber collects.

use crate::harness::{Client, Server, Setup};
use crate::{Subject, Told};
use annulet::exec::EventSubscriber;
use annulet::keyspace::Raised;
use annulet::resp::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
struct Collector(Mutex<Vec<Raised>>);

impl EventSubscriber for Collector {
    fn receive(&self, _shard: usize, events: &[Raised]) {
        self.0.lock().expect("no test panics in it").extend_from_slice(events);
    }
}

pub struct Ours {
    server: Server,
    client: Client,
    observer: Client,
    blocked: Vec<Client>,
    collector: Arc<Collector>,
    classes: BTreeMap<String, u8>,
}

impl Ours {
    pub fn start(shards: usize, offloads: bool) -> Ours {
        let collector = Arc::new(Collector::default());
        let subscriber = Some(Arc::clone(&collector) as Arc<dyn EventSubscriber>);
        let mut setup = Setup { offloads, subscriber, ..Setup::new(shards, 1) };
        setup.config.enable_debug_command = annulet::config::Permission::Yes;
        let mut server = Server::with(setup);
        let (client, observer) = (server.client(), server.client());
        let (blocked, classes) = (Vec::new(), BTreeMap::new());
        Ours { server, client, observer, blocked, collector, classes }
    }

    /// Returns the class letter of each event so far.
    pub fn classes(&self) -> BTreeMap<String, u8> {
        self.classes.clone()
    }
}

impl Subject for Ours {
    fn run(&mut self, args: &[Vec<u8>]) -> Value {
        self.client.send(args);
        self.client.read(&mut self.server)
    }

    fn observe(&mut self, args: &[Vec<u8>]) -> Value {
        self.observer.send(args);
        self.observer.read(&mut self.server)
    }

    fn block(&mut self, args: &[Vec<u8>]) {
        let mut client = self.server.client();
        client.send(args);
        self.server.settle();
        self.blocked.push(client);
    }

    fn pass_ms(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.server.advance_ms(10);
        }
    }

    fn told(&mut self) -> Vec<Told> {
        self.server.settle();
        let raised = std::mem::take(&mut *self.collector.0.lock().expect("no test panics in it"));
        let told = |raised: Raised| {
            let name = raised.event.name().to_string();
            self.classes.insert(name.clone(), raised.event.class().letter());
            (name, usize::from(raised.db), String::from_utf8_lossy(&raised.key).into_owned())
        };
        raised.into_iter().map(told).collect()
    }
}
