//! CLIENT PAUSE: which commands of clients wait, and until when.

/// A pause of clients' commands. Keys that are due stay where they are meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it ends by itself, Unix milliseconds.
    pub until_ms: u64,
    /// Whether all commands wait, or those only that may write.
    pub is_all: bool,
}

impl Pause {
    /// What two pauses come to: the later end, and the stricter kind.
    pub fn join(self, other: Pause) -> Pause {
        Pause { until_ms: self.until_ms.max(other.until_ms), is_all: self.is_all || other.is_all }
    }

    /// Whether it is over.
    pub fn is_over(self, now_ms: u64) -> bool {
        self.until_ms <= now_ms
    }
}
