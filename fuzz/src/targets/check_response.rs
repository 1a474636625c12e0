//! Responses to Route 53's health checks: read in bounded time, and a search finds nothing that is not there.

use lath_health_checkers::fuzzing;

pub(crate) fn run(bytes: &[u8]) {
    let found = fuzzing::response(bytes, "needle");
    let plain = bytes.windows(6).any(|window| window == b"needle");
    let framed = bytes.to_ascii_lowercase();
    let framed = ["chunked", "gzip", "deflate"].iter().any(|word| {
        framed.windows(word.len()).any(|window| window == word.as_bytes())
    });
    assert!(!found || plain || framed);
    fuzzing::message(bytes);
}
