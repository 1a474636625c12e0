//! `dnf` and `yum` where there are no repositories: what is there counts as installed, everything else is not found.

use super::{has_program, print};

/// Packages that are called otherwise than their program.
const PROGRAMS: [(&str, &str); 5] = [
    ("iproute", "ip"),
    ("iproute-tc", "tc"),
    ("containerd.io", "containerd"),
    ("util-linux", "mount"),
    ("procps-ng", "ps"),
];

pub(super) fn run(words: &[String]) -> u8 {
    let mut names = words.iter().filter(|it| !it.starts_with('-'));
    match names.next().map(String::as_str) {
        Some("install") => install(names.map(String::as_str)),
        Some("makecache" | "check-update" | "update" | "upgrade") => {
            eprintln!(
                "Error: There are no enabled repositories: instances of Lath have what their image has."
            );
            1
        }
        Some(other) => {
            eprintln!("No such command: {other}: in an instance of Lath only install is known.");
            1
        }
        None => {
            eprintln!("usage: dnf install PACKAGE...");
            1
        }
    }
}

fn install<'a>(names: impl Iterator<Item = &'a str>) -> u8 {
    let (there, missing): (Vec<&str>, Vec<&str>) = names.partition(|name| is_there(name));
    for name in &there {
        print(&format!("Package {name} is already installed."));
    }
    if missing.is_empty() {
        print("Dependencies resolved.\nNothing to do.\nComplete!");
        return 0;
    }
    for name in &missing {
        print(&format!("No match for argument: {name}"));
    }
    eprintln!("Error: Unable to find a match: {}", missing.join(" "));
    1
}

fn is_there(package: &str) -> bool {
    let known = PROGRAMS.iter().find(|(name, _)| *name == package);
    has_program(known.map_or(package, |(_, program)| program))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_is_there_is_installed_and_nothing_else_can_be() {
        for (text, want) in [
            ("install -y sh util-linux", 0),
            ("-y install sh --disableexcludes=kubernetes", 0),
            ("install -y sh no-such-package", 1),
            ("install ../bin/sh", 1),
            ("upgrade -y", 1),
            ("remove sh", 1),
            ("-y", 1),
        ] {
            assert_eq!(run(&words(text)), want, "{text}");
        }
    }
}
