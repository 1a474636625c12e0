//! Filter patterns of CloudWatch Logs: the first line is the pattern, the rest a message.

use lath_cloudwatch::FilterPattern;

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    let (pattern, message) = text.split_once('\n').unwrap_or((text, ""));
    match pattern.parse::<FilterPattern>() {
        Ok(parsed) => {
            assert!(pattern.len() <= 1024);
            // An answer for itself and for what repeats: libFuzzer's time limit sees what explodes.
            let _ = parsed.matches(message);
            let _ = parsed.matches(&message.repeat(64));
            let _ = parsed.matches(pattern);
        }
        Err(error) => assert!(error.at <= pattern.chars().count().max(1024)),
    }
}
