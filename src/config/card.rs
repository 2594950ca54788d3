//! A setting's card: its name, its kind, its default, and where [`Config`] keeps its value.
//!
//! CONFIG GET, CONFIG SET, the config file and the command line derive from the card. The error
//! texts are Valkey 9.1's.

use super::number::parse_octal;
use super::{Config, EventClasses, OutputLimits, SavePoint};
use crate::base::number::{parse_i64, parse_memory};
use crate::base::system::error_text;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The value of one setting, independent of its text and of its typed field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `yes` or `no`.
    Bool(bool),
    /// A number. A negative number of a [`Kind::MemoryOrPercent`] is a percentage.
    Int(i128),
    /// An index into the names of its [`Kind::Choice`].
    Choice(usize),
    /// Text; empty if not set.
    Text(Vec<u8>),
    /// Several arguments.
    Words(Vec<Vec<u8>>),
    /// The points of `save`.
    Save(Vec<SavePoint>),
    /// The three classes of `client-output-buffer-limit`.
    OutputLimits(OutputLimits),
}

/// The values that a setting takes; bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A decimal number.
    Int(i128, i128),
    /// An octal number.
    Octal(i128, i128),
    /// Bytes, with or without a unit (`k kb m mb g gb`).
    Memory(i128, i128),
    /// Bytes, or a small negative number with a special meaning.
    SignedMemory(i128, i128),
    /// Bytes up to the bound, or a percentage from 0 to 100 with `%`.
    MemoryOrPercent(i128),
    /// One of these names, in any case.
    Choice(&'static [&'static str]),
    /// Any text that the function accepts; the value is what the function returns.
    Text(fn(&[u8]) -> Result<Vec<u8>, &'static str>),
    /// An existing directory, kept as its absolute path. A relative path starts at the present
    /// value.
    Directory,
    /// Several arguments, parsed by the function; it gets the present value too.
    Words(fn(&[&[u8]], &Value) -> Result<Value, String>),
}

/// Accepts any text.
pub(super) fn any_text(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    Ok(text.to_vec())
}

/// Where a setting's value is kept.
#[derive(Clone, Copy, Debug)]
pub enum Store {
    /// In a field of [`Config`].
    Field {
        /// Reads the field.
        get: fn(&Config) -> Value,
        /// Writes the field.
        set: fn(&mut Config, Value),
    },
    /// Kept and shown, but without effect.
    Accepted {
        /// Why ignoring the setting does no harm.
        because: &'static str,
    },
}

/// What a change at run time takes beyond publishing the new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnChange {
    /// Nothing: the value is read whenever it is used.
    ReadAtUse,
    /// Each shard derives state from the value, and brings that up to date before CONFIG SET
    /// replies.
    ShardsSettle,
    /// The process applies the value at once. If that fails, the change is taken back.
    Apply(Applied),
    /// Other sockets are listened on. If that fails, the change is taken back, and this is the
    /// error.
    Listen(&'static str),
    /// A restart: the value is fixed, and CONFIG SET refuses it.
    Restart,
}

/// What a value is applied to, once for the whole process. Settings with the same one are applied
/// together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The number of descriptors that the process may have.
    Descriptors,
    /// The log's level and form.
    Log,
    /// How soon the kernel ends the process when memory runs out.
    OomScore,
    /// The title of the process.
    Title,
    /// The working directory.
    Directory,
    /// Reports of crashes.
    CrashLog,
    /// The watchdog.
    Watchdog,
    /// The password of the default user.
    Password,
    /// Certificates, keys and ciphers of TLS.
    Tls,
}

/// The static description of one setting.
#[derive(Debug)]
pub struct Setting {
    /// The name in lower case, as in the config file.
    pub name: &'static str,
    /// A second name, or empty.
    pub alias: &'static str,
    /// The values that it takes.
    pub kind: Kind,
    /// The default, as a config file would give it.
    pub default: &'static str,
    /// Where the value is kept.
    pub store: Store,
    /// What a change at run time takes.
    pub on_change: OnChange,
    /// CONFIG SET may set it to the value that it has, although it is fixed: clients that set all
    /// that CONFIG GET shows know nothing of this server's own settings.
    pub may_repeat: bool,
    /// Whether CONFIG SET may change it only as `enable-protected-configs` allows.
    pub protected: bool,
    /// Whether CONFIG SET applies the value that the setting already has: it names a file, which
    /// may have changed.
    pub is_volatile: bool,
    /// Whether its value must not appear in any log.
    pub sensitive: bool,
    /// Whether CONFIG GET shows it only by its full name.
    pub hidden: bool,
    /// Whether it cannot change while a data set is being loaded.
    pub not_while_loading: bool,
    /// The error for any value but the default; empty: other values are allowed.
    pub refusal: &'static str,
    /// Why a value that has a field has no effect; empty: it has an effect.
    pub idle: &'static str,
}

impl Setting {
    /// A setting that can change at run time, and is read whenever it is used.
    pub const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        store: Store,
    ) -> Setting {
        Setting {
            name,
            alias: "",
            kind,
            default,
            store,
            on_change: OnChange::ReadAtUse,
            may_repeat: false,
            protected: false,
            is_volatile: false,
            sensitive: false,
            hidden: false,
            not_while_loading: false,
            refusal: "",
            idle: "",
        }
    }

    /// Adds a second name.
    pub const fn alias(self, alias: &'static str) -> Setting {
        Setting { alias, ..self }
    }

    /// States what a change at run time takes.
    pub const fn on_change(self, on_change: OnChange) -> Setting {
        Setting { on_change, ..self }
    }

    /// Each shard derives state from it.
    pub const fn shards_settle(self) -> Setting {
        self.on_change(OnChange::ShardsSettle)
    }

    /// Makes CONFIG SET apply the value that it already has.
    pub const fn volatile(self) -> Setting {
        Setting { is_volatile: true, ..self }
    }

    /// The process applies it at once.
    pub const fn apply(self, applied: Applied) -> Setting {
        self.on_change(OnChange::Apply(applied))
    }

    /// Fixes it at the start.
    pub const fn immutable(self) -> Setting {
        self.on_change(OnChange::Restart)
    }

    /// Fixes it at the start, but CONFIG SET may set it to the value that it has.
    pub const fn own(self) -> Setting {
        Setting { may_repeat: true, ..self.immutable() }
    }

    /// Guards it by `enable-protected-configs`.
    pub const fn protected(self) -> Setting {
        Setting { protected: true, ..self }
    }

    /// Keeps its value out of all logs.
    pub const fn sensitive(self) -> Setting {
        Setting { sensitive: true, ..self }
    }

    /// Hides it from patterns of CONFIG GET.
    pub const fn hidden(self) -> Setting {
        Setting { hidden: true, ..self }
    }

    /// Fixes it while a data set is being loaded.
    pub const fn not_while_loading(self) -> Setting {
        Setting { not_while_loading: true, ..self }
    }

    /// Refuses all values but the default, with this error.
    pub const fn refusing(self, refusal: &'static str) -> Setting {
        Setting { refusal, ..self }
    }

    /// Says why nothing acts on its field.
    pub const fn idle(self, because: &'static str) -> Setting {
        Setting { idle: because, ..self }
    }

    /// Returns whether CONFIG SET refuses to change it.
    pub fn is_immutable(&self) -> bool {
        self.on_change == OnChange::Restart
    }

    /// Returns why nothing acts on the value; none if something does.
    pub fn without_effect(&self) -> Option<&'static str> {
        match self.store {
            Store::Accepted { because } => Some(because),
            Store::Field { .. } => (!self.idle.is_empty()).then_some(self.idle),
        }
    }

    /// Returns whether a config file may give several words.
    pub fn takes_words(&self) -> bool {
        matches!(self.kind, Kind::Words(_))
    }

    /// Returns the value in `config`.
    pub fn value(&self, config: &Config) -> Value {
        match self.store {
            Store::Field { get, .. } => get(config),
            Store::Accepted { .. } => config.accepted[self.name].clone(),
        }
    }

    /// Stores a value in `config`.
    pub fn assign(&self, config: &mut Config, value: Value) {
        match self.store {
            Store::Field { set, .. } => set(config, value),
            Store::Accepted { .. } => {
                config.accepted.insert(self.name, value);
            }
        }
    }

    /// Returns the text that CONFIG GET shows.
    pub fn text(&self, config: &Config) -> Vec<u8> {
        render(self.kind, &self.value(config))
    }

    /// Parses words into `config`. Returns what is wrong with them, in CONFIG SET's words.
    pub fn set(&self, config: &mut Config, words: &[&[u8]]) -> Result<(), String> {
        let value = parse(self.kind, words, &self.value(config))?;
        if !self.refusal.is_empty() && value != self.default_value() {
            return Err(self.refusal.to_owned());
        }
        self.assign(config, value);
        Ok(())
    }

    /// Returns the default as a value.
    pub(super) fn default_value(&self) -> Value {
        let args = words_of_text(self.kind, self.default.as_bytes());
        let empty = match self.kind {
            Kind::Directory => Value::Text(Vec::new()),
            // Of the other kinds only output limits look at the present value.
            _ => Value::OutputLimits(OutputLimits::default()),
        };
        parse(self.kind, &args, &empty).unwrap_or_else(|error| {
            panic!("the default of {} is not valid: {error}", self.name);
        })
    }
}

/// Returns the arguments in the text of CONFIG SET: split at each space for settings that take
/// several.
pub(super) fn words_of_text(kind: Kind, text: &[u8]) -> Vec<&[u8]> {
    match kind {
        Kind::Words(_) if text.is_empty() => Vec::new(),
        Kind::Words(_) => text.split(|&byte| byte == b' ').collect(),
        _ => vec![text],
    }
}

/// Returns a value's text in CONFIG GET.
pub(super) fn render(kind: Kind, value: &Value) -> Vec<u8> {
    match (value, kind) {
        (Value::Bool(yes), _) => {
            if *yes {
                b"yes".to_vec()
            } else {
                b"no".to_vec()
            }
        }
        (Value::Int(n), Kind::Octal(..)) => format!("{n:o}").into_bytes(),
        (Value::Int(n), Kind::MemoryOrPercent(_)) if *n < 0 => format!("{}%", -n).into_bytes(),
        (Value::Int(n), _) => n.to_string().into_bytes(),
        (Value::Choice(index), Kind::Choice(names)) => names[*index].as_bytes().to_vec(),
        (Value::Choice(_), _) => unreachable!("only a choice has choices"),
        (Value::Text(text), _) => text.clone(),
        (Value::Words(args), _) => args.join(&b' '),
        (Value::Save(points), _) => {
            let texts: Vec<String> =
                points.iter().map(|p| format!("{} {}", p.seconds, p.changes)).collect();
            texts.join(" ").into_bytes()
        }
        (Value::OutputLimits(limits), _) => limits.text().into_bytes(),
    }
}

/// Parses arguments as `kind` says; `now` is the present value.
fn parse(kind: Kind, args: &[&[u8]], now: &Value) -> Result<Value, String> {
    if let Kind::Words(read) = kind {
        return read(args, now);
    }
    let [word] = args else { return Err("wrong number of arguments".to_owned()) };
    let not_memory = || "argument must be a memory value".to_owned();
    match kind {
        Kind::Bool if word.eq_ignore_ascii_case(b"yes") => Ok(Value::Bool(true)),
        Kind::Bool if word.eq_ignore_ascii_case(b"no") => Ok(Value::Bool(false)),
        Kind::Bool => Err("argument must be 'yes' or 'no'".to_owned()),
        Kind::Int(min, max) => {
            let n = parse_i64(word).map(i128::from);
            bounded(n.ok_or("argument couldn't be parsed into an integer")?, min, max)
        }
        Kind::Octal(min, max) => {
            let n = parse_octal(word).ok_or("argument couldn't be parsed as an octal number")?;
            if n < min || n > max {
                return Err(format!("argument must be between {min:o} and {max:o} inclusive"));
            }
            Ok(Value::Int(n))
        }
        Kind::Memory(min, max) => {
            bounded(parse_memory(word).ok_or_else(not_memory)?.into(), min, max)
        }
        Kind::SignedMemory(min, max) => {
            let n = parse_memory(word).map(i128::from);
            let n = n.or_else(|| parse_i64(word).map(i128::from));
            bounded(n.ok_or_else(not_memory)?, min, max)
        }
        Kind::MemoryOrPercent(max) => parse_memory_or_percent(word, max),
        Kind::Choice(choices) => {
            let is_it = |choice: &&str| word.eq_ignore_ascii_case(choice.as_bytes());
            choices.iter().position(is_it).map(Value::Choice).ok_or_else(|| {
                format!("argument(s) must be one of the following: {}", choices.join(", "))
            })
        }
        Kind::Text(check) => check(word).map(Value::Text).map_err(str::to_owned),
        Kind::Directory => directory(word, now),
        Kind::Words(_) => unreachable!("handled above"),
    }
}

fn directory(word: &[u8], now: &Value) -> Result<Value, String> {
    let Value::Text(now) = now else { panic!("a directory is text") };
    if word.is_empty() {
        return Err("dir can't be empty".to_owned());
    }
    let path = Path::new(OsStr::from_bytes(now)).join(OsStr::from_bytes(word));
    let path = path.canonicalize().map_err(|error| error_text(&error))?;
    // A folder that cannot be entered is refused, as far as that shows without entering it.
    if !path.is_dir() {
        return Err("Not a directory".to_owned());
    }
    Ok(Value::Text(path.into_os_string().into_vec()))
}

fn parse_memory_or_percent(word: &[u8], max: i128) -> Result<Value, String> {
    if let Some(bytes) = parse_memory(word) {
        return bounded(bytes.into(), 0, max);
    }
    let digits = word.strip_suffix(b"%").filter(|digits| !digits.is_empty());
    match digits.and_then(parse_i64) {
        Some(percent) if percent > 100 => {
            Err("percentage argument must be less or equal to 100".to_owned())
        }
        Some(percent) if percent >= 0 => Ok(Value::Int(-i128::from(percent))),
        _ => Err("argument must be a memory or percent value".to_owned()),
    }
}

fn bounded(n: i128, min: i128, max: i128) -> Result<Value, String> {
    if n < min || n > max {
        return Err(format!("argument must be between {min} and {max} inclusive"));
    }
    Ok(Value::Int(n))
}

/// A field of [`Config`] that can hold the value of a setting.
pub(super) trait Field {
    /// Returns the field as a value.
    fn value(&self) -> Value;
    /// Stores a value of the variant that [`Field::value`] returns.
    fn assign(&mut self, value: Value);
}

/// Creates the accessors of a field, for a card.
macro_rules! field {
    ($name:ident) => {
        $crate::config::card::Store::Field {
            get: |config| $crate::config::card::Field::value(&config.$name),
            set: |config, value| $crate::config::card::Field::assign(&mut config.$name, value),
        }
    };
}
pub(super) use field;

macro_rules! field_type {
    ($type:ty, $variant:ident, $from:expr, $into:expr) => {
        impl Field for $type {
            fn value(&self) -> Value {
                Value::$variant($from(self))
            }

            fn assign(&mut self, value: Value) {
                let Value::$variant(inner) = value else {
                    panic!("{value:?} does not fit {}", stringify!($type));
                };
                *self = $into(inner);
            }
        }
    };
}
pub(super) use field_type;

/// Converts a number that the card's bounds keep within the field's type.
fn fit<T: TryFrom<i128>>(n: i128) -> T {
    T::try_from(n).ok().expect("a card's bounds lie inside its field's type")
}

fn path_bytes(path: &Option<PathBuf>) -> Vec<u8> {
    path.as_ref().map_or(Vec::new(), |p| p.as_os_str().as_bytes().to_vec())
}

fn bytes_path(bytes: Vec<u8>) -> Option<PathBuf> {
    (!bytes.is_empty()).then(|| PathBuf::from(OsString::from_vec(bytes)))
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

field_type!(bool, Bool, |b: &bool| *b, |b| b);
field_type!(u16, Int, |n: &u16| (*n).into(), fit);
field_type!(u32, Int, |n: &u32| (*n).into(), fit);
field_type!(usize, Int, |n: &usize| *n as i128, fit);
field_type!(u64, Int, |n: &u64| (*n).into(), fit);
field_type!(i32, Int, |n: &i32| (*n).into(), fit);
field_type!(i64, Int, |n: &i64| (*n).into(), fit);
field_type!(Vec<u8>, Text, Vec::clone, |text| text);
field_type!(EventClasses, Text, |set: &EventClasses| set.text(), |text: Vec<u8>| {
    EventClasses::named(&text)
});
field_type!(String, Text, |s: &String| s.clone().into_bytes(), lossy);
field_type!(Option<PathBuf>, Text, path_bytes, bytes_path);
field_type!(PathBuf, Text, |p: &PathBuf| p.as_os_str().as_bytes().to_vec(), |b| PathBuf::from(
    OsString::from_vec(b)
));
field_type!(Vec<SavePoint>, Save, Vec::clone, |points| points);
field_type!(OutputLimits, OutputLimits, Clone::clone, |limits| limits);

impl Field for Vec<String> {
    fn value(&self) -> Value {
        Value::Words(self.iter().map(|word| word.clone().into_bytes()).collect())
    }

    fn assign(&mut self, value: Value) {
        let Value::Words(args) = value else { panic!("{value:?} are not arguments") };
        *self = args.into_iter().map(lossy).collect();
    }
}
