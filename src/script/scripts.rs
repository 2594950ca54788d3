//! The cache of EVAL scripts, which all shards share.
//!
//! Readers take no lock: a bucket is an immutable map, which a writer replaces. A script that is
//! removed says so in itself, so that who still holds it can tell.

use super::api::sha1_digits;
use super::header::{ScriptFlags, script_header};
use super::limits::EVAL_SCRIPTS_MAX;
use super::vm::Checker;
use crate::base::hash::hash_of;
use crate::resp::Error;
use ahash::AHasher;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Buckets of the cache. A writer copies one of them.
const BUCKETS: usize = 256;

/// Digits of a SHA1 digest.
pub const SHA1_DIGITS: usize = 40;

/// Who asks for a script to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// EVAL: the script may be evicted.
    Eval,
    /// SCRIPT LOAD: the script stays until SCRIPT FLUSH.
    Load,
}

/// An EVAL script.
#[derive(Debug)]
pub struct Script {
    /// Distinguishes the script from all others that the process has had.
    id: u64,
    sha: String,
    body: Box<[u8]>,
    flags: ScriptFlags,
    /// Length of the header.
    header_bytes: usize,
    is_confined: bool,
    may_evict: AtomicBool,
    /// Value of the cache's counter of uses when the script last ran.
    used: AtomicU64,
    is_cached: AtomicBool,
}

impl Script {
    /// Returns the SHA1 digest of the body, 40 small hexadecimal digits.
    pub fn sha(&self) -> &str {
        &self.sha
    }

    /// Returns the body with its header.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns what the script declares about itself.
    pub fn flags(&self) -> ScriptFlags {
        self.flags
    }

    /// Returns what `confined` said of the body when the script was added.
    pub fn is_confined(&self) -> bool {
        self.is_confined
    }

    /// Returns whether the script is still in the cache.
    pub fn is_cached(&self) -> bool {
        self.is_cached.load(Ordering::Relaxed)
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Returns the body without its header.
    pub(super) fn code(&self) -> &[u8] {
        &self.body[self.header_bytes..]
    }

    /// Returns the bytes of memory that the cache counts for the script.
    fn cached_bytes(&self) -> usize {
        self.sha.len() + self.body.len()
    }
}

/// The scripts of one bucket by their digest.
type ByDigest = HashMap<[u8; SHA1_DIGITS], Arc<Script>>;

/// The scripts of one bucket by the hash of their body, which is seeded.
type ByBody = HashMap<u64, Arc<Script>, BuildHasherDefault<AHasher>>;

/// The cache of EVAL scripts.
pub struct Scripts {
    by_digest: Box<[ArcSwap<ByDigest>]>,
    by_body: Box<[ArcSwap<ByBody>]>,
    /// Writers change the cache one at a time. Holds the scripts that may be evicted.
    evictable: Mutex<Vec<Arc<Script>>>,
    checker: Checker,
    uses: AtomicU64,
    next_id: AtomicU64,
    count: AtomicUsize,
    bytes: AtomicUsize,
    evicted: AtomicU64,
}

impl std::fmt::Debug for Scripts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripts").field("count", &self.len()).finish_non_exhaustive()
    }
}

/// Returns the small hexadecimal digits of a digest; none if it has another length.
fn digest_of(sha: &[u8]) -> Option<[u8; SHA1_DIGITS]> {
    let mut digest: [u8; SHA1_DIGITS] = sha.try_into().ok()?;
    digest.make_ascii_lowercase();
    Some(digest)
}

impl Default for Scripts {
    fn default() -> Scripts {
        Scripts {
            by_digest: (0..BUCKETS).map(|_| ArcSwap::default()).collect(),
            by_body: (0..BUCKETS).map(|_| ArcSwap::default()).collect(),
            evictable: Mutex::default(),
            checker: Checker::default(),
            uses: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
        }
    }
}

impl Scripts {
    fn digest_bucket(&self, digest: &[u8; SHA1_DIGITS]) -> &ArcSwap<ByDigest> {
        let digit = |at: usize| (digest[at] as char).to_digit(16).unwrap_or(0) as usize;
        &self.by_digest[digit(0) * 16 + digit(1)]
    }

    fn body_bucket(&self, hash: u64) -> &ArcSwap<ByBody> {
        &self.by_body[hash as usize % BUCKETS]
    }

    /// Returns the script with this SHA1 digest, whose digits may have any case.
    pub fn by_sha(&self, sha: &[u8]) -> Option<Arc<Script>> {
        let digest = digest_of(sha)?;
        self.digest_bucket(&digest).load().get(&digest).cloned()
    }

    /// Returns the script with this body.
    pub fn by_body(&self, body: &[u8]) -> Option<Arc<Script>> {
        let hash = hash_of(body);
        let found = self.body_bucket(hash).load().get(&hash).cloned()?;
        // Two bodies may have one hash. The cache has the later one by its hash.
        if *found.body == *body { Some(found) } else { self.by_sha(sha1_digits(body).as_bytes()) }
    }

    /// Adds a script, or returns it if the cache has it. SCRIPT LOAD keeps it from then on. Returns
    /// an error if the header is wrong or the code does not compile. `confined` says whether the
    /// script provably uses only its declared keys; it is asked once.
    pub fn add(
        &self,
        body: &[u8],
        origin: Origin,
        confined: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Arc<Script>, Error> {
        let mut evictable = self.evictable.lock().expect("no writer panics");
        let sha = sha1_digits(body);
        if let Some(script) = self.by_sha(sha.as_bytes()) {
            if origin == Origin::Load && script.may_evict.swap(false, Ordering::Relaxed) {
                evictable.retain(|other| other.id != script.id);
            }
            return Ok(script);
        }
        let (flags, code) = script_header(body)?;
        self.checker.check(code)?;
        if origin == Origin::Eval {
            self.evict(&mut evictable);
        }
        let script = Arc::new(Script {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            sha,
            body: body.into(),
            flags,
            header_bytes: body.len() - code.len(),
            is_confined: confined(body),
            may_evict: AtomicBool::new(origin == Origin::Eval),
            used: AtomicU64::new(self.uses.fetch_add(1, Ordering::Relaxed) + 1),
            is_cached: AtomicBool::new(true),
        });
        self.insert(&script);
        if origin == Origin::Eval {
            evictable.push(Arc::clone(&script));
        }
        Ok(script)
    }

    fn insert(&self, script: &Arc<Script>) {
        let digest = digest_of(script.sha.as_bytes()).expect("a digest has as many digits");
        let mut bucket = HashMap::clone(&self.digest_bucket(&digest).load());
        bucket.insert(digest, Arc::clone(script));
        self.digest_bucket(&digest).store(Arc::new(bucket));
        let hash = hash_of(&script.body);
        let mut bucket = HashMap::clone(&self.body_bucket(hash).load());
        bucket.insert(hash, Arc::clone(script));
        self.body_bucket(hash).store(Arc::new(bucket));
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(script.cached_bytes(), Ordering::Relaxed);
    }

    fn remove(&self, script: &Script) {
        let digest = digest_of(script.sha.as_bytes()).expect("a digest has as many digits");
        let mut bucket = HashMap::clone(&self.digest_bucket(&digest).load());
        bucket.remove(&digest);
        self.digest_bucket(&digest).store(Arc::new(bucket));
        let hash = hash_of(&script.body);
        let mut bucket = HashMap::clone(&self.body_bucket(hash).load());
        if bucket.get(&hash).is_some_and(|other| other.id == script.id) {
            bucket.remove(&hash);
        }
        self.body_bucket(hash).store(Arc::new(bucket));
        script.is_cached.store(false, Ordering::Relaxed);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(script.cached_bytes(), Ordering::Relaxed);
    }

    /// Makes place for one more script of EVAL.
    fn evict(&self, evictable: &mut Vec<Arc<Script>>) {
        while evictable.len() >= EVAL_SCRIPTS_MAX {
            let used = |at: &usize| evictable[*at].used.load(Ordering::Relaxed);
            let oldest = (0..evictable.len()).min_by_key(used).expect("there is one");
            self.remove(&evictable.swap_remove(oldest));
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that a script has run.
    pub fn note_use(&self, script: &Script) {
        let is_latest = script.used.load(Ordering::Relaxed) == self.uses.load(Ordering::Relaxed);
        if !is_latest && script.may_evict.load(Ordering::Relaxed) {
            script.used.store(self.uses.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Removes all scripts.
    pub fn flush(&self) {
        let mut evictable = self.evictable.lock().expect("no writer panics");
        evictable.clear();
        for bucket in &self.by_digest {
            for script in bucket.swap(Arc::default()).values() {
                script.is_cached.store(false, Ordering::Relaxed);
            }
        }
        self.by_body.iter().for_each(|bucket| bucket.store(Arc::default()));
        self.count.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Returns the number of scripts.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns whether there is no script.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of memory of the scripts' texts.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the number of scripts that were evicted since the last reset.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Sets the number of evicted scripts to 0.
    pub fn reset_evicted(&self) {
        self.evicted.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(scripts: &Scripts, body: &str, origin: Origin) -> Arc<Script> {
        scripts.add(body.as_bytes(), origin, &|_| false).unwrap()
    }

    fn has(scripts: &Scripts, body: &str) -> bool {
        let by_sha = scripts.by_sha(sha1_digits(body.as_bytes()).to_uppercase().as_bytes());
        assert_eq!(by_sha.is_some(), scripts.by_body(body.as_bytes()).is_some());
        by_sha.is_some()
    }

    #[test]
    fn scripts_are_found_by_digest_and_body() {
        let scripts = Scripts::default();
        assert!(!has(&scripts, "return 1"));
        let script = add(&scripts, "return 1", Origin::Eval);
        assert_eq!(script.sha(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert!(has(&scripts, "return 1") && !has(&scripts, "return 2"));
        assert!(scripts.by_sha(b"e0e1").is_none());
        assert_eq!((scripts.len(), scripts.bytes()), (1, 48));
        assert!(scripts.add(b"x y", Origin::Load, &|_| false).is_err());
        scripts.flush();
        assert!(!has(&scripts, "return 1") && !script.is_cached() && scripts.is_empty());
    }

    #[test]
    fn eval_scripts_are_evicted_least_recently_used_first() {
        let scripts = Scripts::default();
        let body = |number: usize| format!("return {number}");
        for number in 0..EVAL_SCRIPTS_MAX {
            add(&scripts, &body(number), Origin::Eval);
        }
        scripts.note_use(&scripts.by_body(b"return 0").unwrap());
        add(&scripts, "return 'one more'", Origin::Eval);
        assert!(has(&scripts, "return 0") && !has(&scripts, "return 1"));
        assert_eq!((scripts.len(), scripts.evicted()), (EVAL_SCRIPTS_MAX, 1));
        scripts.reset_evicted();
        assert_eq!(scripts.evicted(), 0);
    }

    #[test]
    fn loaded_scripts_are_not_evicted() {
        let scripts = Scripts::default();
        add(&scripts, "return 'promoted'", Origin::Eval);
        add(&scripts, "return 'promoted'", Origin::Load);
        add(&scripts, "return 'loaded'", Origin::Load);
        for number in 0..=EVAL_SCRIPTS_MAX {
            add(&scripts, &format!("return {number}"), Origin::Eval);
        }
        assert!(has(&scripts, "return 'promoted'") && has(&scripts, "return 'loaded'"));
        assert_eq!((scripts.len(), scripts.evicted()), (EVAL_SCRIPTS_MAX + 2, 1));
    }
}
