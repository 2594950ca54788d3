//! CLIENT: names of sessions, information about them, and ways to end them.

mod filter;
mod filter_card;
mod modes;
mod pause;
mod tracking;
mod unblock;

use super::help::{help_card, help_command};
use crate::exec::{ClientFilter, Command, Request, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};
use filter::read_filter;

pub(super) static CLIENT: Command = Command::container(
    Card::new("client", Group::Connection, "2.4.0")
        .summary("A container for client connection commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[
        &ID,
        &GETNAME,
        &SETNAME,
        &SETINFO,
        &INFO,
        &LIST,
        &KILL,
        &pause::PAUSE,
        &pause::UNPAUSE,
        &unblock::UNBLOCK,
        &modes::REPLY,
        &modes::NO_EVICT,
        &modes::NO_TOUCH,
        &modes::CAPA,
        &tracking::TRACKING,
        &tracking::CACHING,
        &tracking::GETREDIR,
        &tracking::TRACKINGINFO,
        &modes::IMPORT_SOURCE,
        &HELP,
    ],
)
.keeps_caching();

static ID: Command = Command::session(
    id,
    Card::new("id", Group::Connection, "5.0.0")
        .summary("Returns the unique client ID of the connection.")
        .constant_time()
        .arity(2)
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::ALLOW_BUSY)),
);

fn id(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.reply.integer(cx.session.id as i64);
    Ok(())
}

static GETNAME: Command = Command::session(
    getname,
    Card::new("getname", Group::Connection, "2.6.9")
        .summary("Returns the name of the connection.")
        .constant_time()
        .arity(2)
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::ALLOW_BUSY)),
);

fn getname(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    match &cx.session.name[..] {
        b"" => cx.reply.null(),
        name => cx.reply.bulk(name),
    }
    Ok(())
}

static SETNAME: Command = Command::session(
    setname,
    Card::new("setname", Group::Connection, "2.6.9")
        .summary("Sets the connection name.")
        .constant_time()
        .arity(3)
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::ALLOW_BUSY))
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[Arg::string("connection-name")]),
);

fn setname(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    check_name(&args[2])?;
    cx.session.name = args[2].to_vec();
    cx.reply.ok();
    Ok(())
}

/// Refuses a client name that would break a line of CLIENT LIST.
pub(super) fn check_name(name: &[u8]) -> Result<(), Error> {
    if is_plain(name) {
        return Ok(());
    }
    Err(Error::other("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// Returns whether all bytes are visible ASCII.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

static SETINFO: Command = Command::session(
    setinfo,
    Card::new("setinfo", Group::Connection, "7.2.0")
        .summary("Sets information specific to the client or connection.")
        .constant_time()
        .arity(4)
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::ALLOW_BUSY))
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[Arg::one_of(
            "attr",
            &[Arg::string("libname").after("LIB-NAME"), Arg::string("libver").after("LIB-VER")],
        )]),
);

fn setinfo(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let (option, value) = (&args[2], &args[3]);
    let place = if option.eq_ignore_ascii_case(b"lib-name") {
        &mut cx.session.lib_name
    } else if option.eq_ignore_ascii_case(b"lib-ver") {
        &mut cx.session.lib_version
    } else {
        return Err(Error::quoting(&[b"ERR Unrecognized option '", option, b"'"]));
    };
    if !is_plain(value) {
        let rest = b" cannot contain spaces, newlines or special characters.";
        return Err(Error::quoting(&[b"ERR ", option, rest]));
    }
    *place = value.to_vec();
    cx.reply.ok();
    Ok(())
}

static INFO: Command = Command::session(
    info,
    Card::new("info", Group::Connection, "6.2.0")
        .summary("Returns information about the connection.")
        .constant_time()
        .arity(2)
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE))
        .tips(&["nondeterministic_output"]),
);

fn info(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.request = Some(Request::ClientInfo);
    Ok(())
}

static LIST: Command = Command::session(
    list,
    Card::new("list", Group::Connection, "2.4.0")
        .summary("Lists open connections.")
        .complexity("O(N) where N is the number of client connections")
        .arity(-2)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .tips(&["nondeterministic_output"])
        .history(filter_card::LIST_HISTORY)
        .args(filter_card::LIST_ARGS),
)
.asks_shards();

fn list(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let filter = match args.len() {
        2 => ClientFilter::default(),
        3 => return Err(Error::Syntax),
        _ => {
            let (mut filter, skip_me) = read_filter(cx, args)?;
            filter.skip_id = skip_me.unwrap_or(false).then_some(cx.session.id);
            filter
        }
    };
    cx.request = Some(Request::ClientList(Box::new(filter)));
    Ok(())
}

static KILL: Command = Command::session(
    kill,
    Card::new("kill", Group::Connection, "2.4.0")
        .summary("Terminates open connections.")
        .complexity("O(N) where N is the number of client connections")
        .arity(-3)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .history(filter_card::KILL_HISTORY)
        .args(filter_card::KILL_ARGS),
)
.asks_shards();

fn kill(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() == 3 {
        let mut filter = ClientFilter::default();
        filter.with.address = Some(args[2].to_vec());
        cx.request = Some(Request::ClientKillAddress(Box::new(filter)));
        return Ok(());
    }
    let (mut filter, skip_me) = read_filter(cx, args)?;
    filter.skip_id = skip_me.unwrap_or(true).then_some(cx.session.id);
    cx.request = Some(Request::ClientKill(Box::new(filter)));
    Ok(())
}

static HELP: Command = help_command(help_card(Group::Connection, "5.0.0"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::SessionBench;
    use crate::exec::ClientKind;

    #[test]
    fn a_session_has_names() {
        let mut bench = SessionBench::new();
        bench.check_script(
            r#"
            CLIENT ID => :7
            CLIENT GETNAME => nil
            CLIENT SETNAME me => OK
            CLIENT GETNAME => "me"
            CLIENT SETNAME a~b => -ERR Client names cannot contain spaces, newlines or special
                | characters.
            CLIENT SETNAME '' => OK
            CLIENT GETNAME => nil
            CLIENT SETINFO LIB-NAME rs => OK
            CLIENT SETINFO lib-ver 1.0 => OK
            CLIENT SETINFO Lib-Ver 1~0 => -ERR Lib-Ver cannot contain spaces, newlines or special
                | characters.
            CLIENT SETINFO foo 1 => -ERR Unrecognized option 'foo'
            CLIENT INFO => ?ClientInfo
            CLIENT => -ERR wrong number of arguments for 'client' command
            "#,
        );
        assert_eq!(bench.session.lib_name, b"rs");
        assert_eq!(bench.session.lib_version, b"1.0");
    }

    #[test]
    fn filters_refuse_like_the_reference() {
        SessionBench::new().check_script(
            "
            CLIENT LIST x => -ERR syntax error
            CLIENT LIST TYPE => -ERR syntax error
            CLIENT LIST ID => -ERR syntax error
            CLIENT LIST ID x => -ERR syntax error
            CLIENT LIST ID 0 => -ERR client-id should be greater than 0
            CLIENT LIST ID 1 2 FOO x => -ERR syntax error
            CLIENT LIST TYPE foo => -ERR Unknown client type 'foo'
            CLIENT LIST NOT-TYPE foo => -ERR Unknown client type 'foo'
            CLIENT LIST SKIPME foo => -ERR syntax error
            CLIENT LIST NOT-SKIPME yes => -ERR syntax error
            CLIENT LIST MAXAGE x => -ERR maxage is not an integer or out of range
            CLIENT LIST MAXAGE 0 => -ERR maxage should be greater than 0
            CLIENT LIST NOT-MAXAGE 1 => -ERR syntax error
            CLIENT LIST IDLE -1 => -ERR idle should be greater than 0
            CLIENT LIST USER x => -ERR No such user 'x'
            CLIENT LIST FLAGS Q => -ERR Unknown flags found in the provided filter: Q
            CLIENT LIST NOT-FLAGS Q => -ERR Unknown flags found in the NOT-FLAGS filter: Q
            CLIENT LIST CAPA q => -ERR Unknown capa found in the provided filter: q
            CLIENT LIST DB 16 => -ERR DB number should be between 0 and 15
            CLIENT LIST not-db x => -ERR NOT-DB is not an integer or out of range
            CLIENT KILL TYPE foo => -ERR Unknown client type 'foo'
            CLIENT KILL ID x => -ERR syntax error
            CLIENT KILL ID 1 SKIPME => -ERR syntax error
            ",
        );
    }

    #[test]
    fn list_and_kill_send_the_filter_to_the_shards() {
        let mut bench = SessionBench::new();
        let mut asked = |args: &[&str]| {
            assert_eq!(bench.run(args), None);
            bench.request.take().expect("a request")
        };
        let mut filter = ClientFilter::default();
        assert_eq!(asked(&["CLIENT", "LIST"]), Request::ClientList(Box::new(filter.clone())));
        filter.with.ids = Some(vec![1, 2]);
        filter.without.kind = Some(ClientKind::Pubsub);
        filter.without.ids = Some(vec![]);
        let args = ["CLIENT", "LIST", "id", "1", "2", "not-type", "pubsub", "NOT-ID"];
        assert_eq!(asked(&args), Request::ClientList(Box::new(filter)));
        let mut filter =
            ClientFilter { skip_id: Some(7), age_min_s: Some(9), ..Default::default() };
        let args = ["CLIENT", "LIST", "SKIPME", "YES", "MAXAGE", "9"];
        assert_eq!(asked(&args), Request::ClientList(Box::new(filter.clone())));
        assert_eq!(
            asked(&["CLIENT", "KILL", "MAXAGE", "9"]),
            Request::ClientKill(Box::new(filter.clone()))
        );
        filter.skip_id = None;
        let args = ["CLIENT", "KILL", "MAXAGE", "9", "SKIPME", "no"];
        assert_eq!(asked(&args), Request::ClientKill(Box::new(filter)));
        let mut filter = ClientFilter::default();
        filter.with.address = Some(b"10.0.0.1:1".to_vec());
        let args = ["CLIENT", "KILL", "10.0.0.1:1"];
        assert_eq!(asked(&args), Request::ClientKillAddress(Box::new(filter)));
    }

    #[test]
    fn help_names_every_subcommand() {
        let shown = crate::commands::session_testing::show(
            &SessionBench::new().run(&["CLIENT", "HELP"]).expect("a reply"),
        );
        assert!(shown.starts_with("[CLIENT <subcommand> [<arg> [value] [opt] ...]."), "{shown}");
        for subcommand in CLIENT.subcommands {
            assert!(shown.contains(&subcommand.card.name.to_uppercase()));
        }
    }
}
