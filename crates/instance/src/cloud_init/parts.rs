//! User data taken apart: gzip, MIME multipart, and what each part is by its first line.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// All that user data unpacks to, in bytes (packed it is 16 KiB at most).
const LONGEST: u64 = 8 * 1024 * 1024;
/// Parts of one message; multiparts inside multiparts.
const MOST_PARTS: usize = 64;
const DEEPEST: usize = 4;

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Begins with `#!`.
    Script(Vec<u8>),
    /// Begins with `#cloud-config`.
    Config(String),
}

/// The parts, and what is wrong or not supported, in words.
pub(super) fn split(user_data: &[u8]) -> (Vec<Part>, Vec<String>) {
    let mut splitter = Splitter {
        parts: Vec::new(),
        problems: Vec::new(),
        room: LONGEST,
    };
    splitter.take(user_data, None, 0);
    (splitter.parts, splitter.problems)
}

#[derive(Debug)]
struct Splitter {
    parts: Vec<Part>,
    problems: Vec<String>,
    /// How many bytes may still be unpacked: archives in archives share it.
    room: u64,
}

impl Splitter {
    fn take(&mut self, bytes: &[u8], declared: Option<&str>, depth: usize) {
        if depth > DEEPEST || self.parts.len() >= MOST_PARTS {
            self.problem("user data has too many parts; the rest is ignored");
            return;
        }
        if bytes.starts_with(&[0x1f, 0x8b]) {
            match self.gunzip(bytes) {
                Ok(plain) => self.take(&plain, declared, depth + 1),
                Err(reason) => self.problem(&format!("gzip'd user data is unreadable: {reason}")),
            }
            return;
        }
        if is_multipart(bytes) {
            return self.take_multipart(bytes, depth);
        }
        self.take_plain(bytes, declared);
    }

    fn take_plain(&mut self, bytes: &[u8], declared: Option<&str>) {
        let first = bytes
            .split(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default();
        let first = String::from_utf8_lossy(first).trim_end().to_owned();
        let declared = declared.unwrap_or_default();
        if first.starts_with("#!") {
            self.parts.push(Part::Script(bytes.to_owned()));
        } else if first == "#cloud-config" || declared == "text/cloud-config" {
            self.config(bytes);
        } else if declared == "text/x-shellscript" {
            self.problem("a script must begin with #!; it is ignored");
        } else if bytes.iter().all(u8::is_ascii_whitespace) {
            // Nothing to do.
        } else if first.starts_with('#') || !declared.is_empty() {
            let kind = if first.starts_with('#') {
                &first
            } else {
                declared
            };
            self.problem(&format!(
                "user data of the kind {kind:?} is not supported; it is ignored"
            ));
        } else {
            // As cloud-init: plain data for programs to read from the metadata service.
            self.problem("user data is neither a script nor #cloud-config; nothing is run");
        }
    }

    fn config(&mut self, bytes: &[u8]) {
        match String::from_utf8(bytes.to_owned()) {
            Ok(text) => self.parts.push(Part::Config(text)),
            Err(_) => self.problem("#cloud-config is not UTF-8; it is ignored"),
        }
    }

    fn take_multipart(&mut self, bytes: &[u8], depth: usize) {
        let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap_or((text.as_str(), ""));
        let Some(boundary) = boundary(head) else {
            return self.problem("multipart user data names no boundary; it is ignored");
        };
        let delimiter = format!("\n--{boundary}");
        let body = format!("\n{body}");
        for piece in body.split(delimiter.as_str()).skip(1).take(MOST_PARTS) {
            if piece.starts_with("--") {
                break;
            }
            let piece = piece.split_once('\n').map_or("", |(_, rest)| rest);
            self.take_piece(piece, depth);
        }
    }

    fn take_piece(&mut self, piece: &str, depth: usize) {
        // A part without headers begins with the empty line itself.
        let (head, body) = match piece.strip_prefix('\n') {
            Some(body) => ("", body),
            None => piece.split_once("\n\n").unwrap_or((piece, "")),
        };
        let kind = header(head, "content-type").unwrap_or_default();
        if kind.starts_with("multipart/") {
            return self.take(piece.as_bytes(), None, depth + 1);
        }
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_lowercase();
        let encoding = header(head, "content-transfer-encoding").unwrap_or_default();
        match decode(body, &encoding.to_lowercase()) {
            Ok(bytes) => {
                let declared =
                    Some(kind.as_str()).filter(|kind| !kind.is_empty() && *kind != "text/plain");
                self.take(&bytes, declared, depth + 1);
            }
            Err(reason) => self.problem(&format!("a part of user data is unreadable: {reason}")),
        }
    }

    fn gunzip(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut plain = Vec::new();
        let unpacked = flate2::read::MultiGzDecoder::new(bytes)
            .take(self.room + 1)
            .read_to_end(&mut plain);
        let left = self.room.checked_sub(plain.len() as u64);
        self.room = left.unwrap_or(0);
        unpacked.map_err(|error| error.to_string())?;
        left.map(|_| plain)
            .ok_or_else(|| format!("it unpacks to more than {LONGEST} bytes"))
    }

    fn problem(&mut self, text: &str) {
        if self.problems.len() < MOST_PARTS {
            self.problems.push(text.to_owned());
        }
    }
}

fn is_multipart(bytes: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(512)]).to_lowercase();
    (start.starts_with("content-type:") || start.starts_with("mime-version:"))
        && header(&start.replace("\r\n", "\n"), "content-type")
            .is_some_and(|kind| kind.starts_with("multipart/"))
}

/// A header's value, continuation lines joined.
fn header(head: &str, name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in head.lines().take_while(|line| !line.is_empty()) {
        if let Some(value) = &mut value {
            if !line.starts_with([' ', '\t']) {
                break;
            }
            value.push(' ');
            value.push_str(line.trim());
        } else if let Some((key, rest)) = line.split_once(':')
            && key.trim().eq_ignore_ascii_case(name)
        {
            value = Some(rest.trim().to_owned());
        }
    }
    value
}

fn boundary(head: &str) -> Option<String> {
    let kind = header(head, "content-type")?;
    kind.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (key.trim().eq_ignore_ascii_case("boundary") && !value.is_empty()).then(|| value.to_owned())
    })
}

fn decode(body: &str, encoding: &str) -> Result<Vec<u8>, String> {
    match encoding.trim() {
        "" | "7bit" | "8bit" | "binary" => Ok(body.as_bytes().to_owned()),
        "base64" => {
            let dense: String = body.split_whitespace().collect();
            STANDARD.decode(dense).map_err(|error| error.to_string())
        }
        other => Err(format!("the encoding {other:?} is not supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn script(text: &str) -> Part {
        Part::Script(text.as_bytes().to_owned())
    }

    #[test]
    fn user_data_is_what_its_first_line_says() {
        let config = |text: &str| Part::Config(text.to_owned());
        for (name, given, want, problems) in [
            ("nothing", "", vec![], 0),
            ("blank", "\n \n", vec![], 0),
            (
                "script",
                "#!/bin/sh\ntrue\n",
                vec![script("#!/bin/sh\ntrue\n")],
                0,
            ),
            (
                "config",
                "#cloud-config\na: 1\n",
                vec![config("#cloud-config\na: 1\n")],
                0,
            ),
            ("include", "#include\nhttp://x\n", vec![], 1),
            ("archive", "#cloud-config-archive\n", vec![], 1),
            ("data", "KEY=value\n", vec![], 1),
        ] {
            let (parts, found) = split(given.as_bytes());
            assert_eq!(parts, want, "{name}");
            assert_eq!(found.len(), problems, "{name}: {found:?}");
        }
    }

    #[test]
    fn multipart_is_taken_apart() {
        let given = "Content-Type: multipart/mixed;\n boundary=\"==X==\"\nMIME-Version: 1.0\n\n\
            --==X==\nContent-Type: text/x-shellscript; charset=\"us-ascii\"\n\n#!/bin/sh\necho a\n\
            --==X==\nContent-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\nI2Nsb3Vk\nLWNvbmZpZwo=\n\
            --==X==\nContent-Type: text/x-include-url\n\nhttp://x\n--==X==--\nafter\n";
        for given in [given.to_owned(), given.replace('\n', "\r\n")] {
            let (parts, problems) = split(given.as_bytes());
            let want = [
                script("#!/bin/sh\necho a"),
                Part::Config("#cloud-config\n".into()),
            ];
            assert_eq!(parts, want);
            assert_eq!(problems.len(), 1, "{problems:?}");
        }
    }

    #[test]
    fn gzip_is_unpacked_and_a_bomb_is_not() {
        let pack = |bytes: &[u8]| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            packer.write_all(bytes).unwrap();
            packer.finish().unwrap()
        };
        assert_eq!(split(&pack(b"#!/bin/sh\n")).0, [script("#!/bin/sh\n")]);
        let (parts, problems) = split(&pack(&vec![b'#'; 9 << 20]));
        assert!(parts.is_empty());
        assert!(problems[0].contains("unpacks to more"), "{problems:?}");
    }

    #[test]
    fn many_small_bombs_are_one_bomb() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&vec![b'#'; 3 << 20]).unwrap();
        let piece = format!(
            "--X\nContent-Transfer-Encoding: base64\n\n{}\n",
            STANDARD.encode(packer.finish().unwrap())
        );
        let head = "Content-Type: multipart/mixed; boundary=X\n\n";
        let (parts, problems) = split(format!("{head}{}--X--\n", piece.repeat(4)).as_bytes());
        assert!(parts.is_empty());
        let refused = problems.iter().filter(|it| it.contains("unpacks to more"));
        assert_eq!(refused.count(), 2, "{problems:?}");
    }

    #[test]
    fn nesting_ends() {
        let mut given = b"#!/bin/sh\n".to_vec();
        for _ in 0..10 {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(&given).unwrap();
            given = packer.finish().unwrap();
        }
        let (parts, problems) = split(&given);
        assert!(parts.is_empty() && problems.len() == 1);
    }
}
