//! This process's score for the kernel's out-of-memory killer.

use crate::config::{Config, OomScoreAdj};
use std::fs;
use std::io;
use std::sync::{Mutex, PoisonError};

const FILE: &str = "/proc/self/oom_score_adj";

/// Largest adjustment that the kernel accepts.
const SCORE_MAX: i32 = 1_000;

/// The adjustment of this process's score.
#[derive(Debug, Default)]
pub struct OomScore {
    /// The score before the first change; `None`: unchanged.
    before: Mutex<Option<i32>>,
}

impl OomScore {
    /// Sets the score of a primary as the settings say, or restores the score at the start.
    ///
    /// # Errors
    /// The kernel does not let this user lower the score.
    pub fn apply(&self, config: &Config) -> io::Result<()> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let [wanted, ..] = config.oom_score_adj_values;
        let score = match (config.oom_score_adj, *before) {
            (OomScoreAdj::No, None) => return Ok(()),
            (OomScoreAdj::No, Some(base)) => {
                *before = None;
                base
            }
            (mode, known) => {
                let base = match known {
                    Some(base) => base,
                    None => read()?,
                };
                *before = Some(base);
                let is_absolute = mode == OomScoreAdj::Absolute;
                let sum = if is_absolute { wanted } else { base.saturating_add(wanted) };
                sum.clamp(-SCORE_MAX, SCORE_MAX)
            }
        };
        fs::write(FILE, format!("{score}\n"))
    }
}

fn read() -> io::Result<i32> {
    let text = fs::read_to_string(FILE)?;
    text.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}
