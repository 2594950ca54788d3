//! The TLS side of a connection: received records become input, and output becomes records. Hot for
//! connections that use TLS.
//!
//! ```text
//!   received --incoming--> engine --plaintext--> Input
//!   Outbox --chunk--> engine --records--> one send under way --> sent
//!                     engine --outgoing--> (handshake messages, alerts)
//!
//!   Handshake --complete--> Open --close_notify of the peer--> Ended
//!       '--error--> Failed <--error--'---------error---------------'
//! ```
//! In Handshake, received bytes wait in `incoming` for the next step, which the shard schedules,
//! because it costs up to a millisecond. In Open, `incoming` has at most one incomplete record.
//! Ended may still send. Failed only sends its alert.

use super::certificate::Certificate;
use super::context::Context;
use super::limits::{
    ENGINE_HEAP_BYTES, HANDSHAKE_BYTES_PAUSE, KEPT_BYTES_MAX, RECORD_OVERHEAD_BYTES_MAX,
    RECORD_PLAIN_BYTES_MAX, SEND_BYTES_MAX,
};
use crate::io::Chunk;
use crate::net::{Input, Outbox};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError};
use std::fmt;
use std::sync::Arc;

/// The first byte of a record with handshake messages, as every connection begins.
const HANDSHAKE_RECORD: u8 = 22;

/// The library's state of a connection.
enum Engine {
    /// Nothing was received yet, so it takes no memory.
    New(Arc<ServerConfig>),
    /// It exists.
    Running(Box<UnbufferedServerConnection>),
}

/// See the drawing at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handshake,
    Open,
    Ended,
    Failed,
}

/// Why a connection cannot continue, as text for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(pub String);

/// What received bytes have brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of plaintext that were added to the input.
    pub plain_bytes: usize,
    /// Number of records with plaintext.
    pub records: u32,
    /// Whether the peer has said that it sends no more.
    pub has_ended: bool,
}

/// The TLS state of one connection.
pub struct TlsStream {
    engine: Engine,
    stage: Stage,
    /// Received bytes that are no whole record yet, or wait for a step of the handshake.
    incoming: Vec<u8>,
    /// Records that the library made by itself, and that are not under way.
    outgoing: Vec<u8>,
    /// The chunk that is partly encrypted, with the number of bytes that are.
    encrypting: Option<(Chunk, usize)>,
    /// Bytes of the records under way, and of the plaintext in them.
    under_way: Option<(usize, usize)>,
    /// Memory of the last send.
    kept: Vec<u8>,
    /// Whether the handshake was completed.
    is_established: bool,
    /// Whether a step of the handshake is scheduled.
    pub is_scheduled: bool,
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The keys stay out.
        f.debug_struct("TlsStream").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl TlsStream {
    /// Creates the state of a connection that was just accepted.
    pub fn new(context: &Context) -> TlsStream {
        TlsStream {
            engine: Engine::New(Arc::clone(&context.server)),
            stage: Stage::Handshake,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            encrypting: None,
            under_way: None,
            kept: Vec::new(),
            is_established: false,
            is_scheduled: false,
        }
    }

    /// Returns whether the next step is the first one, which costs the most.
    pub fn is_new(&self) -> bool {
        matches!(self.engine, Engine::New(_))
    }

    /// Returns whether the handshake is not complete.
    pub fn is_handshaking(&self) -> bool {
        self.stage == Stage::Handshake
    }

    /// Returns whether the handshake was completed, even if the stream has failed since.
    pub fn is_established(&self) -> bool {
        self.is_established
    }

    /// Returns whether receiving should pause until the next step.
    pub fn is_full(&self) -> bool {
        self.is_handshaking() && self.incoming.len() > HANDSHAKE_BYTES_PAUSE
    }

    /// Takes received bytes. During the handshake they wait for the next [`TlsStream::step`]; then
    /// returns none.
    ///
    /// # Errors
    /// The bytes break the rules of TLS. An alert for the peer is in the output.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        input: &mut Input,
    ) -> Option<Result<Progress, TlsError>> {
        match self.stage {
            Stage::Handshake => {
                self.incoming.extend_from_slice(bytes);
                None
            }
            Stage::Open => {
                self.incoming.extend_from_slice(bytes);
                Some(self.process(input))
            }
            // What comes after the end means nothing.
            Stage::Ended | Stage::Failed => Some(Ok(Progress::default())),
        }
    }

    /// Continues the handshake with the bytes that wait, and decrypts what follows it.
    ///
    /// # Errors
    /// The handshake has failed. An alert for the peer is in the output.
    pub fn step(&mut self, input: &mut Input) -> Result<Progress, TlsError> {
        if self.stage == Stage::Failed {
            return Ok(Progress::default());
        }
        if let Engine::New(config) = &self.engine {
            if self.incoming.first() != Some(&HANDSHAKE_RECORD) {
                // As in the reference, such a peer gets no alert, which it could not read.
                return Err(self.fail("the peer does not speak TLS"));
            }
            let engine = UnbufferedServerConnection::new(Arc::clone(config));
            let engine = engine.map_err(|error| self.fail(&error.to_string()))?;
            self.engine = Engine::Running(Box::new(engine));
        }
        self.process(input)
    }

    /// Has the engine process all whole records.
    fn process(&mut self, input: &mut Input) -> Result<Progress, TlsError> {
        let Engine::Running(engine) = &mut self.engine else {
            unreachable!("the first step makes the engine")
        };
        let (mut at, mut progress) = (0, Progress::default());
        let error = loop {
            let status = engine.process_tls_records(&mut self.incoming[at..]);
            at += status.discard;
            match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        input.receive(record.payload);
                        progress.plain_bytes += record.payload.len();
                        progress.records += 1;
                        at += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut data, &mut self.outgoing);
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => progress.has_ended = true,
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                    break None;
                }
                Ok(ConnectionState::Closed) => break None,
                // Early data is not accepted, and other states do not exist.
                Ok(_) => break Some(rustls::Error::General("unexpected state".to_owned())),
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = error {
            // Its alert comes out one piece at a time, before the engine looks at the bytes again.
            while engine.wants_write()
                && let Ok(ConnectionState::EncodeTlsData(mut data)) =
                    engine.process_tls_records(&mut self.incoming[at..]).state
            {
                encode(&mut data, &mut self.outgoing);
            }
            return Err(self.fail(&error.to_string()));
        }
        if !engine.is_handshaking() && self.stage == Stage::Handshake {
            self.stage = Stage::Open;
            self.is_established = true;
        }
        if progress.has_ended {
            self.stage = Stage::Ended;
            at = self.incoming.len();
        }
        self.discard(at);
        Ok(progress)
    }

    /// Drops the first received bytes, and memory that the rest does not need.
    fn discard(&mut self, len: usize) {
        self.incoming.drain(..len);
        if self.incoming.is_empty() && self.incoming.capacity() > KEPT_BYTES_MAX {
            self.incoming = Vec::new();
        }
    }

    fn fail(&mut self, why: &str) -> TlsError {
        self.stage = Stage::Failed;
        self.incoming = Vec::new();
        TlsError(why.to_owned())
    }

    /// Returns what the peer's certificate says; none without one, or one that cannot be read.
    pub fn peer(&self) -> Option<Certificate> {
        let Engine::Running(engine) = &self.engine else { return None };
        Certificate::read(engine.peer_certificates()?.first()?)
    }

    /// Returns the next records for the driver: those of the library, then the outbox's chunks.
    /// Returns none if records are under way or there is nothing to send.
    pub fn next_chunk(&mut self, outbox: &mut Outbox) -> Option<Chunk> {
        if self.under_way.is_some() {
            return None;
        }
        let mut records = std::mem::take(&mut self.kept);
        records.append(&mut self.outgoing);
        let mut plain_bytes = 0;
        while matches!(self.stage, Stage::Open | Stage::Ended) && records.len() < SEND_BYTES_MAX {
            let next = || outbox.next_chunk().map(|chunk| (chunk, 0));
            let Some((chunk, at)) = self.encrypting.take().or_else(next) else { break };
            let rest = &chunk.as_slice()[at..];
            let piece = &rest[..rest.len().min(SEND_BYTES_MAX - records.len())];
            if !self.encrypt(piece, &mut records) {
                self.stage = Stage::Failed;
                break;
            }
            plain_bytes += piece.len();
            if piece.len() < rest.len() {
                let at = at + piece.len();
                self.encrypting = Some((chunk, at));
            } else {
                outbox.sent(chunk);
            }
        }
        if records.is_empty() {
            self.kept = records;
            return None;
        }
        self.under_way = Some((records.len(), plain_bytes));
        Some(Chunk::Own(records))
    }

    /// Appends the records of some plaintext. Returns whether the engine could make them.
    fn encrypt(&mut self, plain: &[u8], records: &mut Vec<u8>) -> bool {
        let Engine::Running(engine) = &mut self.engine else {
            unreachable!("the first step makes the engine")
        };
        let overhead = plain.len().div_ceil(RECORD_PLAIN_BYTES_MAX) * RECORD_OVERHEAD_BYTES_MAX;
        let mut room = plain.len() + overhead;
        loop {
            // It has no whole record, or they would have been processed.
            match engine.process_tls_records(&mut self.incoming).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let start = records.len();
                    records.resize(start + room, 0);
                    match traffic.encrypt(plain, &mut records[start..]) {
                        Ok(len) => {
                            records.truncate(start + len);
                            return true;
                        }
                        Err(EncryptError::InsufficientSize(wanted))
                            if wanted.required_size > room =>
                        {
                            records.truncate(start);
                            room = wanted.required_size;
                        }
                        Err(_) => {
                            records.truncate(start);
                            return false;
                        }
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, records),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                _ => return false,
            }
        }
    }

    /// Records that the driver has finished the send. Returns the number of plaintext bytes in it.
    pub fn sent(&mut self, chunk: Chunk) -> usize {
        if let Chunk::Own(mut records) = chunk
            && records.capacity() <= KEPT_BYTES_MAX
        {
            records.clear();
            self.kept = records;
        }
        self.under_way.take().map_or(0, |(_, plain_bytes)| plain_bytes)
    }

    /// Returns the last records for the peer of a connection that closes: an alert, or the notice
    /// that nothing follows. Returns none while other records are under way. Nothing else may be
    /// sent afterwards.
    pub fn farewell(&mut self) -> Option<Chunk> {
        self.encrypting = None;
        if self.under_way.is_some() {
            return None;
        }
        let mut records = std::mem::take(&mut self.outgoing);
        if let (Stage::Open | Stage::Ended, Engine::Running(engine)) =
            (self.stage, &mut self.engine)
            && let Ok(ConnectionState::WriteTraffic(mut traffic)) =
                engine.process_tls_records(&mut self.incoming).state
        {
            let start = records.len();
            records.resize(start + RECORD_PLAIN_BYTES_MAX, 0);
            let len = traffic.queue_close_notify(&mut records[start..]).unwrap_or(0);
            records.truncate(start + len);
        }
        self.stage = Stage::Failed;
        if records.is_empty() {
            return None;
        }
        self.under_way = Some((records.len(), 0));
        Some(Chunk::Own(records))
    }

    /// Returns whether it has nothing to send besides what is in the outbox.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.encrypting.is_none() && self.outgoing.is_empty()
    }

    /// Returns whether there is something to send besides what is in the outbox.
    pub fn has_own_output(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Returns whether the engine cannot encrypt any more.
    pub fn has_failed(&self) -> bool {
        self.stage == Stage::Failed
    }

    /// Returns the bytes of records that are under way or wait. The outbox counts the plaintext of
    /// a chunk until all of it is encrypted.
    pub fn unsent_bytes(&self) -> usize {
        self.outgoing.len() + self.under_way.map_or(0, |(bytes, _)| bytes)
    }

    /// Returns the bytes of memory that it uses, without unsent records.
    pub fn memory_bytes(&self) -> usize {
        let engine = match self.engine {
            Engine::New(_) => 0,
            Engine::Running(_) => size_of::<UnbufferedServerConnection>() + ENGINE_HEAP_BYTES,
        };
        size_of::<TlsStream>() + engine + self.incoming.capacity() + self.kept.capacity()
    }
}

/// Appends a record that the library has made.
fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, records: &mut Vec<u8>) {
    let start = records.len();
    if let Err(EncodeError::InsufficientSize(wanted)) = data.encode(&mut []) {
        records.resize(start + wanted.required_size, 0);
        let written = data.encode(&mut records[start..]).unwrap_or(0);
        records.truncate(start + written);
    }
}
