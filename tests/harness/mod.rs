//! An in-process server of N shards: everything is real except the kernel and the clock.
//!
//! [`Server`] runs the turns of all shards in one thread, in seeded random order, for tests at the
//! command boundary. [`linear`] runs each shard on its own thread under the lockstep scheduler, so
//! that shards interleave inside their turns. It checks the history that clients saw.
#![allow(dead_code)]

pub mod followed;
pub mod history;
pub mod linear;
pub mod lockstep;
pub mod mixed;
pub mod model;
pub mod mover;
pub mod observed;
pub mod replay;
pub mod search;
pub mod units;
pub mod waiting;
pub mod workload;

use annulet::base::clock::{Clock, ManualClock};
use annulet::base::rng::Rng;
use annulet::base::slot::{SLOT_COUNT, slot_of};
use annulet::base::slot_map::{SlotMap, SlotSet};
use annulet::commands;
use annulet::config::{Config, ConfigCell};
use annulet::control::ProcessMemory;
use annulet::exec::{
    CommandTable, EventSubscriber, OffloadPool, OffloadQueue, Process, ProcessParts,
};
use annulet::feed::Feed;
use annulet::io::simulated::{self, Network, SimulatedDriver};
use annulet::io::{Driver, Options};
use annulet::mesh::{Mesh, Preempt, Rules};
use annulet::observe::{Boards, Level, Log};
use annulet::partition::Berths;
use annulet::resp::Value;
use annulet::server::{Common, Seeds, build_shard};
use annulet::shard::{Shard, Turn};
use mover::Mover;
use std::sync::{Arc, Mutex, OnceLock};

/// The port that shard 0 listens on.
pub const PORT: u32 = 6379;
/// Unix milliseconds at which every simulation starts.
pub const START_MS: u64 = 1_800_000_000_000;
/// Turns after which a test gives up waiting for the server to become idle.
const TURNS_MAX: usize = 2_000_000;

/// Returns the server's real commands.
pub fn plain_table() -> &'static CommandTable {
    static TABLE: OnceLock<CommandTable> = OnceLock::new();
    TABLE.get_or_init(|| CommandTable::new(commands::FAMILIES))
}

/// The parts of a simulated process without its shards.
pub struct World {
    /// The seed of everything random.
    pub seed: u64,
    /// The network of the drivers and clients.
    pub network: Network,
    /// The clock of the process.
    pub clock: Arc<ManualClock>,
    /// The process.
    pub process: Arc<Process>,
    /// The mesh of the process.
    pub mesh: Arc<Mesh>,
    /// The feed of the process.
    pub feed: Arc<Feed>,
    common: Common,
    options: Options,
    pool: Option<(OffloadPool, OffloadQueue)>,
    mover: Mutex<Option<Mover>>,
    moves_slots: bool,
}

/// The options of a world.
pub struct Setup {
    /// The number of shards.
    pub shards: usize,
    /// The seed of everything random.
    pub seed: u64,
    /// The mesh's rules.
    pub rules: Rules,
    /// Called at points where another shard may run.
    pub preempt: Option<Arc<dyn Preempt>>,
    /// The commands.
    pub commands: &'static CommandTable,
    /// The settings.
    pub config: Config,
    /// Whether there is an offload pool. It then runs every command that may be offloaded.
    pub offloads: bool,
    /// Whether one in four seeds begins with a map of the hash slots in which no partition has a
    /// contiguous range.
    pub scatters_slots: bool,
    /// Whether a client moves hash slots all the time.
    pub moves_slots: bool,
    /// Receives the events of all shards.
    pub subscriber: Option<Arc<dyn EventSubscriber>>,
}

impl Setup {
    /// Creates the default options.
    pub fn new(shards: usize, seed: u64) -> Setup {
        let mut config = Config::default();
        (config.protected_mode, config.shards, config.port) = (false, shards as u32, 0);
        // No save points: they would write a file after FLUSHALL.
        config.save.clear();
        let (rules, commands) = (Rules::default(), plain_table());
        Setup {
            shards,
            seed,
            rules,
            preempt: None,
            commands,
            config,
            offloads: false,
            scatters_slots: false,
            moves_slots: false,
            subscriber: None,
        }
    }
}

impl World {
    /// Creates a process without shards.
    pub fn new(setup: Setup) -> World {
        let Setup { shards, seed, rules, preempt, commands, .. } = setup;
        let Setup { mut config, offloads, subscriber, .. } = setup;
        if offloads {
            config.offload_elements_min = 1;
        }
        let pool = offloads.then(OffloadQueue::new);
        let clock = ManualClock::new(START_MS);
        let time = Clock::Manual(Arc::clone(&clock));
        let databases = config.databases as usize;
        let process = Arc::new(Process::new(ProcessParts {
            boards: Boards::new(shards, databases, commands.len()),
            config: ConfigCell::new(config),
            commands,
            log: Log::new(None, Level::Nothing, time.clone()),
            clock: time,
            run_id: "0".repeat(40),
            paths: Default::default(),
            memory: ProcessMemory::open().expect("/proc exists"),
        }));
        if setup.scatters_slots && seed % 4 == 2 && shards > 1 {
            process.slot_map.publish(scattered(&process.slot_map.snapshot(), seed));
        }
        if let Some(subscriber) = subscriber {
            process.events.set(subscriber);
        }
        // Every other seed has small and few receive buffers, so that input comes in more pieces.
        let options = match seed % 2 {
            0 => Options::default(),
            _ => Options { buffers: 16, buffer_bytes: 512, ..Options::default() },
        };
        let (network, mesh) = (Network::new(seed), Mesh::new(shards, rules, preempt));
        let time = Clock::Manual(Arc::clone(&clock));
        let feed = Arc::new(Feed::new(Arc::clone(&mesh), time, 0));
        let common = Common {
            process: Arc::clone(&process),
            mesh: Arc::clone(&mesh),
            feed: Arc::clone(&feed),
            berths: Berths::new(shards),
        };
        let (mover, moves_slots) = (Mutex::new(None), setup.moves_slots && shards > 1);
        World {
            seed,
            network,
            clock,
            process,
            mesh,
            feed,
            common,
            options,
            pool,
            mover,
            moves_slots,
        }
    }

    /// Creates the driver of the next shard; shard 0's driver listens.
    pub fn driver(&self, me: usize) -> SimulatedDriver {
        let time = Clock::Manual(Arc::clone(&self.clock));
        let mut driver = self.network.driver(time, &self.options);
        if me == 0 {
            driver.listen(0, self.network.bind(PORT)).expect("the simulated port is free");
        }
        driver
    }

    /// Creates a shard on the calling thread.
    pub fn shard(&self, me: usize, driver: Box<dyn Driver>) -> Shard {
        let seeds = Seeds { random: self.seed, hash: [self.seed, !self.seed] };
        let mut shard = build_shard(me, &self.common, driver, seeds);
        // In two of three seeds, a shard that expects replies polls while its partition is free.
        shard.set_polls_max((self.seed % 3) as u32);
        if let Some((pool, _)) = &self.pool {
            shard.set_offload_pool(pool);
        }
        shard
    }

    /// Runs the oldest job of the offload pool. Returns whether there was any.
    pub fn run_offloaded(&self) -> bool {
        self.pool.as_ref().is_some_and(|(_, queue)| queue.run_next())
    }

    /// Lets the client that moves hash slots act, if there is one.
    pub fn step_mover(&self) {
        if self.moves_slots {
            let mut mover = self.mover.lock().expect("nobody has panicked");
            mover.get_or_insert_with(|| Mover::new(self)).step();
        }
    }

    /// Lets time pass for a move that is under way. Returns whether there is one.
    pub fn end_move(&self) -> bool {
        let mut mover = self.mover.lock().expect("nobody has panicked");
        let is_out = mover.as_mut().is_some_and(Mover::read);
        if is_out {
            self.clock.advance_ms(1);
            // A waiting shard of the simulation does not see that its deadline passes.
            self.mesh.ring_all();
        }
        is_out
    }

    /// Returns whether there is an offload pool.
    pub fn offloads(&self) -> bool {
        self.pool.is_some()
    }

    /// Opens a new connection.
    pub fn connect(&self) -> Client {
        let link = self.network.connect(PORT).expect("the port accepts connections");
        Client { link, unsent: Vec::new(), received: Vec::new() }
    }
}

/// A server whose shards run on the test's thread.
pub struct Server {
    /// The parts of the process.
    pub world: World,
    shards: Vec<Shard>,
    rng: Rng,
}

impl Server {
    /// Creates a server with this number of shards; all choices follow from the seed.
    pub fn new(shards: usize, seed: u64) -> Server {
        Server::with(Setup::new(shards, seed))
    }

    /// Creates a server with these options.
    pub fn with(setup: Setup) -> Server {
        let (shards, seed) = (setup.shards, setup.seed);
        let world = World::new(setup);
        let shards = (0..shards).map(|me| world.shard(me, Box::new(world.driver(me)))).collect();
        Server { world, shards, rng: Rng::new(!seed) }
    }

    /// Opens a connection and waits until a shard has adopted it.
    pub fn client(&mut self) -> Client {
        let client = self.world.connect();
        self.settle();
        client
    }

    /// Runs one turn of a random shard. Returns its number, and whether it found work.
    pub fn step(&mut self) -> (usize, bool) {
        let has_run = self.world.offloads() && self.rng.below(4) == 0 && self.world.run_offloaded();
        let me = self.rng.below(self.shards.len() as u64) as usize;
        let turn = self.shards[me].turn().expect("the simulated driver does not fail");
        (me, turn == Turn::Busy || has_run)
    }

    /// Runs `count` turns of one shard, while the others stand still.
    pub fn turns_of(&mut self, me: usize, count: usize) {
        self.busy_turns_of(me, count);
    }

    /// Runs `count` turns of one shard, like [`Server::turns_of`]. Returns how many of them found
    /// work.
    pub fn busy_turns_of(&mut self, me: usize, count: usize) -> usize {
        let turn = |shard: &mut Shard| shard.turn().expect("the simulated driver does not fail");
        (0..count).filter(|_| turn(&mut self.shards[me]) == Turn::Busy).count()
    }

    /// Runs `count` turns of random shards.
    pub fn steps(&mut self, count: u64) {
        for _ in 0..count {
            self.step();
        }
    }

    /// Returns a number below `bound`.
    pub fn draw(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    /// Runs turns until no shard has anything to do at this time.
    pub fn settle(&mut self) {
        let mut is_quiet = vec![false; self.shards.len()];
        for _ in 0..TURNS_MAX {
            let (me, busy) = self.step();
            if busy {
                is_quiet.fill(false);
            }
            is_quiet[me] = !busy;
            let empty = (0..self.shards.len()).all(|shard| self.world.mesh.depth(shard) == 0);
            if empty && self.world.run_offloaded() {
                is_quiet.fill(false);
            }
            if empty && is_quiet.iter().all(|quiet| *quiet) && self.world.network.is_idle() {
                return;
            }
        }
        panic!("seed {}: the server does not become idle", self.world.seed);
    }

    /// Runs turns until every shard has stopped.
    pub fn run_until_stopped(&mut self) {
        let mut left: Vec<usize> = (0..self.shards.len()).collect();
        for _ in 0..TURNS_MAX {
            if left.is_empty() {
                return;
            }
            let at = self.rng.below(left.len() as u64) as usize;
            let turn = self.shards[left[at]].turn().expect("the simulated driver does not fail");
            if turn == Turn::Stopped {
                left.swap_remove(at);
            }
        }
        panic!("seed {}: shards {left:?} do not stop", self.world.seed);
    }

    /// Advances the clock, and runs turns until the server is idle.
    pub fn advance_ms(&mut self, ms: u64) {
        self.world.clock.advance_ms(ms);
        self.settle();
    }

    /// Returns the number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Returns the shard that owns a key.
    pub fn owner(&self, key: &str) -> usize {
        usize::from(self.world.process.slot_map.snapshot().owner(slot_of(key.as_bytes())))
    }

    /// Returns the number of connections over all shards, as the shards count them.
    pub fn connections(&self) -> usize {
        self.shards.iter().map(|shard| shard.inspect().connections).sum()
    }

    /// Returns the number of envelopes in flight over all shards.
    pub fn under_way(&self) -> u32 {
        self.shards.iter().map(|shard| shard.inspect().envelopes_under_way).sum()
    }

    /// Returns the largest number of bytes that the connections of one shard buffer.
    pub fn buffered_bytes_max(&self) -> usize {
        self.shards.iter().map(|shard| shard.inspect().buffered_bytes).max().unwrap_or(0)
    }

    /// Checks that nothing is in flight, and that every sum agrees with its parts.
    pub fn check(&mut self) {
        self.settle();
        for (me, shard) in self.shards.iter().enumerate() {
            check_rest(me, shard);
            let counted = &self.world.process.clients[me];
            let counted = counted.load(std::sync::atomic::Ordering::Relaxed) as usize;
            assert_eq!(counted, shard.inspect().connections, "clients of shard {me}");
        }
    }
}

/// Checks a shard that has nothing to do.
pub fn check_rest(me: usize, shard: &Shard) {
    let seen = shard.inspect();
    assert_eq!(seen.envelopes_under_way, 0, "shard {me} has credits under way: {seen:?}");
    assert_eq!(seen.flights, 0, "shard {me} has flights: {seen:?}");
    assert_eq!(seen.postponed, 0, "shard {me} has postponed connections: {seen:?}");
    assert_eq!(seen.barriers, 0, "shard {me} has barriers: {seen:?}");
    assert_eq!(seen.stalled, 0, "shard {me} has stalled connections: {seen:?}");
    assert_eq!(seen.ready + seen.dirty, 0, "shard {me} has work: {seen:?}");
    assert_eq!(seen.buffered_bytes, seen.counted_bytes, "shard {me}: {seen:?}");
}

/// The client's end of a connection.
pub struct Client {
    /// The connection.
    pub link: simulated::Client,
    unsent: Vec<u8>,
    received: Vec<u8>,
}

/// Encodes a command in the form in which clients send it.
pub fn encode(args: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Client {
    /// Sends a command.
    pub fn send(&mut self, args: &[impl AsRef<[u8]>]) {
        self.send_bytes(&encode(args));
    }

    /// Sends any bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.pump();
    }

    /// Sends bytes that the connection did not take earlier, and receives the bytes that have
    /// arrived.
    pub fn pump(&mut self) {
        let taken = self.link.write(&self.unsent);
        self.unsent.drain(..taken);
        self.received.extend(self.link.read());
    }

    /// Returns the next reply, if it has arrived in full.
    pub fn try_read(&mut self) -> Option<Value> {
        self.pump();
        let (value, len) = Value::read(&self.received)?;
        self.received.drain(..len);
        Some(value)
    }

    /// Whether the connection has taken all bytes.
    pub fn has_sent(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Waits for the next reply.
    pub fn read(&mut self, server: &mut Server) -> Value {
        loop {
            let before = (self.unsent.len(), self.received.len());
            if let Some(value) = self.try_read() {
                return value;
            }
            server.settle();
            self.pump();
            if before == (self.unsent.len(), self.received.len()) {
                let text = String::from_utf8_lossy(&self.received).into_owned();
                panic!("seed {}: no reply comes; {text:?} so far", server.world.seed);
            }
        }
    }

    /// Sends a command and waits for its reply.
    pub fn run<const N: usize>(&mut self, server: &mut Server, args: [&str; N]) -> Value {
        self.send(&args);
        self.read(server)
    }

    /// Whether the server has closed the connection and all bytes were read.
    pub fn is_closed(&mut self) -> bool {
        self.pump();
        self.received.is_empty() && self.link.is_closed()
    }
}

/// A bulk string reply.
pub fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

/// The reply `+OK`.
pub fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

/// An integer reply.
pub fn int(number: i64) -> Value {
    Value::Integer(number)
}

/// An array reply of bulk strings.
pub fn list(args: &[&str]) -> Value {
    Value::Array(args.iter().map(|arg| bulk(arg)).collect())
}

/// Returns a map in which many slots of all partitions belong to one of them.
fn scattered(map: &SlotMap, seed: u64) -> SlotMap {
    let mut rng = Rng::new(seed);
    let mut slots = SlotSet::new();
    (0..SLOT_COUNT / 2).for_each(|_| _ = slots.insert(rng.below(u64::from(SLOT_COUNT)) as u16));
    let to = rng.below(map.partitions() as u64) as u16;
    map.moved(&slots, to).expect("half of the slots stay")
}

/// Returns the `number`th key that `shard` of `shards` owns.
pub fn key_on(shards: usize, shard: usize, number: usize) -> String {
    let map = SlotMap::equal(shards);
    let owned = |key: &String| usize::from(map.owner(slot_of(key.as_bytes()))) == shard;
    (0..).map(|at| format!("k{at}")).filter(owned).nth(number).expect("every shard owns keys")
}
