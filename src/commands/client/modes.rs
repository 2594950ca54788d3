//! The modes that a client sets for itself: which replies it gets, its exemptions, its
//! capabilities.

use crate::exec::{Command, Replies, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};

pub(super) static REPLY: Command = Command::session(
    reply,
    Card::new("reply", Group::Connection, "3.2.0")
        .summary("Instructs the server whether to reply to commands.")
        .constant_time()
        .arity(3)
        .flags(
            Flag::NOSCRIPT
                .and(Flag::LOADING)
                .and(Flag::STALE)
                .and(Flag::NO_MULTI)
                .and(Flag::ALLOW_BUSY),
        )
        .args(&[Arg::choice("action", &["ON", "OFF", "SKIP"])]),
);

/// CLIENT REPLY. Only ON has a reply.
fn reply(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let replies = &mut cx.session.replies;
    match &args[2].to_ascii_lowercase()[..] {
        b"on" => {
            *replies = Replies::All;
            cx.reply.ok();
        }
        b"off" => *replies = Replies::None,
        b"skip" if *replies == Replies::None => {}
        b"skip" => *replies = Replies::AllButNext,
        _ => return Err(Error::Syntax),
    }
    Ok(())
}

pub(super) static IMPORT_SOURCE: Command = Command::session(
    import_source,
    Card::new("import-source", Group::Connection, "8.1.0")
        .summary("Marks this client as an import source when the server is in import mode.")
        .constant_time()
        .arity(3)
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE))
        .args(&[Arg::choice("enabled", &["ON", "OFF"])]),
);

fn import_source(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let is_off = args[2].eq_ignore_ascii_case(b"off");
    if !is_off && !cx.process.config.snapshot().import_mode {
        return Err(Error::other("ERR Server is not in import mode"));
    }
    if !is_off && !args[2].eq_ignore_ascii_case(b"on") {
        return Err(Error::Syntax);
    }
    cx.session.is_import_source = !is_off;
    cx.reply.ok();
    Ok(())
}

pub(super) static NO_EVICT: Command = Command::session(
    no_evict,
    Card::new("no-evict", Group::Connection, "7.0.0")
        .summary("Sets the client eviction mode of the connection.")
        .constant_time()
        .arity(3)
        .flags(
            Flag::ADMIN
                .and(Flag::NOSCRIPT)
                .and(Flag::LOADING)
                .and(Flag::STALE)
                .and(Flag::ALLOW_BUSY),
        )
        .args(&[Arg::choice("enabled", &["ON", "OFF"])]),
);

fn no_evict(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    cx.session.is_no_evict = read_switch(&args[2])?;
    cx.reply.ok();
    Ok(())
}

pub(super) static NO_TOUCH: Command = Command::session(
    no_touch,
    Card::new("no-touch", Group::Connection, "7.2.0")
        .summary(
            "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
        )
        .constant_time()
        .arity(3)
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::ALLOW_BUSY))
        .args(&[Arg::choice("enabled", &["ON", "OFF"])]),
);

fn no_touch(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    cx.session.is_no_touch = read_switch(&args[2])?;
    cx.reply.ok();
    Ok(())
}

fn read_switch(arg: &[u8]) -> Result<bool, Error> {
    match &arg.to_ascii_lowercase()[..] {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(Error::Syntax),
    }
}

pub(super) static CAPA: Command = Command::session(
    capa,
    Card::new("capa", Group::Connection, "8.0.0")
        .summary("A client claims its capability.")
        .constant_time()
        .arity(-3)
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::ALLOW_BUSY))
        .args(&[Arg::string("capability").repeated()]),
);

/// CLIENT CAPA. Ignores unknown capabilities.
fn capa(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    cx.session.can_redirect |= args.iter_from(2).any(|arg| arg.eq_ignore_ascii_case(b"redirect"));
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::SessionBench;

    #[test]
    fn replies_are_switched_on_and_off() {
        let mut bench = SessionBench::new();
        bench.check_script(
            "
            CLIENT REPLY foo => -ERR syntax error
            CLIENT REPLY ON => OK
            CLIENT REPLY skip => nothing
            ",
        );
        assert_eq!(bench.session.replies, Replies::AllButNext);
        bench.check_script("CLIENT REPLY OFF => nothing\nCLIENT REPLY SKIP => nothing");
        assert_eq!(bench.session.replies, Replies::None);
        bench.check_script("CLIENT REPLY on => OK");
        assert_eq!(bench.session.replies, Replies::All);
        bench.check_script("CLIENT REPLY OFF => nothing\nRESET => RESET");
        assert_eq!(bench.session.replies, Replies::All);
    }

    #[test]
    fn import_sources_need_the_mode() {
        SessionBench::new().check_script(
            "
            CLIENT IMPORT-SOURCE ON => -ERR Server is not in import mode
            CLIENT IMPORT-SOURCE x => -ERR Server is not in import mode
            CLIENT IMPORT-SOURCE OFF => OK
            ",
        );
        let mut bench = SessionBench::with(|config| config.import_mode = true);
        bench.check_script(
            "
            CLIENT IMPORT-SOURCE x => -ERR syntax error
            CLIENT IMPORT-SOURCE ON => OK
            ",
        );
        assert!(bench.session.is_import_source);
        assert_eq!(bench.session.flags(), "I");
        bench.check_script("RESET => RESET");
        assert!(!bench.session.is_import_source);
    }

    #[test]
    fn modes_are_switched() {
        let mut bench = SessionBench::new();
        bench.check_script(
            "
            CLIENT NO-EVICT x => -ERR syntax error
            CLIENT NO-TOUCH x => -ERR syntax error
            CLIENT NO-EVICT on => OK
            CLIENT NO-TOUCH ON => OK
            CLIENT CAPA foo => OK
            ",
        );
        assert_eq!((bench.session.flags(), bench.session.can_redirect), ("eT".to_string(), false));
        bench.check_script("CLIENT CAPA foo Redirect => OK\nRESET => RESET");
        assert_eq!((bench.session.flags(), bench.session.can_redirect), ("N".to_string(), true));
        bench.check_script("CLIENT NO-EVICT on => OK\nCLIENT NO-EVICT off => OK");
        assert_eq!(bench.session.flags(), "N");
    }
}
