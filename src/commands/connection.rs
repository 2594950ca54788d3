//! Commands on the connection: authentication, protocol, selected database.

use super::acl::note_failed_login;
use super::args::database_at;
use super::client;
use crate::base::number::parse_i64;
use crate::config::Config;
use crate::exec::{ArgAt, Command, InMulti, Request, SessionContext};
use crate::resp::{Args, Error, Protocol};
use crate::spec::{Arg, Card, Databases, Flag, Group};

/// The commands of this file.
pub static FAMILY: &[&Command] =
    &[&PING, &ECHO, &SELECT, &HELLO, &AUTH, &RESET, &QUIT, &client::CLIENT];

/// The Redis version that this server is compatible with.
pub(super) const REDIS_VERSION: &str = "7.2.4";

/// The Valkey version that this server is compatible with.
pub(super) const VALKEY_VERSION: &str = "9.1.2";

static PING: Command = Command::session(
    ping,
    Card::new("ping", Group::Connection, "1.0.0")
        .summary("Returns the server's liveliness response.")
        .constant_time()
        .arity(-1)
        .flags(Flag::FAST)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .args(&[Arg::string("message").optional()]),
)
.shows_disk_errors()
.for_subscribers();

fn ping(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    match args.get(1) {
        _ if args.len() > 2 => return Err(Error::wrong_arity(&cx.entry.name)),
        text if cx.session.is_restricted() => {
            // The form of a message, which such a client expects.
            cx.reply.array(2);
            cx.reply.bulk(b"pong");
            cx.reply.bulk(text.unwrap_or_default());
        }
        None => cx.reply.simple("PONG"),
        Some(text) => cx.reply.bulk(text),
    }
    Ok(())
}

static ECHO: Command = Command::session(
    echo,
    Card::new("echo", Group::Connection, "1.0.0")
        .summary("Returns the given string.")
        .constant_time()
        .arity(2)
        .flags(Flag::LOADING.and(Flag::STALE).and(Flag::FAST))
        .args(&[Arg::string("message")]),
);

fn echo(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    cx.reply.bulk(&args[1]);
    Ok(())
}

static SELECT: Command = Command::session(
    select,
    Card::new("select", Group::Connection, "1.0.0")
        .summary("Changes the selected database.")
        .constant_time()
        .arity(2)
        .flags(Flag::LOADING.and(Flag::STALE).and(Flag::FAST).and(Flag::ALLOW_BUSY))
        .databases(Databases::At(&[1]))
        .args(&[Arg::integer("index")]),
)
.in_multi(InMulti::SelectsDatabase);

fn select(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let databases = cx.process.config.snapshot().database_count() as usize;
    cx.session.db = database_at(&args[1], databases)?;
    cx.reply.ok();
    Ok(())
}

static HELLO: Command = Command::session(
    hello,
    Card::new("hello", Group::Connection, "6.0.0")
        .summary("Handshakes with the server.")
        .constant_time()
        .arity(-1)
        .flags(
            Flag::NOSCRIPT
                .and(Flag::LOADING)
                .and(Flag::STALE)
                .and(Flag::FAST)
                .and(Flag::NO_AUTH)
                .and(Flag::ALLOW_BUSY),
        )
        .history(&[
            (
                "8.1.0",
                "A new `availability_zone` field is added to the response if the \
                 `availability-zone` config is set.",
            ),
            (
                "6.2.0",
                "`protover` made optional; when called without arguments the command reports the \
                 current connection's context.",
            ),
        ])
        .args(&[Arg::block(
            "arguments",
            &[
                Arg::integer("protover"),
                Arg::block("auth", &[Arg::string("username"), Arg::string("password")])
                    .after("AUTH")
                    .optional(),
                Arg::string("clientname").after("SETNAME").optional(),
            ],
        )
        .optional()]),
)
.secrets(is_login);

/// Returns whether an argument of HELLO is the user or the password of its AUTH option.
fn is_login(argc: usize, arg: ArgAt<'_>, at: usize) -> bool {
    let is_auth = |option: usize| arg(option).eq_ignore_ascii_case(b"auth");
    (2..argc).any(|option| is_auth(option) && (option + 1..=option + 2).contains(&at))
}

fn hello(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let options = HelloOptions::read(args)?;
    let config = cx.process.config.snapshot();
    if let Some((user, password)) = options.login {
        authenticate(cx, &args[0], user, password)?;
    }
    if !cx.session.authenticated {
        return Err(Error::other(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = options.name {
        cx.session.name = name.to_vec();
    }
    if let Some(protocol) = options.protocol {
        cx.session.protocol = protocol;
        cx.reply.set_protocol(protocol);
    }
    introduce(cx, &config);
    Ok(())
}

/// The options of HELLO.
struct HelloOptions<'a> {
    protocol: Option<Protocol>,
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> HelloOptions<'a> {
    fn read(args: &'a Args<'_>) -> Result<HelloOptions<'a>, Error> {
        let mut options = HelloOptions { protocol: None, login: None, name: None };
        options.protocol = match args.get(1).map(parse_i64) {
            None => None,
            Some(None) => return Err(Error::ProtocolVersion),
            Some(Some(2)) => Some(Protocol::Two),
            Some(Some(3)) => Some(Protocol::Three),
            Some(Some(_)) => return Err(Error::NoProto),
        };
        let mut at = 2;
        while let Some(option) = args.get(at) {
            match (args.get(at + 1), args.get(at + 2)) {
                (Some(user), Some(password)) if option.eq_ignore_ascii_case(b"auth") => {
                    options.login = Some((user, password));
                    at += 3;
                }
                (Some(name), _) if option.eq_ignore_ascii_case(b"setname") => {
                    client::check_name(name)?;
                    options.name = Some(name);
                    at += 2;
                }
                _ => {
                    return Err(Error::quoting(&[
                        b"ERR Syntax error in HELLO option '",
                        option,
                        b"'",
                    ]));
                }
            }
        }
        Ok(options)
    }
}

/// Replies with the server's properties.
fn introduce(cx: &mut SessionContext<'_>, config: &Config) {
    let zone = config.text("availability-zone").unwrap_or_default();
    let (server, version) = if config.extended_redis_compatibility {
        ("redis", REDIS_VERSION)
    } else {
        ("valkey", VALKEY_VERSION)
    };
    let protocol = if cx.session.protocol == Protocol::Three { 3 } else { 2 };
    cx.reply.map(7 + usize::from(!zone.is_empty()));
    let texts: [(&str, &str); 2] = [("server", server), ("version", version)];
    for (key, text) in texts {
        cx.reply.bulk(key.as_bytes());
        cx.reply.bulk(text.as_bytes());
    }
    for (key, number) in [("proto", protocol), ("id", cx.session.id as i64)] {
        cx.reply.bulk(key.as_bytes());
        cx.reply.integer(number);
    }
    let is_cluster = cx.process.is_cluster || cx.session.port_of.is_some();
    let mode = if is_cluster { "cluster" } else { "standalone" };
    for (key, text) in [("mode", mode), ("role", "master")] {
        cx.reply.bulk(key.as_bytes());
        cx.reply.bulk(text.as_bytes());
    }
    cx.reply.bulk(b"modules");
    cx.reply.array(0);
    if !zone.is_empty() {
        cx.reply.bulk(b"availability_zone");
        cx.reply.bulk(&zone);
    }
}

static AUTH: Command = Command::session(
    auth,
    Card::new("auth", Group::Connection, "1.0.0")
        .summary("Authenticates the connection.")
        .complexity("O(N) where N is the number of passwords defined for the user")
        .steady()
        .arity(-2)
        .flags(
            Flag::NOSCRIPT
                .and(Flag::LOADING)
                .and(Flag::STALE)
                .and(Flag::FAST)
                .and(Flag::NO_AUTH)
                .and(Flag::ALLOW_BUSY),
        )
        .history(&[("6.0.0", "Added ACL style (username and password).")])
        .args(&[Arg::string("username").since("6.0.0").optional(), Arg::string("password")]),
)
.secrets(|_, _, at| at >= 1);

fn auth(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    match args.len() {
        2 if cx.process.acl.is_unprotected() => return Err(Error::AuthWithoutPassword),
        2 => authenticate(cx, &args[0], b"default", &args[1])?,
        3 => authenticate(cx, &args[0], &args[1], &args[2])?,
        _ => return Err(Error::Syntax),
    }
    cx.reply.ok();
    Ok(())
}

/// Authenticates the session for `command`. On an error the session stays as it was.
fn authenticate(
    cx: &mut SessionContext<'_>,
    command: &[u8],
    user: &[u8],
    password: &[u8],
) -> Result<(), Error> {
    let acl = &cx.process.acl;
    let version = acl.version();
    let Some(user) = acl.authenticate(user, password) else {
        note_failed_login(cx, command, user);
        return Err(Error::WrongPass);
    };
    cx.session.log_in(version, user, acl);
    Ok(())
}

static RESET: Command = Command::session(
    reset,
    Card::new("reset", Group::Connection, "6.2.0")
        .summary("Resets the connection.")
        .constant_time()
        .flags(
            Flag::NOSCRIPT
                .and(Flag::LOADING)
                .and(Flag::STALE)
                .and(Flag::FAST)
                .and(Flag::NO_AUTH)
                .and(Flag::ALLOW_BUSY),
        ),
)
.in_multi(InMulti::AtOnce)
.for_subscribers();

fn reset(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    if cx.session.has_subscriptions() || cx.session.tracking.is_some() {
        cx.request = Some(Request::Reset);
        return Ok(());
    }
    cx.session.reset(&cx.process.acl);
    cx.request = Some(Request::Discard);
    cx.reply.set_protocol(cx.session.protocol);
    cx.reply.simple("RESET");
    Ok(())
}

static QUIT: Command = Command::session(
    quit,
    Card::new("quit", Group::Connection, "1.0.0")
        .summary("Closes the connection.")
        .constant_time()
        .arity(-1)
        .flags(
            Flag::NOSCRIPT
                .and(Flag::LOADING)
                .and(Flag::STALE)
                .and(Flag::FAST)
                .and(Flag::NO_AUTH)
                .and(Flag::ALLOW_BUSY),
        ),
)
.in_multi(InMulti::AtOnce)
.for_subscribers();

fn quit(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.session.close_after_reply = true;
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::{SessionBench, show};

    #[test]
    fn greetings_and_databases() {
        SessionBench::new().check_script(
            r#"
            PING => PONG
            ping a => "a"
            PING a b => -ERR wrong number of arguments for 'ping' command
            ECHO '' => ""
            ECHO => -ERR wrong number of arguments for 'echo' command
            SELECT 15 => OK
            SELECT 16 => -ERR DB index is out of range
            SELECT -1 => -ERR DB index is out of range
            SELECT x => -ERR value is not an integer or out of range
            SELECT 4294967296 => -ERR value is out of range, value must between -2147483648 and
                | 2147483647
            SELECT 9223372036854775808 => -ERR value is not an integer or out of range
            "#,
        );
    }

    #[test]
    fn hello_replies_in_the_new_protocol() {
        let mut bench = SessionBench::new();
        let facts = |proto| {
            format!(
                "\"server\" \"valkey\" \"version\" \"{VALKEY_VERSION}\" \"proto\" :{proto} \
                 \"id\" :7 \"mode\" \"standalone\" \"role\" \"master\" \"modules\" []"
            )
        };
        let mut hello = |args: &[&str]| show(&bench.run(args).expect("a reply"));
        assert_eq!(hello(&["HELLO"]), format!("[{}]", facts(2)));
        assert_eq!(hello(&["HELLO", "3"]), format!("{{{}}}", facts(3)));
        assert_eq!(hello(&["HELLO"]), format!("{{{}}}", facts(3)));
        assert_eq!(hello(&["HELLO", "2", "SETNAME", "me"]), format!("[{}]", facts(2)));
        assert_eq!(bench.session.name, b"me");
        let mut bench = SessionBench::with(|config| config.extended_redis_compatibility = true);
        let shown = show(&bench.run(&["HELLO"]).expect("a reply"));
        assert!(shown.starts_with("[\"server\" \"redis\" \"version\" \"7.2.4\""), "{shown}");
        bench.run(&["CONFIG", "SET", "availability-zone", "here"]);
        let shown = show(&bench.run(&["HELLO"]).expect("a reply"));
        assert!(shown.ends_with("\"availability_zone\" \"here\"]"), "{shown}");
    }

    #[test]
    fn a_hello_that_fails_changes_nothing() {
        let mut bench = SessionBench::new();
        bench.check_script(
            "
            HELLO x => -ERR Protocol version is not an integer or out of range
            HELLO 03 => -ERR Protocol version is not an integer or out of range
            HELLO 1 => -NOPROTO unsupported protocol version
            HELLO 4 => -NOPROTO unsupported protocol version
            HELLO 3 FOO => -ERR Syntax error in HELLO option 'FOO'
            HELLO 3 AUTH a => -ERR Syntax error in HELLO option 'AUTH'
            HELLO 3 SETNAME => -ERR Syntax error in HELLO option 'SETNAME'
            HELLO 3 SETNAME a~b => -ERR Client names cannot contain spaces, newlines or special \
                characters.
            HELLO 3 SETNAME a AUTH x y => -WRONGPASS invalid username-password pair or user is \
                disabled.
            ",
        );
        assert_eq!(bench.session.protocol, Protocol::Two);
        assert!(bench.session.name.is_empty());
    }

    #[test]
    fn without_a_password_all_clients_are_the_default_user() {
        SessionBench::new().check_script(
            "
            AUTH x => -ERR AUTH <password> called without any password configured for the \
                default user. Are you sure your configuration is correct?
            AUTH default x => OK
            AUTH nobody x => -WRONGPASS invalid username-password pair or user is disabled.
            AUTH a b c => -ERR syntax error
            ",
        );
    }

    #[test]
    fn a_password_is_required_until_it_is_given_and_after_a_reset() {
        let mut bench = SessionBench::with(|config| config.requirepass = b"secret".to_vec());
        let refused = "-NOAUTH HELLO must be called with the client already authenticated";
        assert!(!bench.session.authenticated);
        let shown = show(&bench.run(&["HELLO", "3"]).expect("a reply"));
        assert!(shown.starts_with(refused), "{shown}");
        bench.check_script(
            "
            AUTH default => -WRONGPASS invalid username-password pair or user is disabled.
            AUTH default secre => -WRONGPASS invalid username-password pair or user is disabled.
            AUTH secretsecret => -WRONGPASS invalid username-password pair or user is disabled.
            AUTH '' => -WRONGPASS invalid username-password pair or user is disabled.
            ",
        );
        assert!(!bench.session.authenticated);
        bench.check_script(
            "
            AUTH secret => OK
            AUTH wrong => -WRONGPASS invalid username-password pair or user is disabled.
            ",
        );
        assert!(bench.session.authenticated, "a failed AUTH keeps the authentication");
        bench.check_script("CLIENT SETNAME me => OK\nSELECT 3 => OK\nRESET => RESET");
        assert!(!bench.session.authenticated && bench.session.name.is_empty());
        assert_eq!(bench.session.db, 0);
        assert!(bench.run(&["HELLO", "3", "AUTH", "default", "secret"]).is_some());
        assert!(bench.session.authenticated);
        assert_eq!(bench.session.protocol, Protocol::Three);
        bench.check_script("RESET => RESET\nQUIT => OK");
        assert_eq!(bench.session.protocol, Protocol::Two);
        assert!(bench.session.close_after_reply);
    }
}
