//! ACL LOG: refused commands and failed logins.

use super::OF_ADMINS;
use crate::acl::{DenialContext, LogKey, Reason, Refused};
use crate::base::number::parse_i64;
use crate::exec::{Command, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Group};

/// Number of entries that ACL LOG shows by default.
const SHOWN: i64 = 10;

pub(super) static LOG: Command = Command::session(
    log,
    Card::new("log", Group::Server, "6.0.0")
        .summary("Lists recent security events generated due to ACL rules.")
        .complexity("O(N) with N being the number of entries shown.")
        .arity(-2)
        .flags(OF_ADMINS)
        .history(&[("7.2.0", "Added entry ID, timestamp created, and timestamp last updated.")])
        .args(&[
            Arg::one_of("operation", &[Arg::integer("count"), Arg::keyword("RESET")]).optional()
        ]),
);

fn log(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let count = match args.get(2) {
        _ if args.len() > 3 => return Err(Error::subcommand_syntax(b"ACL", &args[1])),
        None => SHOWN,
        Some(word) if word.eq_ignore_ascii_case(b"reset") => {
            cx.process.acl.log.clear();
            cx.reply.ok();
            return Ok(());
        }
        Some(count) => parse_i64(count).ok_or(Error::NotInteger)?,
    };
    let entries = cx.process.acl.log.latest(usize::try_from(count).unwrap_or(0));
    cx.reply.array(entries.len());
    for entry in entries {
        let age_ms = (cx.now_us / 1_000) as f64 - entry.updated_ms as f64;
        let reply = &mut cx.reply;
        reply.map(10);
        reply.bulk(b"count");
        reply.integer(entry.count as i64);
        let texts: [(&[u8], &[u8]); 4] = [
            (b"reason", reason(entry.key.reason).as_bytes()),
            (b"context", context(entry.key.context).as_bytes()),
            (b"object", &entry.key.object),
            (b"username", &entry.key.user),
        ];
        for (name, text) in texts {
            reply.bulk(name);
            reply.bulk(text);
        }
        reply.bulk(b"age-seconds");
        reply.double(age_ms / 1e3);
        reply.bulk(b"client-info");
        reply.bulk(entry.client.line());
        for (name, number) in [
            ("entry-id", entry.id),
            ("timestamp-created", entry.created_ms),
            ("timestamp-last-updated", entry.updated_ms),
        ] {
            reply.bulk(name.as_bytes());
            reply.integer(number as i64);
        }
    }
    Ok(())
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Database => "database",
        Reason::Command => "command",
        Reason::Key => "key",
        Reason::Channel => "channel",
        Reason::Login => "auth",
        Reason::Certificate => "tls-cert",
    }
}

fn context(context: DenialContext) -> &'static str {
    match context {
        DenialContext::TopLevel => "toplevel",
        DenialContext::Multi => "multi",
        DenialContext::Script => "lua",
    }
}

/// Notes that a client gave a wrong name or password to `command`.
pub(in crate::commands) fn note_failed_login(
    cx: &mut SessionContext<'_>,
    command: &[u8],
    user: &[u8],
) {
    cx.process.boards.board(cx.shard).counters.auth_failures.add(1);
    let context = match cx.is_in_exec || cx.session.multi.is_some() {
        true => DenialContext::Multi,
        false => DenialContext::TopLevel,
    };
    let (object, user) = (command.to_vec(), user.to_vec());
    let key = LogKey { reason: Reason::Login, context, object, user };
    let entries_max = cx.process.config.snapshot().acllog_max_len;
    let client = match cx.process.client_homes.find(cx.session.id) {
        Some(home) => Refused::Connection(home.shard, home.conn, home.generation),
        None => Refused::Client(Vec::new()),
    };
    cx.process.acl.log.add(key, client, cx.now_us / 1_000, entries_max);
}
