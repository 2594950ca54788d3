//! Every mistake that a client can make, with the exact words that go over the wire.
//! The texts are those of Valkey 9.1: clients match on them.

use std::borrow::Cow;

/// Bytes of a client's own words that an error quotes at most.
const QUOTED_BYTES_MAX: usize = 128;

/// Bytes that are searched for the end of an error code.
const CODE_BYTES_MAX: usize = 32;

/// A client's mistake. [`Error::bytes`] is what follows the `-` of an error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Words that do not follow the command's grammar.
    Syntax,
    /// The value is of another type than the command works on.
    WrongType,
    /// Not a 64-bit signed integer.
    NotInteger,
    /// Not a floating point number.
    NotFloat,
    /// An integer outside of what the command takes.
    OutOfRange,
    /// The same, where the range begins at zero.
    NotPositive,
    /// INCR and the like would leave the range of 64 bits.
    IncrementOverflow,
    /// DECRBY's argument cannot be negated.
    DecrementOverflow,
    /// INCRBYFLOAT would give no finite number.
    NanOrInfinity,
    /// SETRANGE before the start of the value.
    OffsetOutOfRange,
    /// An index past either end.
    IndexOutOfRange,
    /// A bit's position.
    BitOffset,
    /// A bit's value.
    BitValue,
    /// The value would pass `proto-max-bulk-len`.
    StringTooLong,
    /// The key has to exist.
    NoSuchKey,
    /// Source and destination are one key.
    SameObject,
    /// The destination exists already.
    BusyKey,
    /// The database number is outside of `databases`.
    DbOutOfRange,
    /// SWAPDB's first number is none.
    FirstDbInvalid,
    /// SWAPDB's second number is none.
    SecondDbInvalid,
    /// The client has to authenticate first.
    NoAuth,
    /// Authentication failed.
    WrongPass,
    /// AUTH with one word when the default user has no password.
    AuthWithoutPassword,
    /// HELLO asked for another protocol than 2 or 3.
    NoProto,
    /// HELLO's version is no number.
    ProtocolVersion,
    /// `maxmemory` is reached and nothing can be evicted.
    OutOfMemory,
    /// The dataset is being loaded.
    Loading,
    /// A script runs for too long.
    BusyScript,
    /// A function runs for too long.
    BusyFunction,
    /// Snapshots fail and `stop-writes-on-bgsave-error` is on.
    Misconf,
    /// A write on a read-only replica.
    ReadOnly,
    /// The link to the primary is down and stale data is not to be served.
    MasterDown,
    /// Fewer good replicas than `min-replicas-to-write`.
    NoReplicas,
    /// EXEC after a command that was refused.
    ExecAbort,
    /// EVALSHA of an unknown script.
    NoScript,
    /// CLIENT KILL of an address that nobody has.
    NoSuchClient,
    /// A client from elsewhere while there is no password.
    Protected,
    /// `maxclients` is reached.
    MaxClients,
    /// Any text of a single place; it starts with its error code (`ERR ...`).
    Other(Cow<'static, str>),
    /// The same, when it quotes bytes of the client that need not be UTF-8.
    Quoted(Box<[u8]>),
}

#[rustfmt::skip]
impl Error {
    /// The text of a variant that has one alone.
    fn fixed(&self) -> &'static str {
        match self {
            Error::Syntax => "ERR syntax error",
            Error::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Error::NotInteger => "ERR value is not an integer or out of range",
            Error::NotFloat => "ERR value is not a valid float",
            Error::OutOfRange => "ERR value is out of range",
            Error::NotPositive => "ERR value is out of range, must be positive",
            Error::IncrementOverflow => "ERR increment or decrement would overflow",
            Error::DecrementOverflow => "ERR decrement would overflow",
            Error::NanOrInfinity => "ERR increment would produce NaN or Infinity",
            Error::OffsetOutOfRange => "ERR offset is out of range",
            Error::IndexOutOfRange => "ERR index out of range",
            Error::BitOffset => "ERR bit offset is not an integer or out of range",
            Error::BitValue => "ERR bit is not an integer or out of range",
            Error::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Error::NoSuchKey => "ERR no such key",
            Error::SameObject => "ERR source and destination objects are the same",
            Error::BusyKey => "BUSYKEY Target key name already exists.",
            Error::DbOutOfRange => "ERR DB index is out of range",
            Error::FirstDbInvalid => "ERR invalid first DB index",
            Error::SecondDbInvalid => "ERR invalid second DB index",
            Error::NoAuth => "NOAUTH Authentication required.",
            Error::WrongPass => "WRONGPASS invalid username-password pair or user is disabled.",
            Error::AuthWithoutPassword => {
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?"
            }
            Error::NoProto => "NOPROTO unsupported protocol version",
            Error::ProtocolVersion => "ERR Protocol version is not an integer or out of range",
            Error::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Error::Loading => "LOADING Valkey is loading the dataset in memory",
            Error::BusyScript => {
                "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or \
                 SHUTDOWN NOSAVE."
            }
            Error::BusyFunction => {
                "BUSY Valkey is busy running a script. You can only call FUNCTION KILL or \
                 SHUTDOWN NOSAVE."
            }
            Error::NoSuchClient => "ERR No such client",
            Error::Protected => {
                "DENIED Running in protected mode because protected mode is enabled and no \
                 password is set for the default user. In this mode connections are only accepted \
                 from the loopback interface. If you want to connect from external computers, you \
                 may adopt one of the following solutions: 1) Just disable protected mode sending \
                 the command 'CONFIG SET protected-mode no' from the loopback interface by \
                 connecting from the same host the server is running, however MAKE SURE it's not \
                 publicly accessible from internet if you do so. Use CONFIG REWRITE to make this \
                 change permanent. 2) Alternatively you can just disable the protected mode by \
                 editing the configuration file, and setting the protected mode option to 'no', \
                 and then restarting the server. 3) If you started the server manually just for \
                 testing, restart it with the '--protected-mode no' option. 4) Set up an \
                 authentication password for the default user. NOTE: You only need to do one of \
                 the above things in order for the server to start accepting connections from the \
                 outside."
            }
            Error::Misconf => {
                "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to \
                 persist to disk. Commands that may modify the data set are disabled, because this \
                 instance is configured to report errors during writes if RDB snapshotting fails \
                 (stop-writes-on-bgsave-error option). Please check the Valkey logs for details \
                 about the RDB error."
            }
            Error::ReadOnly => "READONLY You can't write against a read only replica.",
            Error::MasterDown => {
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
            }
            Error::NoReplicas => "NOREPLICAS Not enough good replicas to write.",
            Error::ExecAbort => "EXECABORT Transaction discarded because of previous errors.",
            Error::NoScript => "NOSCRIPT No matching script.",
            Error::MaxClients => "ERR max number of clients reached",
            Error::Other(_) | Error::Quoted(_) => unreachable!("it carries its text"),
        }
    }
}

impl Error {
    /// The reply's bytes, without `-` and line end. May hold line ends of the client's words,
    /// which [`crate::resp::Reply::error`] replaces.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Error::Other(text) => text.as_bytes(),
            Error::Quoted(bytes) => bytes,
            fixed => fixed.fixed().as_bytes(),
        }
    }

    /// The reply's text, for people; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes())
    }

    /// The first word, `ERR` for most: the name under which the error is counted.
    pub fn code(&self) -> &str {
        let bytes = self.bytes();
        let head = &bytes[..bytes.len().min(CODE_BYTES_MAX)];
        let end = head.iter().position(|&byte| byte == b' ').unwrap_or(head.len());
        std::str::from_utf8(&head[..end]).unwrap_or("ERR")
    }

    /// A text of a single place, with its error code.
    pub fn other(text: impl Into<Cow<'static, str>>) -> Error {
        Error::Other(text.into())
    }

    /// There is no command `name`; the words after it are quoted, up to a limit.
    pub fn unknown_command<'a>(name: &[u8], args: impl Iterator<Item = &'a [u8]>) -> Error {
        let mut quoted = Vec::new();
        for arg in args {
            let room = match QUOTED_BYTES_MAX.checked_sub(quoted.len()) {
                None | Some(0) => break,
                Some(room) => room,
            };
            quoted.push(b'\'');
            quoted.extend_from_slice(excerpt(arg, room));
            quoted.extend_from_slice(b"' ");
        }
        let name = excerpt(name, QUOTED_BYTES_MAX);
        Error::quoting(&[b"ERR unknown command '", name, b"', with args beginning with: ", &quoted])
    }

    /// `command` has no subcommand `name`.
    pub fn unknown_subcommand(command: &[u8], name: &[u8]) -> Error {
        let name = excerpt(name, QUOTED_BYTES_MAX);
        let command = command.to_ascii_uppercase();
        Error::quoting(&[b"ERR unknown subcommand '", name, b"'. Try ", &command, b" HELP."])
    }

    /// The subcommand exists, but not with these words.
    pub fn subcommand_syntax(command: &[u8], name: &[u8]) -> Error {
        let name = excerpt(name, QUOTED_BYTES_MAX);
        let command = command.to_ascii_uppercase();
        let what = b"ERR unknown subcommand or wrong number of arguments for '";
        Error::quoting(&[what, name, b"'. Try ", &command, b" HELP."])
    }

    /// Too few or too many words; a subcommand's full name is `client|kill`.
    pub fn wrong_arity(full_name: &str) -> Error {
        Error::Other(format!("ERR wrong number of arguments for '{full_name}' command").into())
    }

    /// The command makes no sense between MULTI and EXEC.
    pub fn not_in_transaction(full_name: &str) -> Error {
        Error::Other(format!("ERR Command '{full_name}' not allowed inside a transaction").into())
    }

    /// EXEC was refused for this reason, and with it the transaction.
    pub fn exec_abort(reason: &Error) -> Error {
        let reason = reason.bytes();
        let reason = reason.strip_prefix(b"ERR ").unwrap_or(reason);
        Error::quoting(&[b"EXECABORT Transaction discarded because of: ", reason])
    }

    /// An expiry time that is not positive or overflows.
    pub fn invalid_expire(full_name: &str) -> Error {
        Error::Other(format!("ERR invalid expire time in '{full_name}' command").into())
    }

    /// An integer that should have been between two numbers.
    pub fn not_between(min: i64, max: i64) -> Error {
        let text = format!("ERR value is out of range, value must between {min} and {max}");
        Error::Other(text.into())
    }

    /// The user may not do this; `reason` in full.
    pub fn no_permission(reason: &str) -> Error {
        Error::Other(format!("NOPERM {reason}").into())
    }

    /// A text of a single place that quotes a client's word, in parts; a NUL ends each part.
    pub fn quoting(parts: &[&[u8]]) -> Error {
        let shown = parts.iter().map(|part| until_nul(part));
        Error::Quoted(shown.collect::<Vec<_>>().concat().into_boxed_slice())
    }
}

/// The first bytes of a client's word; a NUL ends it.
fn excerpt(word: &[u8], len_max: usize) -> &[u8] {
    until_nul(&word[..word.len().min(len_max)])
}

/// What the reference shows of a word: it is a text of C.
fn until_nul(word: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, word).unwrap_or(word.len());
    &word[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_commands_quote_as_the_reference() {
        let unknown = |name: &[u8], args: &[&[u8]]| {
            let error = Error::unknown_command(name, args.iter().copied());
            String::from_utf8(error.bytes().to_vec()).unwrap()
        };
        let head = "ERR unknown command 'foo', with args beginning with: ";
        assert_eq!(unknown(b"foo", &[]), head);
        assert_eq!(unknown(b"foo", &[b"a", b"b"]), format!("{head}'a' 'b' "));
        assert_eq!(unknown(b"foo", &[b"", b"a\0b"]), format!("{head}'' 'a' "));
        let (z, y) = (vec![b'z'; 200], vec![b'y'; 200]);
        assert_eq!(unknown(b"foo", &[&z, b"b"]), format!("{head}'{}' ", "z".repeat(128)));
        // 125 bytes and three of quotes make 128: the next word is left out.
        assert_eq!(unknown(b"foo", &[&z[..125], b"b"]), format!("{head}'{}' ", "z".repeat(125)));
        let second = unknown(b"foo", &[&z[..100], &y, b"x"]);
        assert_eq!(second, format!("{head}'{}' '{}' ", "z".repeat(100), "y".repeat(25)));
        assert!(
            unknown(&z, &[]).starts_with(&format!("ERR unknown command '{}',", "z".repeat(128)))
        );
    }

    #[test]
    fn texts_that_carry_names() {
        let cases = [
            (
                Error::unknown_subcommand(b"config", b"foo"),
                "ERR unknown subcommand 'foo'. Try CONFIG HELP.",
            ),
            (
                Error::wrong_arity("client|kill"),
                "ERR wrong number of arguments for 'client|kill' command",
            ),
            (Error::invalid_expire("setex"), "ERR invalid expire time in 'setex' command"),
            (
                Error::subcommand_syntax(b"object", b"x"),
                "ERR unknown subcommand or wrong number of arguments for 'x'. Try OBJECT HELP.",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.text(), text);
        }
    }

    #[test]
    fn a_nul_ends_what_is_quoted() {
        let error = Error::quoting(&[b"ERR no '", b"a\0b", b"' here"]);
        assert_eq!(error.bytes(), b"ERR no 'a' here");
        let error = Error::unknown_subcommand(b"object", b"\0x");
        assert_eq!(error.text(), "ERR unknown subcommand ''. Try OBJECT HELP.");
    }

    #[test]
    fn codes() {
        assert_eq!(Error::Syntax.code(), "ERR");
        assert_eq!(Error::WrongType.code(), "WRONGTYPE");
        assert_eq!(Error::other("TOOLONGWORDTHATHASNOENDATALLINSIDETHELIMIT x").code().len(), 32);
        assert_eq!(Error::unknown_command(b"\xff", std::iter::empty()).code(), "ERR");
    }
}
