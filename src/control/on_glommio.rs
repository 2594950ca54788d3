//! Runs the jobs as tasks of a glommio executor on this thread.
//!
//! glommio panics instead of returning an error where the kernel refuses a ring, which would end
//! the process. So a ring is tried first.

use super::mailbox::{Job, Mail, Mailbox};
use glommio::timer::sleep;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, spawn_local};
use io_uring::{IoUring, Probe, opcode};
use std::future::poll_fn;
use std::sync::Arc;

/// Entries of each of the executor's three rings.
const RING_DEPTH: usize = 64;

/// Bytes of registered memory for disk I/O, which is not used: the minimum of glommio.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// Runs the jobs until the mailbox is stopped; calls `started` once the executor runs.
pub(super) fn run(mailbox: &Arc<Mailbox>, started: &dyn Fn()) -> Result<(), String> {
    let executor = make_executor()?;
    started();
    let mailbox = mailbox.clone();
    executor.run(async move {
        loop {
            match poll_fn(|context| mailbox.poll(context)).await {
                Mail::Stop => return,
                Mail::Jobs(jobs) => {
                    for job in jobs {
                        spawn_local(repeat(job)).detach();
                    }
                }
            }
        }
    });
    Ok(())
}

async fn repeat(mut job: Job) {
    let mut rest = job.rest;
    loop {
        sleep(rest).await;
        rest = (job.work)();
    }
}

fn make_executor() -> Result<LocalExecutor, String> {
    try_ring()?;
    LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .make()
        .map_err(|error| format!("glommio cannot run: {error}"))
}

/// Checks that there is an io_uring recent enough for glommio (Linux 5.8). The test asks for a
/// feature of 5.19, because this server's own driver needs at least that version anyway.
fn try_ring() -> Result<(), String> {
    let failed = |error| format!("io_uring is not available: {error}");
    let ring = IoUring::new(RING_DEPTH as u32).map_err(failed)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(failed)?;
    if !probe.is_supported(opcode::Socket::CODE) {
        return Err("the kernel's io_uring is too old".to_owned());
    }
    Ok(())
}
