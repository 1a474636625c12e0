//! Counting without locks: each thread has its own cells and is the only one that writes them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Count {
    Requests,
    ActiveRequests,
    Class2,
    Class3,
    Class4,
    Class5,
    RequestTimeouts,
    Connections,
    ActiveConnections,
    ConnectionErrors,
    ConnectionTimeouts,
    Http1Connections,
    Http2Connections,
    BytesReceived,
    BytesSent,
    /// Client connections that wait for a request and hold no buffers.
    RestingConnections,
    /// Client connections and streams that were ended because their answers were not read.
    Stalled,
    /// Bytes that wait in memory.
    BufferedBytes,
    /// Handshakes of TLS that were completed, and connections that ended in one.
    TlsHandshakes,
    TlsErrors,
    /// Handshakes and requests that were refused for a client's certificate, or for want of one.
    ClientCertificatesRefused,
    /// Requests that were sent again by a rule's policy.
    Retries,
    /// Copies of requests, and those that were not sent because there were too many.
    Copies,
    CopiesDropped,
    /// The sum of request times in microseconds.
    Micros,
}

pub(crate) const COUNTS: usize = Count::Micros as usize + 1;

/// Below CloudWatch's 150 values of one datum.
pub(crate) const BUCKETS: usize = 112;

/// One thread's cells of one thing that is counted.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Cells {
    counts: [AtomicU64; COUNTS],
    times: [AtomicU64; BUCKETS],
}

/// The cells of every thread.
#[derive(Debug)]
pub(crate) struct Counters(Box<[Cells]>);

/// The sum over threads at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) counts: [u64; COUNTS],
    pub(crate) times: [u64; BUCKETS],
}

impl Cells {
    fn new() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            times: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Only the owning thread calls this, so that a load and a store suffice.
    pub(crate) fn add(&self, count: Count, by: u64) {
        bump(&self.counts[count as usize], by);
    }

    /// For the counts that are levels.
    pub(crate) fn subtract(&self, count: Count, by: u64) {
        bump(&self.counts[count as usize], 0_u64.wrapping_sub(by));
    }

    /// For the levels that are known as a whole.
    pub(crate) fn set(&self, count: Count, to: u64) {
        self.counts[count as usize].store(to, Relaxed);
    }

    pub(crate) fn status(&self, status: u16) {
        match status {
            200..=299 => self.add(Count::Class2, 1),
            300..=399 => self.add(Count::Class3, 1),
            400..=499 => self.add(Count::Class4, 1),
            500..=599 => self.add(Count::Class5, 1),
            _ => {}
        }
    }

    pub(crate) fn time(&self, taken: Duration) {
        let micros = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
        self.add(Count::Micros, micros);
        bump(&self.times[bucket(micros)], 1);
    }
}

fn bump(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
}

impl Counters {
    pub(crate) fn new(threads: usize) -> Self {
        Self((0..threads.max(1)).map(|_| Cells::new()).collect())
    }

    pub(crate) fn of(&self, thread: usize) -> &Cells {
        &self.0[thread]
    }

    pub(crate) fn read(&self) -> Reading {
        let mut reading = Reading {
            counts: [0; COUNTS],
            times: [0; BUCKETS],
        };
        for cells in &self.0 {
            for (sum, cell) in reading.counts.iter_mut().zip(&cells.counts) {
                *sum = sum.wrapping_add(cell.load(Relaxed));
            }
            for (sum, cell) in reading.times.iter_mut().zip(&cells.times) {
                *sum = sum.wrapping_add(cell.load(Relaxed));
            }
        }
        reading
    }
}

impl Reading {
    pub(crate) fn get(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    /// What came since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            counts: std::array::from_fn(|i| self.counts[i].wrapping_sub(earlier.counts[i])),
            times: std::array::from_fn(|i| self.times[i].wrapping_sub(earlier.times[i])),
        }
    }
}

/// Four buckets per power of two, from 16 µs (and less) to about an hour (and more).
fn bucket(micros: u64) -> usize {
    let micros = micros.max(16);
    let power = 63 - micros.leading_zeros();
    let quarter = (micros >> (power - 2)) & 3;
    let index = (u64::from(power) - 4) * 4 + quarter;
    usize::try_from(index)
        .unwrap_or(usize::MAX)
        .min(BUCKETS - 1)
}

/// The middle of a bucket, in microseconds.
pub(crate) fn bucket_middle(index: usize) -> f64 {
    let power = i32::try_from(index / 4 + 4).unwrap_or(i32::MAX);
    let quarter = f64::from(u8::try_from(index % 4).unwrap_or(0));
    2_f64.powi(power) * (1.0 + (quarter + 0.5) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_near_the_middle_of_its_bucket() {
        for micros in [16_u64, 17, 100, 999, 12_345, 5_000_000, 600_000_000] {
            let (middle, exact) = (bucket_middle(bucket(micros)), micros as f64);
            assert!(
                (middle - exact).abs() / exact < 0.15,
                "{micros} µs became {middle}"
            );
        }
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn levels_go_up_and_down_across_threads() {
        let counters = Counters::new(2);
        counters.of(0).add(Count::ActiveRequests, 3);
        counters.of(1).add(Count::ActiveRequests, 1);
        counters.of(0).subtract(Count::ActiveRequests, 2);
        assert_eq!(counters.read().get(Count::ActiveRequests), 2);
    }
}
