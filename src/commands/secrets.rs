//! Redaction of secret arguments, which the command log and MONITOR show as `(redacted)`.

use crate::exec::{ArgAt, Entry};
use crate::observe::{LoggedArgs, logged_args};

/// Returns whether argument `at` of a command of `argc` arguments is a secret.
pub fn is_secret(entry: &Entry, argc: usize, arg: ArgAt<'_>, at: usize) -> bool {
    entry.command.secrets.is_some_and(|is_secret| is_secret(argc, arg, at))
}

/// Returns the arguments of a command as the command log keeps them.
pub fn shown_args(entry: &Entry, argc: usize, arg: ArgAt<'_>) -> LoggedArgs {
    logged_args(argc, arg, |at| is_secret(entry, argc, arg, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::FAMILIES;
    use crate::exec::CommandTable;

    fn shown(line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let table = CommandTable::new(FAMILIES);
        let entry = table.find(args[0]).expect("a command");
        let entry = args.get(1).and_then(|arg| entry.subcommand(arg)).unwrap_or(entry);
        let kept = shown_args(entry, args.len(), &|at| args[at]);
        let kept: Vec<_> = kept.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
        kept.join(" ").replace("(redacted)", "*")
    }

    #[test]
    fn secrets_are_redacted() {
        for (line, expected) in [
            ("AUTH user password", "AUTH * *"),
            ("HELLO 3 AUTH user password SETNAME x", "HELLO 3 AUTH * * SETNAME x"),
            ("HELLO 3 SETNAME x", "HELLO 3 SETNAME x"),
            ("CONFIG SET requirepass x port 1", "CONFIG SET requirepass * port 1"),
            ("config set MASTERAUTH x", "config set MASTERAUTH *"),
            ("CONFIG GET requirepass", "CONFIG GET requirepass"),
            ("SET auth password", "SET auth password"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }
}
