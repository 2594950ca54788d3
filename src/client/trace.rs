//! A traced request: timestamps of one request of a connection in each stage of its way.
//!
//! ```text
//!   Under --ran here, or all parts are home--> Replied --handed to the driver--> Leaving --> over
//! ```

use crate::mesh::FlightId;

/// Stage that the request has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its batch is in progress, here or on other shards.
    Under,
    /// Its reply is in the output.
    Replied,
    /// Its reply was handed to the driver at this time, monotonic nanoseconds.
    Leaving(u64),
}

/// A traced request.
#[derive(Clone, Copy, Debug)]
pub struct Trace {
    /// Index of its command.
    pub command: u16,
    /// Index of its command in the batch.
    pub at: u32,
    /// Monotonic nanoseconds when its batch was gathered.
    pub gathered_ns: u64,
    /// Nanoseconds since then that other stages have counted.
    pub counted_ns: u64,
    /// Flight of the request, if it is on other shards.
    pub flight: FlightId,
    /// Stage that the request has reached.
    pub progress: Progress,
}

impl Trace {
    /// Records that a flight is complete and its replies are in the output.
    pub fn land(&mut self, flight: FlightId) {
        if self.flight == flight && self.progress == Progress::Under {
            self.progress = Progress::Replied;
        }
    }
}
