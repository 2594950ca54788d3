//! LCS: the longest common subsequence of two strings.

use crate::base::number::parse_i64;
use crate::exec::{Command, Context, Weighing};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::string::{IntText, Str};
use bytes::Bytes;

/// Length in bytes from which a string is an error.
const BYTES_END: usize = u32::MAX as usize - 1;

pub(super) static LCS: Command = Command::gather(
    lcs,
    Card::new("lcs", Group::String, "7.0.0")
        .summary("Finds the longest common substring.")
        .complexity("O(N*M) where N and M are the lengths of s1 and s2, respectively")
        .arity(-3)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads().to_last(1, 1)])
        .args(&[
            Arg::key("key1"),
            Arg::key("key2"),
            Arg::keyword("LEN").optional(),
            Arg::keyword("IDX").optional(),
            Arg::integer("min-match-len").after("MINMATCHLEN").optional(),
            Arg::keyword("WITHMATCHLEN").optional(),
        ]),
)
.offload_by(weigh);

/// Parsed options of LCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    /// LEN: replies with the length only.
    len: bool,
    /// IDX: replies with the positions of the runs in both strings.
    places: bool,
    /// MINMATCHLEN: minimum length of a run in the reply with positions.
    run_len_min: usize,
    /// WITHMATCHLEN: the reply with positions includes the lengths of the runs.
    run_lens: bool,
}

impl Options {
    fn of(args: &Args<'_>) -> Result<Options, Error> {
        let mut options = Options::default();
        let mut index = 3;
        while index < args.len() {
            let option = &args[index];
            if option.eq_ignore_ascii_case(b"IDX") {
                options.places = true;
            } else if option.eq_ignore_ascii_case(b"LEN") {
                options.len = true;
            } else if option.eq_ignore_ascii_case(b"WITHMATCHLEN") {
                options.run_lens = true;
            } else if option.eq_ignore_ascii_case(b"MINMATCHLEN") && index + 1 < args.len() {
                index += 1;
                let len = parse_i64(&args[index]).ok_or(Error::NotInteger)?;
                options.run_len_min = len.max(0) as usize;
            } else {
                return Err(Error::Syntax);
            }
            index += 1;
        }
        if options.len && options.places {
            let text = "ERR If you want both the length and indexes, please just use IDX.";
            return Err(Error::other(text));
        }
        Ok(options)
    }
}

/// Cells of the table that are computed in the time of one element.
const CELLS_TOGETHER: usize = 64;

fn weigh(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let [a, b] = [1, 2].map(|at| weighing.string_bytes(args, at));
    a.saturating_mul(b) / CELLS_TOGETHER
}

fn lcs(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let texts = [text(cx, args, 1), text(cx, args, 2)];
    let [Some(a), Some(b)] = texts else {
        return Err(Error::other("ERR The specified keys must contain string values"));
    };
    let options = Options::of(args)?;
    let table = Table::new(&a, &b, cx.config.proto_max_bulk_len)?;
    if options.len {
        cx.reply.integer(i64::from(table.len()));
        return Ok(());
    }
    let runs = table.runs(&a, &b);
    if options.places {
        reply_places(cx, &runs, table.len(), options);
    } else {
        let runs = runs.iter().rev();
        cx.reply
            .bulk(&runs.flat_map(|run| &a[run.a..run.a + run.len]).copied().collect::<Vec<u8>>());
    }
    Ok(())
}

/// Returns the string of the key at argument `at`, empty if there is no such key. Returns `None` if
/// the value is not a string.
fn text(cx: &mut Context<'_>, args: &Args<'_>, at: usize) -> Option<Bytes> {
    let key = cx.key(args, at);
    let Some(view) = cx.slice.lookup(cx.db, &key) else { return Some(Bytes::new()) };
    Some(match view.string()? {
        Str::Large(bytes) => bytes.clone(),
        small => Bytes::copy_from_slice(small.text(&mut IntText::new())),
    })
}

fn reply_places(cx: &mut Context<'_>, runs: &[Match], len: u32, options: Options) {
    let shown = || runs.iter().filter(|run| run.len >= options.run_len_min);
    cx.reply.map(2);
    cx.reply.bulk(b"matches");
    cx.reply.array(shown().count());
    for run in shown() {
        cx.reply.array(if options.run_lens { 3 } else { 2 });
        for start in [run.a, run.b] {
            cx.reply.array(2);
            cx.reply.integer(start as i64);
            cx.reply.integer((start + run.len - 1) as i64);
        }
        if options.run_lens {
            cx.reply.integer(run.len as i64);
        }
    }
    cx.reply.bulk(b"len");
    cx.reply.integer(i64::from(len));
}

/// A run: consecutive bytes that are equal in both strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    /// Start in the first string.
    a: usize,
    /// Start in the second string.
    b: usize,
    /// Length in bytes, at least 1.
    len: usize,
}

/// Lengths of the longest common subsequences of all pairs of prefixes. The cell in row `i`, column
/// `j` is for the first `i` bytes of one string and the first `j` bytes of the other.
///
/// ```text
///            ""  c  b       equal bytes:      1 + the cell diagonally above on the left
///       ""   0   0  0       different bytes:  max(the cell above, the cell on the left)
///       a    0   0  0
///       b    0   0  1
/// ```
struct Table {
    cells: Vec<u32>,
    width: usize,
}

impl Table {
    /// Computes the table of two strings. Returns an error if it would take more than `bytes_max`.
    fn new(a: &[u8], b: &[u8], bytes_max: u64) -> Result<Table, Error> {
        if a.len() >= BYTES_END || b.len() >= BYTES_END {
            return Err(Error::other("ERR String too long for LCS"));
        }
        let no_memory = || {
            let text = "ERR Insufficient memory, failed allocating transient memory for LCS";
            Error::other(text)
        };
        let (width, rows) = (b.len() + 1, a.len() + 1);
        // Cannot overflow 64 bits, because both factors are below 2^32.
        let count = width * rows;
        let bytes = (count as u64).checked_mul(size_of::<u32>() as u64).ok_or_else(no_memory)?;
        if bytes > bytes_max {
            let text =
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
            return Err(Error::other(text));
        }
        let mut cells = Vec::new();
        cells.try_reserve_exact(count).map_err(|_| no_memory())?;
        cells.resize(width, 0);
        for byte in a {
            let start = cells.len();
            cells.resize(start + width, 0);
            let (done, row) = cells.split_at_mut(start);
            fill_row(&done[start - width..], row, *byte, b);
        }
        assert_eq!(cells.len(), count);
        Ok(Table { cells, width })
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }

    /// Returns the length of the common subsequence in bytes.
    fn len(&self) -> u32 {
        *self.cells.last().expect("the table has a cell for two empty prefixes")
    }

    /// Returns the runs of the common subsequence, the last run first. Among several subsequences
    /// of equal length, the search from the end skips bytes of the second string first.
    fn runs(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let (mut i, mut j, mut len) = (a.len(), b.len(), 0);
        let mut runs = Vec::new();
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j, len) = (i - 1, j - 1, len + 1);
                continue;
            }
            if len > 0 {
                runs.push(Match { a: i, b: j, len });
                len = 0;
            }
            if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        if len > 0 {
            runs.push(Match { a: i, b: j, len });
        }
        debug_assert_eq!(runs.iter().map(|run| run.len).sum::<usize>(), self.len() as usize);
        runs
    }
}

/// Computes a row from the row above it. The first cell stays 0.
fn fill_row(above: &[u32], row: &mut [u32], byte: u8, b: &[u8]) {
    let mut left = 0;
    for (j, other) in b.iter().enumerate() {
        left = if *other == byte { above[j] + 1 } else { above[j + 1].max(left) };
        row[j + 1] = left;
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, check_script, show};
    use crate::resp::Protocol;

    #[test]
    fn replies() {
        check_script(
            r#"
            MSET a ohmytext b mynewtext => OK +2
            LCS a b => "mytext"
            LCS a b LEN => :6
            lcs a b len => :6
            LCS a b IDX => ["matches" [[[:4 :7] [:5 :8]] [[:2 :3] [:0 :1]]] "len" :6]
            LCS a b IDX MINMATCHLEN 3 => ["matches" [[[:4 :7] [:5 :8]]] "len" :6]
            LCS a b IDX MINMATCHLEN 5 => ["matches" [] "len" :6]
            LCS a b idx minmatchlen 4 withmatchlen => ["matches" [[[:4 :7] [:5 :8] :4]] "len" :6]
            LCS a b IDX MINMATCHLEN 9 MINMATCHLEN 4 => ["matches" [[[:4 :7] [:5 :8]]] "len" :6]
            LCS a a IDX MINMATCHLEN -1 => ["matches" [[[:0 :7] [:0 :7]]] "len" :8]
            LCS a b MINMATCHLEN 7 => "mytext"
            LCS a b WITHMATCHLEN => "mytext"
            LCS a none => ""
            LCS none a LEN => :0
            LCS none none IDX => ["matches" [] "len" :0]
            MSET n 12345 m 9245 => OK +2
            LCS n m => "245"
            LCS m n => "245"
            MSET x ab y ba => OK +2
            LCS x y => "b"
            LCS y x => "a"
            LCS x y IDX => ["matches" [[[:1 :1] [:0 :0]]] "len" :1]
            "#,
        );
    }

    #[test]
    fn errors() {
        check_script(
            r#"
            LCS a => -ERR wrong number of arguments for 'lcs' command
            LCS a b FOO => -ERR syntax error
            LCS a b MINMATCHLEN => -ERR syntax error
            LCS a b MINMATCHLEN x => -ERR value is not an integer or out of range
            LCS a b LEN MINMATCHLEN x FOO => -ERR value is not an integer or out of range
            LCS a b LEN IDX => -ERR If you want both the length and indexes, please just use IDX.
            LCS a b LEN IDX FOO => -ERR syntax error
            "#,
        );
    }

    #[test]
    fn positions_are_a_map_in_resp3() {
        let mut bench = Bench::new();
        bench.run(&["MSET", "a", "ohmytext", "b", "mynewtext"]);
        bench.protocol = Protocol::Three;
        let whole =
            b"%2\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n\
            $3\r\nlen\r\n:6\r\n";
        let command = ["LCS", "a", "b", "IDX", "MINMATCHLEN", "4", "WITHMATCHLEN"];
        assert_eq!(bench.run_bytes(&command), whole);
    }

    #[test]
    fn memory_has_a_limit() {
        let mut bench = Bench::new();
        bench.config.proto_max_bulk_len = 4 * 4 * 3;
        bench.run(&["MSET", "a", "abc", "b", "bc", "c", "abcd"]);
        assert_eq!(show(&bench.run(&["LCS", "a", "b"])), "\"bc\"");
        let refused = "-ERR Insufficient memory, transient memory for LCS exceeds \
            proto-max-bulk-len";
        assert_eq!(show(&bench.run(&["LCS", "c", "b", "LEN"])), refused);
    }
}
