//! One target under attack for a moment: with the kept corpus, and with what becomes of it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::mutate::mutated;
use crate::{TARGETS, Target};

/// How many seconds, instead of [`SECONDS`].
const SECONDS_VARIABLE: &str = "LATH_FUZZ_SECONDS";
/// Where the random numbers begin, instead of zero.
const SEED_VARIABLE: &str = "LATH_FUZZ_SEED";
const SECONDS: f64 = 2.0;
/// However slow a machine is, so many mutations are tried.
const LEAST: u32 = 200;

/// Attacks the target of this name, and leaves the input that it failed on below `artifacts`.
pub(crate) fn attack(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.expect("a target has its name");
    let corpus = corpus(name);
    for input in &corpus {
        run(target, input);
    }
    let mut random = StdRng::seed_from_u64(variable(SEED_VARIABLE).unwrap_or(0));
    let budget = Duration::from_secs_f64(variable(SECONDS_VARIABLE).unwrap_or(SECONDS));
    let begin = Instant::now();
    let mut runs = 0_u32;
    while runs < LEAST || begin.elapsed() < budget {
        run(target, &mutated(&mut random, &corpus));
        runs += 1;
    }
    eprintln!(
        "{name}: {} inputs of the corpus, {runs} made of them",
        corpus.len()
    );
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    let value = value.parse().ok();
    assert!(value.is_some(), "{name} is no number");
    value
}

fn run(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let kept = keep(target.name, input);
        eprintln!("{}: fails on {}", target.name, kept.display());
        resume_unwind(panic);
    }
}

fn keep(name: &str, input: &[u8]) -> PathBuf {
    let folder = folder("artifacts", name);
    let path = folder.join("crash");
    let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input));
    kept.expect("the input that it failed on can be kept");
    path
}

/// The kept inputs of a target, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = folder("seeds", name);
    let entries = std::fs::read_dir(&folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("it is readable").path())
        .collect();
    paths.sort();
    let read = |path: &PathBuf| std::fs::read(path).expect("it is readable");
    paths.iter().map(read).collect()
}

fn folder(kind: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_of_seeds_is_a_targets() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
        let mut folders: Vec<_> = std::fs::read_dir(seeds)
            .expect("there are seeds")
            .map(|entry| entry.expect("it is readable").file_name().into_string())
            .map(|name| name.expect("it is text"))
            .collect();
        folders.sort();
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        assert_eq!(folders, names);
    }

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let corpus = [b"GET / HTTP/1.1".to_vec(), b"a=b&c".to_vec()];
        let some = |seed| {
            let mut random = StdRng::seed_from_u64(seed);
            (0..50)
                .map(|_| mutated(&mut random, &corpus))
                .collect::<Vec<_>>()
        };
        assert_eq!(some(1), some(1));
        assert_ne!(some(1), some(2));
    }
}
