//! Health checks more often than AWS's five seconds: an extension, asked for by a tag of the target group.

use std::time::Duration;

use lath_control::{Cell, Mode};
use lath_wire::ApiError;

use crate::fault;
use crate::record::Tags;

/// The tag: milliseconds between the starts of two probes, and for one probe.
const TAG: &str = "lath:health-check-interval-ms";

/// What it may be.
const RANGE: std::ops::RangeInclusive<u64> = 100..=300_000;

fn read(value: &str) -> Option<Duration> {
    let millis = value.parse().ok().filter(|millis| RANGE.contains(millis))?;
    Some(Duration::from_millis(millis))
}

/// Checks tags that are being set.
///
/// # Errors
/// `ValidationException` in strict mode, or when the tag's value is no number in range.
pub(crate) fn check(cell: &Cell, tags: &Tags) -> Result<(), ApiError> {
    let Some(value) = tags.get(TAG) else {
        return Ok(());
    };
    if cell.mode == Mode::Strict {
        let message = format!("The tag {TAG} is an extension to AWS: it needs --extended");
        return Err(fault::invalid("tags", message));
    }
    if read(value).is_none() {
        let (least, most) = RANGE.into_inner();
        let message = format!("The value of {TAG} must be a number from {least} to {most}");
        return Err(fault::invalid("tags", message));
    }
    Ok(())
}

/// The interval that a group's tags ask for.
pub(crate) fn interval(cell: &Cell, tags: &Tags) -> Option<Duration> {
    let extended = cell.mode == Mode::Extended;
    tags.get(TAG).filter(|_| extended).and_then(|it| read(it))
}
