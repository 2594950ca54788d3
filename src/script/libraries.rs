//! Function libraries: an immutable set. Every change makes a new one.
//!
//! The server publishes a new set when the change takes effect. Each partition compiles a library
//! when it first calls one of its functions.

use super::header::{ScriptFlags, is_name, library_header};
use super::host::Host;
use super::vm::Loader;
use crate::base::glob;
use crate::base::hash::hash_of;
use crate::resp::{Error, Reply};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a library has registered, without the Lua function itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionFacts {
    /// Its name.
    pub name: Vec<u8>,
    /// Its description.
    pub description: Option<Vec<u8>>,
    /// Its flags.
    pub flags: ScriptFlags,
}

/// A function library.
#[derive(Debug)]
pub struct Library {
    /// Distinguishes the library from all others that the process has had.
    id: u64,
    name: Vec<u8>,
    text: Vec<u8>,
    functions: Vec<FunctionFacts>,
    /// Whether the text proves that the functions use only the keys among their arguments.
    is_confined: bool,
    /// The confined library that this one has replaced.
    before: Option<Arc<Library>>,
}

impl Library {
    /// Returns the name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Returns the text with its header.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Returns a copy that does not know the library that it has replaced.
    fn without_before(&self) -> Library {
        let Library { id, is_confined, .. } = *self;
        let (name, text, functions) =
            (self.name.clone(), self.text.clone(), self.functions.clone());
        Library { id, name, text, functions, is_confined, before: None }
    }
}

/// A function of a library.
#[derive(Clone, Debug)]
pub struct Function {
    library: Arc<Library>,
    index: usize,
}

impl Function {
    fn facts(&self) -> &FunctionFacts {
        &self.library.functions[self.index]
    }

    /// Returns the name with which it was registered.
    pub fn name(&self) -> &[u8] {
        &self.facts().name
    }

    /// Returns whether the text of its library proves that it uses only the keys among its
    /// arguments.
    pub fn is_confined(&self) -> bool {
        self.library.is_confined
    }

    /// Returns the confined function with this name in the library that its own one has replaced.
    pub fn before(&self) -> Option<Function> {
        let library = self.library.before.as_ref()?;
        let is_it = |facts: &FunctionFacts| facts.name.eq_ignore_ascii_case(self.name());
        let index = library.functions.iter().position(is_it)?;
        Some(Function { library: Arc::clone(library), index })
    }

    /// Returns its flags.
    pub fn flags(&self) -> ScriptFlags {
        self.facts().flags
    }

    pub(super) fn library(&self) -> &Arc<Library> {
        &self.library
    }
}

/// What FUNCTION RESTORE does with the libraries that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestorePolicy {
    /// It removes them.
    Flush,
    /// It fails if one has the name of a restored one.
    Append,
    /// It replaces the ones that have the name of a restored one.
    Replace,
}

/// Parts of a [`Parts`]. A change copies one of them, and the pointers to all.
const PARTS: usize = 256;

/// A map in parts, so that a changed copy shares most of its memory with the original.
#[derive(Clone, Debug)]
struct Parts<V> {
    parts: Vec<Arc<BTreeMap<Vec<u8>, V>>>,
    len: usize,
}

impl<V> Default for Parts<V> {
    fn default() -> Parts<V> {
        let empty = Arc::new(BTreeMap::new());
        Parts { parts: vec![empty; PARTS], len: 0 }
    }
}

impl<V: Clone> Parts<V> {
    fn part(name: &[u8]) -> usize {
        hash_of(name) as usize % PARTS
    }

    fn get(&self, name: &[u8]) -> Option<&V> {
        self.parts[Self::part(name)].get(name)
    }

    fn insert(&mut self, name: Vec<u8>, value: V) -> Option<V> {
        let part = Arc::make_mut(&mut self.parts[Self::part(&name)]);
        let earlier = part.insert(name, value);
        self.len += usize::from(earlier.is_none());
        earlier
    }

    fn remove(&mut self, name: &[u8]) -> Option<V> {
        self.get(name)?;
        self.len -= 1;
        Arc::make_mut(&mut self.parts[Self::part(name)]).remove(name)
    }

    fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flat_map(|part| part.values())
    }
}

/// A set of libraries.
#[derive(Clone, Debug, Default)]
pub struct Libraries {
    by_name: Parts<Arc<Library>>,
    /// Functions by their names in small letters.
    functions: Parts<Function>,
}

/// The next [`Library::id`].
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Libraries {
    /// Returns the function with this name in any case.
    pub fn find(&self, name: &[u8]) -> Option<&Function> {
        self.functions.get(&name.to_ascii_lowercase())
    }

    /// Returns the library with this name.
    pub fn library(&self, name: &[u8]) -> Option<&Arc<Library>> {
        self.by_name.get(name)
    }

    /// Iterates over the libraries in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Library>> {
        let mut all: Vec<&Arc<Library>> = self.by_name.values().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all.into_iter()
    }

    /// Returns the numbers of libraries and functions.
    pub fn counts(&self) -> (usize, usize) {
        (self.by_name.len, self.functions.len)
    }

    /// Returns the bytes of memory of the libraries' texts and names.
    pub fn bytes(&self) -> usize {
        let facts = |function: &FunctionFacts| {
            function.name.len() + function.description.as_ref().map_or(0, Vec::len)
        };
        let library = |library: &Arc<Library>| {
            let functions: usize = library.functions.iter().map(facts).sum();
            library.name.len() + library.text.len() + functions
        };
        self.iter().map(library).sum()
    }

    /// Returns the set with a further library, and the library's name. `host` decides at each pause
    /// whether the library's code goes on.
    pub fn load(
        &self,
        text: &[u8],
        replaces: bool,
        loader: &Loader,
        host: &mut dyn Host,
    ) -> Result<(Libraries, Vec<u8>), Error> {
        let (name, code) = library_header(text)?;
        if !replaces && self.by_name.get(&name).is_some() {
            return Err(Error::quoting(&[b"ERR Library '", &name, b"' already exists"]));
        }
        let functions = loader.load(code, host)?;
        check_functions(&functions)?;
        let mut libraries = self.clone();
        libraries.remove(&name);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let before = self.by_name.get(&name).filter(|library| library.is_confined);
        let library = Arc::new(Library {
            id,
            name: name.clone(),
            text: text.to_vec(),
            functions,
            is_confined: host.is_confined(text),
            before: before.map(|library| Arc::new(library.without_before())),
        });
        libraries.add(&library)?;
        Ok((libraries, name))
    }

    /// Returns whether most of the memory is also another set's.
    #[cfg(test)]
    pub(super) fn shares_most_with(&self, other: &Libraries) -> bool {
        let pairs = self.functions.parts.iter().zip(&other.functions.parts);
        pairs.filter(|(own, other)| Arc::ptr_eq(own, other)).count() > PARTS / 2
    }

    fn remove(&mut self, name: &[u8]) -> bool {
        let Some(library) = self.by_name.remove(name) else { return false };
        for facts in &library.functions {
            self.functions.remove(&facts.name.to_ascii_lowercase());
        }
        true
    }

    /// Adds a library with a name that no other has.
    fn add(&mut self, library: &Arc<Library>) -> Result<(), Error> {
        for (index, facts) in library.functions.iter().enumerate() {
            let function = Function { library: Arc::clone(library), index };
            let earlier = self.functions.insert(facts.name.to_ascii_lowercase(), function);
            // Names that differ in their case alone are one name outside of the library.
            if earlier.is_some_and(|earlier| earlier.library.id != library.id) {
                return Err(Error::quoting(&[b"ERR Function ", &facts.name, b" already exists"]));
            }
        }
        self.by_name.insert(library.name.clone(), Arc::clone(library));
        Ok(())
    }

    /// Returns the set without a library.
    pub fn delete(&self, name: &[u8]) -> Result<Libraries, Error> {
        let mut libraries = self.clone();
        match libraries.remove(name) {
            true => Ok(libraries),
            false => Err(Error::other("ERR Library not found")),
        }
    }

    /// Returns the set with the libraries of FUNCTION RESTORE, which are given by their texts.
    /// `host` is as in [`Libraries::load`].
    pub fn restore<T: AsRef<[u8]>>(
        &self,
        texts: impl IntoIterator<Item = T>,
        policy: RestorePolicy,
        loader: &Loader,
        host: &mut dyn Host,
    ) -> Result<Libraries, Error> {
        let mut restored = Libraries::default();
        for text in texts {
            (restored, _) = restored.load(text.as_ref(), false, loader, host)?;
        }
        self.join(restored, policy)
    }

    /// Returns this set with those of another one.
    fn join(&self, others: Libraries, policy: RestorePolicy) -> Result<Libraries, Error> {
        if policy == RestorePolicy::Flush {
            return Ok(others);
        }
        let mut libraries = self.clone();
        for library in others.iter() {
            let name = &library.name;
            if libraries.remove(name) && policy == RestorePolicy::Append {
                return Err(Error::quoting(&[b"ERR Library ", name, b" already exists"]));
            }
        }
        for library in others.iter() {
            libraries.add(library)?;
        }
        Ok(libraries)
    }

    /// Writes the reply of FUNCTION LIST: the libraries whose names match, with their texts if
    /// `with_text`.
    pub fn list(&self, pattern: Option<&[u8]>, with_text: bool, reply: &mut Reply<'_>) {
        let is_shown = |library: &&Arc<Library>| {
            pattern.is_none_or(|pattern| glob::matches(pattern, &library.name, true))
        };
        reply.array(self.iter().filter(is_shown).count());
        for library in self.iter().filter(is_shown) {
            reply.map(if with_text { 4 } else { 3 });
            reply.bulk(b"library_name");
            reply.bulk(&library.name);
            reply.bulk(b"engine");
            reply.bulk(b"LUA");
            reply.bulk(b"functions");
            reply.array(library.functions.len());
            library.functions.iter().for_each(|function| list_function(function, reply));
            if with_text {
                reply.bulk(b"library_code");
                reply.bulk(&library.text);
            }
        }
    }
}

fn list_function(function: &FunctionFacts, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk(b"name");
    reply.bulk(&function.name);
    reply.bulk(b"description");
    match &function.description {
        Some(description) => reply.bulk(description),
        None => reply.null(),
    }
    reply.bulk(b"flags");
    reply.set(function.flags.names().count());
    function.flags.names().for_each(|flag| reply.simple(flag));
}

/// Returns an error if a library's functions have wrong names.
fn check_functions(functions: &[FunctionFacts]) -> Result<(), Error> {
    for (at, function) in functions.iter().enumerate() {
        if !is_name(&function.name) {
            let text = "ERR Function names can only contain letters, numbers, or underscores(_) \
                        and must be at least one character long";
            return Err(Error::other(text));
        }
        if functions[..at].iter().any(|earlier| earlier.name == function.name) {
            return Err(Error::other("ERR Function already exists in the library"));
        }
    }
    if functions.is_empty() {
        return Err(Error::other("ERR No functions registered"));
    }
    Ok(())
}
