//! Receive buffers that the kernel picks from: a provided buffer ring.
//!
//! ```text
//!   one mapping:  | ring: `count` entries of 16 bytes, to a page | buffer 0 | buffer 1 | ...
//!   entry:        | address u64 | bytes u32 | id u16 | reserved u16; in entry 0: the tail |
//! ```
//!
//! The kernel takes buffers at its head; the driver returns them at the tail. A buffer either
//! belongs to the kernel (free) or is lent to the caller. Example: 256 buffers of 16 KiB take 4 KiB
//! of ring and 4 MiB of data.
//!
//! Hot file: bench `echo`.
#![allow(unsafe_code)]

use super::ring::Ring;
use crate::io::BufferId;
use io_uring::types::BufRingEntry;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

/// The number of the registered buffer group; a ring has one group.
pub(super) const GROUP: u16 = 0;

/// The granularity of mappings.
const PAGE_BYTES: usize = 4096;

const _: () = assert!(size_of::<BufRingEntry>() == 16);

/// The buffers and their ring.
pub(super) struct Buffers {
    /// The mapping, with the ring at its start. It never moves and lives until drop.
    base: NonNull<u8>,
    mapped_bytes: usize,
    /// Offset of the first buffer in the mapping.
    data_offset: usize,
    count: u16,
    buffer_bytes: u32,
    /// The driver's end of the ring; wraps.
    tail: u16,
    /// Which buffers are lent to the caller.
    lent: Vec<bool>,
    lent_count: u16,
}

impl Buffers {
    /// Maps and registers `count` buffers.
    pub(super) fn new(ring: &Ring, count: u16, buffer_bytes: u32) -> io::Result<Buffers> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "the kernel's limits");
        assert!(buffer_bytes > 0, "an empty buffer receives nothing");
        let ring_bytes = usize::from(count) * size_of::<BufRingEntry>();
        let data_offset = ring_bytes.next_multiple_of(PAGE_BYTES);
        let mapped_bytes = data_offset + usize::from(count) * buffer_bytes as usize;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // Populated now, so that no turn pays for the page faults.
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), mapped_bytes, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(address.cast::<u8>()).expect("no mapping lies at address 0");
        let mut buffers = Buffers {
            base,
            mapped_bytes,
            data_offset,
            count,
            buffer_bytes,
            tail: 0,
            // All buffers count as lent until they are given to the kernel below.
            lent: vec![true; usize::from(count)],
            lent_count: count,
        };
        // SAFETY: the ring lies at the start of the mapping, page-aligned. It lives as long as
        // `self`, which the driver drops after its ring, or leaks.
        unsafe {
            let address = base.as_ptr() as u64;
            ring.submitter().register_buf_ring_with_flags(address, count, GROUP, 0)?;
        }
        for index in 0..count {
            buffers.release(BufferId(u32::from(index)));
        }
        assert_eq!(buffers.lent_count, 0);
        Ok(buffers)
    }

    /// Returns the number of buffers that the kernel can fill, or has filled in completions not yet
    /// popped.
    pub(super) fn free(&self) -> usize {
        usize::from(self.count - self.lent_count)
    }

    /// Marks a buffer as lent, after the kernel has filled it.
    pub(super) fn lend(&mut self, index: u16) -> BufferId {
        assert!(index < self.count, "the kernel picks registered buffers");
        assert!(!self.lent[usize::from(index)], "the kernel picks only free buffers");
        self.lent[usize::from(index)] = true;
        self.lent_count += 1;
        BufferId(u32::from(index))
    }

    /// Returns the first `len` bytes of a lent buffer.
    pub(super) fn bytes(&self, buffer: BufferId, len: u32) -> &[u8] {
        assert!(self.lent[buffer.0 as usize], "only a lent buffer is read");
        assert!(len <= self.buffer_bytes, "received bytes fit into a buffer");
        let offset = self.data_offset + buffer.0 as usize * self.buffer_bytes as usize;
        // SAFETY: the buffer lies inside the mapping (`lent` has checked the index) and was mapped
        // as zeroes. The kernel does not write to it while it is lent.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset), len as usize) }
    }

    /// Returns a lent buffer to the kernel.
    pub(super) fn release(&mut self, buffer: BufferId) {
        let index = buffer.0 as usize;
        assert!(self.lent[index], "a buffer is released once");
        self.lent[index] = false;
        self.lent_count -= 1;
        let offset = self.data_offset + index * self.buffer_bytes as usize;
        let entry_index = usize::from(self.tail & (self.count - 1));
        // SAFETY: the entry lies in the ring. The kernel does not use it: at most `count` buffers
        // exist, so the kernel has taken the buffer that this entry held. The fields that are set
        // leave the tail, which lies in entry 0, unchanged.
        unsafe {
            let entry = &mut *self.base.as_ptr().cast::<BufRingEntry>().add(entry_index);
            entry.set_addr(self.base.as_ptr().add(offset) as u64);
            entry.set_len(self.buffer_bytes);
            entry.set_bid(index as u16);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the ring, aligned; the kernel loads it with acquire ordering.
        unsafe {
            let tail = BufRingEntry::tail(self.base.as_ptr().cast()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: `self` owns the mapping and nothing refers to it any more. The driver drops its
        // buffers only when the kernel has no operation left that could fill them.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.mapped_bytes) };
    }
}
