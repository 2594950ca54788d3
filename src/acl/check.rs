//! The check of a command against a user's rules. Hot for restricted users.

use super::pattern::{READ, WRITE, head_of};
use super::selector::Selector;
use super::user::User;
use crate::base::number::parse_i64;
use crate::spec::{Card, Category, Change, Channels, Databases, Flag, KeySpec};

/// Access to a key that a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs(u8);

impl Needs {
    /// Reading.
    pub const READ: Needs = Needs(READ);

    /// Returns the access of a command that uses a key like this.
    #[inline]
    pub fn of(spec: &KeySpec) -> Needs {
        let reads = if spec.uses_data { READ } else { 0 };
        let writes = if spec.change == Change::Nothing { 0 } else { WRITE };
        Needs(reads | writes)
    }
}

/// What a user lacks. A later kind is the better explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The database.
    Database,
    /// The command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
    /// The user's name and password do not match.
    Login,
    /// The client's certificate names no user.
    Certificate,
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What the user lacks.
    pub reason: Reason,
    /// Index of the argument that it lacks; 0 for the command.
    pub at: usize,
}

impl Denial {
    /// Returns the text after `NOPERM`. `value` is the argument of the denial; with none, the text
    /// does not quote it.
    pub fn text(&self, user: &User, command: &str, value: Option<&[u8]>) -> Vec<u8> {
        let name: &[u8] = &user.name;
        match (self.reason, value) {
            (Reason::Login | Reason::Certificate, _) => {
                unreachable!("a failed login is no command's denial")
            }
            (Reason::Command, _) => {
                let what = [b"User ", name, b" has no permissions to run the '"];
                [&what.concat(), command.as_bytes(), b"' command"].concat()
            }
            (Reason::Key, None) => b"No permissions to access a key".to_vec(),
            (Reason::Channel, None) => b"No permissions to access a channel".to_vec(),
            (Reason::Database, None) => b"No permissions to access database".to_vec(),
            (Reason::Database, Some(value)) => {
                [b"User ", name, b" has no permissions to access database ", value].concat()
            }
            (Reason::Key | Reason::Channel, Some(value)) => {
                let kind: &[u8] = if self.reason == Reason::Key { b"key" } else { b"channel" };
                let what = [b"User ", name, b" has no permissions to access the '", value];
                [&what.concat(), &b"' "[..], kind].concat()
            }
        }
    }

    /// Returns the text of a command that EXEC must not run, although it was queued.
    pub fn exec_text(&self) -> String {
        let why = match self.reason {
            Reason::Command => "no permission to execute the command or subcommand",
            Reason::Key => "no permission to touch the specified keys",
            Reason::Channel => "no permission to access one of the channels used as arguments",
            Reason::Database | Reason::Login | Reason::Certificate => "no permission",
        };
        format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the \
             EXEC call. This command is no longer allowed for the following reason: {why}"
        )
    }
}

/// Calls its argument with the index of each key and the access that the command needs to it, until
/// the argument returns false.
pub type KeysOf<'a> = &'a dyn Fn(&mut dyn FnMut(usize, Needs) -> bool);

/// A command with its arguments, as the check sees it.
pub struct Call<'c, 'a> {
    /// Number of the command in the catalogue.
    pub number: u16,
    /// Card of the command.
    pub card: &'static Card,
    /// Number of arguments, including the name.
    pub argc: usize,
    /// Returns an argument.
    pub arg: &'c dyn Fn(usize) -> &'a [u8],
    /// Goes through the keys.
    pub keys: KeysOf<'c>,
    /// Number of the selected database.
    pub db: usize,
    /// Number of databases.
    pub databases: usize,
}

impl User {
    /// Returns why the user must not send a command; none if it may.
    #[inline]
    pub fn refusal(&self, call: &Call<'_, '_>) -> Option<Denial> {
        if self.is_free() { None } else { self.refusal_by_rules(call) }
    }

    /// Returns whether the first selector allows a command, if it needs only the selected database.
    /// False proves nothing: another selector or a rule on first arguments may allow the command.
    #[inline]
    pub fn allows_command(&self, number: u16) -> bool {
        self.selectors.first().is_some_and(|selector| {
            selector.all_databases && (selector.all_commands || selector.has_bit(number))
        })
    }

    /// Returns whether the first selector allows access to a key.
    #[inline]
    pub fn allows_key(&self, key: &[u8], needs: Needs) -> bool {
        let first = self.selectors.first();
        first.is_some_and(|selector| selector.all_keys || selector.allows_key(key, needs))
    }

    fn refusal_by_rules(&self, call: &Call<'_, '_>) -> Option<Denial> {
        let mut worst = Denial { reason: Reason::Database, at: 0 };
        for selector in &self.selectors {
            let denial = selector.refusal(call)?;
            if (denial.reason, denial.at) > (worst.reason, worst.at) {
                worst = denial;
            }
        }
        Some(worst)
    }

    /// Returns whether the user may send a command that reads keys which are not among its
    /// arguments.
    pub fn may_read_all(&self, call: &Call<'_, '_>) -> bool {
        self.is_free()
            || self
                .selectors
                .iter()
                .any(|selector| selector.reads_all_keys() && selector.refusal(call).is_none())
    }
}

impl Selector {
    fn refusal(&self, call: &Call<'_, '_>) -> Option<Denial> {
        let lacks = |reason, at| Some(Denial { reason, at });
        if !self.all_databases
            && let Some(at) = self.forbidden_database(call)
        {
            return lacks(Reason::Database, at);
        }
        if !self.all_commands && !self.allows_command(call) {
            return lacks(Reason::Command, 0);
        }
        if !self.all_keys
            && call.card.has_keys()
            && let Some(at) = self.forbidden_key(call)
        {
            return lacks(Reason::Key, at);
        }
        if !self.all_channels
            && call.card.channels != Channels::None
            && let Some(at) = self.forbidden_channel(call)
        {
            return lacks(Reason::Channel, at);
        }
        None
    }

    #[inline]
    fn allows_command(&self, call: &Call<'_, '_>) -> bool {
        if self.has_bit(call.number) || call.card.flags.has(Flag::NO_AUTH) {
            return true;
        }
        let is_first = |(number, arg): &(u16, Vec<u8>)| {
            *number == call.number && (call.arg)(1).eq_ignore_ascii_case(arg)
        };
        call.argc >= 2 && self.first_args.iter().any(is_first)
    }

    fn forbidden_key(&self, call: &Call<'_, '_>) -> Option<usize> {
        let mut found = None;
        (call.keys)(&mut |at, needs| {
            let is_allowed = self.allows_key((call.arg)(at), needs);
            found = if is_allowed { None } else { Some(at) };
            is_allowed
        });
        found
    }

    #[inline]
    fn allows_key(&self, key: &[u8], needs: Needs) -> bool {
        match &self.key_index {
            Some(index) => index.gives(&self.keys, key, needs.0),
            None => {
                let head = head_of(key);
                self.keys.iter().any(|allowed| allowed.gives(key, head, needs.0))
            }
        }
    }

    fn reads_all_keys(&self) -> bool {
        let reads_all = |allowed: &super::pattern::KeyPattern| {
            allowed.access & READ != 0 && *allowed.pattern.text == *b"*"
        };
        self.all_keys || self.keys.iter().any(reads_all)
    }

    /// Returns whether its patterns have a channel. A pattern of a client must be one of them.
    pub(super) fn has_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.channels.iter().any(|allowed| match is_pattern {
            true => *allowed.text == *name,
            false => allowed.matches(name),
        })
    }

    fn forbidden_channel(&self, call: &Call<'_, '_>) -> Option<usize> {
        let is_pattern = call.card.channels == Channels::Patterns;
        let end = if call.card.channels == Channels::First { 2 } else { call.argc };
        (1..end.min(call.argc)).find(|at| !self.has_channel((call.arg)(*at), is_pattern))
    }

    fn has_database(&self, number: usize, call: &Call<'_, '_>) -> bool {
        let number = i32::try_from(number).ok().filter(|_| number < call.databases);
        number.is_some_and(|number| self.databases.binary_search(&number).is_ok())
    }

    /// Returns the argument that names a forbidden database; 0 if it is the selected one.
    fn forbidden_database(&self, call: &Call<'_, '_>) -> Option<usize> {
        let has_selected = || self.has_database(call.db, call);
        match call.card.databases {
            Databases::Selected => {
                let card = call.card;
                let is_on_keys = card.categories.contains(&Category::Keyspace)
                    || card.is_in("read")
                    || card.is_in("write")
                    || card.has_keys();
                (is_on_keys && !has_selected()).then_some(0)
            }
            Databases::All => {
                let has_all = (0..call.databases).all(|number| self.has_database(number, call));
                (!has_all).then_some(0)
            }
            Databases::At(_) | Databases::Option { .. } => {
                let named = named_databases(call).unwrap_or_default();
                let forbidden = named.iter().find(|(_, number)| !self.has_database(*number, call));
                match forbidden {
                    Some((at, _)) => Some(*at),
                    None => (call.card.has_keys() && !has_selected()).then_some(0),
                }
            }
        }
    }
}

/// Returns the databases that the arguments name, each with its argument. Returns none if the
/// arguments are invalid, so that the command will fail.
fn named_databases(call: &Call<'_, '_>) -> Option<Vec<(usize, usize)>> {
    let number_at = |at: usize| {
        let number = (at < call.argc).then(|| parse_i64((call.arg)(at))).flatten()?;
        usize::try_from(number).ok().filter(|number| *number < call.databases)
    };
    let mut named = Vec::new();
    match call.card.databases {
        Databases::At(places) => {
            for at in places.iter().map(|at| usize::from(*at)) {
                named.push((at, number_at(at)?));
            }
        }
        Databases::Option { name, from, others } => {
            let mut at = usize::from(from);
            while at < call.argc {
                let is = |option: &&str| (call.arg)(at).eq_ignore_ascii_case(option.as_bytes());
                if is(&name) {
                    named.push((at + 1, number_at(at + 1)?));
                    at += 1;
                } else if !others.iter().any(is) {
                    return None;
                }
                at += 1;
            }
        }
        Databases::Selected | Databases::All => {}
    }
    Some(named)
}

/// Returns the database that a command selects for the commands after it; none if its arguments
/// are invalid.
pub fn selected_database(call: &Call<'_, '_>) -> Option<usize> {
    named_databases(call)?.first().map(|(_, number)| *number)
}
