//! What a running script asks of the server that runs it.

use crate::resp::{Args, Output, Protocol};

/// Whether a script goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Continue,
    /// It ends with the error of SCRIPT KILL or FUNCTION KILL, which no pcall catches.
    Kill,
    /// It ends because FUNCTION LOAD took too long.
    Timeout,
    /// It is suspended until [`super::Vm::resume`], and asks again then.
    Suspend,
}

/// Answer to `redis.acl_check_cmd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclAnswer {
    /// The user may run the command.
    Allowed,
    /// The user may not run the command.
    Denied,
    /// There is no such command, or it has the wrong number of arguments.
    Invalid,
}

/// Level of a line that a script logs; the numbers of `redis.LOG_DEBUG` and its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// `redis.LOG_DEBUG`
    Debug = 0,
    /// `redis.LOG_VERBOSE`
    Verbose = 1,
    /// `redis.LOG_NOTICE`
    Notice = 2,
    /// `redis.LOG_WARNING`
    Warning = 3,
}

/// Where the writes of a script are propagated to, from `redis.set_repl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// To the append-only file.
    pub to_file: bool,
    /// To the replicas.
    pub to_replicas: bool,
}

/// What a running script asks of the server that runs it.
pub trait Host {
    /// Runs one command. `args` begins with the command's name. Appends exactly one reply to
    /// `reply`, which is empty, in `protocol`. An error reply has the text that the script sees:
    /// for the refusals that only scripts get, without a command's name
    /// (`ERR This Valkey command is not allowed from script`).
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Output);

    /// Decides whether the script goes on. Called every [`super::limits::PAUSE_INSTRUCTIONS`]
    /// instructions.
    fn pause(&mut self) -> Verdict;

    /// Writes a line to the server's log.
    fn log(&mut self, level: LogLevel, line: &[u8]);

    /// Decides whether the client's user may run a command. `args` is as in [`Host::call`].
    fn acl_check(&mut self, args: Args<'_>) -> AclAnswer;

    /// Sets where the writes that follow are propagated to. At the start, to both.
    fn set_propagation(&mut self, to: Propagation);

    /// Returns whether the text of a library proves that its functions use only the keys among
    /// their arguments.
    fn is_confined(&self, _library: &[u8]) -> bool {
        false
    }

    /// Counts an error that the script replies and that no command has counted. `text` begins with
    /// the error code.
    fn count_error(&mut self, text: &[u8]);
}
