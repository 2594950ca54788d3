//! One request of a connection that is followed through the stages of its way.
//!
//! ```text
//!   begun --ran here, or all parts are home--> Replied --handed to the driver--> Leaving --> over
//! ```

use crate::mesh::FlightId;

/// How far the request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its batch is under work, here or elsewhere.
    Under,
    /// Its reply is in the output.
    Replied,
    /// Its reply was handed to the driver at this monotonic nanosecond.
    Leaving(u64),
}

/// The request that is traced.
#[derive(Clone, Copy, Debug)]
pub struct Trace {
    /// Its command's index.
    pub command: u16,
    /// Its place in the batch.
    pub at: u32,
    /// When its batch was gathered, monotonic nanoseconds.
    pub gathered_ns: u64,
    /// Nanoseconds since then that other stages have.
    pub counted_ns: u64,
    /// The flight that it is on, if it is away.
    pub flight: FlightId,
    /// How far it has come.
    pub progress: Progress,
}

impl Trace {
    /// A flight is at home, and its replies are in the output.
    pub fn land(&mut self, flight: FlightId) {
        if self.flight == flight && self.progress == Progress::Under {
            self.progress = Progress::Replied;
        }
    }
}
