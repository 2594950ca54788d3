//! From units to the stream: the commands of a unit's parts as RESP arrays, in Valkey's form.
//!
//! ```text
//!   unit of one command     *2 $6 SELECT $1 3   *3 $3 SET $1 k $1 v
//!   of more than one        *1 $5 MULTI   *2 $6 SELECT $1 3   *3 .. *2 ..   *1 $4 EXEC
//! ```
//! SELECT comes only where the database differs from the stream's last. The parts of a batch are
//! put together command by command (`at`); of each:
//!
//! ```text
//!   shard 0   DEL due (Alone)   UNLINK a b (Joined)          FLUSHALL (Once)
//!   shard 1                     UNLINK c   (Joined)          FLUSHALL (Once)
//!   stream    DEL due           UNLINK a b c                 FLUSHALL
//! ```
//! What stands alone in a part and before a record with siblings stays before it: keys that fell
//! due are gone before the command that found it out. Another shard may tell that command, so keys
//! that were found due for it at their owners (Apart) go before all else of its place.

use super::backlog::Backlog;
use super::block::Part;
use crate::exec::Glue;
use std::ops::Range;

/// One command of the stream to be: pieces of the parts' bytes.
#[derive(Clone, Debug)]
struct Planned {
    at: u32,
    db: u16,
    words: u32,
    pieces: Range<usize>,
    /// Whether it is a unit of its own, or belongs with others.
    glue: Glue,
}

/// How far a part has been planned.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    told: usize,
    byte: usize,
}

/// Puts units into the stream.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    /// The database that the stream has selected; none after a mark.
    db: Option<u16>,
    planned: Vec<Planned>,
    pieces: Vec<(usize, Range<usize>)>,
    places: Vec<Place>,
}

impl Encoder {
    /// Whoever reads the stream from here on has no database selected.
    pub(super) fn forget_db(&mut self) {
        self.db = None;
    }

    /// One unit (or a batch of them), from its parts in the order of their shards.
    pub(super) fn unit(&mut self, parts: &[Part<'_>], is_transaction: bool, out: &mut Backlog) {
        self.plan(parts);
        let planned = std::mem::take(&mut self.planned);
        if is_transaction {
            self.group(&planned, parts, out);
        } else {
            let is_one = |a: &Planned, b: &Planned| match (a.glue, b.glue) {
                (Glue::Apart, _) | (_, Glue::Apart) => false,
                (Glue::Woken(first), Glue::Woken(second)) => a.at == b.at && first == second,
                (Glue::Woken(_), _) | (_, Glue::Woken(_)) => false,
                _ => a.at == b.at,
            };
            for group in planned.chunk_by(is_one) {
                self.group(group, parts, out);
            }
        }
        self.planned = planned;
    }

    /// A command outside of any unit, which touches no keys.
    pub(super) fn words(&self, words: &[&[u8]], out: &mut Backlog) {
        header(words.len(), out);
        for word in words {
            let mut digits = itoa::Buffer::new();
            out.append(b"$");
            out.append(digits.format(word.len()).as_bytes());
            out.append(b"\r\n");
            out.append(word);
            out.append(b"\r\n");
        }
    }

    /// Commands that are one: between MULTI and EXEC if they are several.
    fn group(&mut self, group: &[Planned], parts: &[Part<'_>], out: &mut Backlog) {
        let has_several = group.len() > 1;
        if has_several {
            self.words(&[b"MULTI"], out);
        }
        for command in group {
            if self.db != Some(command.db) {
                let mut digits = itoa::Buffer::new();
                self.words(&[b"SELECT", digits.format(command.db).as_bytes()], out);
                self.db = Some(command.db);
            }
            header(command.words as usize, out);
            for (part, bytes) in &self.pieces[command.pieces.clone()] {
                out.append(&parts[*part].bytes[bytes.clone()]);
            }
        }
        if has_several {
            self.words(&[b"EXEC"], out);
        }
    }

    fn plan(&mut self, parts: &[Part<'_>]) {
        self.planned.clear();
        self.pieces.clear();
        self.places.clear();
        self.places.resize(parts.len(), Place::default());
        loop {
            let heads = parts.iter().zip(&self.places);
            let next = heads.filter_map(|(part, place)| part.told.get(place.told)).map(|t| t.at);
            let Some(at) = next.min() else { return };
            self.plan_alone(at, parts, &[Glue::Apart]);
            self.plan_alone(at, parts, &[Glue::Alone, Glue::Apart]);
            self.plan_glued(at, parts);
            self.plan_woken(at, parts);
        }
    }

    /// What was woken by the command at `at`, behind it.
    fn plan_woken(&mut self, at: u32, parts: &[Part<'_>]) {
        for (part, share) in parts.iter().enumerate() {
            while let Some(told) = share.told.get(self.places[part].told)
                && told.at == at
                && let Glue::Woken(number) = told.glue
            {
                // Each part counts its own.
                let number = number * parts.len() as u32 + part as u32;
                self.begin(at, told.db, told.words, Glue::Woken(number));
                self.piece(part, 0, told.len);
            }
        }
    }

    /// What stands alone, in one of these ways, at the heads of the parts, of the command at `at`.
    fn plan_alone(&mut self, at: u32, parts: &[Part<'_>], ways: &[Glue]) {
        for (part, share) in parts.iter().enumerate() {
            while let Some(told) = share.told.get(self.places[part].told)
                && told.at == at
                && ways.contains(&told.glue)
            {
                self.begin(at, told.db, told.words, told.glue);
                self.piece(part, 0, told.len);
            }
        }
    }

    /// The next record with siblings of the command at `at`, with its siblings.
    fn plan_glued(&mut self, at: u32, parts: &[Part<'_>]) {
        let mut leader = None;
        for (part, share) in parts.iter().enumerate() {
            let place = self.places[part];
            let is_its =
                |told: &&super::block::Told| told.at == at && !matches!(told.glue, Glue::Woken(_));
            let Some(told) = share.told.get(place.told).filter(is_its) else { continue };
            let head_len = told.head_len as usize;
            let head = &share.bytes[place.byte..place.byte + head_len];
            let Some(leading) = leader else {
                leader = Some((told.glue, told.db, head));
                self.begin(at, told.db, told.words, told.glue);
                self.piece(part, 0, told.len);
                continue;
            };
            match told.glue {
                Glue::Once if leading.0 == Glue::Once => self.skip(part, told.len),
                Glue::Joined if leading == (told.glue, told.db, head) => {
                    let command = self.planned.last_mut().expect("it was begun");
                    command.words += told.words - 1;
                    self.piece(part, head_len, told.len);
                }
                // Another command of the same place: its turn comes.
                _ => {}
            }
        }
    }

    fn begin(&mut self, at: u32, db: u16, words: u32, glue: Glue) {
        let first = self.pieces.len();
        self.planned.push(Planned { at, db, words, pieces: first..first, glue });
    }

    /// Adds a part's next record to the command begun last, without its first `skip` bytes.
    fn piece(&mut self, part: usize, skip: usize, len: usize) {
        let start = self.places[part].byte;
        self.pieces.push((part, start + skip..start + len));
        self.planned.last_mut().expect("it was begun").pieces.end = self.pieces.len();
        self.skip(part, len);
    }

    fn skip(&mut self, part: usize, len: usize) {
        self.places[part].told += 1;
        self.places[part].byte += len;
    }
}

fn header(words: usize, out: &mut Backlog) {
    let mut digits = itoa::Buffer::new();
    out.append(b"*");
    out.append(digits.format(words).as_bytes());
    out.append(b"\r\n");
}
