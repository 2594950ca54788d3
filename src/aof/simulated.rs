//! A simulated disk: it loses, tears and reorders what was not synced, and fails on demand.
//!
//! ```text
//!   file     durable bytes + writes and cuts since the last sync
//!   name     durable target + targets since the last sync of its folder
//!   power loss: a file keeps any part of the latter, a name any one of its targets
//!   failed sync of a file: its writes stay visible, and no later sync makes them durable
//! ```

use super::storage::{Storage, StoredFile};
use crate::base::rng::Rng;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Unwinds from the operation in which the process ends.
pub(super) struct Ended;

/// The target of a name that is a folder.
const FOLDER: u64 = 0;

/// How often operations fail, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) writes: u64,
    pub(super) syncs: u64,
    pub(super) names: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8>, is_lost: bool },
    Cut(usize),
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Debug, Default)]
struct Name {
    now: Option<u64>,
    durable: Option<u64>,
    /// Targets since the last sync of the folder.
    targets: Vec<Option<u64>>,
}

impl Name {
    fn set(&mut self, target: Option<u64>) {
        self.now = target;
        self.targets.push(target);
    }
}

#[derive(Debug)]
struct Inner {
    rng: Rng,
    files: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, Name>,
    /// Moves since the last power loss: each is done or not, but the file has one name.
    moves: Vec<(PathBuf, PathBuf, u64)>,
    next: u64,
    faults: Faults,
    /// Operations until the process ends.
    left: Option<u64>,
    /// Bytes that may still be written.
    space: Option<usize>,
}

/// The disk, shared by all who use it.
#[derive(Clone, Debug)]
pub(super) struct SimulatedDisk(Arc<Mutex<Inner>>);

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, bytes: written, .. } => {
            let end = at + written.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*at..end].copy_from_slice(written);
        }
        Change::Cut(len) => bytes.truncate(*len),
    }
}

impl SimulatedDisk {
    pub(super) fn new(seed: u64, folder: &Path) -> SimulatedDisk {
        let name = Name { now: Some(FOLDER), durable: Some(FOLDER), ..Name::default() };
        SimulatedDisk(Arc::new(Mutex::new(Inner {
            rng: Rng::new(seed),
            files: BTreeMap::new(),
            names: BTreeMap::from([(folder.to_owned(), name)]),
            moves: Vec::new(),
            next: FOLDER + 1,
            faults: Faults::default(),
            left: None,
            space: None,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A process that ends may hold the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the faults, the operations until the process ends, and the space.
    pub(super) fn set(&self, faults: Faults, left: Option<u64>, space: Option<usize>) {
        let mut inner = self.inner();
        (inner.faults, inner.left, inner.space) = (faults, left, space);
    }

    /// Sets the faults.
    pub(super) fn set_faults(&self, faults: Faults) {
        self.inner().faults = faults;
    }

    /// Loses power: keeps what is durable, and any part of the rest.
    pub(super) fn lose_power(&self) {
        let mut inner = self.inner();
        let Inner { rng, files, names, moves, .. } = &mut *inner;
        for name in names.values_mut() {
            let at = rng.below(name.targets.len() as u64 + 1) as usize;
            name.now = if at == 0 { name.durable } else { name.targets[at - 1] };
        }
        for (from, to, file) in std::mem::take(moves).into_iter().rev() {
            let is_lost = names.values().all(|name| name.now != Some(file));
            let is_twice = names[&to].now == Some(file) && names[&from].now == Some(file);
            let name = names.get_mut(&from).expect("it was moved");
            if is_lost && name.durable == Some(file) {
                name.now = Some(file);
            } else if is_twice {
                name.now = None;
            }
        }
        for name in names.values_mut() {
            *name = Name { now: name.now, durable: name.now, ..Name::default() };
        }
        for content in files.values_mut() {
            let mut bytes = std::mem::take(&mut content.durable);
            let (way, changes) = (rng.below(4), std::mem::take(&mut content.changes));
            let kept = rng.below(changes.len() as u64 + 1) as usize;
            for (at, change) in changes.into_iter().enumerate() {
                match (way, change) {
                    (0, _) => break,
                    (1, Change::Write { at: start, bytes: mut written, .. }) if at == kept => {
                        written.truncate(rng.below(written.len() as u64 + 1) as usize);
                        apply(
                            &mut bytes,
                            &Change::Write { at: start, bytes: written, is_lost: false },
                        );
                        break;
                    }
                    (1, _) if at >= kept => break,
                    (2, _) if rng.below(2) == 0 => {}
                    (_, change) => apply(&mut bytes, &change),
                }
            }
            (content.now, content.durable) = (bytes.clone(), bytes);
        }
    }

    /// Counts an operation. Unwinds if the process ends in it.
    fn begin(&self, percent: impl Fn(&Faults) -> u64) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.inner();
        if let Some(left) = &mut inner.left {
            if *left == 0 {
                drop(inner);
                std::panic::resume_unwind(Box::new(Ended));
            }
            *left -= 1;
        }
        let percent = percent(&inner.faults);
        if inner.rng.below(100) < percent {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(inner)
    }

    fn file_at(&self, path: &Path) -> io::Result<u64> {
        let inner = self.inner();
        let target = inner.names.get(path).and_then(|name| name.now);
        let is_there = path.parent().is_some_and(|parent| {
            inner.names.get(parent).is_none_or(|folder| folder.now == Some(FOLDER))
        });
        target.filter(|_| is_there).ok_or(ErrorKind::NotFound.into())
    }
}

impl Storage for SimulatedDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.begin(|faults| faults.names)?;
        let name = inner.names.entry(path.to_owned()).or_default();
        if name.now.is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        name.set(Some(FOLDER));
        Ok(())
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.file_at(path).is_ok_and(|target| target == FOLDER)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.begin(|faults| faults.syncs)?;
        let inside = |(name, _): &(&PathBuf, &mut Name)| name.parent() == Some(path);
        for (_, name) in inner.names.iter_mut().filter(inside) {
            name.durable = name.now;
            name.targets.clear();
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        self.file_at(path).is_ok()
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.read(path).map(|bytes| bytes.len() as u64)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.file_at(path)?;
        Ok(self.inner().files[&file].now.clone())
    }

    fn append(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let mut inner = self.begin(|faults| faults.names)?;
        let target = inner.names.get(path).and_then(|name| name.now);
        let file = target.unwrap_or(inner.next);
        if target.is_none() {
            inner.next += 1;
            inner.files.insert(file, Content::default());
            inner.names.entry(path.to_owned()).or_default().set(Some(file));
        }
        Ok(Arc::new(SimulatedFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.file_at(from)?;
        let mut inner = self.begin(|faults| faults.names)?;
        inner.names.entry(to.to_owned()).or_default().set(Some(file));
        inner.names.get_mut(from).expect("it exists").set(None);
        inner.moves.push((from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.file_at(path)?;
        let mut inner = self.begin(|faults| faults.names)?;
        inner.names.get_mut(path).expect("it exists").set(None);
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    file: u64,
}

impl SimulatedFile {
    fn change(inner: &mut Inner, file: u64, change: Change) {
        let content = inner.files.get_mut(&file).expect("files stay");
        apply(&mut content.now, &change);
        content.changes.push(change);
    }
}

impl StoredFile for SimulatedFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.disk.begin(|faults| faults.writes)?;
        let is_short = inner.rng.below(100) < inner.faults.writes;
        let mut len = bytes.len();
        if is_short {
            len = inner.rng.below(len as u64) as usize + 1;
        }
        if let Some(space) = &mut inner.space {
            len = len.min(*space);
            *space -= len;
            if len == 0 {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
        }
        let at = inner.files[&self.file].now.len();
        let change = Change::Write { at, bytes: bytes[..len].to_vec(), is_lost: false };
        SimulatedFile::change(&mut inner, self.file, change);
        Ok(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        // A process that ends between a failed sync and the cut leaves lost bytes to the next one,
        // which cannot know. So a cut is no point of failure here.
        let mut inner = self.disk.inner();
        SimulatedFile::change(&mut inner, self.file, Change::Cut(len as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let begun = self.disk.begin(|faults| faults.syncs);
        let has_failed = begun.is_err();
        drop(begun);
        let mut inner = self.disk.inner();
        let content = inner.files.get_mut(&self.file).expect("files stay");
        if has_failed {
            for change in &mut content.changes {
                if let Change::Write { is_lost, .. } = change {
                    *is_lost = true;
                }
            }
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        for change in std::mem::take(&mut content.changes) {
            if !matches!(change, Change::Write { is_lost: true, .. }) {
                apply(&mut content.durable, &change);
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.inner().files[&self.file].now.len() as u64)
    }
}
