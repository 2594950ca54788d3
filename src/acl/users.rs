//! All users of the process, and the log of refusals.

use super::catalogue::Catalogue;
use super::file::merge_selectors;
use super::log::AclLog;
use super::rules::until_nul;
use super::user::{NewUsers, User, UserId};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Name of the user that clients have before they authenticate.
pub(super) const DEFAULT: &[u8] = b"default";

/// The users by name and by identity.
#[derive(Debug, Default)]
pub struct Users {
    by_name: BTreeMap<Arc<[u8]>, Arc<User>>,
    by_id: HashMap<UserId, Arc<User>>,
    last_id: UserId,
}

impl Users {
    /// Returns an identity that no user has.
    fn new_id(&mut self) -> UserId {
        loop {
            self.last_id = self.last_id.wrapping_add(1).max(1);
            if !self.by_id.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    fn put(&mut self, mut user: User) -> Arc<User> {
        user.index_keys();
        let user = Arc::new(user);
        self.by_name.insert(Arc::clone(&user.name), Arc::clone(&user));
        self.by_id.insert(user.id, Arc::clone(&user));
        user
    }

    fn default_user(&self) -> &Arc<User> {
        &self.by_name[DEFAULT]
    }
}

/// The users, as the whole process sees them.
#[derive(Debug)]
pub struct Acl {
    /// The commands that rules may name.
    pub catalogue: Catalogue,
    /// Refusals, for ACL LOG.
    pub log: AclLog,
    users: Mutex<Users>,
    version: AtomicU64,
    is_open: AtomicBool,
    needs_no_password: AtomicBool,
}

impl Acl {
    /// Creates the users of a process: only the default user, which may do everything.
    pub fn new(catalogue: Catalogue) -> Acl {
        let mut users = Users::default();
        let id = users.new_id();
        users.put(default_user(id, &catalogue));
        Acl {
            catalogue,
            log: AclLog::default(),
            users: Mutex::new(users),
            version: AtomicU64::new(1),
            is_open: AtomicBool::new(true),
            needs_no_password: AtomicBool::new(true),
        }
    }

    /// Returns the version of the users. It grows with every change.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Users> {
        // Users are replaced as a whole, so a panic leaves no half of one.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change visible to all.
    fn publish(&self, users: &Users) {
        let default = users.default_user();
        self.is_open.store(default.is_on() && default.needs_no_password(), Ordering::Relaxed);
        self.needs_no_password.store(default.needs_no_password(), Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Returns whether clients need not authenticate.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Returns whether the default user has no password, so that protected mode applies.
    pub fn is_unprotected(&self) -> bool {
        self.needs_no_password.load(Ordering::Relaxed)
    }

    /// Returns the default user.
    pub fn default_user(&self) -> Arc<User> {
        Arc::clone(self.lock().default_user())
    }

    /// Returns the user with this name.
    pub fn find(&self, name: &[u8]) -> Option<Arc<User>> {
        self.lock().by_name.get(name).cloned()
    }

    /// Returns the user with this identity.
    pub fn by_id(&self, id: UserId) -> Option<Arc<User>> {
        self.lock().by_id.get(&id).cloned()
    }

    /// Returns all users, sorted by name.
    pub fn list(&self) -> Vec<Arc<User>> {
        self.lock().by_name.values().cloned().collect()
    }

    /// Returns the user with this name, if the password is right.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        self.find(name).filter(|user| user.admits(password))
    }

    /// Changes a user by rules, or creates it. Returns whether it existed.
    ///
    /// # Errors
    /// A rule is refused, and nothing has changed. The text is the reference's.
    pub fn set_user(&self, name: &[u8], rules: &[&[u8]], new: NewUsers) -> Result<bool, Vec<u8>> {
        let rules = merge_selectors(rules).map_err(|at| {
            let head = b"Unmatched parenthesis in acl selector starting at '";
            [head, until_nul(rules[at]), b"'."].concat()
        })?;
        let mut users = self.lock();
        let before = users.by_name.get(name).cloned();
        let mut user = match &before {
            Some(user) => user.copy(),
            None => User::new(0, name, new),
        };
        for rule in &rules {
            user.apply(rule, &self.catalogue, new).map_err(|error| {
                let head = b"Error in ACL SETUSER modifier '";
                [head, until_nul(rule), b"': ", error.text().as_bytes()].concat()
            })?;
        }
        if before.is_none() {
            user.id = users.new_id();
        }
        users.put(user);
        self.publish(&users);
        Ok(before.is_some())
    }

    /// Deletes users and returns their number. The default user cannot be deleted.
    pub fn delete<'n>(&self, names: impl Iterator<Item = &'n [u8]>) -> usize {
        let mut users = self.lock();
        let mut deleted = 0;
        for name in names {
            assert!(name != DEFAULT, "checked by the caller");
            if let Some(user) = users.by_name.remove(name) {
                users.by_id.remove(&user.id);
                deleted += 1;
            }
        }
        if deleted > 0 {
            self.publish(&users);
        }
        deleted
    }

    /// Replaces all users. Users with the name of an old one keep its identity. Without a default
    /// user among them, it may do everything.
    pub fn replace(&self, loaded: Vec<User>) {
        let mut users = self.lock();
        let mut now = Users { last_id: users.last_id, ..Users::default() };
        for mut user in loaded {
            let id = users.by_name.get(&user.name).map(|old| old.id);
            user.id = id.unwrap_or_else(|| users.new_id());
            now.put(user);
        }
        if !now.by_name.contains_key(DEFAULT) {
            let id = users.default_user().id;
            now.put(default_user(id, &self.catalogue));
        }
        now.last_id = users.last_id;
        *users = now;
        self.publish(&users);
    }

    /// Adds users, each in place of one with its name.
    pub fn add(&self, added: Vec<User>) {
        let mut users = self.lock();
        for mut user in added {
            let id = users.by_name.get(&user.name).map(|old| old.id);
            user.id = id.unwrap_or_else(|| users.new_id());
            users.put(user);
        }
        self.publish(&users);
    }

    /// Sets the password of the default user: `requirepass`. Without one it needs no password.
    pub fn set_default_password(&self, password: &[u8]) {
        let mut users = self.lock();
        let rule: Vec<u8> = match password {
            [] => b"nopass".to_vec(),
            password => [b">", password].concat(),
        };
        let user = users.default_user().copy();
        let new = NewUsers::default();
        users.put(user.with(&[b"resetpass", &rule], &self.catalogue, new));
        self.publish(&users);
    }
}

/// Returns a default user that may do everything.
fn default_user(id: UserId, catalogue: &Catalogue) -> User {
    let rules: [&[u8]; 6] = [b"+@all", b"~*", b"&*", b"on", b"nopass", b"alldbs"];
    User::new(id, DEFAULT, NewUsers::default()).with(&rules, catalogue, NewUsers::default())
}
