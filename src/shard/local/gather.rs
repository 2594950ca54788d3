//! Gathers one batch: the commands at the head of a connection's input that may run together. Hot.
//!
//! Commands on keys run together, up to `BATCH_COMMANDS_MAX`, or fewer if they have many arguments.
//! A session command, a refused command and a protocol error stand alone, because later commands
//! may depend on them.

use crate::acl::Denial;
use crate::client::Connection;
use crate::exec::{Awaited, CommandTable, Entry, Facts, Item, KeySlots, Process, Session};
use crate::gate::{Admission, Place, Router, admit, find, is_http};
use crate::mesh::Port;
use crate::net::Request;
use crate::partition::Env;
use crate::resp::{Args, Error, Limits, ProtocolError, Span};
use crate::shard::limits::{BATCH_ARGS_KEPT_MAX, BATCH_ARGS_MAX};
use crate::spec::Flag;

/// The batch in progress, reused from turn to turn.
#[derive(Default)]
pub(in crate::shard) struct Batch {
    pub(in crate::shard) items: Vec<Item>,
    pub(in crate::shard) places: Vec<Place>,
    pub(in crate::shard) spans: Vec<Span>,
    /// Whether it has commands whose work grows with their values.
    pub(in crate::shard) is_bulky: bool,
    /// Whether all of its commands run here.
    pub(in crate::shard) is_local: bool,
    /// Whether no other command may follow.
    is_complete: bool,
    /// Whether a command of it publishes a message.
    publishes: bool,
    /// Whether it is one command that may block.
    pub(in crate::shard) may_wait: bool,
    /// Index of the traced command.
    pub(in crate::shard) traced: Option<u32>,
    /// Its commands in the input, if the batch may have to be taken back.
    requests: Vec<Request>,
    /// Number of commands that were queued for a transaction instead.
    queued: usize,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.queued == 0
    }

    /// Releases the memory that a command with very many arguments has left.
    pub(in crate::shard) fn shrink(&mut self) {
        self.spans.shrink_to(BATCH_ARGS_KEPT_MAX);
    }

    fn clear(&mut self) {
        self.items.clear();
        self.places.clear();
        self.spans.clear();
        self.shrink();
        self.is_local = true;
        self.is_bulky = false;
        self.is_complete = false;
        self.may_wait = false;
        self.publishes = false;
        self.traced = None;
        self.requests.clear();
        self.queued = 0;
    }

    /// Returns whether the last command runs on other shards than a command at `place`.
    fn is_elsewhere(&self, place: Place) -> bool {
        self.places.last().is_some_and(|last| *last != place || place == Place::Several)
    }

    /// Adds a command on keys. Returns why it is not added, if it may not run behind the others.
    #[inline]
    fn add(
        &mut self,
        item: Item,
        expected: Expected,
        is_local: bool,
        place: Place,
    ) -> Option<Gathered> {
        let Expected { may_be_long, may_walk, may_wait, may_forward, publishes, is_told } =
            expected;
        let is_torn = (publishes && !self.is_local) || (self.publishes && !is_local);
        if is_torn && !self.is_empty() {
            // A message takes effect when its command runs, so it must not be part of a unit over
            // several shards, whose other parts run at other times.
            return Some(Gathered::Nothing);
        }
        self.publishes |= publishes;
        if (may_wait || may_walk || is_told) && !self.is_empty() {
            // Earlier commands get their replies before this one may block or walk.
            return Some(Gathered::Nothing);
        }
        self.is_bulky |= may_be_long;
        self.is_complete |= may_wait || may_walk || may_forward || is_told;
        self.may_wait = may_wait;
        self.is_local &= is_local;
        self.items.push(item);
        self.places.push(place);
        None
    }

    /// Returns a shard that the batch needs and to which there is no credit. A batch for its own
    /// shard alone needs none.
    #[cold]
    pub(in crate::shard) fn lacks_credit(&self, port: &Port, shards: usize) -> Option<u16> {
        if self.is_local {
            return None;
        }
        let has_none = |shard: &u16| !port.has_credit(usize::from(*shard));
        self.places.iter().find_map(|place| match place {
            Place::Shard(shard) => Some(*shard).filter(has_none),
            Place::Several => (0..shards as u16).find(has_none),
        })
    }

    /// Gives all commands back to the input that they came from.
    pub(in crate::shard) fn take_back(&mut self, connection: &mut Connection) {
        for request in self.requests.drain(..).rev() {
            connection.input.rewind(&request, &mut self.spans);
        }
        connection.input.consume();
    }
}

/// What a command on keys may do.
struct Expected {
    /// Its work grows with its values, and may be much.
    may_be_long: bool,
    /// It runs in slices.
    may_walk: bool,
    /// It blocks.
    may_wait: bool,
    /// It unblocks a client whose command is forwarded.
    may_forward: bool,
    /// It publishes a message.
    publishes: bool,
    /// Its client is tracking, and is told directly behind the reply what it has changed.
    is_told: bool,
}

/// What the head of the input holds.
pub(in crate::shard) enum Gathered {
    /// No complete command.
    Nothing,
    /// A batch of commands on keys.
    Keys,
    /// One session command.
    Session(Item),
    /// One command on keys of several shards, which must be gathered.
    Joint(Item),
    /// One command on very many keys.
    ManyKeys(Item),
    /// This number of commands, which were queued until EXEC.
    Queued(usize),
    /// One command that must not run before a pause is over. It stays in the input.
    Postponed(&'static Entry),
    /// One command that a gate has refused.
    Refused(Option<&'static Entry>, Error),
    /// One command that the rules of the client's user forbid, and what the user lacks.
    Denied(&'static Entry, Denial, Vec<u8>),
    /// Bytes that are not a command.
    Malformed(ProtocolError),
    /// A line of an HTTP request.
    Http,
}

impl Gathered {
    /// Returns whether commands on keys run now.
    pub(in crate::shard) fn runs_keys(&self) -> bool {
        matches!(self, Gathered::Keys | Gathered::Joint(_) | Gathered::ManyKeys(_))
    }

    /// Returns the command that runs, if it stands alone.
    pub(in crate::shard) fn alone(&self) -> Option<Item> {
        match self {
            Gathered::Session(item) | Gathered::Joint(item) | Gathered::ManyKeys(item) => {
                Some(*item)
            }
            _ => None,
        }
    }
}

/// What gathering needs in addition to the connection.
pub(in crate::shard) struct Gatherer {
    pub(in crate::shard) table: &'static CommandTable,
    pub(in crate::shard) home: u16,
    pub(in crate::shard) facts: Facts,
    pub(in crate::shard) bulk_len_max: u64,
    /// Whether commands of a batch have to take effect in their order, on all shards.
    pub(in crate::shard) keeps_order: bool,
    /// The most commands of this batch.
    pub(in crate::shard) commands_max: usize,
    /// Whether the batch may have to be taken back, because a shard has no credits.
    pub(in crate::shard) may_stall: bool,
    /// The weight from which on a command is offloaded, in elements.
    pub(in crate::shard) long_elements_min: usize,
}

impl Gatherer {
    /// Lets all commands pass, because they are part of the data that is loaded.
    #[cold]
    pub(in crate::shard) fn obey(&mut self) {
        self.facts = Facts::NONE;
        self.bulk_len_max = u64::MAX;
    }

    /// Fills the batch from the connection's input.
    pub(in crate::shard) fn gather(
        &self,
        connection: &mut Connection,
        batch: &mut Batch,
        env: &Env,
    ) -> Gathered {
        batch.clear();
        let limits = Limits {
            bulk_len_max: self.bulk_len_max,
            authenticated: connection.session.authenticated,
        };
        while batch.items.len() + batch.queued < self.commands_max
            && batch.spans.len() < BATCH_ARGS_MAX
            && !batch.is_complete
        {
            let request = match connection.input.next(&limits, &mut batch.spans) {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(error) if batch.is_empty() => return Gathered::Malformed(error),
                Err(_) => break,
            };
            let Some(alone) = self.take(connection, &request, batch, env) else {
                if self.may_stall {
                    batch.requests.push(request);
                }
                continue;
            };
            if matches!(alone, Gathered::Postponed(_)) || !batch.is_empty() {
                connection.input.rewind(&request, &mut batch.spans);
            }
            if batch.is_empty() {
                return alone;
            }
            break;
        }
        match (batch.items.is_empty(), batch.queued) {
            (true, 0) => Gathered::Nothing,
            (true, queued) => Gathered::Queued(queued),
            (false, _) => Gathered::Keys,
        }
    }

    /// Adds one command to the batch. Returns none, or why the command stands alone.
    #[inline]
    fn take(
        &self,
        connection: &mut Connection,
        request: &Request,
        batch: &mut Batch,
        env: &Env,
    ) -> Option<Gathered> {
        let (process, router) = (&*env.process, &env.router);
        let (text, large) = connection.input.parts();
        let spans = &batch.spans[request.first as usize..][..request.argc as usize];
        let args = Args::new(text, spans, large);
        let entry = match find(self.table, &args) {
            Ok(entry) => entry,
            Err(_) if is_http(&args[0]) => return Some(Gathered::Http),
            // An unauthenticated client does not learn which commands exist.
            Err(_) if !connection.session.authenticated => {
                return Some(Gathered::Refused(None, Error::NoAuth));
            }
            Err(error) => return Some(Gathered::Refused(None, error)),
        };
        let (session, facts) = (&connection.session, self.facts);
        let admission = Admission { entry, args: &args, session, facts, process, router };
        if let Err(error) = admit(&admission) {
            return Some(refused(&admission, error));
        }
        if self.facts.has(Facts::HELD) && self.is_postponed(&admission) {
            return Some(Gathered::Postponed(entry));
        }
        if connection.session.multi.is_some() && entry.is_queued_in_multi() {
            enqueue(connection, entry, spans, process);
            batch.queued += 1;
            return None;
        }
        let db = connection.session.db;
        let discovers = entry.discovers_keys(&args, process);
        let has_many_keys = self.has_many_keys((entry, discovers), &args, router);
        let with = (entry, discovers, has_many_keys);
        let (place, slot) = self.place(with, &args, db, env);
        let place = entry.place_on_port(connection.session.port_of).map_or(place, Place::Shard);
        let item = Item {
            entry,
            first: request.first,
            argc: request.argc,
            slot,
            db: db as u16,
            at: batch.items.len() as u32,
            sees_due: connection.session.is_import_source,
            is_quiet: connection.session.is_no_touch,
            is_tracked: connection.session.tracks_reads(),
            is_asking: connection.session.is_asking,
            is_tls: connection.session.is_tls,
            is_on_port: connection.session.port_of.is_some(),
            is_part: false,
            discovers,
            is_counted: false,
            refused: None,
            user: connection.session.user_in((entry, db), &args, process.databases),
        };
        let is_joint = has_many_keys || needs_locks(entry, &connection.session);
        if !entry.is_on_keys() || place == Place::Several && is_joint {
            return Some(stands_alone(item, has_many_keys));
        }
        if self.keeps_order && batch.is_elsewhere(place) {
            // The notifications of a pipeline have the order of its commands.
            return Some(Gathered::Nothing);
        }
        let expected = self.expect(entry, &args, &connection.session, process);
        batch.add(item, expected, place == Place::Shard(self.home), place)
    }

    /// Returns what a command on keys may do, before it runs.
    #[inline]
    fn expect(
        &self,
        entry: &Entry,
        args: &Args<'_>,
        session: &Session,
        process: &Process,
    ) -> Expected {
        let may_be_long = entry.may_be_long(args.len(), self.long_elements_min);
        Expected {
            may_be_long,
            may_walk: may_be_long && entry.may_walk(args, self.long_elements_min),
            may_wait: entry.may_wait(args),
            publishes: entry.publishes(),
            is_told: session.tracking.is_some() && !entry.reads_tracked(),
            may_forward: process.awaited.has_far() && may_forward(entry, args, &process.awaited),
        }
    }
}

/// Returns whether a command may unblock a client whose command is then forwarded to its home. The
/// commands behind it in the pipeline must see what the forwarded command has done.
#[cold]
fn may_forward(entry: &Entry, args: &Args<'_>, awaited: &Awaited) -> bool {
    if !entry.may_change_keys() {
        return false;
    }
    let keys = entry.key_args(args).unwrap_or_default();
    // A command without keys, or a script, may change any key.
    keys.is_empty()
        || entry.command.runs_commands
        || keys.iter().any(|(at, _)| awaited.may_await(&args[*at]))
}

impl Gatherer {
    /// Returns whether a command has too many keys for one step: it runs as a unit in steps.
    #[inline]
    fn has_many_keys(
        &self,
        (entry, discovers): (&Entry, bool),
        args: &Args<'_>,
        router: &Router,
    ) -> bool {
        let (argc, enough) = (args.len(), self.long_elements_min);
        entry.has_many_keys(argc, enough)
            || entry.gathers_many_keys(argc, enough)
                && self.gathers_in_steps((entry, discovers), args, router)
    }

    /// Returns whether a command that gathers keys and has very many arguments runs in steps. One
    /// that may block does not: it lists its client at the owners of its keys.
    #[cold]
    fn gathers_in_steps(
        &self,
        (entry, discovers): (&Entry, bool),
        args: &Args<'_>,
        router: &Router,
    ) -> bool {
        let is_one = router.place((entry, discovers), args, self.home).0 != Place::Several;
        let enough = self.long_elements_min;
        !discovers && !entry.may_wait(args) && entry.gathers_in_steps(args, is_one, enough)
    }

    /// Returns where a command runs, and the hash slot of its first key; several shards if it has
    /// very many keys.
    #[inline]
    fn place(
        &self,
        (entry, discovers, has_many_keys): (&Entry, bool, bool),
        args: &Args<'_>,
        db: usize,
        env: &Env,
    ) -> (Place, u16) {
        if has_many_keys {
            return (Place::Several, 0);
        }
        let (place, slot) = env.router.place((entry, discovers), args, self.home);
        let keys = &|| env.process.boards.database(db)[0];
        (env.router.walk_place(entry, args, place, keys), slot)
    }

    /// Returns whether a command waits for the end of a pause, or of a step in which hash slots
    /// move. Replicas are exempt from a pause. EXEC is treated like the commands that it runs.
    #[cold]
    fn is_postponed(&self, admission: &Admission<'_, '_>) -> bool {
        let Admission { entry, args, session, process, .. } = *admission;
        let is_routed = entry.is_on_keys() || entry.may_have_keys() || entry.executes_queued();
        if self.facts.has(Facts::MOVING) && is_routed {
            return true;
        }
        let mut flags = entry.command.card.flags;
        if let Some(multi) = session.multi.filter(|_| entry.executes_queued()) {
            let writes = multi.may_write || multi.may_replicate;
            flags = if writes { flags.and(Flag::WRITE) } else { flags };
        }
        let is_exempt = !self.facts.has(Facts::PAUSED_ALL) && entry.only_reads(args, process);
        !session.replica.is_attached && self.facts.postpones(flags) && !is_exempt
    }
}

/// Returns a command that a gate has refused. A denial by rules also brings what the user lacks.
#[cold]
fn refused(admission: &Admission<'_, '_>, error: Error) -> Gathered {
    let Admission { entry, args, session, process, .. } = *admission;
    match session.refusal(entry, args, process.databases) {
        Some(denial) if error.code() == "NOPERM" => {
            Gathered::Denied(entry, denial, entry.denied_object(denial, args))
        }
        _ => Gathered::Refused(Some(entry), error),
    }
}

/// Returns whether a command on several shards has to lock its keys: it gathers them, or its client
/// has subscriptions and sees when messages come.
fn needs_locks(entry: &Entry, session: &Session) -> bool {
    entry.gathers_keys() || session.has_subscriptions() && !entry.surveys_keys()
}

/// Returns a command that does not run in a batch: on the session, or on many keys together.
fn stands_alone(item: Item, has_many_keys: bool) -> Gathered {
    match has_many_keys {
        _ if !item.entry.is_on_keys() => Gathered::Session(item),
        true => Gathered::ManyKeys(item),
        false => Gathered::Joint(item),
    }
}

/// Adds a command to the queue of its session's transaction.
fn enqueue(connection: &mut Connection, entry: &'static Entry, spans: &[Span], process: &Process) {
    let (text, large) = connection.input.parts();
    let mut args = Args::new(text, spans, large);
    let selected = entry.selected_database(&args, process.databases);
    let slots = if process.is_cluster { entry.key_slots(&args) } else { KeySlots::None };
    let may_replicate =
        entry.command.card.flags.has(Flag::MAY_REPLICATE) && !entry.only_reads(&args, process);
    connection.queue.get_or_insert_default().push(entry, 0, 0, &mut args);
    let multi = connection.session.multi.as_mut().expect("client is in a transaction");
    multi.commands += 1;
    if !multi.is_doomed {
        multi.db = selected.unwrap_or(multi.db);
        multi.slots.join(slots);
        multi.is_of_pubsub |= entry.command.card.flags.has(Flag::PUBSUB);
    }
    multi.may_grow |= entry.command.card.flags.has(Flag::DENYOOM);
    multi.may_write |= entry.command.card.flags.has(Flag::WRITE);
    multi.may_replicate |= may_replicate;
}
