//! CLIENT UNBLOCK: ends the command that a blocked client waits in.

use crate::base::number::parse_i64;
use crate::exec::{Command, Request, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};

pub(super) static UNBLOCK: Command = Command::session(
    unblock,
    Card::new("unblock", Group::Connection, "5.0.0")
        .summary("Unblocks a client blocked by a blocking command from a different connection.")
        .complexity("O(log N) where N is the number of client connections")
        .arity(-3)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .args(&[
            Arg::integer("client-id"),
            Arg::choice("unblock-type", &["TIMEOUT", "ERROR"]).optional(),
        ]),
)
.asks_shards();

fn unblock(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    // As in the reference, further arguments disable the check of the reason.
    let is_error = match args.len() {
        4 if args[3].eq_ignore_ascii_case(b"error") => true,
        4 if !args[3].eq_ignore_ascii_case(b"timeout") => {
            return Err(Error::other("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
        _ => false,
    };
    let client = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    match u64::try_from(client) {
        Ok(client) => cx.request = Some(Request::ClientUnblock { client, is_error }),
        // No client has this id.
        Err(_) => cx.reply.integer(0),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::SessionBench;

    #[test]
    fn unblock_is_requested_from_the_shards() {
        let mut bench = SessionBench::new();
        bench.check_script(
            "
            CLIENT UNBLOCK 7 foo => -ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR
            CLIENT UNBLOCK x => -ERR value is not an integer or out of range
            CLIENT UNBLOCK -1 => :0
            CLIENT UNBLOCK => -ERR wrong number of arguments for 'client|unblock' command
            ",
        );
        for (args, is_error) in [
            (&["CLIENT", "UNBLOCK", "9"][..], false),
            (&["CLIENT", "UNBLOCK", "9", "Timeout"], false),
            (&["CLIENT", "UNBLOCK", "9", "ERROR"], true),
        ] {
            assert_eq!(bench.run(args), None);
            let asked = Request::ClientUnblock { client: 9, is_error };
            assert_eq!(bench.request.take(), Some(asked));
        }
    }
}
