//! The settings that take one of a few names, as enums.

use super::card::{Field, Value, field_type};

/// Declares an enum whose variants are the names of a [`super::Kind::Choice`], in that order.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// The names, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
            const ALL: &'static [$name] = &[$($name::$variant),+];

            /// Returns the name of this variant.
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
    /// The driver of sockets.
    IoDriver {
        /// io_uring where the kernel allows it, epoll elsewhere.
        Auto = "auto",
        /// io_uring; without it the server does not start.
        Uring = "uring",
        /// epoll.
        Epoll = "epoll",
    }
}

choice! {
    /// What clients of a cluster are told as the endpoint of a node.
    EndpointType {
        /// Its address.
        Ip = "ip",
        /// Its host name.
        Hostname = "hostname",
        /// Nothing: they use the address by which they have reached the node that they ask.
        Unknown = "unknown-endpoint",
    }
}

choice! {
    /// What happens if the file of nodes cannot be written.
    SaveBehavior {
        /// The change is refused.
        Sync = "sync",
        /// The change is in effect, and a line is logged.
        BestEffort = "best-effort",
    }
}

choice! {
    /// Which channels new users may use.
    AclPubsubDefault {
        /// All.
        AllChannels = "allchannels",
        /// None.
        ResetChannels = "resetchannels",
    }
}

choice! {
    /// The lowest level that is logged.
    LogLevel {
        /// For debugging.
        Debug = "debug",
        /// Rarely useful.
        Verbose = "verbose",
        /// For production.
        Notice = "notice",
        /// Needs attention.
        Warning = "warning",
        /// Log nothing.
        Nothing = "nothing",
    }
}

choice! {
    /// Which keys are evicted when memory runs out.
    MaxmemoryPolicy {
        /// Least recently used keys with a time to live.
        VolatileLru = "volatile-lru",
        /// Least frequently used keys with a time to live.
        VolatileLfu = "volatile-lfu",
        /// Random keys with a time to live.
        VolatileRandom = "volatile-random",
        /// Keys with the shortest time to live.
        VolatileTtl = "volatile-ttl",
        /// Least recently used keys.
        AllkeysLru = "allkeys-lru",
        /// Least frequently used keys.
        AllkeysLfu = "allkeys-lfu",
        /// Random keys.
        AllkeysRandom = "allkeys-random",
        /// None: writes are refused.
        NoEviction = "noeviction",
    }
}

impl MaxmemoryPolicy {
    /// Whether the policy needs the frequency of use, not the time of the last use.
    pub fn counts_uses(self) -> bool {
        matches!(self, MaxmemoryPolicy::VolatileLfu | MaxmemoryPolicy::AllkeysLfu)
    }

    /// Whether keys without an expiry stay.
    pub fn spares_persistent(self) -> bool {
        use MaxmemoryPolicy::*;
        matches!(self, VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl)
    }

    /// Whether all keys are equal.
    pub fn is_random(self) -> bool {
        matches!(self, MaxmemoryPolicy::VolatileRandom | MaxmemoryPolicy::AllkeysRandom)
    }
}

choice! {
    /// Which connections may use a guarded command.
    Permission {
        /// None.
        No = "no",
        /// All.
        Yes = "yes",
        /// Connections from this machine.
        Local = "local",
    }
}

impl Permission {
    /// Whether the permission covers a connection, given whether it is from this machine.
    pub fn allows(self, local: bool) -> bool {
        match self {
            Permission::No => false,
            Permission::Yes => true,
            Permission::Local => local,
        }
    }
}

choice! {
    /// Whether clients that connect by TLS must have certificates.
    TlsAuthClients {
        /// They need none, and none is asked for.
        No = "no",
        /// They need one.
        Yes = "yes",
        /// They need none, but one that they have must be valid.
        Optional = "optional",
    }
}

choice! {
    /// What of a client's certificate names the user that the client becomes.
    TlsClientUser {
        /// The common name of its subject.
        CommonName = "CN",
        /// The URIs among its alternative names.
        Uri = "URI",
        /// Nothing.
        Off = "off",
    }
}

choice! {
    /// Which versions of files and payloads are accepted.
    RdbVersionCheck {
        /// Known versions.
        Strict = "strict",
        /// All versions, as far as they can be parsed.
        Relaxed = "relaxed",
    }
}

choice! {
    /// The init system that watches the process.
    Supervised {
        /// Upstart.
        Upstart = "upstart",
        /// systemd.
        Systemd = "systemd",
        /// The one that the environment variables name.
        Auto = "auto",
        /// None.
        No = "no",
    }
}

choice! {
    /// The layout of log lines.
    LogFormat {
        /// The layout of Redis.
        Legacy = "legacy",
        /// `key=value` pairs.
        Logfmt = "logfmt",
        /// One JSON object each.
        Json = "json",
    }
}

choice! {
    /// The form of timestamps in the log.
    LogTimestampFormat {
        /// Day, month name, year and time.
        Legacy = "legacy",
        /// ISO 8601, with the time zone.
        Iso8601 = "iso8601",
        /// Unix milliseconds.
        Milliseconds = "milliseconds",
    }
}

choice! {
    /// The syslog facility of the log lines.
    SyslogFacility {
        /// User-level messages.
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
    /// Whether the server sets its score for the kernel's out-of-memory killer.
    OomScoreAdj {
        /// The score stays unchanged.
        No = "no",
        /// Relative to the score at the start.
        Yes = "yes",
        /// Like [`OomScoreAdj::Yes`].
        Relative = "relative",
        /// Values are absolute, whatever the score at the start was.
        Absolute = "absolute",
    }
}

choice! {
    /// When writes to the append-only file become durable.
    AppendFsync {
        /// Every second.
        Everysec = "everysec",
        /// Before the replies are sent.
        Always = "always",
        /// When the kernel decides.
        No = "no",
    }
}
