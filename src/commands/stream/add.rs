//! XADD, XTRIM and XSETID: append to a stream, trim its front, set its last id.

use super::ids::{NewId, parse_id, parse_integer, parse_new_id};
use super::reply::write_id;
use crate::exec::{Command, Context, Weighing};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::stream::{Id, Keep, Limits, Log, Stream, Trim};

/// Parsed trimming options.
struct TrimArgs {
    trim: Trim,
    /// Argument index of the threshold.
    at: usize,
}

/// Options of XADD, which precede the id, and of XTRIM.
#[derive(Default)]
struct Options {
    trim: Option<TrimArgs>,
    /// LIMIT.
    limit: Option<u64>,
    /// NOMKSTREAM: does not create a missing key.
    no_stream: bool,
}

impl Options {
    /// Parses the option at argument `at`. Returns the index after the option, or `None` if the
    /// argument is not an option.
    fn read(&mut self, args: &Args<'_>, at: usize, adds: bool) -> Result<Option<usize>, Error> {
        let arg = &args[at];
        let has_more = at + 1 < args.len();
        let by_len = arg.eq_ignore_ascii_case(b"MAXLEN");
        if has_more && (by_len || arg.eq_ignore_ascii_case(b"MINID")) {
            return self.read_trim(args, at, by_len).map(Some);
        }
        if has_more && arg.eq_ignore_ascii_case(b"LIMIT") {
            let limit = u64::try_from(parse_integer(&args[at + 1])?);
            self.limit =
                Some(limit.map_err(|_| Error::other("ERR The LIMIT argument must be >= 0."))?);
            return Ok(Some(at + 2));
        }
        if adds && arg.eq_ignore_ascii_case(b"NOMKSTREAM") {
            self.no_stream = true;
            return Ok(Some(at + 1));
        }
        Ok(None)
    }

    /// Parses MAXLEN or MINID at argument `at`. Returns the index after the threshold.
    fn read_trim(&mut self, args: &Args<'_>, at: usize, by_len: bool) -> Result<usize, Error> {
        if self.trim.is_some() {
            return Err(Error::other(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let mut at = at + 1;
        let mut is_rough = false;
        if at + 1 < args.len() && matches!(&args[at], b"~" | b"=") {
            is_rough = &args[at] == b"~";
            at += 1;
        }
        let keep = if by_len {
            let len = u64::try_from(parse_integer(&args[at])?);
            Keep::Len(len.map_err(|_| Error::other("ERR The MAXLEN argument must be >= 0."))?)
        } else {
            Keep::From(parse_id(&args[at])?)
        };
        self.trim = Some(TrimArgs { trim: Trim { keep, is_rough, entries_max: 0 }, at });
        Ok(at + 1)
    }

    /// Returns how to trim, once all options are parsed.
    fn trim(self, node_entries: u64) -> Result<Option<TrimArgs>, Error> {
        let Some(mut trim) = self.trim else {
            return match self.limit {
                None | Some(0) => Ok(None),
                Some(_) => Err(Error::other(
                    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
                )),
            };
        };
        trim.trim.entries_max = match (self.limit, trim.trim.is_rough) {
            (Some(_), false) => return Err(Error::other(LIMIT_WITHOUT_ROUGH)),
            (Some(limit), true) => limit,
            (None, false) => 0,
            // A trim with `~` removes whole nodes, up to a limit that keeps the command short.
            (None, true) if node_entries == 0 => 10_000,
            (None, true) => node_entries.saturating_mul(100).min(1_000_000),
        };
        Ok(Some(trim))
    }
}

const LIMIT_WITHOUT_ROUGH: &str =
    "ERR syntax error, LIMIT cannot be used without the special ~ option";

/// Returns the limits of a stream node according to the settings.
fn limits(cx: &Context<'_>) -> Limits {
    Limits {
        node_bytes: cx.config.stream_node_max_bytes,
        node_entries: cx.config.stream_node_max_entries,
    }
}

/// Returns the arguments to propagate. A trim with `~` becomes an exact trim to the entries left.
fn exact_args(args: &Args<'_>, trim: &TrimArgs, log: &Log) -> Vec<Vec<u8>> {
    let mut command: Vec<Vec<u8>> = args.iter_from(0).map(<[u8]>::to_vec).collect();
    if trim.trim.is_rough {
        command[trim.at - 1] = b"=".to_vec();
        command[trim.at] = match trim.trim.keep {
            Keep::Len(_) => log.len().to_string().into_bytes(),
            Keep::From(_) => log.first_id_with_deleted().text().as_bytes().to_vec(),
        };
    }
    command
}

fn propagate(cx: &mut Context<'_>, command: &[Vec<u8>]) {
    let command: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    cx.propagate(&command);
}

/// How a stream is trimmed.
const TRIM: Arg = Arg::block(
    "trim",
    &[
        Arg::one_of("strategy", &[Arg::keyword("MAXLEN"), Arg::keyword("MINID").since("6.2.0")]),
        Arg::one_of(
            "operator",
            &[Arg::keyword("=").named("equal"), Arg::keyword("~").named("approximately")],
        )
        .optional(),
        Arg::string("threshold"),
        Arg::integer("count").after("LIMIT").since("6.2.0").optional(),
    ],
);

pub(super) static XADD: Command = Command::single(
    xadd,
    Card::new("xadd", Group::Stream, "5.0.0")
        .summary("Appends a new message to a stream. Creates the key if it doesn't exist.")
        .complexity(
            "O(1) when adding a new entry, O(N) when trimming where N being the number of entries \
             evicted.",
        )
        .steady()
        .arity(-5)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::updates()
            .note("UPDATE instead of INSERT because of the optional trimming feature")])
        .history(&[
            (
                "6.2.0",
                "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option.",
            ),
            ("7.0.0", "Added support for the `<ms>-*` explicit ID form."),
        ])
        .args(&[
            Arg::key("key"),
            Arg::keyword("NOMKSTREAM").since("6.2.0").optional(),
            TRIM.optional(),
            Arg::one_of("id-selector", &[Arg::keyword("*").named("auto-id"), Arg::string("id")]),
            Arg::block("data", &[Arg::string("field"), Arg::string("value")]).repeated(),
        ]),
);

/// Parsed arguments of XADD.
struct Add {
    trim: Option<TrimArgs>,
    no_stream: bool,
    id: NewId,
    /// Argument index of the id.
    id_at: usize,
}

impl Add {
    fn of(args: &Args<'_>, node_entries: u64) -> Result<Add, Error> {
        let mut options = Options::default();
        let mut id = NewId::Next;
        let mut at = 2;
        while at < args.len() && &args[at] != b"*" {
            match options.read(args, at, true)? {
                Some(next) => at = next,
                None => {
                    id = parse_new_id(&args[at])?;
                    break;
                }
            }
        }
        let (no_stream, has_limit) = (options.no_stream, options.limit.is_some());
        let trim = options.trim(node_entries)?;
        if trim.is_none() && has_limit {
            return Err(Error::other(LIMIT_WITHOUT_ROUGH));
        }
        let texts = args.len().saturating_sub(at + 1);
        if texts < 2 || texts % 2 == 1 {
            return Err(Error::wrong_arity("xadd"));
        }
        if matches!(id, NewId::Whole(id) if id.is_zero()) {
            return Err(Error::other("ERR The ID specified in XADD must be greater than 0-0"));
        }
        Ok(Add { trim, no_stream, id, id_at: at })
    }
}

fn xadd(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let limits = limits(cx);
    let add = Add::of(args, limits.node_entries)?;
    let key = cx.key(args, 1);
    if add.no_stream && cx.slice.edit::<Stream>(cx.db, &key)?.is_none() {
        cx.reply.null();
        return Ok(());
    }
    let mut stream = cx.slice.edit_or_new::<Stream>(cx.db, &key)?;
    let log = stream.log_mut();
    if log.last_id().next().is_none() {
        return Err(Error::other(
            "ERR The stream has exhausted the last possible ID, unable to add more items",
        ));
    }
    let id = add.id.resolve(log.last_id(), cx.now_ms).ok_or(Error::other(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
    ))?;
    let args = &*args;
    let fields = (add.id_at + 1..args.len()).step_by(2).map(|at| (&args[at], &args[at + 1]));
    if !log.append(id, fields, &limits) {
        return Err(Error::other("ERR Elements are too large to be stored"));
    }
    let (mut exact, mut trimmed) = (None, 0);
    if let Some(trim) = &add.trim {
        trimmed = log.trim(&trim.trim);
        exact = cx.records.is_some().then(|| exact_args(args, trim, log));
    }
    stream.raise(Event::XAdd, 1);
    if trimmed > 0 {
        stream.raise(Event::XTrim, 0);
    }
    drop(stream);
    write_id(&mut cx.reply, id);
    if cx.is_recorded() {
        let mut command = exact.unwrap_or_else(|| args.iter_from(0).map(<[u8]>::to_vec).collect());
        if !matches!(add.id, NewId::Whole(_)) {
            command[add.id_at] = id.text().as_bytes().to_vec();
        }
        propagate(cx, &command);
    }
    Ok(())
}

pub(super) static XTRIM: Command = Command::single(
    xtrim,
    Card::new("xtrim", Group::Stream, "5.0.0")
        .summary("Deletes messages from the beginning of a stream.")
        .complexity(
            "O(N), with N being the number of evicted entries. Constant times are very small \
             however, since entries are organized in macro nodes containing multiple entries that \
             can be released with a single deallocation.",
        )
        .arity(-4)
        .flags(Flag::WRITE)
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::deletes()])
        .history(&[("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option.")])
        .args(&[Arg::key("key"), TRIM]),
)
.offload_by(weigh_trim);

/// Entries that are removed in the time of one element: whole nodes go at once.
const TRIMMED_TOGETHER: u64 = 16;

fn weigh_trim(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let Some(stream) = weighing.object::<Stream>(args, 1) else { return 0 };
    let (len, enough) = (stream.log().len(), weighing.enough as u64 * TRIMMED_TOGETHER);
    if len < enough {
        return 0;
    }
    let mut options = Options::default();
    if !matches!(options.read(args, 2, false), Ok(Some(_))) {
        return 0;
    }
    let removed = match options.trim {
        None => 0,
        Some(TrimArgs { trim, .. }) => match trim.keep {
            Keep::Len(keep) => len.saturating_sub(keep),
            Keep::From(id) => stream.log().count_between(Id::MIN, id, enough),
        },
    };
    (removed / TRIMMED_TOGETHER) as usize
}

fn xtrim(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let mut options = Options::default();
    let mut at = 2;
    while at < args.len() {
        at = options.read(args, at, false)?.ok_or(Error::Syntax)?;
    }
    let trim = options
        .trim(cx.config.stream_node_max_entries)?
        .ok_or(Error::other("ERR syntax error, XTRIM must be called with a trimming strategy"))?;
    let key = cx.key(args, 1);
    let Some(mut stream) = cx.slice.edit::<Stream>(cx.db, &key)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let trimmed = stream.log_mut().trim(&trim.trim);
    let mut exact = None;
    if trimmed > 0 {
        stream.raise(Event::XTrim, trimmed);
        exact = cx.records.is_some().then(|| exact_args(args, &trim, stream.log()));
    }
    drop(stream);
    cx.reply.integer(trimmed as i64);
    if let Some(command) = exact {
        propagate(cx, &command);
    }
    Ok(())
}

pub(super) static XSETID: Command = Command::single(
    xsetid,
    Card::new("xsetid", Group::Stream, "5.0.0")
        .summary("An internal command for replicating stream values.")
        .constant_time()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates()])
        .history(&[("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments.")])
        .args(&[
            Arg::key("key"),
            Arg::string("last-id"),
            Arg::integer("entries-added").after("ENTRIESADDED").since("7.0.0").optional(),
            Arg::string("max-deleted-id").after("MAXDELETEDID").since("7.0.0").optional(),
        ]),
);

fn xsetid(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let id = parse_id(&args[2])?;
    let (mut entries_added, mut max_deleted_id) = (None, None);
    let mut at = 3;
    while at < args.len() {
        let arg = &args[at];
        let value = args.get(at + 1).ok_or(Error::Syntax)?;
        if arg.eq_ignore_ascii_case(b"ENTRIESADDED") {
            let added = u64::try_from(parse_integer(value)?);
            entries_added =
                Some(added.map_err(|_| Error::other("ERR entries_added must be positive"))?);
        } else if arg.eq_ignore_ascii_case(b"MAXDELETEDID") {
            let deleted = parse_id(value)?;
            if id < deleted {
                return Err(Error::other(
                    "ERR The ID specified in XSETID is smaller than the provided \
                     max_deleted_entry_id",
                ));
            }
            max_deleted_id = Some(deleted).filter(|id| !id.is_zero());
        } else {
            return Err(Error::Syntax);
        }
        at += 2;
    }
    let key = cx.key(args, 1);
    let mut stream = cx.slice.edit::<Stream>(cx.db, &key)?.ok_or(Error::NoSuchKey)?;
    let log = stream.log_mut();
    if id < log.max_deleted_id() {
        return Err(Error::other(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if log.last_entry_id().is_some_and(|last| id < last) {
        return Err(Error::other(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if !log.is_empty() && entries_added.is_some_and(|added| log.len() > added) {
        return Err(Error::other(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    log.set_last(id, entries_added, max_deleted_id);
    stream.announce(Event::XSetId, 1);
    drop(stream);
    cx.reply.ok();
    Ok(())
}
