//! What a user's rules say of a command. Hot for restricted users.

use super::command::{Command, KeyRouting, KeyUseFn};
use super::session::Session;
use super::table::Entry;
use crate::acl::{Call, Denial, Needs, Reason, User, UserId, selected_database};
use crate::observe::Board;
use crate::resp::Args;
use crate::spec::{Channels, Databases, KeySpec};

/// The access that a command needs to its keys, if a short check can decide on it: all of them are
/// in one key spec, and neither a channel nor the number of a database is among its arguments.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyNeeds {
    /// Always this access.
    Fixed(Needs),
    /// The access depends on the arguments.
    ByArgs(KeyUseFn),
    /// The short check cannot decide.
    Unknown,
}

impl KeyNeeds {
    pub(super) fn of(command: &Command) -> KeyNeeds {
        let card = &command.card;
        let is_short = card.channels == Channels::None && card.databases == Databases::Selected;
        match (card.keys, command.key_use) {
            ([spec], Some(key_use)) if is_short && spec.varies => KeyNeeds::ByArgs(key_use),
            ([spec], _) if is_short => KeyNeeds::Fixed(Needs::of(spec)),
            _ => KeyNeeds::Unknown,
        }
    }
}

/// A command whose permissions are checked.
#[derive(Clone, Copy)]
pub struct Asked<'c, 'a> {
    /// The command.
    pub entry: &'static Entry,
    /// Number of arguments, including the name.
    pub argc: usize,
    /// Returns an argument.
    pub arg: &'c dyn Fn(usize) -> &'a [u8],
    /// Number of the selected database.
    pub db: usize,
    /// Number of databases.
    pub databases: usize,
}

impl Asked<'_, '_> {
    /// Calls `check` with the command as the rules see it.
    fn with<T>(&self, check: impl FnOnce(&Call<'_, '_>) -> T) -> T {
        let Asked { entry, argc, arg, db, databases } = *self;
        let card = &entry.command.card;
        let keys = |each: &mut dyn FnMut(usize, Needs) -> bool| {
            let needs = |spec: &KeySpec| match entry.command.key_use.filter(|_| spec.varies) {
                Some(key_use) => Needs::of(&key_use(argc, &|at| arg(at))),
                None => Needs::of(spec),
            };
            if let Some(mut plain) = entry.plain_key_args(argc) {
                let needs = needs(&card.keys[0]);
                _ = plain.all(|at| each(at, needs));
            } else {
                // Without arguments that match the specs, the command fails when it runs.
                let found = card.used_args(argc, arg).unwrap_or_default();
                _ = found.into_iter().all(|(at, spec)| each(at, needs(spec)));
            }
        };
        check(&Call { number: entry.index, card, argc, arg, keys: &keys, db, databases })
    }

    /// Returns why a user must not send the command; none if it may.
    pub fn refusal(&self, user: &User) -> Option<Denial> {
        if user.is_free() { None } else { self.with(|call| user.refusal(call)) }
    }

    /// Returns whether a user may send the command and read any key, as SORT with patterns does.
    pub fn may_read_all(&self, user: &User) -> bool {
        self.with(|call| user.may_read_all(call))
    }
}

impl Entry {
    /// Returns the command with its arguments, for a check of permissions.
    fn asked<T>(
        &'static self,
        args: &Args<'_>,
        (db, databases): (usize, usize),
        check: impl FnOnce(Asked<'_, '_>) -> T,
    ) -> T {
        let arg = |at: usize| &args[at];
        check(Asked { entry: self, argc: args.len(), arg: &arg, db, databases })
    }

    /// Returns the database that the command selects for later commands of its transaction; none
    /// if it selects none, or its arguments are invalid.
    pub fn selected_database(&'static self, args: &Args<'_>, databases: usize) -> Option<usize> {
        if !self.selects_database() {
            return None;
        }
        self.asked(args, (0, databases), |asked| asked.with(selected_database))
    }

    /// Returns the name that a log shows for a denial: of the command, or of an argument.
    pub fn denied_object(&self, denial: Denial, args: &Args<'_>) -> Vec<u8> {
        match denial.at {
            0 => self.name.as_bytes().to_vec(),
            at => args[at].to_vec(),
        }
    }

    /// Returns why a user must not send the command; none if it may.
    #[inline]
    pub fn refusal(
        &'static self,
        user: &User,
        args: &Args<'_>,
        (db, databases): (usize, usize),
    ) -> Option<Denial> {
        if self.is_plainly_allowed(user, args) {
            return None;
        }
        self.refusal_by_rules(user, args, (db, databases))
    }

    /// Returns whether a short check finds that a user may send the command. It skips selectors
    /// behind the first, and rules about databases and first arguments.
    #[inline]
    fn is_plainly_allowed(&self, user: &User, args: &Args<'_>) -> bool {
        let needs = match self.key_needs {
            KeyNeeds::Fixed(needs) => needs,
            KeyNeeds::ByArgs(key_use) => Needs::of(&key_use(args.len(), &|at| &args[at])),
            KeyNeeds::Unknown => return false,
        };
        let keys = self.plain_key_args(args.len());
        keys.is_some_and(|mut keys| {
            user.allows_command(self.index) && keys.all(|at| user.allows_key(&args[at], needs))
        })
    }

    #[inline(never)]
    fn refusal_by_rules(
        &'static self,
        user: &User,
        args: &Args<'_>,
        (db, databases): (usize, usize),
    ) -> Option<Denial> {
        self.asked(args, (db, databases), |asked| asked.refusal(user))
    }

    /// Returns whether rules of a user restrict what the command does besides using its own keys:
    /// it runs commands, or it reads keys that the user must not read.
    pub fn is_restricted_inside(
        &'static self,
        user: &User,
        args: &Args<'_>,
        (db, databases): (usize, usize),
    ) -> bool {
        let discovers = matches!(self.command.routing, KeyRouting::Discovers(_));
        self.command.runs_commands
            || discovers && !self.asked(args, (db, databases), |asked| asked.may_read_all(user))
    }
}

impl Session {
    /// Returns why the client must not send a command; none if it may.
    #[inline]
    pub fn refusal(
        &self,
        entry: &'static Entry,
        args: &Args<'_>,
        databases: usize,
    ) -> Option<Denial> {
        if self.is_free() {
            return None;
        }
        let user = self.user.as_ref()?;
        let db = self.multi.map_or(self.db, |multi| multi.db);
        entry.refusal(user, args, (db, databases))
    }

    /// Returns the user whose rules restrict what a command of the client, on database `db`, does
    /// besides using its own keys; 0 for none.
    #[inline]
    pub fn user_in(
        &self,
        (entry, db): (&'static Entry, usize),
        args: &Args<'_>,
        databases: usize,
    ) -> UserId {
        if self.is_free() {
            return 0;
        }
        let Some(user) = &self.user else { return 0 };
        if entry.is_restricted_inside(user, args, (db, databases)) { user.id } else { 0 }
    }
}

/// Counts a denial.
pub fn count_denial(board: &Board, reason: Reason) {
    let counters = &board.counters;
    let counter = match reason {
        Reason::Database => &counters.databases_denied,
        Reason::Command => &counters.commands_denied,
        Reason::Key => &counters.keys_denied,
        Reason::Channel => &counters.channels_denied,
        Reason::Login => &counters.auth_failures,
        Reason::Certificate => &counters.certificates_denied,
    };
    counter.add(1);
}
