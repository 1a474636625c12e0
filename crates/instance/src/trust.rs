//! The installation's root certificate in an instance's bundles, so that its programs trust what the authority signs. Runs with
//! the instance's root as `/`.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Where programs of distributions look.
const BUNDLES: [&str; 4] = [
    // Debian, Alpine, Arch.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora.
    "/etc/pki/tls/certs/ca-bundle.crt",
    // SUSE.
    "/etc/ssl/ca-bundle.pem",
    // What OpenSSL of Alpine reads by itself.
    "/etc/ssl/cert.pem",
];
/// From where distributions make their bundles anew.
const SOURCES: [&str; 3] = [
    "/usr/local/share/ca-certificates",
    "/etc/pki/ca-trust/source/anchors",
    "/etc/pki/trust/anchors",
];
const BEGIN: &str = "# Lath: the root of this installation\n";
const END: &str = "# Lath: end\n";
/// Bundles have about 220 kB.
const LONGEST: u64 = 16 << 20;

/// Adds the root to each bundle that there is, and makes one where there is none. What was added before gives way.
pub(crate) fn write(authority: &str) -> io::Result<()> {
    if authority.is_empty() {
        return Ok(());
    }
    for source in SOURCES.iter().filter(|it| Path::new(it).is_dir()) {
        put(&Path::new(source).join("lath.crt"), authority)?;
    }
    let mut found = false;
    for bundle in BUNDLES {
        // The directory may hold links to where the bundle is.
        let Ok(path) = fs::canonicalize(bundle) else {
            continue;
        };
        let Some(text) = read(&path)? else {
            continue;
        };
        found = true;
        let with = with_root(&text, authority);
        if with != text {
            put(&path, &with)?;
        }
    }
    if !found {
        let first = Path::new(BUNDLES[0]);
        first.parent().map_or(Ok(()), fs::create_dir_all)?;
        put(first, &with_root("", authority))?;
    }
    Ok(())
}

/// A bundle that ends in the root.
fn with_root(bundle: &str, authority: &str) -> String {
    let mut text = bundle.to_owned();
    if let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END))
        && begin < end
    {
        text.replace_range(begin..end + END.len(), "");
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + BEGIN + authority + END
}

/// Whatever the instance put there, it must not keep its own boot waiting.
fn read(path: &Path) -> io::Result<Option<String>> {
    let mut options = fs::OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > LONGEST {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
    Ok(String::from_utf8(text).ok())
}

/// Programs see the old file or the new one.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("lath-new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_has_the_root_once_and_the_newest() {
        let once = with_root("other", "ROOT 1\n");
        assert_eq!(once, format!("other\n{BEGIN}ROOT 1\n{END}"));
        assert_eq!(with_root(&once, "ROOT 1\n"), once);
        let later = with_root(&format!("{once}more\n"), "ROOT 2\n");
        assert_eq!(later, format!("other\nmore\n{BEGIN}ROOT 2\n{END}"));
        assert_eq!(with_root("", "R\n"), format!("{BEGIN}R\n{END}"));
    }
}
