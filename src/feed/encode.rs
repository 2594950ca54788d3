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
//!
//! A large unit is written in steps: first all its commands are planned, then they are written.
//! Readers of the stream may see a part of the unit between two steps. They receive the rest later,
//! as they would over a slow connection.
//!
//! ```text
//!   begin_unit --> planning --all planned--> writing --all written--> (no unit)
//!              ^  |                      ^  |
//!              '--'  step                '--'  step, also within an argument
//! ```

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

/// Bytes in whose time a command is planned, and in whose time it begins.
const COMMAND_BYTES: usize = 64;

/// Progress of writing a planned unit.
#[derive(Clone, Debug, Default)]
struct Writing {
    /// Number of the commands that form the transaction, at the begin of the plan.
    own_len: usize,
    /// Index of the next planned command.
    next: usize,
    /// Planned commands that are written as one transaction. The next one is the last or in it.
    group: Range<usize>,
    /// Whether the head of the next command is written.
    has_head: bool,
    /// Index of its next piece.
    piece: usize,
    /// Number of bytes of this piece that are written.
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
    /// Set while a planned unit is written.
    writing: Option<Writing>,
}

/// Returns the lesser part of `left` that is used, and reduces `left` by it.
fn spend(left: &mut usize, bytes: usize) -> usize {
    let used = bytes.min(*left);
    *left -= used;
    used
}

impl Encoder {
    /// Makes the next unit start with SELECT, because a reader may start here with no database
    /// selected.
    pub(super) fn forget_db(&mut self) {
        self.db = None;
    }

    /// Begins a unit or a batch of `parts` parts.
    pub(super) fn begin_unit(&mut self, parts: usize) {
        self.planned.clear();
        self.pieces.clear();
        self.places.clear();
        self.places.resize(parts, Place::default());
        self.writing = None;
    }

    /// Writes more of the unit that was begun; `parts` are in the order of their shards. Reduces
    /// `left` by the bytes and the commands, and stops if nothing is left. Returns whether the unit
    /// is complete.
    pub(super) fn step(
        &mut self,
        parts: &[Part<'_>],
        is_transaction: bool,
        left: &mut usize,
        out: &mut Backlog,
    ) -> bool {
        if self.writing.is_none() {
            if !self.plan(parts, left) {
                return false;
            }
            let mut own_len = 0;
            if is_transaction {
                // The clients that it has unblocked were served after its last command.
                let is_woken = |command: &Planned| matches!(command.glue, Glue::Woken(_));
                self.planned.sort_by_key(is_woken);
                own_len = self.planned.partition_point(|command| !is_woken(command));
            }
            self.writing = Some(Writing { own_len, ..Writing::default() });
        }
        let mut writing = self.writing.take().expect("set above");
        let is_over = self.write(&mut writing, parts, left, out);
        if !is_over {
            self.writing = Some(writing);
        }
        is_over
    }

    /// Returns the end of the transaction that begins at a planned command.
    fn group_end(&self, first: usize, own_len: usize) -> usize {
        if first < own_len {
            return own_len;
        }
        let is_one = |a: &Planned, b: &Planned| match (a.glue, b.glue) {
            (Glue::Apart, _) | (_, Glue::Apart) => false,
            (Glue::Woken(first), Glue::Woken(second)) => a.at == b.at && first == second,
            (Glue::Woken(_), _) | (_, Glue::Woken(_)) => false,
            _ => a.at == b.at,
        };
        let pairs = self.planned[first..].windows(2);
        first + 1 + pairs.take_while(|pair| is_one(&pair[0], &pair[1])).count()
    }

    /// Writes planned commands. Commands that form one transaction are enclosed in MULTI and EXEC
    /// if there are several.
    fn write(
        &mut self,
        at: &mut Writing,
        parts: &[Part<'_>],
        left: &mut usize,
        out: &mut Backlog,
    ) -> bool {
        loop {
            if at.next == at.group.end {
                if at.group.len() > 1 {
                    self.command(&[b"EXEC"], out);
                }
                if at.next == self.planned.len() {
                    return true;
                }
                at.group = at.next..self.group_end(at.next, at.own_len);
                if at.group.len() > 1 {
                    self.command(&[b"MULTI"], out);
                }
            }
            let Planned { db, args, ref pieces, .. } = self.planned[at.next];
            let pieces = pieces.clone();
            if !at.has_head {
                if *left == 0 {
                    return false;
                }
                spend(left, COMMAND_BYTES);
                self.head(db, args, out);
                (at.has_head, at.piece) = (true, pieces.start);
            }
            while at.piece < pieces.end {
                let (part, ref bytes) = self.pieces[at.piece];
                let rest = &parts[part].bytes[bytes.start + at.byte..bytes.end];
                let used = spend(left, rest.len());
                out.append(&rest[..used]);
                at.byte += used;
                if used < rest.len() {
                    return false;
                }
                (at.piece, at.byte) = (at.piece + 1, 0);
            }
            (at.next, at.has_head) = (at.next + 1, false);
        }
    }

    /// Writes SELECT if the database differs from the last one, and the number of arguments.
    fn head(&mut self, db: u16, args: u32, out: &mut Backlog) {
        if self.db != Some(db) {
            let mut digits = itoa::Buffer::new();
            self.command(&[b"SELECT", digits.format(db).as_bytes()], out);
            self.db = Some(db);
        }
        header(args as usize, out);
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

    /// Plans further commands. Returns whether all are planned.
    fn plan(&mut self, parts: &[Part<'_>], left: &mut usize) -> bool {
        loop {
            let heads = parts.iter().zip(&self.places);
            let next =
                heads.filter_map(|(part, place)| part.commands.get(place.command)).map(|t| t.at);
            let Some(at) = next.min() else { return true };
            if *left == 0 {
                return false;
            }
            let planned = self.planned.len();
            self.plan_alone(at, parts, &[Glue::Apart]);
            self.plan_alone(at, parts, &[Glue::Alone, Glue::Apart]);
            self.plan_glued(at, parts);
            self.plan_woken(at, parts);
            spend(left, COMMAND_BYTES * (self.planned.len() - planned));
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
