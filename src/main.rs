//! The server's entry point: argv to a running server.

use annulet::base::alloc::CountingAllocator;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    annulet::base::alloc::set_up();
    annulet::server::main(std::env::args().collect())
}
