//! Receive buffers of the drivers that fill them in user space.

use super::BufferId;

/// A fixed number of equal buffers, each free or lent.
pub(super) struct Pool {
    memory: Vec<Box<[u8]>>,
    /// Free buffers. The last released buffer is on top, because it is most likely in the cache.
    free: Vec<u32>,
    lent: Vec<bool>,
}

impl Pool {
    /// Allocates `count` buffers of `bytes` bytes.
    pub(super) fn new(count: u16, bytes: u32) -> Pool {
        assert!(count > 0 && bytes > 0, "a driver without buffers receives nothing");
        let count = u32::from(count);
        Pool {
            memory: (0..count).map(|_| vec![0; bytes as usize].into_boxed_slice()).collect(),
            free: (0..count).rev().collect(),
            lent: vec![false; count as usize],
        }
    }

    /// Lends a buffer, if one is free.
    pub(super) fn take(&mut self) -> Option<BufferId> {
        let index = self.free.pop()?;
        assert!(!self.lent[index as usize], "a free buffer is not lent");
        self.lent[index as usize] = true;
        Some(BufferId(index))
    }

    /// Returns the memory of a lent buffer.
    pub(super) fn bytes_mut(&mut self, buffer: BufferId) -> &mut [u8] {
        assert!(self.lent[buffer.0 as usize], "only a lent buffer is written");
        &mut self.memory[buffer.0 as usize]
    }

    /// Returns the first `len` bytes of a lent buffer.
    pub(super) fn bytes(&self, buffer: BufferId, len: u32) -> &[u8] {
        assert!(self.lent[buffer.0 as usize], "only a lent buffer is read");
        &self.memory[buffer.0 as usize][..len as usize]
    }

    /// Returns a lent buffer to the pool.
    pub(super) fn release(&mut self, buffer: BufferId) {
        assert!(self.lent[buffer.0 as usize], "a buffer is released once");
        self.lent[buffer.0 as usize] = false;
        self.free.push(buffer.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_all_and_reuses_the_last_released() {
        let mut pool = Pool::new(2, 4);
        let first = pool.take().unwrap();
        let second = pool.take().unwrap();
        assert!(pool.take().is_none());
        pool.bytes_mut(first).copy_from_slice(b"abcd");
        assert_eq!(pool.bytes(first, 3), b"abc");
        pool.release(second);
        pool.release(first);
        assert_eq!(pool.take(), Some(first));
    }

    #[test]
    #[should_panic(expected = "released once")]
    fn a_second_release_is_a_bug() {
        let mut pool = Pool::new(1, 1);
        let buffer = pool.take().unwrap();
        pool.release(buffer);
        pool.release(buffer);
    }
}
