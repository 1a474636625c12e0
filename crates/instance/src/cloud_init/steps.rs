//! The boot, step by step, in cloud-init's order.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command as Process, ExitStatus, Stdio};

use super::config::{CloudConfig, Command, WriteFile};
use super::output::Output;
use crate::boot::BootPlan;
use crate::exec::DEFAULT_PATH;

const CLOUD: &str = "/var/lib/cloud";

/// Runs everything; failures are said and do not stop what follows, as with cloud-init.
pub(super) fn run(
    plan: &BootPlan,
    output: &Output,
    configs: &[CloudConfig],
    scripts: &[Vec<u8>],
    first_boot: bool,
) {
    for command in configs.iter().flat_map(|config| &config.bootcmd) {
        run_command("bootcmd", command, output);
    }
    if first_boot {
        first_time(plan, output, configs, scripts);
    }
    run_folder(&Path::new(CLOUD).join("scripts/per-boot"), output);
    output.write_line("finished");
    let _ = fs::write(
        Path::new(CLOUD).join("instance/boot-finished"),
        "finished\n",
    );
}

fn first_time(plan: &BootPlan, output: &Output, configs: &[CloudConfig], scripts: &[Vec<u8>]) {
    let instance = Path::new(CLOUD).join("instances").join(plan.id.as_str());
    let _ = fs::create_dir_all(instance.join("scripts"));
    let _ = std::os::unix::fs::symlink(&instance, Path::new(CLOUD).join("instance"));
    for config in configs {
        config
            .refused
            .iter()
            .for_each(|refused| output.write_line(refused));
        for file in &config.write_files {
            if let Err(error) = write_file(file) {
                output.write_line(&format!("write_files: {}: {error}", file.path));
            }
        }
    }
    for command in configs.iter().flat_map(|config| &config.runcmd) {
        run_command("runcmd", command, output);
    }
    for (number, script) in scripts.iter().enumerate() {
        let name = format!("part-{:03}", number + 1);
        let path = instance.join("scripts").join(&name);
        match write_script(&path, script) {
            Ok(()) => run_process(&name, &mut Process::new(&path), output),
            Err(error) => output.write_line(&format!("{name}: {error}")),
        }
    }
}

fn write_script(path: &Path, script: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o700)
        .open(path)?;
    file.write_all(script)
}

fn run_folder(folder: &Path, output: &Output) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let executable = |metadata: fs::Metadata| {
            metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
        };
        if fs::metadata(&path).is_ok_and(executable) {
            run_process(&path.to_string_lossy(), &mut Process::new(&path), output);
        }
    }
}

fn run_command(kind: &str, command: &Command, output: &Output) {
    let mut process = match command {
        Command::Shell(line) => {
            let mut process = Process::new("/bin/sh");
            process.args(["-c", line]);
            process
        }
        Command::Words(words) => {
            let Some((program, arguments)) = words.split_first() else {
                return;
            };
            let mut process = Process::new(program);
            process.args(arguments);
            process
        }
    };
    run_process(kind, &mut process, output);
}

/// Waits for the process itself, not for what it leaves in the background.
fn run_process(name: &str, process: &mut Process, output: &Output) {
    let status = (|| {
        process
            .stdin(Stdio::null())
            .stdout(output.stdio()?)
            .stderr(output.stdio()?)
            .current_dir("/")
            .env_clear()
            .envs([
                ("PATH", DEFAULT_PATH),
                ("HOME", "/root"),
                ("LANG", "C.UTF-8"),
            ])
            .status()
    })();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => output.write_line(&format!("{name} failed: {}", in_words(status))),
        Err(error) => output.write_line(&format!("{name} could not be started: {error}")),
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, Some(signal)) => format!("killed by signal {signal}"),
        _ => status.to_string(),
    }
}

fn write_file(file: &WriteFile) -> io::Result<()> {
    let path = Path::new(&file.path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut open = fs::OpenOptions::new();
    open.create(true).mode(file.permissions);
    if file.append {
        open.append(true);
    } else {
        open.write(true).truncate(true);
    }
    open.open(path)?.write_all(&file.content)?;
    let (user, group) = file.owner.split_once(':').unwrap_or((&file.owner, ""));
    let user = numbered("/etc/passwd", user)?;
    let group = if group.is_empty() {
        None
    } else {
        Some(numbered("/etc/group", group)?)
    };
    chown(path, Some(user), group)?;
    fs::set_permissions(path, fs::Permissions::from_mode(file.permissions))
}

/// The number of a user or group.
fn numbered(table: &str, name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = fs::read_to_string(table)?;
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))
        .and_then(|fields| fields.get(2)?.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{table} has no {name:?}")))
}
