//! What breaks a constraint of the service's model, in the service's words.

use lath_service::{Violation, detected};
use lath_wire::ApiError;

use super::invalid;

/// Longest names of groups and streams.
const NAME: usize = 512;

/// Every rule that a member's value breaks, in one error.
pub(super) fn broken(member: &str, value: &str, rules: &[String]) -> ApiError {
    let violations: Vec<Violation> = rules
        .iter()
        .map(|rule| Violation::new(member, value, format!("Member must {rule}")).showing(1024))
        .collect();
    invalid(detected(&violations))
}

/// # Errors
/// `InvalidParameterException` unless the text has only characters that `allowed` takes and is not empty.
fn check_text(
    member: &str,
    value: &str,
    pattern: &str,
    allowed: impl Fn(char) -> bool,
) -> Result<(), ApiError> {
    let mut rules = Vec::new();
    if value.is_empty() {
        rules.push("have length greater than or equal to 1".to_owned());
    }
    if !value.chars().all(allowed) || (value.is_empty() && pattern.ends_with('+')) {
        rules.push(format!("satisfy regular expression pattern: {pattern}"));
    }
    if rules.is_empty() {
        Ok(())
    } else {
        Err(broken(member, value, &rules))
    }
}

fn check_length(name: &str) -> Result<(), ApiError> {
    if name.chars().count() <= NAME {
        return Ok(());
    }
    Err(invalid(format!(
        "Invalid LogGroup or LogStream, both must have length less than or equal to {NAME}."
    )))
}

/// A group's name, or what one begins with.
pub(super) fn check_group_name(member: &str, name: &str) -> Result<(), ApiError> {
    check_length(name)?;
    check_text(member, name, "[\\.\\-_/#A-Za-z0-9]+", |c| {
        c.is_ascii_alphanumeric() || ".-_/#".contains(c)
    })
}

/// A stream's name, or what one begins with.
pub(super) fn check_stream_name(member: &str, name: &str) -> Result<(), ApiError> {
    check_length(name)?;
    check_text(member, name, "[^:*]*", |c| !matches!(c, ':' | '*'))
}

/// A group's name or ARN. An ARN that ends in `:*` names the group's streams, and is none.
pub(super) fn check_identifier(member: &str, text: &str) -> Result<(), ApiError> {
    check_text(member, text, "[\\w#+=/:,.@-]*", |c| {
        c.is_ascii_alphanumeric() || "_#+=/:,.@-".contains(c)
    })
}

/// The ARN of something that has tags.
pub(super) fn check_arn(member: &str, text: &str) -> Result<(), ApiError> {
    check_text(member, text, "[\\w+=/:,.@-]*", |c| {
        c.is_ascii_alphanumeric() || "_+=/:,.@-".contains(c)
    })
}

/// 1 to `most`; absent means `most`.
pub(super) fn check_limit(limit: Option<i64>, most: usize) -> Result<usize, ApiError> {
    let Some(limit) = limit else { return Ok(most) };
    match usize::try_from(limit) {
        Ok(fits @ 1..) if fits <= most => Ok(fits),
        Ok(1..) => Err(broken(
            "limit",
            &limit.to_string(),
            &[format!("have value less than or equal to {most}")],
        )),
        _ => Err(broken(
            "limit",
            &limit.to_string(),
            &["have value greater than or equal to 1".to_owned()],
        )),
    }
}

/// Moments are milliseconds since 1970, none before.
pub(super) fn check_moment(member: &str, moment: Option<i64>) -> Result<(), ApiError> {
    match moment {
        Some(early @ ..0) => Err(broken(
            member,
            &early.to_string(),
            &["have value greater than or equal to 0".to_owned()],
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_the_services_words() {
        let long = "a".repeat(513);
        for (refused, want) in [
            (
                check_group_name("logGroupName", "a b"),
                "1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
            ),
            (
                check_group_name("logGroupName", ""),
                "2 validation errors detected: Value '' at 'logGroupName' failed to satisfy constraint: Member must have length greater than or equal to 1; Value '' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
            ),
            (
                check_group_name("logGroupName", &long),
                "Invalid LogGroup or LogStream, both must have length less than or equal to 512.",
            ),
            (
                check_stream_name("logStreamName", "a:b"),
                "1 validation error detected: Value 'a:b' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*",
            ),
            (
                check_stream_name("logStreamName", ""),
                "1 validation error detected: Value '' at 'logStreamName' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ),
            (
                check_arn("resourceArn", "arn:aws:logs:us-east-1:1:log-group:g:*"),
                "1 validation error detected: Value 'arn:aws:logs:us-east-1:1:log-group:g:*' at 'resourceArn' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=/:,.@-]*",
            ),
            (
                check_limit(Some(10_001), 10_000).map(drop),
                "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000",
            ),
            (
                check_limit(Some(0), 50).map(drop),
                "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1",
            ),
            (
                check_moment("startTime", Some(-1)),
                "1 validation error detected: Value '-1' at 'startTime' failed to satisfy constraint: Member must have value greater than or equal to 0",
            ),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(
                (error.code.as_ref(), error.message.as_str()),
                ("InvalidParameterException", want)
            );
        }
    }
}
