//! The binary `cofferdam`.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Also SQLite's. What a burst needed is given back and found again: with glibc's allocator a daemon of many threads grows
/// with each burst although what is alive does not (`make bench`, figure `overload`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    cofferdam::cli::main()
}
