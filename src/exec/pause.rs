//! CLIENT PAUSE: which commands of clients wait, and until when.

/// A pause of clients' commands. Expired keys are not removed during a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Unix time in milliseconds at which the pause ends.
    pub until_ms: u64,
    /// Whether all commands wait. If not, only commands that may write wait.
    pub is_all: bool,
}

impl Pause {
    /// Combines two pauses: the later end and the stricter kind.
    pub fn join(self, other: Pause) -> Pause {
        Pause { until_ms: self.until_ms.max(other.until_ms), is_all: self.is_all || other.is_all }
    }

    /// Returns whether the pause is over.
    pub fn is_over(self, now_ms: u64) -> bool {
        self.until_ms <= now_ms
    }
}
