//! The settings that take one word of a few, as types.

use super::card::{Field, Value, field_type};

/// An enum whose variants are the words of a [`super::Kind::Choice`], in that order.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// The words, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
            const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word of this variant.
            pub fn word(self) -> &'static str {
                Self::WORDS[self as usize]
            }
        }

        impl Default for $name {
            fn default() -> $name {
                Self::ALL[0]
            }
        }

        field_type!($name, Choice, |choice: &$name| *choice as usize, |at: usize| $name::ALL[at]);
    };
}

choice! {
    /// Which driver moves the bytes.
    IoDriver {
        /// io_uring where the kernel allows it, epoll elsewhere.
        Auto = "auto",
        /// io_uring, or no start.
        Uring = "uring",
        /// epoll.
        Epoll = "epoll",
    }
}

choice! {
    /// The least level that is logged.
    LogLevel {
        /// For development.
        Debug = "debug",
        /// Rarely useful.
        Verbose = "verbose",
        /// What one wants in production.
        Notice = "notice",
        /// What needs attention.
        Warning = "warning",
        /// Log nothing.
        Nothing = "nothing",
    }
}

choice! {
    /// What goes when memory runs out.
    MaxmemoryPolicy {
        /// Keys with a time to live, least recently used.
        VolatileLru = "volatile-lru",
        /// Keys with a time to live, least frequently used.
        VolatileLfu = "volatile-lfu",
        /// Keys with a time to live, any.
        VolatileRandom = "volatile-random",
        /// Keys with a time to live, the shortest first.
        VolatileTtl = "volatile-ttl",
        /// Least recently used.
        AllkeysLru = "allkeys-lru",
        /// Least frequently used.
        AllkeysLfu = "allkeys-lfu",
        /// Any.
        AllkeysRandom = "allkeys-random",
        /// Nothing: writes are refused.
        NoEviction = "noeviction",
    }
}

impl MaxmemoryPolicy {
    /// Whether it asks how often keys are used, and not when they were last.
    pub fn counts_uses(self) -> bool {
        matches!(self, MaxmemoryPolicy::VolatileLfu | MaxmemoryPolicy::AllkeysLfu)
    }
}

choice! {
    /// Who may use a guarded command.
    Permission {
        /// Nobody.
        No = "no",
        /// Everybody.
        Yes = "yes",
        /// Connections from this machine.
        Local = "local",
    }
}

impl Permission {
    /// Whether a connection, from this machine or not, is let through.
    pub fn allows(self, local: bool) -> bool {
        match self {
            Permission::No => false,
            Permission::Yes => true,
            Permission::Local => local,
        }
    }
}

choice! {
    /// Which versions of files and payloads are read.
    RdbVersionCheck {
        /// Those that are known.
        Strict = "strict",
        /// All, as far as they can be understood.
        Relaxed = "relaxed",
    }
}

choice! {
    /// Which init system watches the process.
    Supervised {
        /// Upstart.
        Upstart = "upstart",
        /// systemd.
        Systemd = "systemd",
        /// Whichever the environment tells of.
        Auto = "auto",
        /// None.
        No = "no",
    }
}

choice! {
    /// How lines of the log are laid out.
    LogFormat {
        /// As Redis has always done.
        Legacy = "legacy",
        /// `key=value` pairs.
        Logfmt = "logfmt",
        /// One JSON object each.
        Json = "json",
    }
}

choice! {
    /// How the log tells the time.
    LogTimestampFormat {
        /// Day, month and year in words.
        Legacy = "legacy",
        /// ISO 8601, with the time zone.
        Iso8601 = "iso8601",
        /// Unix milliseconds.
        Milliseconds = "milliseconds",
    }
}

choice! {
    /// Under which name syslog files the lines.
    SyslogFacility {
        /// Of a user.
        User = "user",
        /// For local use.
        Local0 = "local0",
        /// For local use.
        Local1 = "local1",
        /// For local use.
        Local2 = "local2",
        /// For local use.
        Local3 = "local3",
        /// For local use.
        Local4 = "local4",
        /// For local use.
        Local5 = "local5",
        /// For local use.
        Local6 = "local6",
        /// For local use.
        Local7 = "local7",
    }
}

choice! {
    /// Whether the kernel is told how soon to end this process when memory runs out.
    OomScoreAdj {
        /// It is not.
        No = "no",
        /// Relative to the score at the start.
        Yes = "yes",
        /// The same; kept as [`OomScoreAdj::Yes`].
        Relative = "relative",
        /// Whatever it was at the start.
        Absolute = "absolute",
    }
}
