//! The server's entry point: command-line arguments to a running server.

use annulet::base::alloc::CountingAllocator;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    annulet::base::alloc::set_up();
    let args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    annulet::server::main(args.collect())
}
