//! Extensions to EKS, asked for by tags of clusters.

use lath_control::{Cell, Mode};
use lath_service::Tags;
use lath_wire::ApiError;

use crate::fault;

/// How many seconds pods stay on a node that is not ready or unreachable, where they do not say it themselves. At AWS these
/// are 300, and no setting of a cluster changes that.
const UNREACHABLE: &str = "lath:unreachable-seconds";

/// What they may be.
const RANGE: std::ops::RangeInclusive<u32> = 0..=86_400;

fn read(value: &str) -> Option<u32> {
    value.parse().ok().filter(|seconds| RANGE.contains(seconds))
}

/// Checks tags that a cluster is to have.
///
/// # Errors
/// `InvalidParameterException` in strict mode, or when the tag's value is no number in range.
pub(crate) fn check(cell: &Cell, tags: &Tags) -> Result<(), ApiError> {
    let Some(value) = tags.get(UNREACHABLE) else {
        return Ok(());
    };
    if cell.mode == Mode::Strict {
        let text = format!("The tag {UNREACHABLE} is an extension to AWS: it needs --extended");
        return Err(fault::invalid_parameter(text));
    }
    if read(value).is_none() {
        let (least, most) = RANGE.into_inner();
        let text = format!("The value of {UNREACHABLE} must be a number from {least} to {most}");
        return Err(fault::invalid_parameter(text));
    }
    Ok(())
}

/// The seconds that a cluster's tags ask for.
pub(crate) fn unreachable_seconds(cell: &Cell, tags: &Tags) -> Option<u32> {
    let extended = cell.mode == Mode::Extended;
    tags.get(UNREACHABLE)
        .filter(|_| extended)
        .and_then(|it| read(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_in_range_counts_and_only_in_extended_mode() {
        let (mut cell, _observed) = Cell::for_test();
        let tags = |value: &str| Tags::from([(UNREACHABLE.to_owned(), value.to_owned())]);
        cell.mode = Mode::Strict;
        let refused = check(&cell, &tags("5")).unwrap_err();
        assert_eq!(refused.code, "InvalidParameterException");
        assert!(check(&cell, &Tags::new()).is_ok());
        assert_eq!(unreachable_seconds(&cell, &tags("5")), None);
        cell.mode = Mode::Extended;
        for (value, want) in [
            ("5", Some(5)),
            ("0", Some(0)),
            ("86400", Some(86_400)),
            ("86401", None),
            ("-1", None),
            ("5s", None),
            ("", None),
        ] {
            assert_eq!(
                check(&cell, &tags(value)).is_ok(),
                want.is_some(),
                "{value}"
            );
            assert_eq!(unreachable_seconds(&cell, &tags(value)), want, "{value}");
        }
    }
}
