//! A user: a name, passwords, and selectors.

use super::catalogue::Catalogue;
use super::password::{Hash, matches_any};
use super::pattern::KeyIndex;
use super::rules::{RuleError, apply};
use super::selector::Selector;
use std::sync::{Arc, OnceLock};

/// Identifies a user, also among users that once had its name. 0 is no user.
pub type UserId = u32;

/// Which permissions new users and selectors begin with (`acl-pubsub-default`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewUsers {
    /// Whether all channels are allowed.
    pub all_channels: bool,
}

/// A user with its permissions at one moment.
#[derive(Debug)]
pub struct User {
    /// Identity of the user.
    pub id: UserId,
    /// Name of the user.
    pub name: Arc<[u8]>,
    pub(super) is_on: bool,
    pub(super) no_password: bool,
    pub(super) passwords: Vec<Hash>,
    /// The first one has the rules outside of parentheses.
    pub(super) selectors: Vec<Selector>,
    is_free: bool,
    text: OnceLock<Box<[u8]>>,
}

impl User {
    /// Creates a user that is off and may do nothing.
    pub(super) fn new(id: UserId, name: &[u8], new: NewUsers) -> User {
        User {
            id,
            name: name.into(),
            is_on: false,
            no_password: false,
            passwords: Vec::new(),
            selectors: vec![Selector::new(new.all_channels)],
            is_free: false,
            text: OnceLock::new(),
        }
    }

    /// Creates a user without a name that may do nothing, in place of one that was deleted.
    pub fn nobody(id: UserId) -> User {
        User::new(id, b"", NewUsers::default())
    }

    /// Returns a copy to change.
    pub(super) fn copy(&self) -> User {
        User {
            id: self.id,
            name: Arc::clone(&self.name),
            is_on: self.is_on,
            no_password: self.no_password,
            passwords: self.passwords.clone(),
            selectors: self.selectors.clone(),
            is_free: self.is_free,
            text: OnceLock::new(),
        }
    }

    /// Applies one rule.
    pub(super) fn apply(
        &mut self,
        rule: &[u8],
        catalogue: &Catalogue,
        new: NewUsers,
    ) -> Result<(), RuleError> {
        assert!(self.text.get().is_none(), "a user whose text was read does not change");
        self.selectors.iter_mut().for_each(|selector| selector.key_index = None);
        apply(self, rule, catalogue, new)?;
        self.is_free = self.selectors.iter().any(Selector::is_free);
        Ok(())
    }

    /// Makes its checks fast, after the last rule.
    pub(super) fn index_keys(&mut self) {
        for selector in &mut self.selectors {
            selector.key_index = KeyIndex::new(&selector.keys);
        }
    }

    /// Applies rules that cannot fail.
    pub(super) fn with(mut self, rules: &[&[u8]], catalogue: &Catalogue, new: NewUsers) -> User {
        for rule in rules {
            self.apply(rule, catalogue, new).expect("the rule is valid");
        }
        self
    }

    /// Returns whether the user may do everything.
    #[inline]
    pub fn is_free(&self) -> bool {
        self.is_free
    }

    /// Returns whether clients may authenticate as the user.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Returns whether every password is right.
    pub fn needs_no_password(&self) -> bool {
        self.no_password
    }

    /// Returns whether a client with this password may authenticate as the user.
    pub fn admits(&self, password: &[u8]) -> bool {
        self.is_on && (self.no_password || matches_any(password, &self.passwords))
    }

    /// Returns the hashes of the passwords, as hexadecimal digits.
    pub fn password_digits(&self) -> impl Iterator<Item = String> {
        self.passwords.iter().map(Hash::digits)
    }

    /// Returns the permissions outside of parentheses.
    pub fn root(&self) -> &Selector {
        &self.selectors[0]
    }

    /// Returns the selectors in parentheses.
    pub fn others(&self) -> &[Selector] {
        &self.selectors[1..]
    }

    /// Returns all rules, as ACL LIST shows them behind the name.
    pub fn rules(&self) -> &[u8] {
        self.text.get_or_init(|| self.describe().into())
    }

    fn describe(&self) -> Vec<u8> {
        let mut out = if self.is_on { b"on ".to_vec() } else { b"off ".to_vec() };
        if self.no_password {
            out.extend_from_slice(b"nopass ");
        }
        for hash in &self.passwords {
            out.extend_from_slice(format!("#{} ", hash.digits()).as_bytes());
        }
        self.root().describe(&mut out);
        for selector in self.others() {
            out.extend_from_slice(b" (");
            selector.describe(&mut out);
            out.push(b')');
        }
        out
    }

    /// Returns the line of the user in files and ACL LIST.
    pub fn line(&self) -> Vec<u8> {
        [b"user ", &*self.name, b" ", self.rules()].concat()
    }

    /// Returns whether the user may subscribe to a channel, or to a pattern if `is_pattern`.
    pub fn may_subscribe(&self, name: &[u8], is_pattern: bool) -> bool {
        self.selectors
            .iter()
            .any(|selector| selector.all_channels || selector.has_channel(name, is_pattern))
    }

    /// Returns whether `self` may use every channel that `before` could use, by comparing rules.
    /// Then no subscription of the user's clients has to end.
    pub fn keeps_channels_of(&self, before: &User) -> bool {
        if self.selectors.iter().any(|selector| selector.all_channels) {
            return true;
        }
        let texts = || self.selectors.iter().flat_map(|selector| &selector.channels);
        before.selectors.iter().all(|selector| {
            let is_kept = |text: &[u8]| texts().any(|kept| *kept.text == *text);
            !selector.all_channels && selector.channels.iter().all(|old| is_kept(&old.text))
        })
    }
}
