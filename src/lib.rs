//! Annulet: a Redis-compatible in-memory data server, one pinned thread and one ring per core.
//!
//! # Bird's view
//!
//! A process is N **shards**. Each is one thread with its own [`io`] driver (io_uring, or epoll),
//! its own connections and its own [`keyspace::Slice`]: a contiguous range of the 16,384 hash
//! slots. Nothing is locked and nothing is shared but the [`mesh`]: one bounded inbox per shard,
//! through which parts of commands travel to the owners of their keys and come back with replies.
//! To a client this is one Redis: commands of a connection take effect in order, and multi-key
//! commands are atomic over all shards. [`mesh`] says why.
//!
//! # The house
//!
//! A room may use only rooms with a lower number; rooms of one number do not see each other.
//! `tests/tidy.rs` holds this table and fails on any path that points up or sideways.
//!
//! ```text
//!  0 base       what std lacks: clock, rng, slots, numbers, globs, the counting allocator
//!  1 io         the door to the kernel: one seam, three drivers (uring, epoll, simulated)
//!  1 resp       bytes <-> words and replies
//!  1 value      data types as pure data
//!  1 spec       what a command is: the card
//!  1 config     the settings, one card each; an immutable snapshot is published
//!  1 observe    recording: counters, histograms, the log
//!  2 net        a connection's input and output
//!  2 control    the executor for what waits (glommio)
//!  2 keyspace   one shard's slice: table, entries, expiry, scan
//!  2 rdb        a snapshot as bytes, written and read
//!  3 exec       the waist: a command as it runs, on one slice or one session
//!  4 mesh       inboxes, the sequencer, credits, doorbells
//!  4 gate       the gates in their order, and the router
//!  5 txn        units of several rounds: queued commands, the claims on a shard
//!  5 feed       one ordered stream of commands out of all shards' journals
//!  5 snapshot   all slices as one file, written and loaded
//!  6 replica    what a primary sends its replicas: the snapshot, then the feed
//!  8 commands   one file per family: cards, handlers, tests
//!  9 client     one connection: session, input, output, the batch in flight
//!  9 http       metrics and a page about the server, reading only
//! 10 shard      owns one of everything: the turn, the spine, settling, housekeeping
//! 11 server     the process: argv, listeners, threads, signals
//! ```
//!
//! # The life of `SET key value`
//!
//! The spine is `shard/serve.rs`; it calls leaves in order, and a leaf returns before the next.
//!
//! ```text
//!   kernel -> io/uring         a completion: bytes in a receive buffer
//!          -> shard/turn       matched, copied to the connection's input, connection is ready
//!          -> shard/serve      its turn: one batch after the other
//!          -> shard/gather     net/input: words; gate/admit: allowed?; gate/route: whose key?
//!   here:  -> exec/batch       hash and prefetch all keys of the batch, then run in order
//!          -> commands/string  options, decision, reply
//!          -> keyspace/slice   the entry: the only copy of the bytes
//!          -> shard/drain      settle: what the batch left behind is recorded, once
//!          -> net/outbox       one send per connection and turn
//!   there: -> shard/post       one envelope per shard concerned, posted as one unit
//!          -> mesh             the owner's inbox; a doorbell if it is parked
//!          -> shard/drain      the owner runs it as above and answers in the same envelope
//!          -> client/flight    all parts are back: replies are merged in the commands' order
//! ```
//!
//! # Several keys at once
//!
//! MSET and MGET are cut into parts that are posted as one unit. What needs several keys together
//! (RENAME, EXEC with WATCH) takes rounds under locks: `shard/program` at home, `shard/hold` at the
//! owners, [`txn`] in between. ARCHITECTURE.md draws them.
//!
//! # What leaves the keyspace
//!
//! Every write leaves the commands by which a replica gets to the same state, in its shard's
//! journal ([`exec::Records`], `shard/journal`); [`feed`] makes one stream of all journals, and
//! [`replica`] sends it.
//!
//! Clock, randomness and driver are handed in, so that a whole server of several shards runs in
//! one test under a seed (`tests/sim.rs`).
#![deny(missing_docs)]

pub mod base;
pub mod client;
pub mod commands;
pub mod config;
pub mod control;
pub mod exec;
pub mod feed;
pub mod gate;
pub mod http;
pub mod io;
pub mod keyspace;
pub mod mesh;
pub mod net;
pub mod observe;
pub mod partition;
pub mod rdb;
pub mod replica;
pub mod resp;
pub mod server;
pub mod shard;
pub mod snapshot;
pub mod spec;
pub mod txn;
pub mod value;
