//! Reading a probed target's status line: the only bytes of it that count.

/// The longest head of which anything is read.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// What is known of an answer so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusLine {
    /// The line is not complete yet.
    Partial,
    /// The final status.
    Status(u16),
    /// This is not HTTP/1.
    Malformed,
}

/// Finds the final status in what a target answered so far; interim answers (1xx) are passed over.
///
/// Takes any bytes; the caller bounds how many.
pub fn status_of(mut answer: &[u8]) -> StatusLine {
    loop {
        let Some(end) = answer.iter().position(|byte| *byte == b'\n') else {
            let so_far = answer.get(..5).unwrap_or(answer);
            let may_be = b"HTTP/".starts_with(so_far) || so_far == b"HTTP/";
            return if may_be {
                StatusLine::Partial
            } else {
                StatusLine::Malformed
            };
        };
        let Some(status) = parse_line(&answer[..end]) else {
            return StatusLine::Malformed;
        };
        if !(100..200).contains(&status) || status == 101 {
            return StatusLine::Status(status);
        }
        let Some(next) = after_head(answer) else {
            return StatusLine::Partial;
        };
        answer = next;
    }
}

/// `HTTP/1.1 200 OK`; the reason may be absent.
fn parse_line(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [b'0' | b'1', b' ', a, b, c, tail @ ..] = rest else {
        return None;
    };
    let ends = matches!(tail.first(), None | Some(b' ' | b'\r'));
    let digits = [a, b, c].into_iter().all(u8::is_ascii_digit);
    (ends && digits && *a != b'0').then(|| {
        [a, b, c]
            .into_iter()
            .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'))
    })
}

fn after_head(answer: &[u8]) -> Option<&[u8]> {
    let blank = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(&answer[blank + 4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_final_status_counts() {
        for (name, answer, want) in [
            ("ok", &b"HTTP/1.1 200 OK\r\n"[..], StatusLine::Status(200)),
            (
                "1.0",
                b"HTTP/1.0 404 Not Found\r\n",
                StatusLine::Status(404),
            ),
            ("no reason", b"HTTP/1.1 204\r\n", StatusLine::Status(204)),
            ("nothing yet", b"", StatusLine::Partial),
            ("half a line", b"HTTP/1.1 20", StatusLine::Partial),
            (
                "interim",
                b"HTTP/1.1 100 Continue\r\n\r\n",
                StatusLine::Partial,
            ),
            (
                "after interim",
                b"HTTP/1.1 103 x\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\n",
                StatusLine::Status(200),
            ),
            ("ssh", b"SSH-2.0-OpenSSH\r\n", StatusLine::Malformed),
            ("tls alert", b"\x15\x03\x01\x00\x02", StatusLine::Malformed),
            (
                "four digits",
                b"HTTP/1.1 2000 OK\r\n",
                StatusLine::Malformed,
            ),
            ("zero", b"HTTP/1.1 099 x\r\n", StatusLine::Malformed),
            ("http2", b"HTTP/2 200\r\n", StatusLine::Malformed),
        ] {
            assert_eq!(status_of(answer), want, "{name}");
        }
    }
}
