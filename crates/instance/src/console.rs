//! The console: the newest 64 KiB that an instance wrote, in a file of fixed size.
//!
//! The instance's supervisor writes it, and the process that answers GetConsoleOutput reads it; neither needs
//! the other to live. The file is a header (bytes written ever, milliseconds of the last write, both
//! little-endian) and a ring. The ring is written before the header, so a reader that sees the same
//! header before and after has seen a consistent ring, or one whose oldest bytes are newer than told.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use lath_clock::Clock;
use lath_feed::ConsoleOutput;
use lath_model::Timestamp;

/// How much is kept, in bytes: what GetConsoleOutput answers at most.
pub const CONSOLE_BYTES: usize = 64 * 1024;
const RING: u64 = CONSOLE_BYTES as u64;
const HEADER: u64 = 16;

/// The writing end.
#[derive(Debug)]
pub(crate) struct ConsoleWriter {
    clock: Clock,
    file: File,
    written: u64,
}

impl ConsoleWriter {
    /// Opens the console file, or makes it.
    pub(crate) fn open(path: &Path, clock: Clock) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let written = read_header(&file).map_or(0, |(written, _)| written);
        Ok(Self {
            file,
            clock,
            written,
        })
    }

    /// Appends; only the newest bytes are kept.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let skipped = bytes.len().saturating_sub(CONSOLE_BYTES);
        self.written += skipped as u64;
        let mut rest = &bytes[skipped..];
        while !rest.is_empty() {
            let at = self.written % RING;
            let room = usize::try_from(RING - at).expect("the ring is 64 KiB");
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.file.write_all_at(now, HEADER + at)?;
            self.written += now.len() as u64;
            rest = later;
        }
        self.write_header()
    }

    fn write_header(&self) -> io::Result<()> {
        let mut header = [0; HEADER as usize];
        header[..8].copy_from_slice(&self.written.to_le_bytes());
        header[8..].copy_from_slice(&self.clock.now().as_millis().to_le_bytes());
        self.file.write_all_at(&header, 0)
    }
}

fn read_header(file: &File) -> io::Result<(u64, i64)> {
    let mut header = [0; HEADER as usize];
    file.read_exact_at(&mut header, 0)?;
    let (written, at) = header.split_at(8);
    Ok((
        u64::from_le_bytes(written.try_into().expect("eight bytes")),
        i64::from_le_bytes(at.try_into().expect("eight bytes")),
    ))
}

/// Reads a console file, oldest byte first.
///
/// # Errors
/// What opening or reading said; an empty file is an empty console.
pub(crate) fn read(path: &Path) -> io::Result<ConsoleOutput> {
    let file = File::open(path)?;
    for _ in 0..8 {
        let Ok(before) = read_header(&file) else {
            return Ok(ConsoleOutput::default());
        };
        let bytes = read_ring(&file, before.0)?;
        if read_header(&file)? == before {
            return Ok(output(bytes, before.1));
        }
    }
    // A writer faster than this reader: the order of the oldest lines may be off.
    let (written, at) = read_header(&file)?;
    Ok(output(read_ring(&file, written)?, at))
}

fn output(bytes: Vec<u8>, at: i64) -> ConsoleOutput {
    ConsoleOutput {
        bytes,
        at: Timestamp::from_millis(at),
    }
}

fn read_ring(file: &File, written: u64) -> io::Result<Vec<u8>> {
    let kept = usize::try_from(written.min(RING)).expect("at most 64 KiB");
    let mut ring = vec![0; kept];
    file.read_exact_at(&mut ring, HEADER)?;
    if written > RING {
        let oldest = usize::try_from(written % RING).expect("less than 64 KiB");
        ring.rotate_left(oldest);
    }
    Ok(ring)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_bytes_survive_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        let all: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        for (name, chunk) in [("small", 7), ("medium", 4096), ("past the ring", 100_000)] {
            let _ = std::fs::remove_file(&path);
            let mut written = 0;
            for piece in all.chunks(chunk) {
                // Reopened each time, as after a restart of the supervisor.
                let mut writer = ConsoleWriter::open(&path, Clock::system()).unwrap();
                writer.write(piece).unwrap();
                written += piece.len();
                if written < 2 * chunk || written == all.len() {
                    let start = written.saturating_sub(CONSOLE_BYTES);
                    assert_eq!(read(&path).unwrap().bytes, all[start..written], "{name}");
                }
            }
            let size = std::fs::metadata(&path).unwrap().len();
            assert!(size <= HEADER + RING, "{name}: {size}");
        }
    }

    #[test]
    fn an_empty_file_is_an_empty_console() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(read(file.path()).unwrap().bytes.is_empty());
    }
}
