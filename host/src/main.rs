//! The binary `cofferdam`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cofferdam::cli::main()
}
