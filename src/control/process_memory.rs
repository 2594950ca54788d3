//! The memory of the process as the kernel sees it, and the peak of the allocated bytes.

use super::Control;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Time between two samples while memory use changes.
pub const SAMPLE_PERIOD: Duration = Duration::from_millis(100);

/// Time between two samples while nothing changes. A wake-up costs a tenth of a millisecond, which
/// is too much ten times a second for an idle server.
pub const SAMPLE_PERIOD_IDLE: Duration = Duration::from_secs(1);

/// The page size if the kernel does not report one.
const PAGE_BYTES_DEFAULT: u64 = 4096;

/// The latest sample, and the peaks since the start.
#[derive(Debug)]
pub struct ProcessMemory {
    /// Kept open: each read at offset 0 makes the kernel write a fresh text.
    statm: File,
    page_bytes: u64,
    resident_bytes: AtomicU64,
    resident_peak_bytes: AtomicU64,
    used_peak_bytes: AtomicU64,
    start_bytes: AtomicU64,
}

impl ProcessMemory {
    /// Creates a record without a sample. Fails where there is no `/proc`.
    pub fn open() -> io::Result<Arc<ProcessMemory>> {
        Ok(Arc::new(ProcessMemory {
            statm: File::open("/proc/self/statm")?,
            page_bytes: page_bytes(),
            resident_bytes: AtomicU64::new(0),
            resident_peak_bytes: AtomicU64::new(0),
            used_peak_bytes: AtomicU64::new(0),
            start_bytes: AtomicU64::new(0),
        }))
    }

    /// Samples the process once, and then every [`SAMPLE_PERIOD`] on the control thread. After a
    /// sample with unchanged `used_bytes` (the bytes allocated at that moment) it waits
    /// [`SAMPLE_PERIOD_IDLE`].
    pub fn watch(
        memory: &Arc<ProcessMemory>,
        control: &Control,
        used_bytes: impl Fn() -> u64 + Send + 'static,
    ) -> io::Result<()> {
        let mut last = used_bytes();
        memory.sample(last)?;
        let inside = memory.clone();
        control.again(SAMPLE_PERIOD, move || {
            let used = used_bytes();
            // After a failed sample the earlier one stays.
            let _ = inside.sample(used);
            let idle = used == last;
            last = used;
            if idle { SAMPLE_PERIOD_IDLE } else { SAMPLE_PERIOD }
        });
        Ok(())
    }

    /// Samples now, on the caller's thread: one read of `/proc`, which takes microseconds and never
    /// waits. Callers use it to show fresh figures. Afterwards the peaks are at least `used_bytes`
    /// and the resident bytes. If it fails, the last sample stays.
    pub fn sample(&self, used_bytes: u64) -> io::Result<()> {
        self.used_peak_bytes.fetch_max(used_bytes, Relaxed);
        let resident_bytes = read_resident_pages(&self.statm)? * self.page_bytes;
        self.resident_bytes.store(resident_bytes, Relaxed);
        self.resident_peak_bytes.fetch_max(resident_bytes, Relaxed);
        Ok(())
    }

    /// Records the bytes allocated before there was data; of several calls the largest counts.
    pub fn note_start(&self, used_bytes: u64) {
        self.start_bytes.fetch_max(used_bytes, Relaxed);
    }

    /// Returns the bytes allocated before there was data.
    pub fn start_bytes(&self) -> u64 {
        self.start_bytes.load(Relaxed)
    }

    /// Returns the bytes of physical memory at the last sample.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes.load(Relaxed)
    }

    /// Returns the largest value of [`ProcessMemory::resident_bytes`].
    pub fn resident_peak_bytes(&self) -> u64 {
        self.resident_peak_bytes.load(Relaxed)
    }

    /// Returns the largest number of allocated bytes at any sample.
    pub fn used_peak_bytes(&self) -> u64 {
        self.used_peak_bytes.load(Relaxed)
    }
}

/// Returns the second number of statm, in pages.
fn read_resident_pages(statm: &File) -> io::Result<u64> {
    let mut text = [0; 128];
    let len = statm.read_at(&mut text, 0)?;
    let numbers = std::str::from_utf8(&text[..len]).unwrap_or_default();
    let second = numbers.split_ascii_whitespace().nth(1).and_then(|number| number.parse().ok());
    second.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Returns the page size from the auxiliary vector: pairs of machine words, a key and its value.
fn page_bytes() -> u64 {
    const AT_PAGESZ: u64 = 6;
    const WORD: usize = size_of::<usize>();
    let vector = std::fs::read("/proc/self/auxv").unwrap_or_default();
    let word = |bytes: &[u8]| {
        usize::from_ne_bytes(bytes.try_into().expect("the slice has the size of a machine word"))
            as u64
    };
    let pairs =
        vector.chunks_exact(2 * WORD).map(|pair| (word(&pair[..WORD]), word(&pair[WORD..])));
    let found = pairs.into_iter().find(|(key, _)| *key == AT_PAGESZ).map(|(_, value)| value);
    found.filter(|bytes| bytes.is_power_of_two()).unwrap_or(PAGE_BYTES_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    #[test]
    fn samples_follow_the_process() {
        let control = Control::start("control-test").unwrap();
        let used = Arc::new(AtomicU64::new(5));
        let inside = used.clone();
        let memory = ProcessMemory::open().unwrap();
        ProcessMemory::watch(&memory, &control, move || inside.load(Relaxed)).unwrap();
        let before = memory.resident_bytes();
        assert!(before > 100_000, "{before}");
        assert_eq!(memory.used_peak_bytes(), 5);
        let block = vec![1_u8; 64 << 20];
        used.store(9, Relaxed);
        for _ in 0..100 {
            sleep(Duration::from_millis(20));
            if memory.resident_bytes() > before + (32 << 20) && memory.used_peak_bytes() == 9 {
                break;
            }
        }
        assert!(memory.resident_bytes() > before + (32 << 20));
        assert!(memory.resident_peak_bytes() >= memory.resident_bytes());
        assert_eq!(memory.used_peak_bytes(), 9);
        drop(block);
        memory.sample(7).unwrap();
        assert_eq!(memory.used_peak_bytes(), 9);
    }

    #[test]
    fn pages_have_a_size() {
        assert!(page_bytes() >= 4096);
    }
}
