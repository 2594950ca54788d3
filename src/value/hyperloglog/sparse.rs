//! The sparse form: runs of registers with equal rank.
//!
//! ```text
//!   00nnnnnn            n + 1 registers of rank 0          (up to 64)
//!   01nnnnnn nnnnnnnn   n + 1 registers of rank 0          (up to 16,384)
//!   1rrrrrnn            n + 1 registers of rank r + 1      (up to 4, ranks up to 32)
//!
//!   43 e7 84 7c 16: 1,000 registers of rank 0, one of rank 2, the 15,383 others of rank 0 again
//! ```
//! Raising a register replaces its run by up to three runs. After that, neighbours of equal rank
//! are joined, in the same window as in the reference server.

use super::{Corrupted, Form, HEAD_BYTES, REGISTERS, forget_count, form, raise_dense, to_dense};

const LONG: u8 = 0x40;
const RANKED: u8 = 0x80;

/// The highest rank of a run.
const RUN_RANK_MAX: u8 = 32;

/// Most registers in a one-byte run of rank 0.
const SHORT_ZEROS_MAX: usize = 64;

/// Most registers in a run with a rank.
const RANKED_MAX: usize = 4;

/// Runs that are checked for neighbours to join.
const JOINED_RUNS_MAX: usize = 5;

/// A run.
#[derive(Clone, Copy)]
struct Run {
    /// Number of registers.
    span: usize,
    /// Rank of each register.
    rank: u8,
    /// Bytes of the run.
    len: usize,
}

impl Run {
    /// Reads the run at offset `at`. A two-byte run cut off by the end of the value is read with a
    /// zero second byte.
    #[inline]
    fn read(value: &[u8], at: usize) -> Run {
        let byte = value[at];
        if byte & RANKED != 0 {
            let span = usize::from(byte & 0x3) + 1;
            return Run { span, rank: (byte >> 2 & 0x1f) + 1, len: 1 };
        }
        let span = usize::from(byte & 0x3f);
        if byte & LONG != 0 {
            let low = usize::from(value.get(at + 1).copied().unwrap_or(0));
            return Run { span: (span << 8 | low) + 1, rank: 0, len: 2 };
        }
        Run { span: span + 1, rank: 0, len: 1 }
    }
}

/// Appends a run of registers of rank 0.
pub(super) fn push_zeros(out: &mut Vec<u8>, span: usize) {
    assert!(span <= REGISTERS);
    if span > SHORT_ZEROS_MAX {
        out.push(LONG | ((span - 1) >> 8) as u8);
        out.push((span - 1) as u8);
    } else if span > 0 {
        out.push((span - 1) as u8);
    }
}

fn ranked(rank: u8, span: usize) -> u8 {
    assert!((1..=RUN_RANK_MAX).contains(&rank) && (1..=RANKED_MAX).contains(&span));
    RANKED | (rank - 1) << 2 | (span - 1) as u8
}

/// Passes all runs to `visit`: first register, number of registers, rank. Fails if the runs do not
/// cover exactly all registers.
pub(super) fn for_each_run(
    value: &[u8],
    mut visit: impl FnMut(usize, usize, u8),
) -> Result<(), Corrupted> {
    let (mut at, mut first) = (HEAD_BYTES, 0);
    while at < value.len() {
        let run = Run::read(value, at);
        if first + run.span > REGISTERS {
            return Err(Corrupted);
        }
        visit(first, run.span, run.rank);
        at += run.len;
        first += run.span;
    }
    if first == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

/// Returns the runs of a sparse value as text, such as `Z:1000 v:2,1 Z:15383`.
pub fn describe(value: &[u8]) -> String {
    let mut runs = Vec::new();
    let mut at = HEAD_BYTES;
    while at < value.len() {
        let run = Run::read(value, at);
        runs.push(match (run.rank, run.len) {
            (0, 1) => format!("z:{}", run.span),
            (0, _) => format!("Z:{}", run.span),
            (rank, _) => format!("v:{rank},{}", run.span),
        });
        at += run.len;
    }
    runs.join(" ")
}

/// Where the search for a register begins, unless the register lies before. Raising registers in
/// ascending order then does not scan all runs again.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    at: usize,
    first: usize,
}

impl Default for Cursor {
    fn default() -> Cursor {
        Cursor { at: HEAD_BYTES, first: 0 }
    }
}

/// The run that holds a register.
struct Found {
    at: usize,
    /// First register of the run.
    first: usize,
    run: Run,
    /// The run before it.
    previous: Cursor,
}

/// Searches for the run of a register, starting at run `start`. If `start` itself holds the
/// register, `previous` is wrong.
fn find_from(value: &[u8], index: usize, start: Cursor) -> Option<Found> {
    let (mut at, mut first) = (start.at, start.first);
    let mut previous = start;
    while at < value.len() {
        let run = Run::read(value, at);
        if index < first + run.span {
            return Some(Found { at, first, run, previous });
        }
        previous = Cursor { at, first };
        at += run.len;
        first += run.span;
    }
    None
}

fn find(value: &[u8], index: usize, cursor: Cursor) -> Option<Found> {
    if cursor.first <= index && cursor.at > HEAD_BYTES && cursor.at < value.len() {
        let found = find_from(value, index, cursor)?;
        if found.at != cursor.at {
            return Some(found);
        }
    }
    find_from(value, index, Cursor::default())
}

/// Raises a register to `rank`. Returns false if the register is already as high. A sparse value
/// becomes dense if the rank exceeds 32 or the value would exceed `sparse_bytes_max` bytes.
pub fn raise(
    value: &mut Vec<u8>,
    index: usize,
    rank: u8,
    sparse_bytes_max: usize,
    cursor: &mut Cursor,
) -> Result<bool, Corrupted> {
    assert!(index < REGISTERS && rank > 0);
    if form(value) == Some(Form::Dense) {
        return Ok(raise_dense(value, index, rank));
    }
    if rank > RUN_RANK_MAX {
        return become_dense(value, index, rank);
    }
    let found = find(value, index, *cursor).ok_or(Corrupted)?;
    if found.run.rank >= rank {
        return Ok(false);
    }
    let runs = split(&found, index, rank);
    let len = value.len() + runs.len() - found.run.len;
    if runs.len() > found.run.len && len > sparse_bytes_max {
        return become_dense(value, index, rank);
    }
    let end = (found.at + found.run.len).min(value.len());
    value.splice(found.at..end, runs);
    // A run that was cut off by the end stays cut off.
    value.truncate(len);
    *cursor = found.previous;
    join_from(value, found.previous.at);
    forget_count(value);
    Ok(true)
}

fn become_dense(value: &mut Vec<u8>, index: usize, rank: u8) -> Result<bool, Corrupted> {
    *value = to_dense(value)?;
    Ok(raise_dense(value, index, rank))
}

/// Returns the runs that replace a run in which one register is raised.
fn split(found: &Found, index: usize, rank: u8) -> Vec<u8> {
    let (before, after) = (index - found.first, found.first + found.run.span - 1 - index);
    let mut runs = Vec::with_capacity(5);
    let push = |runs: &mut Vec<u8>, span: usize| match found.run.rank {
        0 => push_zeros(runs, span),
        _ if span == 0 => {}
        rank => runs.push(ranked(rank, span)),
    };
    push(&mut runs, before);
    runs.push(ranked(rank, 1));
    push(&mut runs, after);
    runs
}

/// Joins neighbours of equal rank, starting at the run at offset `start`.
fn join_from(value: &mut Vec<u8>, start: usize) {
    let mut at = start;
    for _ in 0..JOINED_RUNS_MAX {
        if at >= value.len() {
            break;
        }
        let run = Run::read(value, at);
        if run.rank > 0 && at + 1 < value.len() {
            let next = Run::read(value, at + 1);
            let span = run.span + next.span;
            if next.rank == run.rank && span <= RANKED_MAX {
                value[at + 1] = ranked(run.rank, span);
                value.remove(at);
                continue;
            }
        }
        at += run.len;
    }
}
