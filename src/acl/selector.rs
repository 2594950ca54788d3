//! A selector: one set of commands, keys, channels and databases that a user may use together.

use super::catalogue::Catalogue;
use super::pattern::{KeyIndex, KeyPattern, Pattern, Places};

/// A set of permissions.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// Whether every command is allowed, so that no bit need be tested.
    pub(super) all_commands: bool,
    /// Whether commands that do not exist yet would be allowed: the commands began with `+@all`.
    pub(super) future_commands: bool,
    pub(super) all_keys: bool,
    pub(super) all_channels: bool,
    pub(super) all_databases: bool,
    /// A bit per command, by its number.
    pub(super) commands: Vec<u64>,
    /// First arguments that are allowed for commands without their bit, in lower case.
    pub(super) first_args: Vec<(u16, Vec<u8>)>,
    pub(super) keys: Vec<KeyPattern>,
    pub(super) key_places: Places,
    /// Finds patterns of `keys`; none if there are few, or while they change.
    pub(super) key_index: Option<Box<KeyIndex>>,
    pub(super) channels: Vec<Pattern>,
    pub(super) channel_places: Places,
    /// Numbers of databases, sorted.
    pub(super) databases: Vec<i32>,
    /// The rules about commands since the last `+@all` or `-@all`: whether each allows, and the
    /// name in lower case.
    pub(super) command_rules: Vec<(bool, Vec<u8>)>,
}

impl Selector {
    /// Creates a selector that allows no command and no key, but every database.
    pub(super) fn new(all_channels: bool) -> Selector {
        Selector { all_channels, all_databases: true, ..Selector::default() }
    }

    /// Allows all keys, or none.
    pub(super) fn set_all_keys(&mut self, on: bool) {
        self.all_keys = on;
        self.keys.clear();
        self.key_places.clear();
    }

    /// Allows all channels, or none.
    pub(super) fn set_all_channels(&mut self, on: bool) {
        self.all_channels = on;
        self.channels.clear();
        self.channel_places.clear();
    }

    /// Returns whether it allows everything.
    pub(super) fn is_free(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels && self.all_databases
    }

    /// Returns whether the bit of a command is set.
    #[inline]
    pub(super) fn has_bit(&self, number: u16) -> bool {
        let word = self.commands.get(usize::from(number) / 64);
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Allows or forbids all commands.
    pub(super) fn set_all_commands(&mut self, on: bool, catalogue: &Catalogue) {
        let words = catalogue.commands().len().div_ceil(64);
        self.commands.clear();
        self.commands.resize(words, if on { u64::MAX } else { 0 });
        (self.all_commands, self.future_commands) = (on, on);
        self.command_rules.clear();
        self.first_args.clear();
    }

    fn set_bit(&mut self, number: u16, on: bool, catalogue: &Catalogue) {
        self.commands.resize(catalogue.commands().len().div_ceil(64), 0);
        let word = &mut self.commands[usize::from(number) / 64];
        let bit = 1 << (number % 64);
        if on {
            *word |= bit;
        } else {
            *word &= !bit;
            self.all_commands = false;
        }
    }

    /// Allows or forbids a command with its subcommands.
    pub(super) fn set_command(&mut self, number: u16, on: bool, catalogue: &Catalogue) {
        self.set_bit(number, on, catalogue);
        self.first_args.retain(|(of, _)| *of != number);
        for subcommand in catalogue.at(number).subcommands.clone() {
            self.set_bit(subcommand, on, catalogue);
        }
    }

    /// Allows or forbids the commands of a category.
    pub(super) fn set_category(&mut self, category: u32, on: bool, catalogue: &Catalogue) {
        for (number, command) in catalogue.commands().iter().enumerate() {
            if command.categories & category != 0 {
                self.set_command(number as u16, on, catalogue);
            }
        }
    }

    /// Allows a first argument of a command.
    pub(super) fn allow_first_arg(&mut self, number: u16, arg: &[u8]) {
        let rule = (number, arg.to_ascii_lowercase());
        if !self.first_args.contains(&rule) {
            self.first_args.push(rule);
        }
    }

    /// Notes a rule about commands, in place of earlier rules about the same commands.
    pub(super) fn note_rule(&mut self, name: &[u8], allows: bool) {
        let name = name.to_ascii_lowercase();
        self.command_rules.retain(|(_, old)| {
            let rest = old.strip_prefix(&name[..]);
            !rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'|')
        });
        self.command_rules.push((allows, name));
    }

    /// Returns the rules about commands.
    pub fn describe_commands(&self) -> Vec<u8> {
        let mut out = if self.future_commands { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for (allows, name) in &self.command_rules {
            out.extend_from_slice(if *allows { b" +" } else { b" -" });
            out.extend_from_slice(name);
        }
        out
    }

    /// Returns the rules about keys.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        joined(self.keys.iter(), KeyPattern::describe)
    }

    /// Returns the rules about channels.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        joined(self.channels.iter(), |pattern, out| {
            out.push(b'&');
            out.extend_from_slice(&pattern.text);
        })
    }

    /// Returns the rules about databases.
    pub fn describe_databases(&self) -> Vec<u8> {
        match self.databases.split_first() {
            _ if self.all_databases => b"alldbs".to_vec(),
            None => Vec::new(),
            Some((first, rest)) => {
                let rest = rest.iter().map(|database| format!(",{database}"));
                format!("db={first}{}", rest.collect::<String>()).into_bytes()
            }
        }
    }

    /// Appends all rules, in the order of ACL LIST.
    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        let keys = self.describe_keys();
        let channels = self.describe_channels();
        let databases = match self.all_databases {
            // An older server reads such a rule as an error.
            true => Vec::new(),
            false if self.databases.is_empty() => b"resetdbs".to_vec(),
            false => self.describe_databases(),
        };
        let reset: &[u8] = if self.all_channels { b"" } else { b"resetchannels" };
        for rules in [&keys[..], reset, &channels, &databases] {
            if !rules.is_empty() {
                out.extend_from_slice(rules);
                out.push(b' ');
            }
        }
        out.extend_from_slice(&self.describe_commands());
    }
}

/// Writes each of several rules, with blanks between them.
fn joined<'r, R: 'r>(
    rules: impl Iterator<Item = &'r R>,
    write: impl Fn(&R, &mut Vec<u8>),
) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, rule) in rules.enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        write(rule, &mut out);
    }
    out
}
