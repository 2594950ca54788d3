//! MIGRATE: keys go to another server.
//!
//! The command runs on a thread of the offload pool, because it waits for the other server. Its
//! keys stay locked until it ends, and clients of other keys do not wait. Inside a transaction or
//! a script it runs on the shard, which waits with it.
//!
//! ```text
//!   values under locks --RESTORE each--> other server --replies--> the keys that it has taken are
//!                                                                  deleted here, unless COPY
//! ```

use crate::base::clock::Clock;
use crate::base::number::parse_i64;
use crate::control::{Carrier, Peer, Target, TimedSocket, has_timed_out};
use crate::exec::{ArgAt, Command, Context, Weighing};
use crate::keyspace::Event;
use crate::net::tls::ClientStream;
use crate::rdb::Encoder;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group, KeySpec};
use sha2::{Digest, Sha256};
use std::io;
use std::time::Duration;

/// The commands of this file.
pub static FAMILY: &[&Command] = &[&MIGRATE];

/// Index of the key, and of the first option.
const KEY: usize = 3;
const FIRST_OPTION: usize = 6;

/// Milliseconds that each step may take if the client gives no positive number.
const TIMEOUT_MS: i64 = 1_000;

/// The key, and the keys behind KEYS, which replace an empty key.
const KEYS: &[KeySpec] = &[
    KeySpec::deletes().using_data().at(3).or_next(),
    KeySpec::deletes()
        .using_data()
        .after("KEYS", FIRST_OPTION as i16)
        .skipping(&[("AUTH", 1), ("AUTH2", 2)])
        .to_end(1)
        .incomplete(-2),
];

static MIGRATE: Command = Command::gather(
    migrate,
    Card::new("migrate", Group::Generic, "2.6.0")
        .summary("Atomically transfers a key from one instance to another.")
        .complexity(
            "This command actually executes a DUMP+DEL in the source instance, and a RESTORE in \
             the target instance. See the pages of these commands for time complexity. Also an \
             O(N) data transfer between the two instances is performed.",
        )
        .arity(-6)
        .flags(Flag::WRITE.and(Flag::MOVABLEKEYS))
        .categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["nondeterministic_output"])
        .keys(KEYS)
        .history(&[
            ("3.0.0", "Added the `COPY` and `REPLACE` options."),
            ("3.0.6", "Added the `KEYS` option."),
            ("4.0.7", "Added the `AUTH` option."),
            ("6.0.0", "Added the `AUTH2` option."),
        ])
        .args(&[
            Arg::string("host"),
            Arg::integer("port"),
            Arg::one_of("key-selector", &[Arg::key("key"), Arg::keyword("").named("empty-string")]),
            Arg::integer("destination-db"),
            Arg::integer("timeout"),
            Arg::keyword("COPY").since("3.0.0").optional(),
            Arg::keyword("REPLACE").since("3.0.0").optional(),
            Arg::one_of(
                "authentication",
                &[
                    Arg::string("auth").shown_as("password").after("AUTH").since("4.0.7"),
                    Arg::block("auth2", &[Arg::string("username"), Arg::string("password")])
                        .after("AUTH2")
                        .since("6.0.0"),
                ],
            )
            .optional(),
            Arg::key("keys")
                .key_spec(1)
                .shown_as("key")
                .after("KEYS")
                .since("3.0.6")
                .optional()
                .repeated(),
        ]),
)
.offload_by(weigh)
.serves_open_slots()
.secrets(is_secret);

/// Nobody knows how long the other server takes, so smaller jobs must not wait behind this one.
fn weigh(_: &Weighing<'_>, _: &Args<'_>) -> usize {
    u32::MAX as usize
}

/// Returns whether an argument is a user or a password.
fn is_secret(argc: usize, arg: ArgAt<'_>, at: usize) -> bool {
    let mut option = FIRST_OPTION;
    while option < argc {
        let secrets = match () {
            () if arg(option).eq_ignore_ascii_case(b"auth") => 1,
            () if arg(option).eq_ignore_ascii_case(b"auth2") => 2,
            () if arg(option).eq_ignore_ascii_case(b"keys") => return false,
            () => 0,
        };
        if (option + 1..=option + secrets).contains(&at) {
            return true;
        }
        option += 1 + secrets;
    }
    false
}

/// The parsed arguments.
struct Options<'w> {
    copies: bool,
    replaces: bool,
    user: Option<&'w [u8]>,
    password: Option<&'w [u8]>,
    /// Argument indexes of the keys.
    keys: std::ops::Range<usize>,
    timeout: Duration,
    db: i64,
}

impl<'w> Options<'w> {
    fn of(args: &'w Args<'_>) -> Result<Options<'w>, Error> {
        let mut options = Options {
            copies: false,
            replaces: false,
            user: None,
            password: None,
            keys: KEY..KEY + 1,
            timeout: Duration::ZERO,
            db: 0,
        };
        let mut at = FIRST_OPTION;
        while let Some(option) = args.get(at) {
            match &option.to_ascii_lowercase()[..] {
                b"copy" => options.copies = true,
                b"replace" => options.replaces = true,
                b"auth" => {
                    at += 1;
                    options.password = Some(args.get(at).ok_or(Error::Syntax)?);
                }
                b"auth2" => {
                    options.user = Some(args.get(at + 1).ok_or(Error::Syntax)?);
                    options.password = Some(args.get(at + 2).ok_or(Error::Syntax)?);
                    at += 2;
                }
                b"keys" if !args[KEY].is_empty() => {
                    return Err(Error::other(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the \
                         empty string",
                    ));
                }
                b"keys" => {
                    options.keys = at + 1..args.len();
                    break;
                }
                _ => return Err(Error::Syntax),
            }
            at += 1;
        }
        let number = |at: usize| parse_i64(&args[at]).ok_or(Error::NotInteger);
        let (timeout_ms, db) = (number(5)?, number(4)?);
        let timeout_ms = if timeout_ms > 0 { timeout_ms } else { TIMEOUT_MS };
        options.timeout = Duration::from_millis(timeout_ms as u64);
        options.db = db;
        Ok(options)
    }
}

impl Options<'_> {
    /// Returns what tells connections apart that were opened with different users or passwords.
    fn credentials(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in [self.user, self.password] {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            digest.update(length.to_le_bytes());
            digest.update(part.unwrap_or_default());
        }
        digest.finalize().into()
    }
}

impl Carrier for ClientStream<TimedSocket> {
    fn socket(&mut self) -> &mut TimedSocket {
        self.inner()
    }
}

/// A step that has failed, and whether it was a write.
struct Lost {
    error: io::Error,
    what: &'static str,
}

impl Lost {
    fn during(what: &'static str) -> impl Fn(io::Error) -> Lost {
        move |error| Lost { error, what }
    }
}

/// What the other server has said.
#[derive(Default)]
struct Answers {
    /// Indexes of the keys that it has taken.
    taken: Vec<usize>,
    /// Number of RESTORE replies.
    count: usize,
    /// Its first error.
    error: Option<Vec<u8>>,
    lost: Option<Lost>,
}

fn migrate(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let options = Options::of(args)?;
    let is_here = |cx: &mut Context<'_>, at: &usize| {
        let key = cx.slice.key(&args[*at]);
        cx.slice.lookup(cx.db, &key).is_some()
    };
    let keys: Vec<usize> = options.keys.clone().filter(|at| is_here(cx, at)).collect();
    if keys.is_empty() {
        cx.reply.simple("NOKEY");
        return Ok(());
    }
    let mut answers = attempt(cx, args, &options, &keys)?;
    // The other server may have closed a connection that was kept.
    let may_repeat = |answers: &Answers| {
        let lost = answers.lost.as_ref();
        answers.count == 0 && lost.is_some_and(|lost| !has_timed_out(&lost.error))
    };
    if may_repeat(&answers) {
        answers = attempt(cx, args, &options, &keys)?;
    }
    if !options.copies {
        drop_taken(cx, args, &answers.taken);
    }
    if let Some(error) = answers.error {
        return Err(Error::quoting(&[b"ERR Target instance replied with error: ", &error]));
    }
    if let Some(Lost { what, .. }) = answers.lost {
        return Err(Error::other(format!("IOERR error or timeout {what} to target instance")));
    }
    cx.reply.ok();
    Ok(())
}

/// Deletes the keys that the other server has taken.
fn drop_taken(cx: &mut Context<'_>, args: &Args<'_>, taken: &[usize]) {
    if taken.is_empty() {
        cx.propagate_nothing();
        return;
    }
    for at in taken {
        let key = cx.slice.key(&args[*at]);
        if cx.slice.remove(cx.db, &key) {
            cx.raise(&key, Event::Del, 1);
        }
    }
    let command: Vec<&[u8]> =
        std::iter::once(&b"DEL"[..]).chain(taken.iter().map(|at| &args[*at])).collect();
    cx.propagate(&command);
}

/// Sends the keys once. An error is the connection's.
fn attempt(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    options: &Options<'_>,
    keys: &[usize],
) -> Result<Answers, Error> {
    let [host, port] = [1, 2].map(|at| String::from_utf8_lossy(&args[at]).into_owned());
    let is_secure = cx.config.tls_cluster;
    let target = Target { host, port, is_secure, credentials: options.credentials() };
    let wrap = |socket: TimedSocket| -> io::Result<Box<dyn Carrier>> {
        Ok(match is_secure {
            true => Box::new(ClientStream::connect(cx.config, socket)?),
            false => Box::new(socket),
        })
    };
    let peer = Peer::connect(&target, options.timeout, &wrap);
    let mut peer = peer.map_err(|error| not_connected(&error, is_secure))?;
    let mut answers = Answers::default();
    match exchange(cx, (args, options, keys), &mut peer, &mut answers) {
        Ok(()) => {
            peer.db = Some(options.db).filter(|_| answers.error.is_none());
            peer.keep(&Clock::System);
        }
        Err(lost) => answers.lost = Some(lost),
    }
    Ok(answers)
}

/// Returns the reply if there is no connection. The reference server notices a refused one only
/// when it writes, and by TLS it writes at once.
fn not_connected(error: &io::Error, is_secure: bool) -> Error {
    Error::other(match error.kind() {
        io::ErrorKind::ConnectionRefused if !is_secure => {
            "IOERR error or timeout writing to target instance"
        }
        _ => "IOERR error or timeout connecting to the client",
    })
}

/// Sends the keys over a connection, and reads the replies.
fn exchange(
    cx: &mut Context<'_>,
    (args, options, keys): (&Args<'_>, &Options<'_>, &[usize]),
    peer: &mut Peer,
    answers: &mut Answers,
) -> Result<(), Lost> {
    let (writing, reading) = (Lost::during("writing"), Lost::during("reading"));
    let mut head = Vec::new();
    let mut heads = 0;
    if let Some(password) = options.password {
        let user = options.user.into_iter();
        let auth: Vec<&[u8]> =
            std::iter::once(&b"AUTH"[..]).chain(user).chain([password]).collect();
        write_command(&mut head, &auth);
        heads += 1;
    }
    if peer.db != Some(options.db) {
        write_command(&mut head, &[b"SELECT", options.db.to_string().as_bytes()]);
        heads += 1;
    }
    peer.send(&head).map_err(&writing)?;
    let mut sent = Vec::new();
    for at in keys {
        if let Some(command) = restore_of(cx, &args[*at], options.replaces) {
            peer.send(&command).map_err(&writing)?;
            sent.push(*at);
        }
    }
    let mut note = |line: Vec<u8>| {
        let text = line.strip_prefix(b"-")?;
        answers.error.get_or_insert_with(|| text.to_vec());
        Some(())
    };
    let mut has_failed = false;
    for _ in 0..heads {
        has_failed |= note(peer.line().map_err(&reading)?).is_some();
    }
    for at in sent {
        let line = peer.line().map_err(&reading)?;
        answers.count += 1;
        if note(line).is_none() && !has_failed {
            answers.taken.push(at);
        }
    }
    Ok(())
}

/// Returns the command that creates a key on the other server; none if the key has expired.
fn restore_of(cx: &mut Context<'_>, name: &[u8], replaces: bool) -> Option<Vec<u8>> {
    let key = cx.slice.key(name);
    let view = cx.slice.peek(cx.db, &key)?;
    let ttl_ms = match view.expiry() {
        Some(at) => at.checked_sub(cx.now_ms)?.max(1),
        None => 0,
    };
    let mut payload = Vec::new();
    let mut encoder = Encoder::new(&mut payload, cx.config.rdbcompression);
    match view.string() {
        Some(value) => encoder.string_payload(&value),
        None => view.with_object(|object| encoder.object_payload(object))?,
    }
    let restore: &[u8] = if cx.config.cluster_enabled { b"RESTORE-ASKING" } else { b"RESTORE" };
    let mut command = Vec::with_capacity(payload.len() + name.len() + 100);
    let ttl = ttl_ms.to_string();
    match replaces {
        true => write_command(&mut command, &[restore, name, ttl.as_bytes(), &payload, b"REPLACE"]),
        false => write_command(&mut command, &[restore, name, ttl.as_bytes(), &payload]),
    }
    Some(command)
}

fn write_command(bytes: &mut Vec<u8>, args: &[&[u8]]) {
    bytes.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
}
