//! Measures the database's writes per second and their latency by number of writers.
//!
//! `cargo run --release -p lath-store --example writes [DIRECTORY]`: first on the disk of the directory (default: the
//! current one), then in memory. The state is made in a subdirectory, which is removed at the end.

#![expect(clippy::print_stdout, reason = "the report is what it is for")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_store::{Db, Kinds, Memory, Record, Store, StoreError, open_dir};
use serde::{Deserialize, Serialize};

/// The duration of each measurement.
const MEASURED: Duration = Duration::from_secs(2);

/// Records in the database before the measurements.
const RECORDS: u64 = 20_000;

#[derive(Clone, Serialize, Deserialize)]
struct Item {
    id: u64,
    generation: u64,
    text: String,
}

impl Record for Item {
    const KIND: &'static str = "bench.item";
    fn id(&self) -> String {
        format!("item-{:017}", self.id)
    }
}

#[tokio::main]
async fn main() -> Result<(), StoreError> {
    let under = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let directory = Removed(Path::new(&under).join(format!(".lath-bench-{}", std::process::id())));
    println!(
        "{:<10} {:>8} {:>12} {:>10} {:>10}",
        "store", "writers", "writes/s", "p50", "p99"
    );
    measure("redb", open_dir(&directory.0)?).await?;
    let started = Instant::now();
    let db = Db::open(open_dir(&directory.0)?, kinds()).await?;
    let records = db.view().list::<Item>().count();
    println!(
        "opened again: {records} records in {:.1?}",
        started.elapsed()
    );
    measure("memory", Arc::new(Memory::new())).await
}

fn kinds() -> Kinds {
    Kinds::default().with::<Item>()
}

async fn measure(name: &str, store: Arc<dyn Store>) -> Result<(), StoreError> {
    let db = Db::open(store, kinds()).await?;
    for first in (0..RECORDS).step_by(1000) {
        let fill = db.write(|tx| {
            (first..first + 1000).for_each(|id| drop(tx.put(item(id, 0))));
            Ok::<_, StoreError>(())
        });
        fill.await?;
    }
    for writers in [1, 8, 64, 512] {
        let mut took = write_with(&db, writers).await?;
        took.sort_unstable();
        let per_second = took.len() as f64 / MEASURED.as_secs_f64();
        let [p50, p99] = [50, 99].map(|percent| took[(took.len() - 1) * percent / 100]);
        println!("{name:<10} {writers:>8} {per_second:>12.0} {p50:>10.1?} {p99:>10.1?}");
    }
    Ok(())
}

fn item(id: u64, generation: u64) -> Item {
    let text = "a record as large as a usual one ".repeat(12);
    Item {
        id,
        generation,
        text,
    }
}

/// Runs this many writers and returns the latency of each write.
async fn write_with(db: &Db, writers: u64) -> Result<Vec<Duration>, StoreError> {
    let end = Instant::now() + MEASURED;
    let running: Vec<_> = (0..writers)
        .map(|writer| tokio::spawn(write_until(db.clone(), writer, end)))
        .collect();
    let mut took = Vec::new();
    for writer in running {
        took.extend(writer.await.map_err(|_| StoreError::Closed)??);
    }
    Ok(took)
}

async fn write_until(db: Db, writer: u64, end: Instant) -> Result<Vec<Duration>, StoreError> {
    let mut took = Vec::new();
    while Instant::now() < end {
        let started = Instant::now();
        let id = (writer * 7919 + took.len() as u64) % RECORDS;
        let write = db.write(|tx| {
            let id = item(id, 0).id();
            tx.update::<Item>(&id, |item| item.generation += 1);
            Ok::<_, StoreError>(())
        });
        write.await?;
        took.push(started.elapsed());
    }
    Ok(took)
}

/// A directory. Dropping this removes it.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // If this fails, the directory's name explains its origin.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
