//! Replication commands: replicas attach and report with them, clients query and wait for replicas.

use crate::base::number::parse_i64;
use crate::exec::{AckWish, Command, NO_AOF, ReplicaState, Request, SessionContext, SyncFrom};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group};

/// The replication commands.
pub static FAMILY: &[&Command] = &[&REPLCONF, &SYNC, &PSYNC, &ROLE, &WAIT, &WAITAOF];

/// Maximum length of a replica's address in bytes. Longer ones are errors.
const ADDRESS_BYTES_MAX: usize = 255;

static REPLCONF: Command = Command::session(
    replconf,
    Card::new("replconf", Group::Server, "3.0.0")
        .summary("An internal command for configuring the replication stream.")
        .constant_time()
        .arity(-1)
        .flags(
            Flag::ADMIN
                .and(Flag::NOSCRIPT)
                .and(Flag::LOADING)
                .and(Flag::STALE)
                .and(Flag::ALLOW_BUSY),
        )
        .internal(),
);

/// Applies pairs of an option and its value in order. An error keeps the pairs before it applied.
fn replconf(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len().is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    for at in (1..args.len()).step_by(2) {
        let option = args[at].to_ascii_lowercase();
        match option.as_slice() {
            // Acknowledgements have no reply, because the connection carries the feed.
            b"ack" => {
                acknowledge(cx, args, at);
                return Ok(());
            }
            b"getack" => return Ok(()),
            _ => set_option(cx, &option, &args[at], &args[at + 1])?,
        }
    }
    cx.reply.ok();
    Ok(())
}

/// Handles `ACK offset [FACK offset]`: the replica's offsets in memory and on disk.
fn acknowledge(cx: &mut SessionContext<'_>, args: &Args<'_>, at: usize) {
    let replica = &mut cx.session.replica;
    let Some(offset) = parse_i64(&args[at + 1]).filter(|_| replica.is_attached) else { return };
    replica.ack(offset, cx.now_us / 1_000);
    let is_disk = args.get(at + 2).is_some_and(|arg| arg.eq_ignore_ascii_case(b"fack"));
    if is_disk && let Some(offset) = args.get(at + 3).and_then(parse_i64) {
        replica.ack_disk(offset);
    }
}

fn set_option(
    cx: &mut SessionContext<'_>,
    option: &[u8],
    arg: &[u8],
    value: &[u8],
) -> Result<(), Error> {
    let replica = &mut cx.session.replica;
    match option {
        b"listening-port" => replica.listening_port = parse_i64(value).ok_or(Error::NotInteger)?,
        b"ip-address" if value.len() > ADDRESS_BYTES_MAX => {
            let len = value.len();
            return Err(Error::other(format!(
                "ERR REPLCONF ip-address provided by replica instance is too long: {len} bytes"
            )));
        }
        b"ip-address" => replica.address = Some(value.to_vec()),
        // Ignores unknown capabilities: they belong to other servers.
        b"capa" => {
            replica.knows_eof |= value.eq_ignore_ascii_case(b"eof");
            replica.knows_psync2 |= value.eq_ignore_ascii_case(b"psync2");
        }
        b"rdb-only" => replica.is_snapshot_only = read_switch(value)?,
        b"rdb-filter-only" => {
            replica.leaves_out_keys = true;
            replica.leaves_out_functions = true;
            for kept in value.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty()) {
                if !kept.eq_ignore_ascii_case(b"functions") {
                    let what = b"ERR Unsupported rdb-filter-only option: ";
                    return Err(Error::quoting(&[what, kept]));
                }
                replica.leaves_out_functions = false;
            }
        }
        b"version" => {
            let unknown = || Error::quoting(&[b"ERR Unrecognized version format: ", value]);
            replica.version = Some(parse_version(value).ok_or_else(unknown)?);
        }
        // No id is known: this server never sends a snapshot over a separate connection.
        b"set-rdb-client-id" => {
            let id = parse_i64(value).ok_or(Error::NotInteger)?;
            return Err(Error::other(format!("ERR Unrecognized RDB client id {id}")));
        }
        b"set-cluster-node-id" => {
            return Err(Error::other("ERR This instance has cluster support disabled"));
        }
        _ => return Err(Error::quoting(&[b"ERR Unrecognized REPLCONF option: ", arg])),
    }
    Ok(())
}

/// Parses 0 as false and 1 as true.
fn read_switch(value: &[u8]) -> Result<bool, Error> {
    match parse_i64(value).ok_or(Error::NotInteger)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::not_between(0, 1)),
    }
}

/// Parses a version such as `9.1.0` into three bytes: 0x090100. Each part is at most 255; an empty
/// part is 0.
fn parse_version(text: &[u8]) -> Option<u32> {
    let mut parts = text.split(|&byte| byte == b'.').map(|part| {
        part.iter().try_fold(0u32, |sum, digit| {
            let digit = char::from(*digit).to_digit(10)?;
            Some(sum * 10 + digit).filter(|sum| *sum <= 255)
        })
    });
    let version = (parts.next()?? << 16) | (parts.next()?? << 8) | parts.next()??;
    parts.next().is_none().then_some(version)
}

static SYNC: Command = Command::session(
    sync,
    Card::new("sync", Group::Server, "1.0.0")
        .summary("An internal command used in replication.")
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::NO_ASYNC_LOADING).and(Flag::NO_MULTI)),
);

static PSYNC: Command = Command::session(
    psync,
    Card::new("psync", Group::Server, "2.8.0")
        .summary("An internal command used in replication.")
        .arity(-3)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::NO_ASYNC_LOADING).and(Flag::NO_MULTI))
        .args(&[Arg::string("replicationid"), Arg::integer("offset")]),
);

fn sync(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    if cx.session.replica.is_attached {
        return Ok(());
    }
    check_filter(cx)?;
    cx.request = Some(Request::Sync(SyncFrom { psync: None }));
    Ok(())
}

fn psync(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if cx.session.replica.is_attached {
        return Ok(());
    }
    if args.get(3).is_some_and(|arg| arg.eq_ignore_ascii_case(b"failover")) {
        return Err(Error::other("ERR PSYNC FAILOVER can't be sent to a master."));
    }
    check_filter(cx)?;
    let offset = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    cx.request = Some(Request::Sync(SyncFrom { psync: Some((args[1].to_vec(), offset)) }));
    Ok(())
}

/// Returns an error if the replica wants a filtered snapshot but cannot read one of unknown length.
fn check_filter(cx: &SessionContext<'_>) -> Result<(), Error> {
    let replica = &cx.session.replica;
    let is_filtered = replica.leaves_out_keys || replica.leaves_out_functions;
    if is_filtered && !replica.knows_eof {
        return Err(Error::other("ERR Filtered replica requires EOF capability"));
    }
    Ok(())
}

static ROLE: Command = Command::session(
    role,
    Card::new("role", Group::Server, "2.8.12")
        .summary("Returns the replication role.")
        .constant_time()
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::FAST))
        .categories(&[Category::Admin, Category::Dangerous]),
);

fn role(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let facts = cx.process.replication();
    let online = || facts.replicas.iter().filter(|line| line.state == ReplicaState::Online);
    cx.reply.array(3);
    cx.reply.bulk(b"master");
    cx.reply.integer(facts.offset as i64);
    cx.reply.array(online().count());
    for line in online() {
        cx.reply.array(3);
        cx.reply.bulk(line.ip.as_bytes());
        cx.reply.integer_bulk(line.port);
        cx.reply.integer_bulk(line.acked_offset as i64);
    }
    Ok(())
}

static WAIT: Command = Command::session(
    wait,
    Card::new("wait", Group::Generic, "3.0.0")
        .summary(
            "Blocks until the asynchronous replication of all preceding write commands sent by \
             the connection is completed.",
        )
        .constant_time()
        .arity(3)
        .flags(Flag::BLOCKING)
        .categories(&[Category::Connection])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .args(&[Arg::integer("numreplicas"), Arg::integer("timeout")]),
);

fn wait(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let replicas = parse_i64(&args[1]).ok_or(Error::NotInteger)?;
    let timeout_ms = read_timeout(cx, &args[2])?;
    let wish = AckWish::Memory(usize::try_from(replicas).unwrap_or(0));
    cx.request = Some(Request::Wait { wish, timeout_ms });
    Ok(())
}

fn read_timeout(cx: &SessionContext<'_>, value: &[u8]) -> Result<u64, Error> {
    let not_a_time = || Error::other("ERR timeout is not an integer or out of range");
    let timeout_ms = parse_i64(value).ok_or_else(not_a_time)?;
    if timeout_ms < 0 {
        return Err(Error::other("ERR timeout is negative"));
    }
    if timeout_ms > i64::MAX - (cx.now_us / 1_000) as i64 {
        return Err(Error::other("ERR timeout is out of range"));
    }
    Ok(timeout_ms as u64)
}

static WAITAOF: Command = Command::session(
    waitaof,
    Card::new("waitaof", Group::Generic, "7.2.0")
        .summary(
            "Blocks until all of the preceding write commands sent by the connection are written \
             to the append-only file of the primary and/or replicas.",
        )
        .constant_time()
        .arity(4)
        .flags(Flag::BLOCKING)
        .categories(&[Category::Connection])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .args(&[Arg::integer("numlocal"), Arg::integer("numreplicas"), Arg::integer("timeout")]),
);

fn waitaof(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let local = match parse_i64(&args[1]).ok_or(Error::NotInteger)? {
        0 => false,
        1 => true,
        _ => return Err(Error::not_between(0, 1)),
    };
    let replicas = parse_i64(&args[2]).and_then(|replicas| usize::try_from(replicas).ok());
    let replicas = replicas.ok_or(Error::NotPositive)?;
    let timeout_ms = read_timeout(cx, &args[3])?;
    if local && !cx.process.config.snapshot().appendonly {
        return Err(Error::other(NO_AOF));
    }
    cx.request = Some(Request::Wait { wish: AckWish::Disk { local, replicas }, timeout_ms });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::{START_MS, SessionBench};

    #[test]
    fn replconf_sets_options_of_the_replica() {
        let mut bench = SessionBench::new();
        bench.check_script(
            "
            REPLCONF => OK
            REPLCONF listening-port 6380 => OK
            REPLCONF ip-address 10.0.0.9 => OK
            REPLCONF capa eof CAPA psync2 capa dual-channel => OK
            REPLCONF version 9.1.0 => OK
            REPLCONF rdb-only 1 => OK
            REPLCONF rdb-filter-only functions => OK
            ",
        );
        let replica = &bench.session.replica;
        assert_eq!(replica.listening_port, 6380);
        assert_eq!(replica.address.as_deref(), Some(&b"10.0.0.9"[..]));
        assert!(replica.knows_eof && replica.knows_psync2 && replica.is_snapshot_only);
        assert!(replica.leaves_out_keys && !replica.leaves_out_functions);
        assert_eq!(replica.version, Some(0x09_01_00));
        bench.check_script("REPLCONF rdb-only 0 rdb-filter-only '' => OK");
        let replica = &bench.session.replica;
        assert!(!replica.is_snapshot_only && replica.leaves_out_functions);
    }

    #[test]
    fn replconf_errors_are_those_of_the_reference() {
        let mut bench = SessionBench::new();
        bench.check_script(
            "
            REPLCONF capa => -ERR syntax error
            REPLCONF listening-port x => -ERR value is not an integer or out of range
            REPLCONF rdb-only 2 => -ERR value is out of range, value must between 0 and 1
            REPLCONF rdb-only x => -ERR value is not an integer or out of range
            REPLCONF rdb-filter-only keys => -ERR Unsupported rdb-filter-only option: keys
            REPLCONF version 9.1 => -ERR Unrecognized version format: 9.1
            REPLCONF version 9.1.256 => -ERR Unrecognized version format: 9.1.256
            REPLCONF version 9.1.0.0 => -ERR Unrecognized version format: 9.1.0.0
            REPLCONF version a.b.c => -ERR Unrecognized version format: a.b.c
            REPLCONF set-rdb-client-id 7 => -ERR Unrecognized RDB client id 7
            REPLCONF set-cluster-node-id x => -ERR This instance has cluster support disabled
            REPLCONF Foo bar => -ERR Unrecognized REPLCONF option: Foo
            REPLCONF listening-port 7 foo bar => -ERR Unrecognized REPLCONF option: foo
            ",
        );
        assert_eq!(
            bench.session.replica.listening_port, 7,
            "the pair before the error stays applied"
        );
        let long = "x".repeat(256);
        let error = "ERR REPLCONF ip-address provided by replica instance is too long: 256 bytes";
        bench.check_script(&format!("REPLCONF ip-address {long} => -{error}"));
        assert_eq!(parse_version(b"1..2"), Some(0x01_00_02));
    }

    #[test]
    fn acknowledgements_have_no_reply() {
        let mut bench = SessionBench::new();
        bench.check_script("REPLCONF ACK 5 => nothing\nREPLCONF GETACK * => nothing");
        assert_eq!(bench.session.replica.acked_ms, 0, "only a replica acknowledges");
        bench.session.replica.is_attached = true;
        bench.check_script(
            "
            REPLCONF ACK 500 => nothing
            REPLCONF ACK 400 FACK 300 => nothing
            REPLCONF ACK x => nothing
            SYNC => nothing
            PSYNC ? -1 => nothing
            ",
        );
        let replica = &bench.session.replica;
        assert_eq!((replica.acked_offset, replica.acked_disk_offset), (500, 300));
        assert_eq!(replica.acked_ms, START_MS);
    }

    #[test]
    fn sync_and_psync_leave_requests_to_the_shard() {
        SessionBench::new().check_script(
            "
            SYNC => ?Sync(SyncFrom { psync: None })
            PSYNC ? -1 => ?Sync(SyncFrom { psync: Some(([63], -1)) })
            PSYNC ? x => -ERR value is not an integer or out of range
            PSYNC ? 1 FAILOVER => -ERR PSYNC FAILOVER can't be sent to a master.
            REPLCONF rdb-filter-only functions => OK
            SYNC => -ERR Filtered replica requires EOF capability
            PSYNC ? -1 => -ERR Filtered replica requires EOF capability
            REPLCONF capa eof => OK
            SYNC => ?Sync(SyncFrom { psync: None })
            ROLE => [\"master\" :0 []]
            ",
        );
    }

    #[test]
    fn wait_leaves_a_request_to_the_shard() {
        SessionBench::new().check_script(
            "
            WAIT 2 1000 => ?Wait { wish: Memory(2), timeout_ms: 1000 }
            WAIT -1 0 => ?Wait { wish: Memory(0), timeout_ms: 0 }
            WAIT x 0 => -ERR value is not an integer or out of range
            WAIT 1 x => -ERR timeout is not an integer or out of range
            WAIT 1 -1 => -ERR timeout is negative
            WAIT 1 9223372036854775807 => -ERR timeout is out of range
            ",
        );
    }

    #[test]
    fn waitaof_leaves_a_request_to_the_shard() {
        SessionBench::new().check_script(
            "
            WAITAOF 0 2 9 => ?Wait { wish: Disk { local: false, replicas: 2 }, timeout_ms: 9 }
            WAITAOF 2 0 0 => -ERR value is out of range, value must between 0 and 1
            WAITAOF -1 0 0 => -ERR value is out of range, value must between 0 and 1
            WAITAOF x 0 0 => -ERR value is not an integer or out of range
            WAITAOF 0 x 0 => -ERR value is out of range, must be positive
            WAITAOF 0 -1 0 => -ERR value is out of range, must be positive
            WAITAOF 0 0 x => -ERR timeout is not an integer or out of range
            WAITAOF 1 0 -1 => -ERR timeout is negative
            ",
        );
        let text = format!("WAITAOF 1 0 0 => -{NO_AOF}");
        SessionBench::new().check_script(&text);
    }
}
