//! Annulet: a Redis-compatible in-memory data server, one pinned thread and one ring per core.
//!
//! # Bird's view
//!
//! A **shard** is a thread. It has an [`io`] driver (io_uring, or epoll), its own connections, and
//! an inbox in the [`mesh`]. A **partition** is the state that needs one order: a
//! [`keyspace::Slice`] with some of the 16,384 hash slots, its locks, its blocked clients and its
//! journal. There is one [`partition`] per shard. [`base::slot_map`] says which slots it has.
//!
//! One thread at a time **holds** a partition. An awake shard holds its own partition, and its
//! commands do not touch the word that decides who holds it. A shard that parks lets its partition
//! go. Another shard that has posted work to it may then **borrow** it: the borrower runs the work
//! itself, in the order of the inbox, and saves the wake-up.
//!
//! Parts of commands travel in envelopes to the shards that own their keys, and return with the
//! replies. To a client this is one Redis: the commands of a connection take effect in order, and
//! commands on several keys are atomic over all shards. [`mesh`] says why.
//!
//! # The layers
//!
//! A module may use only modules of lower layers, not of its own. `tests/tidy.rs` has this table
//! and fails on any path that points up or sideways.
//!
//! ```text
//!  0 base       what std lacks: clock, random numbers, hash slots, numbers, the counting allocator
//!  1 io         the only access to the kernel: one interface, three drivers
//!  1 resp       bytes <-> arguments and replies
//!  1 value      data types as pure data
//!  1 spec       what a command is: the card
//!  1 config     the settings, one card each; an immutable snapshot is published
//!  1 observe    recording: counters, histograms, the log
//!  2 acl        users, their rules, the check of a command against them
//!  2 net        input and output of a connection
//!  2 cluster    the nodes of a cluster, who serves which slot, nodes.conf
//!  2 control    the executor for work that waits (glommio)
//!  2 keyspace   the keys of one partition: table, entries, expiry, scan
//!  2 rdb        a snapshot as bytes, written and read
//!  2 pubsub     who has subscribed to what; messages
//!  2 script     the Lua engine: EVAL scripts and function libraries
//!  3 exec       a command as it runs, on one slice or one session
//!  4 mesh       inboxes, hold words, the sequencer, credits, doorbells
//!  4 gate       the gates in their order, and the router from slot to shard
//!  5 txn        lock table, queued commands, blocked clients
//!  5 feed       one ordered stream of commands from the journals of all partitions
//!  5 snapshot   all slices as one file, written and loaded
//!  6 replica    what a primary sends to a replica: the snapshot, then the feed
//!  6 aof        the files of the append-only file
//!  7 commands   one file or folder per family: cards, handlers, tests
//!  8 client     one connection: session, input, output, the batch in flight
//!  8 http       metrics and a status page, read-only
//!  8 partition  the one function that runs commands on keys, and all state that needs one order
//!  9 shard      the turn: completions, inbox, connections, sends, periodic work
//! 10 server     the process: command line, listeners, threads, signals
//! ```
//!
//! # The life of `SET key value`
//!
//! If the key is here, the command passes twelve files on its way from the turn to the entry:
//!
//! ```text
//!   shard/turn                  completions, then the inbox, then the connections that are ready
//!   +- shard/local/serve        one connection, batch by batch
//!      +- shard/local/gather    the commands at the head of its input that may run together
//!      |  +- net/input          cuts the received bytes into arguments
//!      |  +- gate/admit         may this command run now?
//!      |  '- gate/route         which shard owns its keys?
//!      '- partition/local       journals the batch, once
//!         '- partition/run      the run function: modes, times, counters, blocked clients
//!            '- exec/batch      runs the commands in order
//!               +- exec/stage         prefetches the memory that their first keys lead to
//!               '- commands/string    options, decision, reply
//!                  '- keyspace/slice  the entry: the only copy of the bytes
//! ```
//!
//! `shard/connections/output` brings the bytes in before the walk. After it, `output` sends the
//! replies from `net/outbox`, once per connection and turn.
//!
//! If the key is elsewhere, `serve` continues with `shard/remote`:
//!
//! ```text
//!   shard/remote/post      splits the batch: one envelope per shard, posted as one unit
//!   -> mesh                the owner's inbox
//!   -> shard/remote/borrow at the end of the turn
//!        |
//!        |--owner parked, little work--> borrow its partition -------------.
//!        '--else--> doorbell if parked --> its turn, shard/remote/receive -+
//!                                                                          v
//!      partition/locks     runs the part now, or when its locks are granted
//!      partition/parts     the part's commands, replies into its envelope
//!      partition/run       as above
//!      partition/outgoing  the reply, for the thread that holds the partition
//!   -> mesh                the inbox of the home, also if the home itself has borrowed
//!   -> shard/remote/receive, land
//!   -> client/flight       all parts are back: replies are merged in the order of the commands
//! ```
//!
//! # Several keys at once
//!
//! MSET and MGET are split into parts that are posted as one unit. A command that needs keys of
//! several shards together (RENAME, LMOVE) takes rounds under locks: the coordinator is
//! `shard/transaction`, the owners' side is `partition/locks` and `partition/parts`, and
//! [`txn::LockTable`] orders the locks. A command that discovers keys (SORT with patterns) locks
//! everything, and the owners hand their slices over to its home (`partition/handover`). So does a
//! script, unless its text proves which keys it uses (`commands/scripting`).
//! ARCHITECTURE.md draws the rounds.
//!
//! # The feed
//!
//! Every write leaves the commands that bring a replica to the same state, in the journal of its
//! partition ([`exec::Records`], `partition/journal`). [`feed`] merges all journals to one stream,
//! and [`replica`] sends it.
//!
//! # Tests
//!
//! Clock, randomness and driver are passed in. So a whole server of several shards runs in one
//! test under a seed (`tests/sim.rs`). `tests/hold_model.rs` checks the hold word in a model
//! checker.
#![deny(missing_docs)]

pub mod acl;
pub mod aof;
pub mod base;
pub mod client;
pub mod cluster;
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
pub mod pubsub;
pub mod rdb;
pub mod replica;
pub mod resp;
pub mod script;
pub mod server;
pub mod shard;
pub mod snapshot;
pub mod spec;
pub mod txn;
pub mod value;
