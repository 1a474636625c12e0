//! Templates of CloudFormation in JSON and YAML.

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    lath_cloudformation::fuzzing::template(text(bytes));
}
