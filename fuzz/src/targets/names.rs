//! Short texts that requests name things by: ARNs, identifiers, address blocks, status codes, moments,
//! statistics of health checks, page tokens.

use lath_control::paginate;
use lath_model::Timestamp;
use lath_model::arn::Arn;

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(arn) = text.parse::<Arn>() {
        assert_eq!(arn.to_string(), text);
    }
    for (id, _) in lath_lattice::fuzzing::identifiers(text) {
        assert!(text.ends_with(&id));
    }
    if let Some((address, length)) = lath_ec2::fuzzing::cidr(text) {
        let printed = format!("{address}/{length}");
        assert_eq!(lath_ec2::fuzzing::cidr(&printed), Some((address, length)));
    }
    if let Some(ranges) = lath_lattice::fuzzing::status_codes(text) {
        assert!(
            ranges
                .iter()
                .all(|(first, last)| 200 <= *first && first <= last && *last <= 499)
        );
    }
    if let Some(moment) = Timestamp::parse_iso8601(text) {
        assert_eq!(Timestamp::parse_iso8601(&moment.to_string()), Some(moment));
    }
    if let Ok(page) = paginate(["a", "b", "c"], ToString::to_string, 1, Some(text)) {
        let again = paginate(
            ["a", "b", "c"],
            ToString::to_string,
            1,
            page.next_token.as_deref(),
        );
        assert!(page.items.len() <= 1 && again.is_ok());
    }
}
