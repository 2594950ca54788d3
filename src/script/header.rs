//! The first line of a script or library (`#!lua name=mylib`, `#!lua flags=no-writes`).

use super::api::until_zero;
use crate::config::split_words;
use crate::resp::Error;

/// What a script declares about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptFlags(u8);

impl ScriptFlags {
    /// It does not write.
    pub const NO_WRITES: ScriptFlags = ScriptFlags(1);
    /// It may run while `maxmemory` is exceeded.
    pub const ALLOW_OOM: ScriptFlags = ScriptFlags(1 << 1);
    /// It may run on a replica whose data is stale.
    pub const ALLOW_STALE: ScriptFlags = ScriptFlags(1 << 2);
    /// It must not run in cluster mode.
    pub const NO_CLUSTER: ScriptFlags = ScriptFlags(1 << 3);
    /// It may use keys of several hash slots in cluster mode.
    pub const ALLOW_CROSS_SLOT: ScriptFlags = ScriptFlags(1 << 4);
    /// It has no header. What it may do is known only when it does it.
    pub const COMPAT: ScriptFlags = ScriptFlags(1 << 5);

    /// The flags that a script can declare, with their names.
    pub const NAMES: [(ScriptFlags, &'static str); 5] = [
        (ScriptFlags::NO_WRITES, "no-writes"),
        (ScriptFlags::ALLOW_OOM, "allow-oom"),
        (ScriptFlags::ALLOW_STALE, "allow-stale"),
        (ScriptFlags::NO_CLUSTER, "no-cluster"),
        (ScriptFlags::ALLOW_CROSS_SLOT, "allow-cross-slot-keys"),
    ];

    /// Returns whether all of `flags` are set.
    pub fn has(self, flags: ScriptFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Sets `flags`.
    pub fn add(&mut self, flags: ScriptFlags) {
        self.0 |= flags.0;
    }

    /// Returns the flag with this name in any case.
    pub fn named(name: &[u8]) -> Option<ScriptFlags> {
        let found =
            ScriptFlags::NAMES.iter().find(|(_, own)| own.as_bytes().eq_ignore_ascii_case(name));
        found.map(|(flag, _)| *flag)
    }

    /// Returns the names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        ScriptFlags::NAMES.iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| *name)
    }
}

/// The only engine.
const ENGINE: &[u8] = b"lua";

/// Splits a text into its first line and the code that follows, with its line end. Returns none
/// without a line end.
fn split_header(text: &[u8]) -> Option<(&[u8], &[u8])> {
    Some(text.split_at(memchr::memchr(b'\n', until_zero(text))?))
}

/// Reads the header of an EVAL script. Returns its flags, and the code without the header.
pub fn script_header(body: &[u8]) -> Result<(ScriptFlags, &[u8]), Error> {
    if !body.starts_with(b"#!") {
        return Ok((ScriptFlags::COMPAT, body));
    }
    let Some((line, code)) = split_header(body) else {
        return Err(Error::other("ERR Invalid script shebang"));
    };
    let words = split_words(line).filter(|words| words.first().is_some_and(|w| w.len() >= 2));
    let Some((engine, options)) = words.as_deref().and_then(<[_]>::split_first) else {
        return Err(Error::other("ERR Invalid engine in script shebang"));
    };
    let mut flags = ScriptFlags::default();
    for option in options {
        let Some(names) = option.strip_prefix(b"flags=") else {
            return Err(Error::quoting(&[b"ERR Unknown lua shebang option: ", option]));
        };
        if names.is_empty() {
            continue;
        }
        for name in names.split(|&byte| byte == b',') {
            let exact = ScriptFlags::NAMES.iter().find(|(_, own)| own.as_bytes() == name);
            let Some((flag, _)) = exact else {
                return Err(Error::quoting(&[b"ERR Unexpected flag in script shebang: ", name]));
            };
            flags.add(*flag);
        }
    }
    if !engine[2..].eq_ignore_ascii_case(ENGINE) {
        let what = b"ERR Could not find scripting engine '";
        return Err(Error::quoting(&[what, &engine[2..], b"'"]));
    }
    Ok((flags, code))
}

/// Returns whether a name of a library or function has only letters, digits and underscores.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Reads the header of a library. Returns its name, and the code without the header.
pub fn library_header(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Error> {
    if !text.starts_with(b"#!") {
        return Err(Error::other("ERR Missing library metadata"));
    }
    let Some((line, code)) = split_header(text) else {
        return Err(Error::other("ERR Invalid library metadata"));
    };
    let Some(words) = split_words(line).filter(|words| !words.is_empty()) else {
        return Err(Error::other("ERR Invalid library metadata"));
    };
    let mut name: Option<&[u8]> = None;
    for word in &words[1..] {
        let is_name = word.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"name="));
        if is_name && name.is_some() {
            let text = "ERR Invalid metadata value, name argument was given multiple times";
            return Err(Error::other(text));
        }
        if !is_name {
            return Err(Error::quoting(&[b"ERR Invalid metadata value given: ", word]));
        }
        name = Some(&word[5..]);
    }
    let Some(name) = name else {
        return Err(Error::other("ERR Library name was not given"));
    };
    if !is_name(name) {
        let text = "ERR Library names can only contain letters, numbers, or underscores(_) and \
                    must be at least one character long";
        return Err(Error::other(text));
    }
    let engine = words[0].get(2..).unwrap_or_default();
    if !engine.eq_ignore_ascii_case(ENGINE) {
        return Err(Error::quoting(&[b"ERR Engine '", engine, b"' not found"]));
    }
    Ok((name.to_vec(), until_zero(code)))
}
