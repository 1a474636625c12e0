//! Programs that an instance finds under names that it expects, where what usually answers to them cannot work: there is
//! no systemd, no repository of packages, and no module of the kernel to be loaded. Each says honestly what is there.

mod modprobe;
mod packages;
mod systemctl;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// Names by which the binary is called as one of these programs.
pub const PROGRAM_NAMES: [&str; 4] = ["systemctl", "dnf", "yum", "modprobe"];

/// Where programs are, in the order in which they are looked for.
const PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Answers as such a program if the binary was called by its name (`argv[0]`).
pub fn called_as_program() -> Option<ExitCode> {
    let mut words = std::env::args_os().map(OsString::into_string);
    let called = words.next()?.ok()?;
    let name = Path::new(&called).file_name()?.to_str()?;
    let program = match name {
        "systemctl" => systemctl::run,
        "dnf" | "yum" => packages::run,
        "modprobe" => modprobe::run,
        _ => return None,
    };
    let words: Result<Vec<String>, _> = words.collect();
    let Ok(words) = words else {
        eprintln!("{name}: an argument is no text");
        return Some(ExitCode::from(2));
    };
    Some(ExitCode::from(program(&words)))
}

/// Writes a line; a reader that has gone does not want it.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Whether a program of this name is there.
fn has_program(name: &str) -> bool {
    let is_plain = !name.is_empty() && !name.contains('/');
    is_plain && PATH.iter().any(|it| Path::new(it).join(name).is_file())
}
