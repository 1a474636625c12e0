//! The size of the machine that a node believes to be: its memory and its processors.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::beneath::{ensure_directory, path_of};
use super::show;
use crate::boot::Limits;

/// What a kubelet reads, shown instead of the host's. `/proc`, `/sys` and `/run` are mounted.
pub(super) fn make(root: &OwnedFd, limits: &Limits) -> io::Result<()> {
    let files = ensure_directory(root.as_fd(), Path::new("run/lath"))?;
    let proc = ensure_directory(root.as_fd(), Path::new("proc"))?;
    let replace = |name: &str, text: String| {
        let file = path_of(&files).join(name);
        fs::write(&file, text)?;
        show(&file, &path_of(&proc).join(name))
    };
    if let Some(memory) = limits.memory_bytes {
        let host = fs::read_to_string("/proc/meminfo")?;
        replace("meminfo", meminfo(&host, memory / 1024))?;
    }
    if let Some(count) = limits.vcpus {
        let host = fs::read_to_string("/proc/cpuinfo")?;
        let count = processors_of(&host, count);
        replace("cpuinfo", cpuinfo(&host, count))?;
        processors(root, count)?;
    }
    Ok(())
}

/// No size is larger than the machine's; there is no swap.
fn meminfo(host: &str, kilobytes: u64) -> String {
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let value: u64 = value.split_whitespace().next()?.parse().ok()?;
        let value = match name {
            "MemTotal" | "MemFree" | "MemAvailable" => kilobytes,
            "SwapTotal" | "SwapFree" | "SwapCached" => 0,
            // An address range and not a size of memory.
            "VmallocTotal" => value,
            _ if line.ends_with("kB") => value.min(kilobytes),
            _ => value,
        };
        let unit = if line.ends_with("kB") { " kB" } else { "" };
        Some(format!("{name}: {value:>12}{unit}\n"))
    };
    host.lines().filter_map(line).collect()
}

/// How many processors to show: a kubelet that saw more than the host has would name them in a cpuset, which the kernel
/// refuses, and never be ready.
fn processors_of(host: &str, wanted: u32) -> u32 {
    let there = host.lines().filter(|it| it.starts_with("processor"));
    match u32::try_from(there.count()) {
        Ok(0) | Err(_) => wanted,
        Ok(there) => wanted.min(there),
    }
}

/// The host's first processor, as many times as the machine has some.
fn cpuinfo(host: &str, count: u32) -> String {
    let first = host.split("\n\n").next().unwrap_or_default();
    let one = |number: u32| {
        let line = |line: &str| match line.split_once(':') {
            Some((name, _))
                if matches!(
                    name.trim(),
                    "processor" | "core id" | "apicid" | "initial apicid"
                ) =>
            {
                format!("{name}: {number}\n")
            }
            Some((name, _)) if matches!(name.trim(), "siblings" | "cpu cores") => {
                format!("{name}: {count}\n")
            }
            _ => format!("{line}\n"),
        };
        first.lines().map(line).collect::<String>() + "\n"
    };
    (0..count).map(one).collect()
}

/// `/sys/devices/system/cpu` with one socket, and no NUMA nodes.
fn processors(root: &OwnedFd, count: u32) -> io::Result<()> {
    let system = ensure_directory(root.as_fd(), Path::new("sys/devices/system"))?;
    let cover = |name: &str| {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let place = path_of(&system).join(name);
        if place.exists() {
            mount(
                Some("lath"),
                &place,
                Some("tmpfs"),
                flags,
                Some("size=1m,mode=755"),
            )?;
        }
        io::Result::Ok(place)
    };
    cover("node")?;
    let place = cover("cpu")?;
    let all = format!("0-{}\n", count.saturating_sub(1));
    let all = if count == 1 { "0\n".to_owned() } else { all };
    for name in ["online", "possible", "present"] {
        fs::write(place.join(name), &all)?;
    }
    for number in 0..count {
        let topology = place.join(format!("cpu{number}/topology"));
        fs::create_dir_all(&topology)?;
        for (name, value) in [("core_id", number), ("physical_package_id", 0)] {
            fs::write(topology.join(name), format!("{value}\n"))?;
        }
        for name in ["thread_siblings_list", "core_cpus_list"] {
            fs::write(topology.join(name), format!("{number}\n"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_machines() {
        let host = "MemTotal:       24596712 kB\nMemFree:         1000 kB\nCached:   900000 kB\nSwapTotal:  5 kB\nHugePages_Total:       0\n";
        let shown = meminfo(host, 4096);
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .map(|it| it.split_whitespace().collect())
            .collect();
        let want = [
            vec!["MemTotal:", "4096", "kB"],
            vec!["MemFree:", "4096", "kB"],
            vec!["Cached:", "4096", "kB"],
            vec!["SwapTotal:", "0", "kB"],
            vec!["HugePages_Total:", "0"],
        ];
        assert_eq!(lines, want);
    }

    #[test]
    fn no_more_processors_than_the_hosts() {
        let host = "processor\t: 0\nmodel name\t: X\n\nprocessor\t: 1\n";
        let shown = [1, 2, 4].map(|wanted| processors_of(host, wanted));
        assert_eq!(shown, [1, 2, 2]);
        assert_eq!(processors_of("", 4), 4);
    }

    #[test]
    fn processors_are_numbered() {
        let host = "processor\t: 3\nmodel name\t: X\ncpu cores\t: 9\n\nprocessor\t: 4\n";
        let want = "processor\t: 0\nmodel name\t: X\ncpu cores\t: 2\n\nprocessor\t: 1\nmodel name\t: X\ncpu cores\t: 2\n\n";
        assert_eq!(cpuinfo(host, 2), want);
    }
}
