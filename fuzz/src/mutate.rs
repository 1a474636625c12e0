//! Inputs made of other inputs.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _};

/// Bytes at which parsers change their mind.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff\r\n \t:;,=&%\"'\\/.*?-_{}[]()<>#$@019azAZ";

/// Longest input: none of the parsers needs more to show what it does.
const LONGEST: usize = 4096;

/// An input that is one of the corpus with some changes.
pub(crate) fn mutated(random: &mut StdRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = corpus.choose(random).cloned().unwrap_or_default();
    for _ in 0..random.random_range(1..=8) {
        change(random, &mut input, corpus);
    }
    input.truncate(LONGEST);
    input
}

fn change(random: &mut StdRng, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = random.random_range(0..=input.len());
    let length = random.random_range(1..=16);
    let end = input.len().min(at + length);
    match random.random_range(0..8) {
        0 => drop(input.drain(at..end)),
        1 => input.truncate(at),
        2 => insert(input, at, &some_bytes(random, length)),
        3 => insert(
            input,
            at,
            &input[at..end].repeat(random.random_range(1..=8)),
        ),
        4 => {
            let other = corpus.choose(random).map_or(&[][..], Vec::as_slice);
            let from = random.random_range(0..=other.len());
            let to = other.len().min(from + random.random_range(1..=64));
            insert(input, at, &other[from..to]);
        }
        5 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        6 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = byte
                    .wrapping_add(random.random_range(0..=4))
                    .wrapping_sub(2);
            }
        }
        _ => {
            if let (Some(byte), Some(telling)) = (input.get_mut(at), TELLING.choose(random)) {
                *byte = *telling;
            }
        }
    }
}

fn some_bytes(random: &mut StdRng, length: usize) -> Vec<u8> {
    let telling = random.random_bool(0.5);
    let mut bytes = vec![0; length];
    random.fill_bytes(&mut bytes);
    if telling {
        for byte in &mut bytes {
            *byte = TELLING[usize::from(*byte) % TELLING.len()];
        }
    }
    bytes
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    drop(input.splice(at..at, bytes.iter().copied()));
}
