//! The launcher alone, as tests start it: `lath` itself answers the same call.

use std::process::ExitCode;

fn main() -> ExitCode {
    lath_instance::instance_init_main(std::env::args_os().skip(2))
}
