//! Answers of resolvers that a drill's clients read: only those to their question count. The first two
//! bytes are the question's number, the rest is the answer.

use lath_drill::fuzzing::read_answer;

pub(crate) fn run(bytes: &[u8]) {
    let Some((number, answer)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let id = u16::from_be_bytes(*number);
    let Some(read) = read_answer(answer, id) else {
        return;
    };
    assert!(answer.starts_with(number), "an answer to another question");
    assert!(read_answer(answer, id.wrapping_add(1)).is_none());
    if let Ok(addresses) = read {
        // A record takes eleven bytes at least, and an A record four more.
        assert!(addresses.len() <= answer.len() / 15);
        assert!(addresses.is_sorted());
    }
}
