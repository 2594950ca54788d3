//! A batch in flight: its parts on other shards, and how their replies become the client's replies
//! in order.

use crate::base::number::parse_i64;
use crate::commands::merge_debug;
use crate::exec::{Entry, Merge, SlotStats};
use crate::mesh::{Envelope, FlightId, Survey, TxnPart};
use crate::observe::LoggedArgs;
use crate::resp::{Error, Output, Protocol, Reply};
use std::borrow::Cow;
use std::ops::Range;

/// The most members whose memory an empty flight keeps. One command may have a million keys.
pub const MEMBERS_KEPT_MAX: usize = 1024;

/// Bytes of the first lines of a reply: at most two numbers with their types and line ends.
const HEAD_BYTES: usize = 64;

/// Source of the reply to one command.
#[derive(Clone, Debug)]
pub enum ReplySource {
    /// The next reply of this part.
    One(u16),
    /// The next reply of each part in this range of the members, merged.
    Merged(Merge, Range<u32>),
    /// Like `Merged`, for a command whose keys went to each part in several commands. The members
    /// are the part of each key if the replies are merged by key, and the part of each such command
    /// otherwise.
    Spread(Merge, Range<u32>),
}

/// One batch whose parts are on several shards, or all on one other shard.
#[derive(Debug, Default)]
pub struct Flight {
    /// Distinguishes the flights of a connection.
    pub number: FlightId,
    /// Reply sources of the commands, in the order in which the commands were sent.
    pub order: Vec<ReplySource>,
    /// Members of merged replies: the part of each key, or each part once.
    pub members: Vec<u16>,
    /// Answered parts.
    parts: Vec<Option<Box<Envelope>>>,
    waiting: usize,
    /// Arguments of commands that the parts do not hold, with the commands' indexes.
    pub written: Vec<(u32, &'static Entry, LoggedArgs)>,
    /// The session command that asks all shards. Its run is recorded when all shards have answered.
    pub asks: Option<&'static Entry>,
    /// Nanoseconds that the session command took at home.
    pub own_ns: u64,
    /// Whether a part reports a slow command.
    has_spent: bool,
    /// Whether its transaction has all its locks, so that pushes come behind its replies.
    is_settled: bool,
    /// Whether a part has not run, so that the whole unit must be sent again.
    is_torn: bool,
}

/// How far the replies of a part have been used.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// Number of commands whose replies were used.
    used: usize,
    /// Next element of the merged array that is being written.
    element: u32,
}

/// How far the replies of a flight are merged.
#[derive(Debug, Default)]
pub struct Merging {
    cursors: Vec<Cursor>,
    /// Index of the next command.
    at: usize,
    /// Number of members of this command's reply that are merged, if it is spread.
    member: usize,
    /// Sum of these members.
    sum: i64,
    /// The part and the number of the first of them that is an error.
    failed: Option<(u16, usize)>,
}

impl Flight {
    /// Records that `parts` parts were sent.
    pub fn launch(&mut self, parts: usize) {
        assert!(parts > 0 && self.waiting == 0);
        self.is_torn = false;
        self.is_settled = false;
        self.parts.clear();
        self.parts.resize_with(parts, || None);
        self.waiting = parts;
    }

    /// Records that `parts` parts, which were at home, were sent again for the next round of their
    /// transaction.
    pub fn relaunch(&mut self, parts: usize) {
        assert!(self.waiting == 0, "the previous round must end first");
        self.waiting = parts;
    }

    /// Iterates over the parts that are at home.
    pub fn parts(&self) -> impl Iterator<Item = &Envelope> {
        self.parts.iter().flatten().map(|part| &**part)
    }

    /// Takes a part that is at home.
    pub fn take(&mut self, part: usize) -> Box<Envelope> {
        self.parts[part].take().expect("the part is at home")
    }

    /// Takes the parts that are at home among the first `count` parts.
    pub fn take_first(&mut self, count: usize) -> Vec<Box<Envelope>> {
        self.parts[..count].iter_mut().filter_map(Option::take).collect()
    }

    /// Puts a part back that is not sent in this round.
    pub fn put_back(&mut self, envelope: Box<Envelope>) {
        let part = usize::from(envelope.part);
        assert!(self.parts[part].is_none());
        self.has_spent |= !envelope.spent.is_empty();
        self.parts[part] = Some(envelope);
    }

    /// Returns the transaction part of a part that is at home.
    pub fn txn_mut(&mut self, part: usize) -> &mut TxnPart {
        self.parts[part].as_mut().expect("the part is at home").txn_mut()
    }

    /// Returns the shard of a part that is at home.
    pub fn owner(&self, part: usize) -> u16 {
        self.part(part as u16).owner
    }

    /// Returns whether a part that is at home has work for its shard.
    pub fn has_work(&self, part: usize) -> bool {
        let hands_over = |txn: &TxnPart| txn.takes_slice || txn.slice.is_some();
        self.has_commands_or_keys(part) || self.part(part as u16).txn().is_some_and(hands_over)
    }

    /// Returns whether a part that is at home has commands, stores or fetches.
    pub fn has_commands_or_keys(&self, part: usize) -> bool {
        let envelope = self.part(part as u16);
        let has_keys = |txn: &TxnPart| !txn.stores.is_empty() || !txn.fetches.is_empty();
        !envelope.items.is_empty() || envelope.txn().is_some_and(has_keys)
    }

    /// Removes the round's commands from all parts, which are at home.
    pub fn next_round(&mut self) {
        self.parts.iter_mut().flatten().for_each(|part| part.next_round());
    }

    /// Removes and returns the parts from number `first` on, which are at home.
    pub fn take_from(&mut self, first: usize) -> Vec<Box<Envelope>> {
        self.parts.drain(first..).flatten().collect()
    }

    /// Adds an empty part and returns its number.
    pub fn add_part(&mut self) -> u16 {
        self.parts.push(None);
        self.parts.len() as u16 - 1
    }

    /// Prepares `parts` empty parts, none of them sent yet.
    pub fn prepare(&mut self, parts: usize) {
        self.parts.clear();
        self.parts.resize_with(parts, || None);
    }

    /// Records that a part was answered.
    pub fn land(&mut self, envelope: Box<Envelope>) {
        let part = usize::from(envelope.part);
        assert!(self.parts[part].is_none() && self.waiting > 0, "a part is answered once");
        self.has_spent |= !envelope.spent.is_empty();
        self.is_torn |= envelope.survey == Survey::Torn;
        self.parts[part] = Some(envelope);
        self.waiting -= 1;
    }

    /// Makes pushes that arrive from now on come behind its replies.
    pub fn set_settled(&mut self) {
        self.is_settled = true;
    }

    /// Returns whether pushes that arrive now come behind its replies.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Returns whether all parts were answered.
    pub fn has_landed(&self) -> bool {
        self.waiting == 0
    }

    /// Returns whether all parts were answered, and the whole unit must be sent again.
    pub fn is_torn(&self) -> bool {
        self.is_torn && self.has_landed()
    }

    /// Writes all replies in the order of their commands. `draw` returns a random number below its
    /// argument. Calls `done` after each reply with the command's index.
    pub fn merge(
        &self,
        protocol: Protocol,
        out: &mut Output,
        draw: impl FnMut(u64) -> u64,
        done: impl FnMut(usize, &Output),
    ) {
        let (mut merging, mut left) = (Merging::default(), usize::MAX);
        let is_over = self.merge_some((&mut merging, &mut left), protocol, out, draw, done);
        assert!(is_over, "all replies are merged in one step");
    }

    /// Writes further replies, like [`Flight::merge`], and reduces `left` by their number of
    /// members. Returns false if it has stopped because nothing is left.
    pub fn merge_some(
        &self,
        (merging, left): (&mut Merging, &mut usize),
        protocol: Protocol,
        out: &mut Output,
        mut draw: impl FnMut(u64) -> u64,
        mut done: impl FnMut(usize, &Output),
    ) -> bool {
        assert!(self.has_landed());
        merging.cursors.resize(self.parts.len(), Cursor::default());
        while let Some(source) = self.order.get(merging.at) {
            if *left == 0 {
                return false;
            }
            match source {
                ReplySource::One(part) => {
                    *left -= 1;
                    let range = self.range(*part, &merging.cursors);
                    out.append_range(&self.part(*part).output, range);
                    merging.cursors[usize::from(*part)].used += 1;
                }
                ReplySource::Merged(merge, range) => {
                    let members = &self.members[range.start as usize..range.end as usize];
                    let reply = Reply::new(out, protocol);
                    self.merge_one(*merge, members, &mut merging.cursors, reply, &mut draw);
                    *left = left.saturating_sub(members.len().max(1));
                }
                ReplySource::Spread(merge, range) => {
                    let members = &self.members[range.start as usize..range.end as usize];
                    let reply = Reply::new(out, protocol);
                    if !self.merge_spread(*merge, members, merging, reply, left) {
                        return false;
                    }
                }
            }
            done(merging.at, out);
            merging.at += 1;
        }
        true
    }

    /// Merges further members of a reply that is spread. Returns whether the reply is complete.
    fn merge_spread(
        &self,
        merge: Merge,
        members: &[u16],
        merging: &mut Merging,
        mut reply: Reply<'_>,
        left: &mut usize,
    ) -> bool {
        if merge == Merge::ByKey && merging.member == 0 {
            reply.array(members.len());
        }
        for &part in &members[merging.member..] {
            if *left == 0 {
                return false;
            }
            *left -= 1;
            merging.member += 1;
            if merge == Merge::ByKey {
                self.append_element(part, &mut merging.cursors, &mut reply);
                continue;
            }
            let head = self.head(part, &merging.cursors);
            let used = &mut merging.cursors[usize::from(part)].used;
            if head.starts_with(b"-") {
                merging.failed.get_or_insert((part, *used));
            } else if merge == Merge::Sum {
                merging.sum += first_line(&head).0;
            }
            *used += 1;
        }
        match (merging.failed.take(), merge) {
            (Some((part, number)), _) => {
                let (begin, end) = self.part(part).reply(number);
                reply.append_range(&self.part(part).output, begin.offset()..end.offset());
            }
            (None, Merge::Sum) => reply.integer(std::mem::take(&mut merging.sum)),
            (None, Merge::Ok) => reply.ok(),
            (None, Merge::ByKey) => {}
            (None, merge) => unreachable!("{merge:?} does not merge the replies of some keys"),
        }
        (merging.member, merging.sum) = (0, 0);
        true
    }

    /// Appends the next element of a part's replies, which are arrays. An error stands for itself.
    fn append_element(&self, part: u16, cursors: &mut [Cursor], reply: &mut Reply<'_>) {
        let envelope = self.part(part);
        let cursor = cursors[usize::from(part)];
        let (begin, end) = envelope.reply(cursor.used);
        let count = end.elements_since(begin);
        let mut range = begin.offset()..end.offset();
        if count > 0 {
            range = envelope.output.element(begin, cursor.element as usize);
        }
        if count > 0 && cursor.element == 0 {
            range.start += first_line(&self.head(part, cursors)).1;
        }
        reply.append_range(&envelope.output, range);
        let cursor = &mut cursors[usize::from(part)];
        cursor.element += 1;
        if cursor.element as usize >= count {
            (cursor.used, cursor.element) = (cursor.used + 1, 0);
        }
    }

    /// Returns whether its commands have anything to log.
    pub fn is_notable(&self) -> bool {
        self.has_spent || !self.written.is_empty()
    }

    /// Returns the slow commands: their indexes and the nanoseconds of their longest parts.
    pub fn spent(&self) -> Vec<(usize, u64)> {
        let at_home = (self.own_ns > 0).then_some((0, self.own_ns));
        let of_parts = self.parts().flat_map(|part| part.spent.iter());
        let all = of_parts.map(|&(at, ns)| (at as usize, ns)).chain(at_home);
        let mut spent: Vec<(usize, u64)> = all.collect();
        spent.sort_unstable_by_key(|&(at, ns)| (at, std::cmp::Reverse(ns)));
        spent.dedup_by_key(|(at, _)| *at);
        spent
    }

    /// Returns the entry and the stored arguments of the command at an index.
    pub fn written_at(&self, at: usize) -> Option<(&'static Entry, LoggedArgs)> {
        let found = self.written.iter().find(|(number, ..)| *number as usize == at)?;
        Some((found.1, found.2.clone()))
    }

    /// Returns the parts that the command at an index was sent to, and its index in each.
    pub fn pieces(&self, at: usize) -> Vec<(&Envelope, usize)> {
        let mut used = vec![0; self.parts.len()];
        for (number, source) in self.order.iter().enumerate() {
            let mut parts = match source {
                ReplySource::One(part) => vec![*part],
                ReplySource::Merged(_, range) | ReplySource::Spread(_, range) => {
                    self.members[range.start as usize..range.end as usize].to_vec()
                }
            };
            parts.sort_unstable();
            parts.dedup();
            if number == at {
                return parts.iter().map(|&p| (self.part(p), used[usize::from(p)])).collect();
            }
            parts.iter().for_each(|part| used[usize::from(*part)] += 1);
        }
        Vec::new()
    }

    /// Removes and returns the envelopes.
    pub fn drain(&mut self) -> impl Iterator<Item = Box<Envelope>> {
        self.order.clear();
        self.written.clear();
        (self.asks, self.own_ns, self.has_spent) = (None, 0, false);
        self.members.clear();
        self.members.shrink_to(MEMBERS_KEPT_MAX);
        self.parts.drain(..).flatten()
    }

    fn part(&self, part: u16) -> &Envelope {
        self.parts[usize::from(part)].as_ref().expect("all parts have landed")
    }

    /// Returns the range of the next reply of `part` in the own bytes of its output.
    fn range(&self, part: u16, cursors: &[Cursor]) -> Range<usize> {
        let (begin, end) = self.part(part).reply(cursors[usize::from(part)].used);
        begin.offset()..end.offset()
    }

    /// Returns the bytes of the next reply of `part`, without values that are sent by reference.
    fn bytes(&self, part: u16, cursors: &[Cursor]) -> Cow<'_, [u8]> {
        self.part(part).output.own_bytes(self.range(part, cursors))
    }

    /// Returns the begin of the next reply of `part`, with its first lines.
    fn head(&self, part: u16, cursors: &[Cursor]) -> Cow<'_, [u8]> {
        let Range { start, end } = self.range(part, cursors);
        self.part(part).output.own_bytes(start..end.min(start + HEAD_BYTES))
    }

    fn merge_one(
        &self,
        merge: Merge,
        members: &[u16],
        cursors: &mut [Cursor],
        mut reply: Reply<'_>,
        draw: &mut dyn FnMut(u64) -> u64,
    ) {
        let failed = members.iter().find(|&&part| self.head(part, cursors).starts_with(b"-"));
        if let Some(&part) = failed {
            reply.append_range(&self.part(part).output, self.range(part, cursors));
        } else {
            match merge {
                Merge::Sum => {
                    reply.integer(
                        members.iter().map(|&p| first_line(&self.head(p, cursors)).0).sum(),
                    );
                }
                Merge::Ok => reply.ok(),
                Merge::Killed => {
                    let killed = |&p: &u16| first_line(&self.head(p, cursors)).0 > 0;
                    if members.iter().any(killed) {
                        reply.ok();
                    } else {
                        reply.error(&Error::NoSuchClient);
                    }
                }
                Merge::ByKey => self.interleave(members, cursors, &mut reply),
                Merge::Concat => self.join(members, cursors, &mut reply),
                Merge::Walk => {
                    reply.array(2);
                    reply.bulk(b"0");
                    self.join(members, cursors, &mut reply);
                }
                Merge::Lines => reply.verbatim("txt", &self.lines(members, cursors)),
                Merge::Draw => self.draw_one(members, cursors, &mut reply, draw),
                Merge::Debug(_) | Merge::SlotStats => {
                    let texts = members.iter().map(|&p| self.bytes(p, cursors));
                    let texts: Vec<Cow<'_, [u8]>> = texts.collect();
                    let texts: Vec<&[u8]> = texts.iter().map(|text| bulk_text(text)).collect();
                    match merge {
                        Merge::Debug(merge) => merge_debug(merge, &texts, &mut reply),
                        _ => SlotStats::merge(&texts).write(&mut reply),
                    }
                }
            }
        }
        for (at, &part) in members.iter().enumerate() {
            // Merging by key names a part once per key, but the part moves on only once.
            if merge != Merge::ByKey || !members[..at].contains(&part) {
                let cursor = &mut cursors[usize::from(part)];
                cursor.used += 1;
                cursor.element = 0;
            }
        }
    }

    /// Writes an array with one element per key, each from its part.
    fn interleave(&self, members: &[u16], cursors: &mut [Cursor], reply: &mut Reply<'_>) {
        reply.array(members.len());
        for &part in members {
            let envelope = self.part(part);
            let cursor = cursors[usize::from(part)];
            let (begin, _) = envelope.reply(cursor.used);
            let mut range = envelope.output.element(begin, cursor.element as usize);
            if cursor.element == 0 {
                range.start += first_line(&self.head(part, cursors)).1;
            }
            reply.append_range(&envelope.output, range);
            cursors[usize::from(part)].element += 1;
        }
    }

    /// Writes one array with all elements of all parts.
    fn join(&self, members: &[u16], cursors: &[Cursor], reply: &mut Reply<'_>) {
        let total: i64 = members.iter().map(|&p| first_line(&self.head(p, cursors)).0).sum();
        reply.array(total as usize);
        for &part in members {
            let range = self.range(part, cursors);
            let start = range.start + first_line(&self.head(part, cursors)).1;
            reply.append_range(&self.part(part).output, start..range.end);
        }
    }

    /// Returns the lines of the bulk strings of all parts, in the order of the ids with which they
    /// begin.
    fn lines(&self, members: &[u16], cursors: &[Cursor]) -> Vec<u8> {
        let texts: Vec<_> = members.iter().map(|&part| self.bytes(part, cursors)).collect();
        let mut lines = Vec::new();
        for text in &texts {
            let (text, mut begin) = (bulk_text(text), 0);
            for end in memchr::memchr_iter(b'\n', text) {
                let line = &text[begin..=end];
                begin = end + 1;
                lines.push((line_id(line), line));
            }
        }
        lines.sort_by_key(|(id, _)| *id);
        lines.iter().flat_map(|(_, line)| *line).copied().collect()
    }

    /// Writes the element of one part, drawn by the parts' weights.
    fn draw_one(
        &self,
        members: &[u16],
        cursors: &[Cursor],
        reply: &mut Reply<'_>,
        draw: &mut dyn FnMut(u64) -> u64,
    ) {
        let weight = |part: u16| {
            let bytes = self.head(part, cursors);
            let skip = first_line(&bytes).1;
            let (weight, len) = first_line(&bytes[skip..]);
            (weight as u64, skip + len)
        };
        let total: u64 = members.iter().map(|&part| weight(part).0).sum();
        if total == 0 {
            return reply.null();
        }
        let mut at = draw(total);
        for &part in members {
            let (weight, skip) = weight(part);
            if at < weight {
                let range = self.range(part, cursors);
                let start = range.start + skip;
                return reply.append_range(&self.part(part).output, start..range.end);
            }
            at -= weight;
        }
        unreachable!("the drawn number is below the sum of the weights");
    }
}

/// Returns the content of a bulk string.
fn bulk_text(bytes: &[u8]) -> &[u8] {
    let (len, start) = first_line(bytes);
    &bytes[start..start + len as usize]
}

/// Returns the number with which a line begins: `id=7 addr=...`.
fn line_id(line: &[u8]) -> Option<i64> {
    let end = memchr::memchr(b' ', line)?;
    parse_i64(line[..end].strip_prefix(b"id=")?)
}

/// Returns the number in a reply's first line (an integer or a length), and the offset behind the
/// line.
fn first_line(bytes: &[u8]) -> (i64, usize) {
    let end = memchr::memchr(b'\n', bytes).expect("a reply has a whole first line");
    let number = parse_i64(&bytes[1..end - 1]).expect("the line is a number");
    (number, end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::mesh::{Mesh, Port, Rules};

    fn answered(port: &mut Port, part: u16, replies: &[&dyn Fn(&mut Reply<'_>)]) -> Box<Envelope> {
        let mut envelope = port.envelope(usize::from(part));
        envelope.part = part;
        for reply in replies {
            reply(&mut Reply::new(&mut envelope.output, Protocol::Two));
            let mark = envelope.output.mark();
            envelope.ends.push(mark);
        }
        envelope
    }

    #[test]
    fn a_failed_part_moves_on_by_one_reply() {
        let mut port = Port::new(Mesh::new(2, Rules::default(), None), Clock::System, 0);
        let failed = |reply: &mut Reply<'_>| reply.error(&Error::OutOfMemory);
        let two = |reply: &mut Reply<'_>| {
            reply.array(2);
            reply.bulk(b"a");
            reply.bulk(b"c");
        };
        let next = |reply: &mut Reply<'_>| reply.integer(7);
        let mut flight = Flight::default();
        flight.launch(2);
        flight.members = vec![0, 1, 0, 1];
        flight.order =
            vec![ReplySource::Merged(Merge::ByKey, 0..4), ReplySource::One(0), ReplySource::One(1)];
        flight.land(answered(&mut port, 1, &[&failed, &next]));
        assert!(!flight.has_landed());
        flight.land(answered(&mut port, 0, &[&two, &next]));
        let mut out = Output::default();
        flight.merge(Protocol::Two, &mut out, |_| 0, |_, _| {});
        let text = String::from_utf8_lossy(&out.to_vec()).into_owned();
        assert!(text.starts_with("-OOM ") && text.ends_with("\r\n:7\r\n:7\r\n"), "{text:?}");
    }
}
