//! Where a cluster serves a command: here, or at another node. Hot on a node of a cluster.
//!
//! ```text
//!   keys of several slots             CROSSSLOT
//!   a slot without owner              CLUSTERDOWN
//!   another node's slot               MOVED, except with ASKING while this node imports the slot
//!   this node's slot                  here, unless the cluster is down
//!     and it migrates                 the partition looks at the keys: here, ASK or TRYAGAIN
//!   on the port of a shard            MOVED if another shard has the slot
//! ```
//! The checks run before a command is posted, and again where it runs, because the owner of a slot
//! may change in between. Only the partition knows which keys of an open slot are here.

use super::admit::Admission;
use crate::cluster::{Nodes, Opening, Viewer};
use crate::exec::{Entry, Facts, KeySlots, Process, Session};
use crate::keyspace::Slice;
use crate::resp::{Args, Error};
use crate::spec::{Databases, Flag};

/// The reply to a command whose keys are in several slots.
pub const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// The reply to a command on a slot without owner.
const NOT_SERVED: &str = "CLUSTERDOWN Hash slot not served";

/// The reply to a command that has only some of its keys here.
const TRY_AGAIN: &str = "TRYAGAIN Multiple keys request during rehashing of slot";

/// What a command does to a slot, as the checks need it.
#[derive(Clone, Copy, Debug)]
pub struct SlotUse {
    /// The slot.
    pub slot: u16,
    /// Whether the command may use a slot that this node imports.
    pub is_asking: bool,
    /// Whether it may change keys.
    pub writes: bool,
    /// Whether it is of sharded pub/sub.
    pub is_of_pubsub: bool,
    /// Whether it runs here if the slot is open, in whichever direction.
    pub serves_open: bool,
    /// Whether it uses keys of another database, which no command may do in an open slot.
    pub crosses_databases: bool,
}

impl SlotUse {
    /// Returns how a command uses a slot. `is_asking` says that the client has sent ASKING.
    pub fn of(entry: &Entry, slot: u16, is_asking: bool) -> SlotUse {
        let flags = entry.command.card.flags;
        SlotUse {
            slot,
            is_asking: is_asking || flags.has(Flag::ASKING),
            writes: flags.has(Flag::WRITE),
            is_of_pubsub: flags.has(Flag::PUBSUB),
            serves_open: entry.command.serves_open_slots,
            crosses_databases: false,
        }
    }
}

/// Sends a command to the node that serves its keys, if this is another one.
#[inline]
pub(super) fn redirection(admission: &Admission<'_, '_>) -> Result<(), Error> {
    if !admission.facts.has(Facts::CLUSTER) {
        return Ok(());
    }
    let Admission { entry, args, session, process, .. } = *admission;
    if !process.is_cluster {
        return match session.port_of {
            Some(shard) => on_own_keys(admission, shard),
            None => Ok(()),
        };
    }
    let slots = match (entry.executes_queued(), session.multi) {
        (false, _) => entry.key_slots(args),
        (true, Some(multi)) => multi.slots,
        (true, None) => return Ok(()),
    };
    let slot = match slots {
        KeySlots::None => return Ok(()),
        KeySlots::One(slot) => slot,
        KeySlots::Several => return Err(Error::other(CROSS_SLOT)),
    };
    let Some(cluster) = process.cluster.get() else { return Ok(()) };
    let nodes = cluster.nodes();
    if !(nodes.is_mine(slot) && nodes.is_closed() && nodes.is_up(true)) {
        let mut slot_use = SlotUse::of(entry, slot, session.is_asking);
        if entry.executes_queued() {
            slot_use.is_of_pubsub = session.multi.is_some_and(|multi| multi.is_of_pubsub);
        } else {
            slot_use.crosses_databases = crosses_databases(entry, args, session.db);
        }
        check_slot(&nodes, slot_use, process, address_of(session))?;
    }
    match session.port_of {
        Some(shard) if admission.router.owner(slot) != shard => {
            Err(moved_to_shard(admission, slot))
        }
        _ => Ok(()),
    }
}

/// Returns the address of this side of a client's connection, and whether it uses TLS.
fn address_of(session: &Session) -> (&str, bool) {
    (&session.local_address, session.is_tls)
}

/// What is told to a client whose connection is not known.
pub const UNKNOWN_CLIENT: (&str, bool) = ("", false);

/// Returns why this node does not serve a slot. For an open slot of this node, its keys decide.
/// `to` has the address of this side of the client's connection, and whether it uses TLS.
#[cold]
pub fn check_slot(
    nodes: &Nodes,
    slot_use: SlotUse,
    process: &Process,
    to: (&str, bool),
) -> Result<(), Error> {
    let SlotUse { slot, is_asking, .. } = slot_use;
    let Some(owner) = nodes.owner(slot) else { return Err(Error::other(NOT_SERVED)) };
    let imports = matches!(nodes.opening(slot), Some(Opening::Importing(_)));
    let is_open = imports || nodes.is_mine(slot) && nodes.opening(slot).is_some();
    if slot_use.crosses_databases && is_open {
        return Err(Error::other(TRY_AGAIN));
    }
    check_health(nodes, slot_use, process)?;
    if nodes.is_mine(slot) || imports && (is_asking || slot_use.serves_open) {
        return Ok(());
    }
    Err(redirected("MOVED", nodes, (slot, owner, 0), process, to))
}

/// Refuses commands while the cluster is down, as the settings say.
fn check_health(nodes: &Nodes, slot_use: SlotUse, process: &Process) -> Result<(), Error> {
    if nodes.is_up(true) {
        return Ok(());
    }
    let config = process.config.snapshot();
    if nodes.is_up(config.cluster_require_full_coverage) {
        return Ok(());
    }
    let down = Err(Error::other("CLUSTERDOWN The cluster is down"));
    match slot_use {
        SlotUse { is_of_pubsub: true, .. } if config.cluster_allow_pubsubshard_when_down => Ok(()),
        SlotUse { is_of_pubsub: true, .. } => down,
        _ if !config.cluster_allow_reads_when_down => down,
        SlotUse { writes: true, .. } => {
            Err(Error::other("CLUSTERDOWN The cluster is down and only accepts read commands"))
        }
        _ => Ok(()),
    }
}

/// The keys of a command in an open slot: how many are here, how many are not.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeysHere {
    /// Keys that are here.
    pub found: usize,
    /// Keys that are not here.
    pub missing: usize,
    /// Whether there are different keys.
    pub are_several: bool,
    /// Whether the command uses keys of another database, too.
    pub crosses_databases: bool,
}

impl KeysHere {
    /// Counts which keys of a command are in a slice. `own` is the command's database.
    pub fn look_in(&mut self, (entry, own): (&Entry, usize), args: &Args<'_>, slice: &mut Slice) {
        self.crosses_databases |= crosses_databases(entry, args, own);
        let found = entry.key_args(args).unwrap_or_default();
        for (at, _) in &found {
            let db = entry.key_database(args, *at, own);
            self.are_several |= args[*at] != args[found[0].0];
            let key = slice.key(&args[*at]);
            if db < slice.databases() && slice.peek(db, &key).is_some() {
                self.found += 1;
            } else {
                self.missing += 1;
            }
        }
    }
}

/// Returns whether a command uses keys of a database besides `own`.
fn crosses_databases(entry: &Entry, args: &Args<'_>, own: usize) -> bool {
    let is_elsewhere = |found: &(usize, _)| entry.key_database(args, found.0, own) != own;
    matches!(entry.command.card.databases, Databases::At(_))
        || entry.key_args(args).unwrap_or_default().iter().any(is_elsewhere)
}

/// Returns why a whole transaction on the keys of a slot cannot run here, if its commands are not
/// known: the slot was served and closed when the transaction began.
#[cold]
pub fn check_transaction(nodes: &Nodes, slot: u16, process: &Process) -> Result<(), Error> {
    let slot_use = SlotUse {
        slot,
        is_asking: false,
        writes: false,
        is_of_pubsub: false,
        serves_open: false,
        crosses_databases: false,
    };
    check_slot(nodes, slot_use, process, UNKNOWN_CLIENT)?;
    match nodes.opening(slot) {
        None => Ok(()),
        Some(_) => Err(Error::other(TRY_AGAIN)),
    }
}

/// Returns why a command in an open slot cannot run here. [`check_slot`] has let it pass.
#[cold]
pub fn check_keys(
    nodes: &Nodes,
    slot: u16,
    keys: KeysHere,
    process: &Process,
    client: (&str, bool),
) -> Result<(), Error> {
    let again = Err(Error::other(TRY_AGAIN));
    match nodes.opening(slot) {
        Some(_) if keys.crosses_databases => again,
        Some(Opening::Migrating(_)) if keys.missing > 0 && keys.found > 0 => again,
        Some(Opening::Migrating(to)) if keys.missing > 0 => {
            Err(redirected("ASK", nodes, (slot, to, 0), process, client))
        }
        Some(Opening::Importing(_)) if keys.missing > 0 && keys.are_several => again,
        _ => Ok(()),
    }
}

/// Returns the error that sends a client to a node, or to a shard of this process.
#[cold]
fn redirected(
    code: &str,
    nodes: &Nodes,
    (slot, number, shard): (u16, usize, usize),
    process: &Process,
    to: (&str, bool),
) -> Error {
    let (config, map) = (process.config.snapshot(), process.slot_map.snapshot());
    let (local_address, is_tls) = to;
    let viewer = Viewer { config: &config, local_address, is_tls, map: &map, shard: None };
    let (endpoint, port) = viewer.address(nodes, number, shard);
    Error::other(format!("{code} {slot} {endpoint}:{port}"))
}

/// On the port of a shard, without a cluster: the shard must have all keys of a command.
fn on_own_keys(admission: &Admission<'_, '_>, shard: u16) -> Result<(), Error> {
    match admission.entry.may_have_keys() {
        true => check_owners(admission, shard),
        false => Ok(()),
    }
}

fn check_owners(admission: &Admission<'_, '_>, shard: u16) -> Result<(), Error> {
    let Admission { entry, args, router, .. } = *admission;
    let (mut first, mut is_one) = (None, true);
    entry.for_each_slot(args, &mut |slot| {
        let (_, known) = *first.get_or_insert((slot, router.owner(slot)));
        is_one &= known == router.owner(slot);
    });
    match first {
        _ if !is_one => Err(Error::other(CROSS_SLOT)),
        Some((slot, other)) if other != shard => Err(moved_to_shard(admission, slot)),
        _ => Ok(()),
    }
}

/// Returns the error that sends a client to the port of the shard that owns a slot.
#[cold]
fn moved_to_shard(admission: &Admission<'_, '_>, slot: u16) -> Error {
    let Admission { session, process, router, .. } = *admission;
    let Some(cluster) = process.cluster.get() else { return Error::other(NOT_SERVED) };
    let nodes = cluster.nodes();
    let at = (slot, nodes.my_number(), usize::from(router.owner(slot)));
    redirected("MOVED", &nodes, at, process, address_of(session))
}
