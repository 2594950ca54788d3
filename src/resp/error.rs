//! Every error that a client can cause, with the exact text on the wire. The texts match Valkey
//! 9.1, because clients compare them.

use std::borrow::Cow;

/// The most bytes of the client's arguments that an error quotes.
const QUOTED_BYTES_MAX: usize = 128;

/// Bytes that are searched for the end of an error code.
const CODE_BYTES_MAX: usize = 32;

/// A client's error. [`Error::bytes`] returns the text after the `-` of an error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The arguments do not match the command's syntax.
    Syntax,
    /// The value has a different type than the command needs.
    WrongType,
    /// The argument is not a 64-bit signed integer.
    NotInteger,
    /// The argument is not a floating point number.
    NotFloat,
    /// The integer is outside the command's range.
    OutOfRange,
    /// The integer is outside the command's range, which begins at zero.
    NotPositive,
    /// INCR or a similar command would exceed 64 bits.
    IncrementOverflow,
    /// The argument of DECRBY cannot be negated.
    DecrementOverflow,
    /// INCRBYFLOAT would not give a finite number.
    NanOrInfinity,
    /// The offset of SETRANGE is negative.
    OffsetOutOfRange,
    /// The index is past either end.
    IndexOutOfRange,
    /// The bit offset is invalid.
    BitOffset,
    /// The bit value is not 0 or 1.
    BitValue,
    /// The value would exceed `proto-max-bulk-len`.
    StringTooLong,
    /// The key does not exist, but the command needs it.
    NoSuchKey,
    /// Source and destination are the same key.
    SameObject,
    /// The destination key already exists.
    BusyKey,
    /// The database number is not below `databases`.
    DbOutOfRange,
    /// The first argument of SWAPDB is not a database number.
    FirstDbInvalid,
    /// The second argument of SWAPDB is not a database number.
    SecondDbInvalid,
    /// The client must authenticate first.
    NoAuth,
    /// Authentication failed.
    WrongPass,
    /// AUTH has only a password, but the default user has none.
    AuthWithoutPassword,
    /// HELLO requests a protocol other than 2 or 3.
    NoProto,
    /// The protocol version of HELLO is not a number.
    ProtocolVersion,
    /// `maxmemory` is reached and no key can be evicted.
    OutOfMemory,
    /// The server is loading the dataset.
    Loading,
    /// A script exceeds its time limit.
    BusyScript,
    /// A function exceeds its time limit.
    BusyFunction,
    /// Snapshots fail and `stop-writes-on-bgsave-error` is on.
    Misconf,
    /// The command writes, but the server is a read-only replica.
    ReadOnly,
    /// The link to the primary is down and `replica-serve-stale-data` is off.
    MasterDown,
    /// There are fewer good replicas than `min-replicas-to-write`.
    NoReplicas,
    /// EXEC follows a command that was refused.
    ExecAbort,
    /// EVALSHA names an unknown script.
    NoScript,
    /// CLIENT KILL names an address without client.
    NoSuchClient,
    /// A remote client connects in protected mode without a password.
    Protected,
    /// `maxclients` is reached.
    MaxClients,
    /// A text that is used in one place only. It begins with the error code (`ERR ...`).
    Other(Cow<'static, str>),
    /// A text that is used in one place only and quotes client bytes, which need not be UTF-8. It
    /// begins with the error code.
    Quoted(Box<[u8]>),
}

#[rustfmt::skip]
impl Error {
    /// Returns the text of a variant that has a fixed text.
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
    /// Returns the bytes of the reply, without `-` and line end. They may contain line ends from
    /// the client's arguments, which [`crate::resp::Reply::error`] replaces.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Error::Other(text) => text.as_bytes(),
            Error::Quoted(bytes) => bytes,
            fixed => fixed.fixed().as_bytes(),
        }
    }

    /// Returns the reply as text for people. Bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes())
    }

    /// Returns the error code, which is the first word of the text and mostly `ERR`. Errors are
    /// counted by code.
    pub fn code(&self) -> &str {
        let bytes = self.bytes();
        let head = &bytes[..bytes.len().min(CODE_BYTES_MAX)];
        let end = head.iter().position(|&byte| byte == b' ').unwrap_or(head.len());
        std::str::from_utf8(&head[..end]).unwrap_or("ERR")
    }

    /// Returns whether the error is about where a cluster serves a command.
    pub fn is_redirection(&self) -> bool {
        ["MOVED", "ASK", "CROSSSLOT", "TRYAGAIN", "CLUSTERDOWN"].contains(&self.code())
    }

    /// Creates an error from a text that is used in one place only. The text must begin with its
    /// error code.
    pub fn other(text: impl Into<Cow<'static, str>>) -> Error {
        Error::Other(text.into())
    }

    /// Creates the error for an unknown command `name`. Quotes the arguments up to
    /// `QUOTED_BYTES_MAX` bytes.
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

    /// Creates the error for an unknown subcommand `name` of `command`.
    pub fn unknown_subcommand(command: &[u8], name: &[u8]) -> Error {
        let name = excerpt(name, QUOTED_BYTES_MAX);
        let command = command.to_ascii_uppercase();
        Error::quoting(&[b"ERR unknown subcommand '", name, b"'. Try ", &command, b" HELP."])
    }

    /// Creates the error for a known subcommand with invalid arguments.
    pub fn subcommand_syntax(command: &[u8], name: &[u8]) -> Error {
        let name = excerpt(name, QUOTED_BYTES_MAX);
        let command = command.to_ascii_uppercase();
        let what = b"ERR unknown subcommand or wrong number of arguments for '";
        Error::quoting(&[what, name, b"'. Try ", &command, b" HELP."])
    }

    /// Creates the error for a wrong number of arguments. The full name of a subcommand looks like
    /// `client|kill`.
    pub fn wrong_arity(full_name: &str) -> Error {
        Error::Other(format!("ERR wrong number of arguments for '{full_name}' command").into())
    }

    /// Creates the error for a command that is not allowed between MULTI and EXEC.
    pub fn not_in_transaction(full_name: &str) -> Error {
        Error::Other(format!("ERR Command '{full_name}' not allowed inside a transaction").into())
    }

    /// Creates the error for a command that a client with subscriptions may not send in RESP2.
    pub fn not_for_subscribers(full_name: &str) -> Error {
        Error::Other(
            format!(
                "ERR Can't execute '{full_name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
                 QUIT / RESET are allowed in this context"
            )
            .into(),
        )
    }

    /// Creates the error for an EXEC that was refused for `reason`. The transaction is discarded.
    pub fn exec_abort(reason: &Error) -> Error {
        let reason = reason.bytes();
        let reason = reason.strip_prefix(b"ERR ").unwrap_or(reason);
        Error::quoting(&[b"EXECABORT Transaction discarded because of: ", reason])
    }

    /// Creates the error for an expiry time that is not positive or overflows.
    pub fn invalid_expire(full_name: &str) -> Error {
        Error::Other(format!("ERR invalid expire time in '{full_name}' command").into())
    }

    /// Creates the error for an integer that is not between `min` and `max`.
    pub fn not_between(min: i64, max: i64) -> Error {
        let text = format!("ERR value is out of range, value must between {min} and {max}");
        Error::Other(text.into())
    }

    /// Creates the error for a missing permission. `reason` is the whole text after the code.
    pub fn no_permission(reason: &str) -> Error {
        Error::Other(format!("NOPERM {reason}").into())
    }

    /// Creates an error from parts, which may quote the client's arguments. A NUL byte ends each
    /// part.
    pub fn quoting(parts: &[&[u8]]) -> Error {
        let shown = parts.iter().map(|part| until_nul(part));
        Error::Quoted(shown.collect::<Vec<_>>().concat().into_boxed_slice())
    }
}

/// Returns at most `len_max` bytes of an argument, up to its first NUL byte.
fn excerpt(word: &[u8], len_max: usize) -> &[u8] {
    until_nul(&word[..word.len().min(len_max)])
}

/// Returns the bytes before the first NUL. The reference server prints arguments as C strings.
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
        // 125 bytes and three bytes of quotes make 128: the next argument is left out.
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
