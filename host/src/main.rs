//! The program `quarterjack`: see [`quarterjack::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    quarterjack::cli::main()
}
