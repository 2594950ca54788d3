//! What a client switches for itself: which replies it gets, and whether it is an import source.

use crate::exec::{Command, Replies, Run, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Card, Category, Flag, Group};

pub(super) static REPLY: Command = Command {
    card: Card {
        name: "reply",
        summary: "Instructs the server whether to reply to commands.",
        since: "3.2.0",
        group: Group::Connection,
        complexity: "O(1)",
        arity: 3,
        flags: Flag::NOSCRIPT
            .and(Flag::LOADING)
            .and(Flag::STALE)
            .and(Flag::NO_MULTI)
            .and(Flag::ALLOW_BUSY),
        categories: &[Category::Connection],
        tips: &[],
        keys: &[],
    },
    run: Run::Session(reply),
    subcommands: &[],
};

/// Only ON has a reply.
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

pub(super) static IMPORT_SOURCE: Command = Command {
    card: Card {
        name: "import-source",
        summary: "Marks this client as an import source when the server is in import mode.",
        since: "8.1.0",
        group: Group::Connection,
        complexity: "O(1)",
        arity: 3,
        flags: Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE),
        categories: &[Category::Connection],
        tips: &[],
        keys: &[],
    },
    run: Run::Session(import_source),
    subcommands: &[],
};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::SessionBench;

    #[test]
    fn replies_are_chosen() {
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
}
