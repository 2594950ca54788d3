//! The function libraries of the process: one set, which is replaced as a whole.

use crate::resp::Error;
use crate::script::{Libraries, Loader};
use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// The function libraries of the process.
#[derive(Debug, Default)]
pub struct Functions {
    libraries: ArcSwap<Libraries>,
    /// Loads libraries in a state of its own. Its lock is held while the set is replaced.
    loader: Mutex<Loader>,
}

impl Functions {
    /// Returns the present set.
    #[inline]
    pub fn libraries(&self) -> Guard<Arc<Libraries>> {
        self.libraries.load()
    }

    /// Returns the texts of the libraries.
    pub fn texts(&self) -> Vec<Bytes> {
        self.libraries().iter().map(|library| Bytes::copy_from_slice(library.text())).collect()
    }

    /// Replaces the set by what `change` returns. All shards see the new set from then on.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&Libraries, &Loader) -> Result<(Libraries, T), Error>,
    ) -> Result<T, Error> {
        let loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        let (libraries, result) = change(&self.libraries.load(), &loader)?;
        self.libraries.store(Arc::new(libraries));
        Ok(result)
    }
}
