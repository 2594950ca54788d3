//! Streams: listpack nodes, counters, and consumer groups.
//!
//! ```text
//!   stream    length ( id16 listpack )*  entries  last  [ first  deleted  added ]
//!             length group*
//!   group     name  last  [ read ]  length ( id16 i64 given  length times )*  length consumer*
//!   consumer  name  i64 seen  [ i64 active ]  length id16*
//!
//!   last, first, deleted   two lengths     id16   16 bytes, big-endian
//! ```
//! The fields in brackets are missing in version 1; `active` is new in version 3. The IDs of
//! pending entries are stored in the group, and again in the consumer that owns each.

use super::decode::{Decoder, Fault};
use super::encode::Encoder;
use super::read::each;
use crate::value::stream::{Group, Id, Log, Stream};
use crate::value::string::IntText;

/// The value of `read` if the number of entries read is unknown.
const READ_UNKNOWN: u64 = u64::MAX;

const NO_NODE: Fault = Fault::Corrupt("Stream listpack integrity check failed.");
const NO_COUNT: Fault =
    Fault::Corrupt("Stream length inconsistent with the number of valid entries");
const GROUP_TWICE: Fault = Fault::Corrupt("Duplicated consumer group name");
const CONSUMER_TWICE: Fault = Fault::Corrupt("Duplicate stream consumer detected.");
const PENDING_TWICE: Fault = Fault::Corrupt("Duplicated global PEL entry of a consumer group");
const OWNER_TWICE: Fault = Fault::Corrupt("Duplicated consumer PEL entry, or none of the group's");
const NO_OWNER: Fault = Fault::Corrupt("Stream CG PEL entry without consumer");

impl Encoder<'_> {
    pub(super) fn stream(&mut self, stream: &Stream) {
        let log = stream.log();
        self.length(log.nodes_len() as u64);
        for node in log.nodes() {
            let (id, listpack) = node.parts();
            self.string(&id.to_bytes());
            self.string(listpack);
            self.spill();
        }
        self.length(log.len());
        self.id(log.last_id());
        self.id(log.first_id());
        self.id(log.max_deleted_id());
        self.length(log.entries_added());
        let groups = stream.groups();
        self.length(groups.len() as u64);
        for (name, group) in groups {
            self.string(name);
            self.group(group);
        }
    }

    fn group(&mut self, group: &Group) {
        self.id(group.last_id);
        self.length(group.entries_read.map_or(READ_UNKNOWN, |read| read as u64));
        self.length(group.pending_len() as u64);
        for (id, pending) in group.pending_from(Id::MIN) {
            self.out.extend_from_slice(&id.to_bytes());
            self.out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
            self.length(pending.deliveries);
            self.spill();
        }
        self.length(group.consumers_len() as u64);
        for consumer in group.consumers() {
            self.string(&consumer.name);
            self.out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
            self.out.extend_from_slice(&consumer.active_ms.to_le_bytes());
            self.length(consumer.pending() as u64);
            for id in consumer.ids_from(Id::MIN) {
                self.out.extend_from_slice(&id.to_bytes());
                self.spill();
            }
        }
    }

    fn id(&mut self, id: Id) {
        self.length(id.ms);
        self.length(id.seq);
    }
}

impl Decoder<'_> {
    /// Reads a stream in version 1, 2 or 3.
    pub(super) fn stream(&mut self, version: u8) -> Result<Stream, Fault> {
        let mut stream = Stream::default();
        let buffer = &mut IntText::new();
        let log = stream.log_mut();
        each(self, |from| {
            let key = from.text()?;
            let id = key.bytes(buffer).try_into().map_err(|_| NO_NODE)?;
            let listpack = from.text()?.into_bytes().into_owned();
            if log.load_node(Id::of_bytes(id), listpack) { Ok(()) } else { Err(NO_NODE) }
        })?;
        self.counters(version, log)?;
        each(self, |from| {
            let name = from.text()?;
            let last_id = from.id()?;
            let entries_read = match version {
                1 => stream.log().count_to(last_id),
                _ => match from.length()? {
                    READ_UNKNOWN => None,
                    read => Some(read as i64),
                },
            };
            let added = stream.add_group(name.bytes(buffer), last_id, entries_read);
            from.group(version, added.ok_or(GROUP_TWICE)?)
        })?;
        Ok(stream)
    }

    fn counters(&mut self, version: u8, log: &mut Log) -> Result<(), Fault> {
        let len = self.length()?;
        let last_id = self.id()?;
        let (mut deleted_id, mut added) = (Id::MIN, len);
        if version > 1 {
            // The first ID is ignored and searched for instead.
            self.id()?;
            deleted_id = self.id()?;
            added = self.length()?;
        }
        let is_last = log.last_entry_id().is_none_or(|last| last <= last_id);
        if len != log.len() || added < len || !is_last {
            return Err(NO_COUNT);
        }
        log.load_counters(last_id, None, deleted_id, added);
        Ok(())
    }

    fn group(&mut self, version: u8, group: &mut Group) -> Result<(), Fault> {
        each(self, |from| {
            let id = Id::of_bytes(from.array()?);
            let delivered_ms = i64::from_le_bytes(from.array()?);
            let deliveries = from.length()?;
            let is_new = group.load_pending(id, delivered_ms, deliveries);
            if is_new { Ok(()) } else { Err(PENDING_TWICE) }
        })?;
        each(self, |from| {
            let name = from.text()?;
            let seen_ms = i64::from_le_bytes(from.array()?);
            let active_ms = match version {
                3 => i64::from_le_bytes(from.array()?),
                _ => seen_ms,
            };
            let buffer = &mut IntText::new();
            let consumer = group.add_consumer(name.bytes(buffer), seen_ms, active_ms);
            let consumer = consumer.ok_or(CONSUMER_TWICE)?;
            each(from, |from| {
                let id = Id::of_bytes(from.array()?);
                if group.load_owner(id, consumer) { Ok(()) } else { Err(OWNER_TWICE) }
            })
        })?;
        if group.is_whole() { Ok(()) } else { Err(NO_OWNER) }
    }

    fn id(&mut self) -> Result<Id, Fault> {
        Ok(Id::new(self.length()?, self.length()?))
    }
}
