//! DEBUG: subcommands for tests and for debugging.

mod keys;
mod process;
mod protocol;
mod reply_buffer;

use super::dump::SKIPS_CHECKSUM;
use super::help::write_help;
use crate::base::number::{parse_f64, parse_i64, parse_memory};
use crate::exec::{Command, DebugAsk, Reload, Request, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Card, Flag, Group};
use crate::value::list::set_plain_bytes_min;
pub use keys::{answer_debug, merge_debug};
use process::debug_process;
use protocol::reply_sample;
use reply_buffer::{hold_tls_output, limit_all_replies, set_reply_buffer};
use std::sync::atomic::Ordering;

/// The lines of DEBUG HELP: the reference's own lines for the subcommands that exist here.
const HELP: [&str; 78] = [
    "AOF-FLUSH-SLEEP <microsec>",
    "    Server will sleep before flushing the AOF, this is used for testing.",
    "ASSERT",
    "    Trigger an assertion failed.",
    "CLIENT-ENFORCE-REPLY-LIST <0|1>",
    "    When set to 1, it enforces the use of the client reply list directly",
    "    and avoids using the client's static buffer.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    Like CONFIG REWRITE but writes all configuration options, including",
    "    keywords not listed in original configuration file or default values.",
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Output a hex signature of the values of all the specified keys.",
    "ERROR <string>",
    "    Return a RESP protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate error replies.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "HTSTATS <dbid> [full]",
    "    Return hash table statistics of the specified database.",
    "JMAP",
    "    Write the shape of all tables to the log.",
    "LOADAOF",
    "    Flush the AOF buffers on disk and reload the AOF in memory.",
    "OBJECT <key> [fast]",
    "    Show low level info about `key` and associated value.",
    "    Some fields of the default behavior may be time consuming to fetch,",
    "    and `fast` can be passed to avoid fetching them.",
    "PANIC",
    "    Crash the server simulating a panic.",
    "PAUSE-CRON <0|1>",
    "    Stop periodic cron job processing.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> string keys named key:<num>. If <prefix> is specified then",
    "    it is used instead of the 'key' prefix. These are not propagated to",
    "    replicas. Cluster slots are not respected so keys not belonging to the",
    "    current node can be created in cluster mode.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true, false.",
    "RELOAD [option ...]",
    "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
    "    * MERGE: conflicting keys will be loaded from RDB.",
    "    * NOFLUSH: the existing database will not be removed before load, but",
    "      conflicting keys will be reported as an error.",
    "    * NOSAVE: the database will be loaded from an existing RDB file.",
    "    Examples:",
    "    * DEBUG RELOAD: verify that the server is able to persist, flush and reload",
    "      the database.",
    "    * DEBUG RELOAD NOSAVE: replace the current database with the contents of an",
    "      existing RDB file.",
    "    * DEBUG RELOAD NOSAVE NOFLUSH MERGE: add the contents of an existing RDB",
    "      file to the database.",
    "REPLYBUFFER PEAK-RESET-TIME <NEVER|RESET|time>",
    "    Sets the time (in milliseconds) to wait between client reply buffer peak resets.",
    "    In case NEVER is provided the last observed peak will never be reset",
    "    In case RESET is provided the peak reset time will be restored to the default value",
    "REPLYBUFFER RESIZING <0|1>",
    "    Enable or disable the reply buffer resize cron job",
    "SEGFAULT",
    "    Crash the server with sigsegv.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed (otherwise the behavior). Setting it to 1 reenables back the",
    "    default.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Sets the threshold for elements to be inserted as plain vs packed nodes",
    "    Default value is 1GB, allows values up to 4GB. Setting to 0 restores to default.",
    "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
    "    Enables or disables checksum checks for RDB files and RESTORE's payload.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
    "DICT-RESIZING <0|1>",
    "    Enable or disable the main dict and expire dict resizing.",
    "FORCE-TLS-WRITE-ERROR <0|1>",
    "    Force TLS write error for testing.",
];

/// Upper bound of the size from which a list stores an element in a node of its own, as DEBUG
/// QUICKLIST-PACKED-THRESHOLD sets it.
const PLAIN_BYTES_MAX: u64 = (1 << 32) - (1 << 20);

pub(super) static DEBUG: Command = Command::session(
    debug,
    Card::new("debug", Group::Server, "1.0.0")
        .summary("A container for debugging commands.")
        .complexity("Depends on subcommand.")
        .arity(-2)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .internal(),
)
.asks_shards();

fn debug(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let permission = cx.process.config.snapshot().enable_debug_command;
    if !permission.allows(cx.session.is_local()) {
        return Err(Error::other(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \
             \"local\", you can run it from a local connection, otherwise you need to set this \
             option in the configuration file, and then restart the server.",
        ));
    }
    let name = args[1].to_ascii_lowercase();
    let db = cx.session.db;
    match (&name[..], args.get(2), args.len()) {
        (b"client-enforce-reply-list", Some(arg), 3) => limit_all_replies(cx, arg),
        (b"dict-resizing", Some(_), 3) => cx.reply.ok(),
        (b"digest", None, _) => ask(cx, DebugAsk::Digest),
        (b"digest-value", _, _) => {
            let keys = args.iter_from(2).map(Box::from).collect();
            ask(cx, DebugAsk::ValueDigests(db, keys));
        }
        (b"error", Some(arg), 3) => cx.reply.error_bytes(arg),
        (b"force-tls-write-error", Some(arg), 3) => hold_tls_output(cx, arg)?,
        (b"htstats", Some(arg), _) => {
            let in_full = args.get(3).is_some_and(|arg| arg.eq_ignore_ascii_case(b"full"));
            let db = read_database(cx, arg)?;
            ask(cx, DebugAsk::Tables(db, in_full));
        }
        (b"jmap", None, _) => cx.request = Some(Request::LogTable),
        (b"object", Some(key), 3 | 4) => {
            let is_fast = args.get(3).is_some_and(|arg| arg.eq_ignore_ascii_case(b"fast"));
            ask(cx, DebugAsk::Object { db, key: key.into(), is_fast });
        }
        (b"loadaof", _, _) => cx.request = Some(Request::LoadAof),
        (b"reload", _, _) => cx.request = Some(Request::Reload(read_reload(args)?)),
        (b"quicklist-packed-threshold", Some(arg), 3) => {
            set_plain_bytes_min(read_plain_bytes_min(arg)?);
            cx.reply.ok();
        }
        (b"set-skip-checksum-validation", Some(arg), 3) => {
            SKIPS_CHECKSUM.store(leading_number(arg) != 0, Ordering::Relaxed);
            cx.reply.ok();
        }
        (b"populate", Some(_), 3..=5) => {
            let populate = read_populate(args, db)?;
            ask(cx, populate);
        }
        (b"protocol", Some(arg), 3) => reply_sample(cx, arg)?,
        (b"replybuffer", Some(what), 4) => set_reply_buffer(cx, what, &args[3])?,
        (b"set-active-expire", Some(arg), 3) => {
            cx.request = Some(Request::ActiveExpire(leading_number(arg) != 0));
        }
        (b"set-disable-deny-scripts", Some(arg), 3) => {
            let allows = leading_number(arg) != 0;
            cx.process.allows_all_in_scripts.store(allows, Ordering::Relaxed);
            cx.reply.ok();
        }
        (b"sleep", Some(arg), 3) => {
            // The conversion of a float to an integer saturates; an argument that is not a number
            // counts as 0.
            let seconds = parse_f64(arg).unwrap_or(0.0);
            cx.request = Some(Request::DebugSleep((seconds * 1e6) as u64));
        }
        (b"help", None, _) => write_help(cx, "debug", &HELP),
        _ if debug_process(cx, &name, args)? => {}
        _ => return Err(Error::subcommand_syntax(b"debug", &args[1])),
    }
    Ok(())
}

fn read_database(cx: &SessionContext<'_>, arg: &[u8]) -> Result<usize, Error> {
    let db = parse_i64(arg).ok_or(Error::NotInteger)?;
    let databases = i64::from(cx.process.config.snapshot().database_count());
    match (0..databases).contains(&db) {
        true => Ok(db as usize),
        false => Err(Error::other("ERR Out of range database")),
    }
}

fn read_plain_bytes_min(arg: &[u8]) -> Result<usize, Error> {
    let bytes = parse_memory(arg).filter(|bytes| *bytes <= PLAIN_BYTES_MAX);
    let why = "ERR argument must be a memory value bigger than 1 and smaller than 4gb";
    bytes.map(|bytes| bytes as usize).ok_or_else(|| Error::other(why))
}

fn read_reload(args: &Args<'_>) -> Result<Reload, Error> {
    let mut reload = Reload { saves: true, flushes: true, may_replace: false };
    for arg in args.iter_from(2) {
        match &arg.to_ascii_lowercase()[..] {
            b"merge" => reload.may_replace = true,
            b"noflush" => reload.flushes = false,
            b"nosave" => reload.saves = false,
            _ => {
                return Err(Error::other(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    Ok(reload)
}

/// The longest value that POPULATE makes.
const POPULATE_BYTES_MAX: u64 = 512 << 20;

/// Requests an answer from all shards.
fn ask(cx: &mut SessionContext<'_>, ask: DebugAsk) {
    cx.request = Some(Request::Debug(Box::new(ask)));
}

/// Parses the arguments of POPULATE: number of keys, their prefix, length of their values.
fn read_populate(args: &Args<'_>, db: usize) -> Result<DebugAsk, Error> {
    let positive = |arg: &[u8]| {
        let number = parse_i64(arg).and_then(|number| u64::try_from(number).ok());
        number.ok_or(Error::NotPositive)
    };
    let value_bytes = args.get(4).map_or(Ok(0), positive)?;
    if value_bytes > POPULATE_BYTES_MAX {
        return Err(Error::StringTooLong);
    }
    Ok(DebugAsk::Populate {
        db,
        keys: positive(&args[2])?,
        prefix: args.get(3).unwrap_or(b"key").into(),
        value_bytes: value_bytes as usize,
    })
}

/// Returns the integer at the start of an argument, or 0 if there is none.
fn leading_number(arg: &[u8]) -> i64 {
    let sign = usize::from(matches!(arg.first(), Some(b'-' | b'+')));
    let digits = arg[sign..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: i64, digit| {
        number.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::{SessionBench, show};
    use crate::config::Permission;
    use crate::resp::Protocol;

    #[test]
    fn requests_go_to_all_shards() {
        SessionBench::with(|config| config.enable_debug_command = Permission::Yes).check_script(
            "
            DEBUG SLEEP 0.25 => ?DebugSleep(250000)
            DEBUG sleep -1 => ?DebugSleep(0)
            DEBUG SLEEP x => ?DebugSleep(0)
            DEBUG SLEEP => -ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try
                | DEBUG HELP.
            DEBUG SET-ACTIVE-EXPIRE 0 => ?ActiveExpire(false)
            DEBUG SET-ACTIVE-EXPIRE 1x => ?ActiveExpire(true)
            DEBUG SET-ACTIVE-EXPIRE x => ?ActiveExpire(false)
            DEBUG JMAP => ?LogTable
            DEBUG RELOAD
                | => ?Reload(Reload { saves: true, flushes: true, may_replace: false })
            DEBUG reload MERGE noflush NOSAVE
                | => ?Reload(Reload { saves: false, flushes: false, may_replace: true })
            DEBUG RELOAD x => -ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE
                | options.
            DEBUG QUICKLIST-PACKED-THRESHOLD 5gb => -ERR argument must be a memory value bigger
                | than 1 and smaller than 4gb
            DEBUG QUICKLIST-PACKED-THRESHOLD 0 => OK
            DEBUG SET-SKIP-CHECKSUM-VALIDATION 0 => OK
            DEBUG JMAP x => -ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try
                | DEBUG HELP.
            DEBUG FOO => -ERR unknown subcommand or wrong number of arguments for 'FOO'. Try DEBUG
                | HELP.
            DEBUG => -ERR wrong number of arguments for 'debug' command
            ",
        );
    }

    #[test]
    fn requests_about_keys_go_to_all_shards() {
        SessionBench::with(|config| config.enable_debug_command = Permission::Yes).check_script(
            "
            DEBUG DIGEST => ?Debug(Digest)
            DEBUG DIGEST x => -ERR unknown subcommand or wrong number of arguments for 'DIGEST'.
                | Try DEBUG HELP.
            DEBUG DIGEST-VALUE => ?Debug(ValueDigests(0, []))
            DEBUG digest-value a => ?Debug(ValueDigests(0, [[97]]))
            DEBUG OBJECT a => ?Debug(Object { db: 0, key: [97], is_fast: false })
            DEBUG OBJECT a FAST => ?Debug(Object { db: 0, key: [97], is_fast: true })
            DEBUG OBJECT a b c => -ERR unknown subcommand or wrong number of arguments for 'OBJECT'.
                | Try DEBUG HELP.
            DEBUG HTSTATS 9 => ?Debug(Tables(9, false))
            DEBUG HTSTATS 9 full => ?Debug(Tables(9, true))
            DEBUG HTSTATS 16 => -ERR Out of range database
            DEBUG HTSTATS -1 => -ERR Out of range database
            DEBUG HTSTATS x => -ERR value is not an integer or out of range
            DEBUG POPULATE 1
                | => ?Debug(Populate { db: 0, keys: 1, prefix: [107, 101, 121], value_bytes: 0 })
            DEBUG POPULATE 2 p 30
                | => ?Debug(Populate { db: 0, keys: 2, prefix: [112], value_bytes: 30 })
            DEBUG POPULATE -1 => -ERR value is out of range, must be positive
            DEBUG POPULATE x => -ERR value is out of range, must be positive
            DEBUG POPULATE 1 p x => -ERR value is out of range, must be positive
            DEBUG POPULATE 1 p 536870913 => -ERR string exceeds maximum allowed size
                | (proto-max-bulk-len)
            DEBUG DICT-RESIZING 0 => OK
            DEBUG LOG hello => OK
            DEBUG ERROR MY~error => -MY error
            ",
        );
    }

    #[test]
    fn protocol_replies_with_samples_of_all_types() {
        let mut bench = SessionBench::with(|c| c.enable_debug_command = Permission::Yes);
        bench.check_script(
            "
            DEBUG PROTOCOL string => \"Hello World\"
            DEBUG PROTOCOL integer => :12345
            DEBUG PROTOCOL double => \"3.141\"
            DEBUG PROTOCOL bignum => \"1234567999999999999999999999999999999\"
            DEBUG PROTOCOL null => nil
            DEBUG PROTOCOL array => [:0 :1 :2]
            DEBUG PROTOCOL set => [:0 :1 :2]
            DEBUG PROTOCOL map => [:0 :0 :1 :1 :2 :0]
            DEBUG PROTOCOL attrib => \"Some real reply following the attribute\"
            DEBUG PROTOCOL push => -ERR RESP2 is not supported by this command
            DEBUG PROTOCOL true => :1
            DEBUG PROTOCOL false => :0
            DEBUG PROTOCOL foo => -ERR Wrong protocol type name. Please use one of the following:
                | string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false
            ",
        );
        bench.session.protocol = Protocol::Three;
        bench.check_script("DEBUG PROTOCOL set => <:0 :1 :2>");
    }

    #[test]
    fn debug_needs_permission() {
        let sleep = ["DEBUG", "SLEEP", "0"];
        let mut bench = SessionBench::new();
        let shown = show(&bench.run(&sleep).expect("a reply"));
        assert!(shown.starts_with("-ERR DEBUG command not allowed. If the enable-debug-command"));
        let mut bench = SessionBench::with(|c| c.enable_debug_command = Permission::Local);
        assert!(bench.run(&sleep).is_some(), "the session is not local");
        bench.session.address = "127.0.0.1:1".to_string();
        assert_eq!(bench.run(&sleep), None);
        assert_eq!(bench.request, Some(Request::DebugSleep(0)));
    }
}
