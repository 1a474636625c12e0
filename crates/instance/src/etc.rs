//! Files that make a copied root this instance's own. Runs with the instance's root as `/`.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use lath_model::WorkloadId;
use sha2::{Digest, Sha256};

use crate::boot::{BootPlan, RootSource};
use crate::trust;

/// The first label of a host name, which is what the kernel and prompts show.
pub(crate) fn short_name(hostname: &str) -> &str {
    hostname.split('.').next().unwrap_or(hostname)
}

/// Writes what must be right before anything runs. User changes survive, except to `resolv.conf`,
/// which DHCP rewrites at each boot on AWS as well.
pub(crate) fn write(plan: &BootPlan, first_boot: bool) -> io::Result<()> {
    replace("/etc/resolv.conf", 0o644, &resolv_conf(plan))?;
    // An instance whose files are in the way, or whose root cannot be written, boots without.
    let _ = trust::write(&plan.authority);
    if !first_boot {
        return Ok(());
    }
    replace("/etc/hostname", 0o644, &format!("{}\n", plan.hostname))?;
    replace("/etc/hosts", 0o644, &hosts(plan))?;
    let switch = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    replace("/etc/nsswitch.conf", 0o644, &nsswitch(&switch))?;
    replace(
        "/etc/machine-id",
        0o444,
        &format!("{}\n", machine_id(&plan.id)),
    )?;
    if plan.root == RootSource::Host {
        replace("/etc/fstab", 0o644, "")?;
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        replace(
            "/etc/shadow",
            0o600,
            &locked(&users, ":*:19000:0:99999:7:::"),
        )?;
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        replace("/etc/gshadow", 0o600, &locked(&groups, ":*::"))?;
    }
    authorize_keys(&plan.ssh_keys)
}

/// Letters, digits, hyphens and dots, as RFC 1123 wants them, and short enough for the kernel.
pub(crate) fn is_hostname(name: &str) -> bool {
    let labels = name.split('.');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    name.len() <= 253
        && labels
            .clone()
            .all(|label| (1..=63).contains(&label.len()) && label.bytes().all(plain))
}

/// The name that the instance gave itself, or was given at its first boot.
pub(crate) fn hostname_file() -> Option<String> {
    // Whatever the instance put there: it must not keep its own boot waiting.
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/etc/hostname")
        .ok()?;
    let mut text = String::new();
    file.metadata().ok().filter(fs::Metadata::is_file)?;
    file.take(256).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned()).filter(|name| is_hostname(name))
}

/// Changes it.
pub(crate) fn set_hostname_file(name: &str) -> io::Result<()> {
    replace("/etc/hostname", 0o644, &format!("{name}\n"))
}

/// Whatever was there, a link to the host's resolver included, gives way to a file.
fn replace(path: &str, mode: u32, content: &str) -> io::Result<()> {
    let path = Path::new(path);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content.as_bytes())
}

fn resolv_conf(plan: &BootPlan) -> String {
    let mut text = String::new();
    if !plan.search.is_empty() {
        text.push_str(&format!("search {}\n", plan.search.join(" ")));
    }
    for server in &plan.nameservers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    text.push_str("options timeout:2 attempts:5\n");
    text
}

fn hosts(plan: &BootPlan) -> String {
    let mut text = String::from(
        "127.0.0.1 localhost localhost.localdomain\n::1 localhost ip6-localhost ip6-loopback\n",
    );
    for (address, names) in &plan.hosts {
        text.push_str(&format!("{address} {}\n", names.join(" ")));
    }
    text
}

/// Other sources of host names ask services of the host by its sockets.
fn nsswitch(given: &str) -> String {
    let mut lines: Vec<&str> = given
        .lines()
        .filter(|line| !line.trim_start().starts_with("hosts:"))
        .collect();
    lines.push("hosts: files dns");
    lines.join("\n") + "\n"
}

/// Thirty-two hexadecimal digits, the same at each boot and different for each instance.
fn machine_id(id: &WorkloadId) -> String {
    match id.instance() {
        Some(id) => {
            let digits = id.as_str().chars().filter(char::is_ascii_hexdigit);
            let digits: String = digits.collect();
            format!("{digits:0>32}").to_lowercase()
        }
        None => {
            let digest = Sha256::digest(id.as_str());
            digest
                .iter()
                .take(16)
                .map(|it| format!("{it:02x}"))
                .collect()
        }
    }
}

/// The names in a `passwd` or `group` file, none with a password.
fn locked(table: &str, rest: &str) -> String {
    table
        .lines()
        .filter_map(|line| line.split(':').next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(|name| format!("{name}{rest}\n"))
        .collect()
}

fn authorize_keys(keys: &[String]) -> io::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let folder = Path::new("/root/.ssh");
    if !folder.is_dir() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let text: String = keys
        .iter()
        .map(|key| format!("{}\n", key.trim_end()))
        .collect();
    replace("/root/.ssh/authorized_keys", 0o600, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_files_and_the_resolver_only() {
        for (name, given, want) in [
            ("nothing", "", "hosts: files dns\n"),
            (
                "other services",
                "passwd: files\nhosts: files mdns4 resolve dns\nservices: db",
                "passwd: files\nservices: db\nhosts: files dns\n",
            ),
        ] {
            assert_eq!(nsswitch(given), want, "{name}");
        }
    }

    #[test]
    fn no_account_has_a_password() {
        let users = "root:x:0:0::/root:/bin/sh\n\n# c\nnobody:x:65534:\n";
        assert_eq!(locked(users, ":*:"), "root:*:\nnobody:*:\n");
    }

    #[test]
    fn host_names_are_checked() {
        let long = "a".repeat(64);
        for (name, fine) in [
            ("web-1", true),
            ("ip-10-0-0-1.ec2.internal", true),
            ("", false),
            ("a..b", false),
            ("a b", false),
            (long.as_str(), false),
        ] {
            assert_eq!(is_hostname(name), fine, "{name}");
        }
    }

    #[test]
    fn machine_ids_have_their_length() {
        let of = |id: &str| machine_id(&id.parse().unwrap());
        assert!(of("i-0123456789abcdef0").ends_with("0123456789abcdef0"));
        assert_ne!(of("control-plane:a"), of("control-plane:b"));
        for id in ["i-0123456789abcdef0", "control-plane:a"] {
            assert_eq!(of(id).len(), 32);
        }
    }
}
