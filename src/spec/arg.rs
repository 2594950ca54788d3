//! The arguments of a command as COMMAND DOCS describes them: a grammar for people and for the
//! hints of valkey-cli. The server itself does not parse by it.

/// Kind of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// Any text.
    String,
    /// An integer.
    Integer,
    /// A floating-point number.
    Double,
    /// The name of a key.
    Key,
    /// A glob-style pattern.
    Pattern,
    /// A Unix time.
    UnixTime,
    /// A keyword without a value.
    Keyword,
    /// One of several keywords.
    Choice(&'static [&'static str]),
    /// One of several arguments.
    OneOf(&'static [Arg]),
    /// Several arguments, one after the other.
    Block(&'static [Arg]),
}

impl ArgKind {
    /// Returns the name in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        match self {
            ArgKind::String => "string",
            ArgKind::Integer => "integer",
            ArgKind::Double => "double",
            ArgKind::Key => "key",
            ArgKind::Pattern => "pattern",
            ArgKind::UnixTime => "unix-time",
            ArgKind::Keyword => "pure-token",
            ArgKind::Choice(_) | ArgKind::OneOf(_) => "oneof",
            ArgKind::Block(_) => "block",
        }
    }

    /// Returns whether the argument is a group of other arguments.
    pub fn is_group(self) -> bool {
        matches!(self, ArgKind::Choice(_) | ArgKind::OneOf(_) | ArgKind::Block(_))
    }
}

/// One argument of a command, or a group of arguments. Empty texts are absent.
///
/// For example, `[EX seconds | KEEPTTL]` is
/// `Arg::one_of("expiry", &[Arg::integer("seconds").after("EX"), Arg::keyword("KEEPTTL")])`,
/// followed by `.optional()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The name; empty for a keyword whose name is the keyword in lower case.
    pub name: &'static str,
    /// Kind of its value.
    pub kind: ArgKind,
    /// The name in the syntax that people read, if it is another one.
    pub shown: &'static str,
    /// Index of the key spec that finds it, for a key.
    pub key_spec: Option<u8>,
    /// The keyword before its value.
    pub keyword: &'static str,
    /// One sentence about the argument.
    pub summary: &'static str,
    /// The version that introduced it, if the command is older.
    pub since: &'static str,
    /// The version that deprecated it.
    pub deprecated: &'static str,
    /// Whether it may be left out.
    pub is_optional: bool,
    /// Whether it may be given several times.
    pub is_repeated: bool,
    /// Whether its keyword is repeated too.
    pub repeats_keyword: bool,
}

/// Constructors, by kind.
impl Arg {
    const fn new(name: &'static str, kind: ArgKind) -> Arg {
        Arg {
            name,
            kind,
            shown: "",
            key_spec: None,
            keyword: "",
            summary: "",
            since: "",
            deprecated: "",
            is_optional: false,
            is_repeated: false,
            repeats_keyword: false,
        }
    }

    /// Creates an argument that may be any text.
    pub const fn string(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::String)
    }

    /// Creates an integer argument.
    pub const fn integer(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::Integer)
    }

    /// Creates a floating-point argument.
    pub const fn double(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::Double)
    }

    /// Creates a key that the command's first key spec finds.
    pub const fn key(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::Key).key_spec(0)
    }

    /// Creates a glob-style pattern.
    pub const fn pattern(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::Pattern)
    }

    /// Creates a Unix time.
    pub const fn unix_time(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::UnixTime)
    }

    /// Creates an argument that is this keyword, given in upper case. Its name is the keyword in
    /// lower case.
    pub const fn keyword(keyword: &'static str) -> Arg {
        Arg::new("", ArgKind::Keyword).after(keyword)
    }

    /// Creates a choice between keywords, given in upper case.
    pub const fn choice(name: &'static str, keywords: &'static [&'static str]) -> Arg {
        Arg::new(name, ArgKind::Choice(keywords))
    }

    /// Creates a group; the client gives one of its arguments.
    pub const fn one_of(name: &'static str, parts: &'static [Arg]) -> Arg {
        Arg::new(name, ArgKind::OneOf(parts))
    }

    /// Creates a group whose arguments are given one after the other.
    pub const fn block(name: &'static str, parts: &'static [Arg]) -> Arg {
        Arg::new(name, ArgKind::Block(parts))
    }
}

/// Methods that set an attribute.
impl Arg {
    /// Puts a keyword before the value.
    pub const fn after(self, keyword: &'static str) -> Arg {
        Arg { keyword, ..self }
    }

    /// Sets the name of a keyword, if it is not the keyword in lower case.
    pub const fn named(self, name: &'static str) -> Arg {
        assert!(matches!(self.kind, ArgKind::Keyword), "other arguments have names");
        Arg { name, ..self }
    }

    /// Sets the name in the syntax that people read.
    pub const fn shown_as(self, shown: &'static str) -> Arg {
        Arg { shown, ..self }
    }

    /// Sets the index of the key spec that finds it.
    pub const fn key_spec(self, index: u8) -> Arg {
        Arg { key_spec: Some(index), ..self }
    }

    /// Sets one sentence about the argument.
    pub const fn summary(self, summary: &'static str) -> Arg {
        Arg { summary, ..self }
    }

    /// Sets the version that introduced it.
    pub const fn since(self, since: &'static str) -> Arg {
        Arg { since, ..self }
    }

    /// Sets the version that deprecated it.
    pub const fn deprecated(self, deprecated: &'static str) -> Arg {
        Arg { deprecated, ..self }
    }

    /// Declares that it may be left out.
    pub const fn optional(self) -> Arg {
        Arg { is_optional: true, ..self }
    }

    /// Declares that it may be given several times, behind one keyword if it has one.
    pub const fn repeated(self) -> Arg {
        Arg { is_repeated: true, ..self }
    }

    /// Declares that it may be given several times, each time with its keyword.
    pub const fn repeated_with_keyword(self) -> Arg {
        assert!(!self.keyword.is_empty(), "there is a keyword to repeat");
        Arg { is_repeated: true, repeats_keyword: true, ..self }
    }
}

/// Names that COMMAND DOCS derives.
impl Arg {
    /// Returns the name of the argument.
    pub fn full_name(&self) -> String {
        match self.name {
            "" => self.keyword.to_ascii_lowercase(),
            name => name.to_string(),
        }
    }

    /// Returns the names of the flags that are set.
    pub fn flag_names(&self) -> impl Iterator<Item = &'static str> {
        [
            (self.is_optional, "optional"),
            (self.is_repeated, "multiple"),
            (self.repeats_keyword, "multiple_token"),
        ]
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
    }
}
