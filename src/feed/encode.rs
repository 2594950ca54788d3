//! The encoder: writes the commands of a unit's parts to the stream, as RESP arrays in Valkey's
//! form.
//!
//! ```text
//!   unit of one command     *2 $6 SELECT $1 3   *3 $3 SET $1 k $1 v
//!   of several commands     *1 $5 MULTI   *2 $6 SELECT $1 3   *3 .. *2 ..   *1 $4 EXEC
//!   a transaction, and clients that it unblocked: the transaction, then each client's unit
//! ```
//! The encoder writes SELECT only if the database differs from the last one in the stream. It
//! merges the parts of a batch command by command (`at`). The commands of one `at`:
//!
//! ```text
//!   shard 0   DEL old (Alone)   UNLINK a b (Joined)          FLUSHALL (Once)
//!   shard 1                     UNLINK c   (Joined)          FLUSHALL (Once)
//!   stream    DEL old           UNLINK a b c                 FLUSHALL
//! ```
//! An Alone command before a Joined or Once command of the same part stays before it. So the
//! removal of an expired key precedes the command that detected it. If another shard propagates
//! that command, the owner marks the removal as Apart. Apart commands precede all other commands of
//! their `at`.

use super::backlog::Backlog;
use super::block::Part;
use crate::exec::Glue;
use std::ops::Range;

/// One command of the stream: pieces of the parts' bytes.
#[derive(Clone, Debug)]
struct Planned {
    at: u32,
    db: u16,
    args: u32,
    pieces: Range<usize>,
    /// How the command relates to other commands of its unit.
    glue: Glue,
}

/// Position in a part up to which its commands are planned.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    command: usize,
    byte: usize,
}

/// Writes units to the stream.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    /// The database that the stream has selected; `None` after a mark.
    db: Option<u16>,
    planned: Vec<Planned>,
    pieces: Vec<(usize, Range<usize>)>,
    places: Vec<Place>,
}

impl Encoder {
    /// Makes the next unit start with SELECT, because a reader may start here with no database
    /// selected.
    pub(super) fn forget_db(&mut self) {
        self.db = None;
    }

    /// Writes one unit or one batch; `parts` are in the order of their shards.
    pub(super) fn unit(&mut self, parts: &[Part<'_>], is_transaction: bool, out: &mut Backlog) {
        self.plan(parts);
        let mut planned = std::mem::take(&mut self.planned);
        let mut own_len = 0;
        if is_transaction {
            // The clients that it has unblocked were served after its last command.
            let is_woken = |command: &Planned| matches!(command.glue, Glue::Woken(_));
            planned.sort_by_key(is_woken);
            own_len = planned.partition_point(|command| !is_woken(command));
            self.group(&planned[..own_len], parts, out);
        }
        let is_one = |a: &Planned, b: &Planned| match (a.glue, b.glue) {
            (Glue::Apart, _) | (_, Glue::Apart) => false,
            (Glue::Woken(first), Glue::Woken(second)) => a.at == b.at && first == second,
            (Glue::Woken(_), _) | (_, Glue::Woken(_)) => false,
            _ => a.at == b.at,
        };
        for group in planned[own_len..].chunk_by(is_one) {
            self.group(group, parts, out);
        }
        self.planned = planned;
    }

    /// Writes a command that belongs to no unit and accesses no keys.
    pub(super) fn command(&self, args: &[&[u8]], out: &mut Backlog) {
        header(args.len(), out);
        for arg in args {
            let mut digits = itoa::Buffer::new();
            out.append(b"$");
            out.append(digits.format(arg.len()).as_bytes());
            out.append(b"\r\n");
            out.append(arg);
            out.append(b"\r\n");
        }
    }

    /// Writes commands that form one transaction: enclosed in MULTI and EXEC if there are several.
    fn group(&mut self, group: &[Planned], parts: &[Part<'_>], out: &mut Backlog) {
        let has_several = group.len() > 1;
        if has_several {
            self.command(&[b"MULTI"], out);
        }
        for command in group {
            if self.db != Some(command.db) {
                let mut digits = itoa::Buffer::new();
                self.command(&[b"SELECT", digits.format(command.db).as_bytes()], out);
                self.db = Some(command.db);
            }
            header(command.args as usize, out);
            for (part, bytes) in &self.pieces[command.pieces.clone()] {
                out.append(&parts[*part].bytes[bytes.clone()]);
            }
        }
        if has_several {
            self.command(&[b"EXEC"], out);
        }
    }

    fn plan(&mut self, parts: &[Part<'_>]) {
        self.planned.clear();
        self.pieces.clear();
        self.places.clear();
        self.places.resize(parts.len(), Place::default());
        loop {
            let heads = parts.iter().zip(&self.places);
            let next =
                heads.filter_map(|(part, place)| part.commands.get(place.command)).map(|t| t.at);
            let Some(at) = next.min() else { return };
            self.plan_alone(at, parts, &[Glue::Apart]);
            self.plan_alone(at, parts, &[Glue::Alone, Glue::Apart]);
            self.plan_glued(at, parts);
            self.plan_woken(at, parts);
        }
    }

    /// Plans the commands of the clients that the command at `at` unblocked, after that command.
    fn plan_woken(&mut self, at: u32, parts: &[Part<'_>]) {
        for (part, share) in parts.iter().enumerate() {
            while let Some(command) = share.commands.get(self.places[part].command)
                && command.at == at
                && let Glue::Woken(number) = command.glue
            {
                // Every part numbers its unblocked clients from 0; this makes the numbers unique.
                let number = number * parts.len() as u32 + part as u32;
                self.begin(at, command.db, command.args, Glue::Woken(number));
                self.piece(part, 0, command.len);
            }
        }
    }

    /// Plans the next commands of each part, as long as they belong to `at` and their glue is in
    /// `ways`.
    fn plan_alone(&mut self, at: u32, parts: &[Part<'_>], ways: &[Glue]) {
        for (part, share) in parts.iter().enumerate() {
            while let Some(command) = share.commands.get(self.places[part].command)
                && command.at == at
                && ways.contains(&command.glue)
            {
                self.begin(at, command.db, command.args, command.glue);
                self.piece(part, 0, command.len);
            }
        }
    }

    /// Plans the next Joined or Once command of `at`, merged from all parts that have it.
    fn plan_glued(&mut self, at: u32, parts: &[Part<'_>]) {
        let mut leader = None;
        for (part, share) in parts.iter().enumerate() {
            let place = self.places[part];
            let is_its = |command: &&super::block::Command| {
                command.at == at && !matches!(command.glue, Glue::Woken(_))
            };
            let Some(command) = share.commands.get(place.command).filter(is_its) else { continue };
            let head_len = command.head_len as usize;
            let head = &share.bytes[place.byte..place.byte + head_len];
            let Some(leading) = leader else {
                leader = Some((command.glue, command.db, head));
                self.begin(at, command.db, command.args, command.glue);
                self.piece(part, 0, command.len);
                continue;
            };
            match command.glue {
                Glue::Once if leading.0 == Glue::Once => self.skip(part, command.len),
                Glue::Joined if leading == (command.glue, command.db, head) => {
                    let planned = self.planned.last_mut().expect("the first part began it");
                    planned.args += command.args - 1;
                    self.piece(part, head_len, command.len);
                }
                // Another command of the same `at`: a later round plans it.
                _ => {}
            }
        }
    }

    fn begin(&mut self, at: u32, db: u16, args: u32, glue: Glue) {
        let first = self.pieces.len();
        self.planned.push(Planned { at, db, args, pieces: first..first, glue });
    }

    /// Adds a part's next command to the planned command begun last, without its first `skip`
    /// bytes.
    fn piece(&mut self, part: usize, skip: usize, len: usize) {
        let start = self.places[part].byte;
        self.pieces.push((part, start + skip..start + len));
        self.planned.last_mut().expect("a planned command was begun").pieces.end =
            self.pieces.len();
        self.skip(part, len);
    }

    fn skip(&mut self, part: usize, len: usize) {
        self.places[part].command += 1;
        self.places[part].byte += len;
    }
}

fn header(args: usize, out: &mut Backlog) {
    let mut digits = itoa::Buffer::new();
    out.append(b"*");
    out.append(digits.format(args).as_bytes());
    out.append(b"\r\n");
}
