//! Which words of a command are secrets, and stand as `(redacted)` wherever commands are shown:
//! in the command log and to MONITOR.

use crate::config::settings;
use crate::exec::Entry;
use crate::observe::{LoggedArgs, logged_args};

/// A command's words, as they lie wherever they do.
pub type ArgAt<'a> = &'a dyn Fn(usize) -> &'a [u8];

/// Whether word `at` of a command of `count` words is a secret.
pub fn is_secret(entry: &Entry, count: usize, word: ArgAt<'_>, at: usize) -> bool {
    let is = |at: usize, name: &str| word(at).eq_ignore_ascii_case(name.as_bytes());
    match &entry.name[..] {
        "auth" => at >= 1,
        "hello" => {
            (2..count).any(|option| is(option, "auth") && (option + 1..=option + 2).contains(&at))
        }
        "acl|setuser" | "acl|deluser" => at >= 2,
        "acl|getuser" => at == 2,
        "config|set" => at >= 3 && at % 2 == 1 && is_sensitive(word(at - 1)),
        "migrate" => (6..count).any(|option| {
            (is(option, "auth") && at == option + 1)
                || (is(option, "auth2") && (option + 1..=option + 2).contains(&at))
        }),
        _ => false,
    }
}

/// The words of a command as the command log keeps them.
pub fn shown_args(entry: &Entry, count: usize, word: ArgAt<'_>) -> LoggedArgs {
    logged_args(count, word, |at| is_secret(entry, count, word, at))
}

/// Whether a setting's value must not be shown.
fn is_sensitive(name: &[u8]) -> bool {
    settings().any(|setting| {
        let is = |other: &str| !other.is_empty() && name.eq_ignore_ascii_case(other.as_bytes());
        setting.sensitive && (is(setting.name) || is(setting.alias))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::FAMILIES;
    use crate::exec::CommandTable;

    fn shown(line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let table = CommandTable::new(FAMILIES);
        let entry = table.find(words[0]).expect("a command");
        let entry = words.get(1).and_then(|word| entry.subcommand(word)).unwrap_or(entry);
        let kept = shown_args(entry, words.len(), &|at| words[at]);
        let kept: Vec<_> = kept.iter().map(|word| String::from_utf8_lossy(word)).collect();
        kept.join(" ").replace("(redacted)", "*")
    }

    #[test]
    fn secrets_are_not_shown() {
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
