//! The part of `#cloud-config` that is understood:
//! <https://cloudinit.readthedocs.io/en/latest/reference/modules.html>.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use yaml_rust2::{Yaml, YamlLoader};

/// A document, as far as it is understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CloudConfig {
    /// At every boot, first of all.
    pub(super) bootcmd: Vec<Command>,
    /// Once, after files are written.
    pub(super) runcmd: Vec<Command>,
    /// Once.
    pub(super) write_files: Vec<WriteFile>,
    /// Once.
    pub(super) hostname: Option<String>,
    /// What is in the document and not done, in words.
    pub(super) refused: Vec<String>,
}

/// A command to run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// By `sh -c`.
    Shell(String),
    /// Program and arguments.
    Words(Vec<String>),
}

/// A file to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WriteFile {
    pub(super) path: String,
    pub(super) content: Vec<u8>,
    pub(super) permissions: u32,
    /// `user:group`.
    pub(super) owner: String,
    pub(super) append: bool,
}

/// Unpacked content of one file, in bytes.
const LONGEST_FILE: u64 = 8 * 1024 * 1024;
/// That of all files of a document together, in bytes.
const ALL_FILES: usize = 64 * 1024 * 1024;

impl CloudConfig {
    /// Reads a document.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        super::extent::check(text)?;
        let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
        let mut config = Self::default();
        match documents.first() {
            None | Some(Yaml::Null) => {}
            Some(Yaml::Hash(hash)) => {
                for (key, value) in hash {
                    config.take(&scalar(key).unwrap_or_default(), value);
                }
            }
            Some(_) => return Err("the document is not a mapping".into()),
        }
        Ok(config)
    }

    fn take(&mut self, key: &str, value: &Yaml) {
        match key {
            "bootcmd" => self.bootcmd = self.commands(key, value),
            "runcmd" => self.runcmd = self.commands(key, value),
            "write_files" => self.take_files(value),
            "fqdn" => self.hostname = scalar(value),
            "hostname" => self.hostname = self.hostname.take().or_else(|| scalar(value)),
            // They ask for what Lath does in any case.
            "preserve_hostname" | "manage_etc_hosts" | "output" => {}
            "packages" | "package_update" | "package_upgrade" => self.refused.push(format!(
                "{key} is not supported: install with runcmd, or use an image that has the packages"
            )),
            _ => self
                .refused
                .push(format!("{key} is not supported; it is ignored")),
        }
    }

    fn commands(&mut self, key: &str, value: &Yaml) -> Vec<Command> {
        let Yaml::Array(items) = value else {
            self.refused
                .push(format!("{key} is not a list; it is ignored"));
            return Vec::new();
        };
        let mut commands = Vec::new();
        for item in items {
            let words = item
                .as_vec()
                .map(|words| words.iter().map(scalar).collect());
            match (scalar(item), words) {
                (Some(line), _) => commands.push(Command::Shell(line)),
                (_, Some(Some(words))) => commands.push(Command::Words(words)),
                _ => self
                    .refused
                    .push(format!("an entry of {key} is no command; it is ignored")),
            }
        }
        commands
    }

    fn take_files(&mut self, value: &Yaml) {
        let mut bytes = 0;
        for item in value.as_vec().into_iter().flatten() {
            match write_file(item) {
                Ok(file) => {
                    bytes += file.content.len();
                    if bytes > ALL_FILES {
                        let reason = format!("the files have more than {ALL_FILES} bytes");
                        return self.refused.push(format!("write_files: {reason}"));
                    }
                    self.write_files.push(file);
                }
                Err(reason) => self.refused.push(format!("write_files: {reason}")),
            }
        }
    }
}

fn scalar(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        Yaml::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn write_file(item: &Yaml) -> Result<WriteFile, String> {
    let text = |key: &str| scalar(&item[key]);
    let path = text("path").ok_or("an entry has no path")?;
    if !path.starts_with('/') {
        return Err(format!("{path} is not an absolute path"));
    }
    let content = text("content").unwrap_or_default();
    let encoding = text("encoding").unwrap_or_default();
    let content = decode(content, &encoding).map_err(|reason| format!("{path}: {reason}"))?;
    Ok(WriteFile {
        content,
        permissions: permissions(&item["permissions"]).unwrap_or(0o644),
        owner: text("owner").unwrap_or_else(|| "root:root".into()),
        append: item["append"].as_bool().unwrap_or(false),
        path,
    })
}

/// `'0644'`, `0644` (which YAML reads as a decimal number with these digits) or `0o644`.
fn permissions(value: &Yaml) -> Option<u32> {
    let text = scalar(value)?;
    let digits = text.trim_start_matches("0o");
    u32::from_str_radix(digits, 8)
        .ok()
        .map(|mode| mode & 0o7777)
}

fn decode(content: String, encoding: &str) -> Result<Vec<u8>, String> {
    let unbase64 = |text: &str| {
        let dense: String = text.split_whitespace().collect();
        STANDARD.decode(dense).map_err(|error| error.to_string())
    };
    match encoding {
        "" | "text/plain" => Ok(content.into_bytes()),
        "b64" | "base64" => unbase64(&content),
        "gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64" => {
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(unbase64(&content)?.as_slice())
                .take(LONGEST_FILE + 1)
                .read_to_end(&mut plain)
                .map_err(|error| error.to_string())?;
            if plain.len() as u64 > LONGEST_FILE {
                return Err(format!("it unpacks to more than {LONGEST_FILE} bytes"));
            }
            Ok(plain)
        }
        other => Err(format!("the encoding {other:?} is not supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_understood_part_is_read_and_the_rest_is_named() {
        let text = "#cloud-config
hostname: web
packages: [nginx]
bootcmd:
  - echo early
runcmd:
  - [ sh, -c, 'echo $0', 7 ]
  - echo late
  - {a: b}
write_files:
  - path: /etc/x
    content: aGk=
    encoding: b64
    permissions: '0600'
    owner: nobody:nogroup
  - path: relative
  - path: /etc/y
    append: true
    content: |
      two
      lines
";
        let config = CloudConfig::parse(text).unwrap();
        let shell = |line: &str| Command::Shell(line.into());
        assert_eq!(config.hostname.as_deref(), Some("web"));
        assert_eq!(config.bootcmd, [shell("echo early")]);
        let words = ["sh", "-c", "echo $0", "7"].map(str::to_owned).to_vec();
        assert_eq!(config.runcmd, [Command::Words(words), shell("echo late")]);
        let [x, y] = &config.write_files[..] else {
            panic!("{:?}", config.write_files);
        };
        assert_eq!((x.content.as_slice(), x.permissions), (&b"hi"[..], 0o600));
        assert_eq!(x.owner, "nobody:nogroup");
        assert_eq!(
            (y.content.as_slice(), y.append),
            (&b"two\nlines\n"[..], true)
        );
        assert_eq!(config.refused.len(), 3, "{:?}", config.refused);
        assert!(config.refused[0].starts_with("packages"));
    }

    #[test]
    fn one_bomb_in_many_files_is_refused() {
        use std::io::Write as _;
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&vec![b'x'; 8 << 20]).unwrap();
        let content = STANDARD.encode(packer.finish().unwrap());
        let file = format!("&f {{path: /x, encoding: gz+b64, content: {content}}}");
        let more = ", *f".repeat(20);
        let config = CloudConfig::parse(&format!("write_files: [{file}{more}]\n")).unwrap();
        assert_eq!(config.write_files.len(), 8);
        assert_eq!(config.refused.len(), 1, "{:?}", config.refused);
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for (name, given, fine) in [
            ("empty", "#cloud-config\n", true),
            ("list", "#cloud-config\n- a\n", false),
            ("broken", "#cloud-config\na: [\n", false),
        ] {
            assert_eq!(CloudConfig::parse(given).is_ok(), fine, "{name}");
        }
    }
}
