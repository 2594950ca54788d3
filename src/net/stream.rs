//! The byte stream of a connection: plain, or TLS. Hot.

use super::Outbox;
use super::tls::TlsStream;
use crate::io::Chunk;

/// How the bytes of a connection travel.
#[derive(Debug, Default)]
pub enum Stream {
    /// As they are.
    #[default]
    Plain,
    /// In TLS records.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Returns whether it uses TLS.
    #[inline]
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// Returns its TLS state; none if it is plain.
    #[inline]
    pub fn tls(&mut self) -> Option<&mut TlsStream> {
        match self {
            Stream::Plain => None,
            Stream::Tls(tls) => Some(tls),
        }
    }

    /// Returns whether the handshake of TLS is not complete.
    pub fn is_handshaking(&self) -> bool {
        matches!(self, Stream::Tls(tls) if tls.is_handshaking())
    }

    /// Returns whether it uses TLS and its handshake was completed.
    pub fn is_established(&self) -> bool {
        matches!(self, Stream::Tls(tls) if tls.is_established())
    }

    /// Returns whether its handshake waits for the peer, and not for this server.
    pub fn awaits_peer(&self) -> bool {
        matches!(self, Stream::Tls(tls) if tls.is_handshaking() && !tls.is_scheduled)
    }

    /// Returns whether it cannot send any more.
    pub fn has_failed(&self) -> bool {
        matches!(self, Stream::Tls(tls) if tls.has_failed())
    }

    /// Returns whether nothing is left to send besides what is in the outbox.
    #[inline]
    pub fn is_idle(&self) -> bool {
        match self {
            Stream::Plain => true,
            Stream::Tls(tls) => tls.is_idle(),
        }
    }

    /// Returns the next bytes for the driver; none if there is nothing to send, or a send is in
    /// progress.
    #[inline]
    pub fn next_chunk(&mut self, outbox: &mut Outbox) -> Option<Chunk> {
        match self {
            Stream::Plain => outbox.next_chunk(),
            Stream::Tls(tls) => tls.next_chunk(outbox),
        }
    }

    /// Records that a send is finished. Returns the number of the outbox's bytes in it.
    #[inline]
    pub fn sent(&mut self, chunk: Chunk, outbox: &mut Outbox) -> usize {
        match self {
            Stream::Plain => {
                let bytes = outbox.under_way_bytes();
                outbox.sent(chunk);
                bytes
            }
            Stream::Tls(tls) => tls.sent(chunk),
        }
    }

    /// Returns the last bytes for the peer of a connection that closes, if there are any.
    pub fn farewell(&mut self) -> Option<Chunk> {
        self.tls()?.farewell()
    }

    /// Returns the unsent bytes that the outbox does not count.
    #[inline]
    pub fn unsent_bytes(&self) -> usize {
        match self {
            Stream::Plain => 0,
            Stream::Tls(tls) => tls.unsent_bytes(),
        }
    }

    /// Returns the bytes of memory that it uses, without unsent bytes.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Stream::Plain => 0,
            Stream::Tls(tls) => tls.memory_bytes(),
        }
    }
}
