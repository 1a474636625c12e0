//! Filter values with wildcards, against the plain way to match them: the first line is the pattern.

use lath_ec2::fuzzing::matches;

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    let (pattern, text) = text.split_once('\n').unwrap_or((text, ""));
    let found = matches(pattern, text);
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // The plain way takes exponential time.
    if pattern.len() <= 12 && text.len() <= 12 {
        assert_eq!(found, plainly(&pattern, &text));
    }
}

fn plainly(pattern: &[char], text: &[char]) -> bool {
    let skip = |rest| {
        text.split_first()
            .is_some_and(|(_, more)| plainly(rest, more))
    };
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => plainly(rest, text) || skip(pattern),
        ['?', rest @ ..] => plainly(rest, text) || skip(rest),
        ['\\', wanted, rest @ ..] | [wanted, rest @ ..] => {
            text.first() == Some(wanted) && skip(rest)
        }
    }
}
