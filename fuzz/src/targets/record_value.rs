//! Record values and names of Route 53 in text form.

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    lath_route53::fuzzing::record_value(text);
    lath_route53::fuzzing::domain_name(text);
}
