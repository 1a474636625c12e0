//! `modprobe` where no module can be loaded: one that the kernel has is fine, another is not found.

use std::path::Path;

/// Modules that leave no directory in `/sys/module` when they are part of the kernel, and what they leave instead.
const TRACES: [(&str, &str); 2] = [
    ("br_netfilter", "/proc/sys/net/bridge"),
    ("nf_conntrack", "/proc/sys/net/netfilter/nf_conntrack_max"),
];

pub(super) fn run(words: &[String]) -> u8 {
    let removes = words.iter().any(|it| it == "-r" || it == "--remove");
    let several = words.iter().any(|it| it == "-a" || it == "--all");
    let quiet = words.iter().any(|it| it == "-q" || it == "--quiet");
    let mut names = words.iter().filter(|it| !it.starts_with('-'));
    // What follows the first name are parameters of that module.
    let names: Vec<&String> = match several {
        true => names.collect(),
        false => names.next().into_iter().collect(),
    };
    if names.is_empty() {
        eprintln!("modprobe: ERROR: missing parameters.");
        return 1;
    }
    let mut code = 0;
    for name in names {
        if removes {
            eprintln!("modprobe: FATAL: Module {name} is the host's: it cannot be removed here.");
            code = 1;
        } else if !has(name) {
            if !quiet {
                eprintln!(
                    "modprobe: FATAL: Module {name} not found: the kernel is the host's. Run `modprobe {name}` there."
                );
            }
            code = 1;
        }
    }
    code
}

/// Whether the kernel can do what the module is for.
fn has(name: &str) -> bool {
    let name = name.replace('-', "_");
    let is_plain = name
        .bytes()
        .all(|it| it.is_ascii_alphanumeric() || it == b'_');
    if name.is_empty() || !is_plain {
        return false;
    }
    let trace = TRACES.iter().find(|(it, _)| *it == name);
    let systems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    trace.is_some_and(|(_, path)| Path::new(path).exists())
        || Path::new("/sys/module").join(&name).is_dir()
        || systems.split_whitespace().any(|it| it == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_has_is_loaded_and_the_rest_is_not_found() {
        for (words, want) in [
            (vec!["proc"], 0),
            (vec!["-a", "proc", "sysfs"], 0),
            (vec!["-a", "proc", "no_such_module"], 1),
            (vec!["proc", "parameter=1"], 0),
            (vec!["no_such_module"], 1),
            (vec!["../module"], 1),
            (vec!["-r", "proc"], 1),
            (vec![], 1),
        ] {
            let given: Vec<String> = words.iter().map(ToString::to_string).collect();
            assert_eq!(run(&given), want, "{words:?}");
        }
    }
}
