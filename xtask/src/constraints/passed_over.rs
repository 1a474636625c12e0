//! The bounds of the models that the tables leave out, each with the reason.

use lath_oracle::Part::{self, Least, Most, Pattern};
use lath_oracle::PassedOver;

const fn row(
    model: &'static str,
    shape: &'static str,
    bound: Part,
    reason: &'static str,
) -> PassedOver {
    PassedOver {
        model,
        shape,
        bound,
        reason,
    }
}

const OWN_WORDS: &str = "the service has words of its own for it, which its handlers say";

/// A row that leaves out nothing is an error.
pub(super) const PASSED_OVER: &[PassedOver] = &[
    row(
        "acm",
        "DomainNameString",
        Pattern,
        "looks ahead inside the expression: names::checked does it",
    ),
    row("cloudwatch", "ExtendedStatistics", Least, OWN_WORDS),
    row("cloudwatch", "Statistics", Least, OWN_WORDS),
    row("ec2", "LaunchTemplateName", Pattern, OWN_WORDS),
    row("eks", "ClusterName", Pattern, OWN_WORDS),
    row(
        "eks",
        "TagMap",
        Least,
        "clients that have no tags send an empty map",
    ),
    row("iam", "existingUserNameType", Pattern, OWN_WORDS),
    row("iam", "groupNameType", Pattern, OWN_WORDS),
    row("iam", "instanceProfileNameType", Pattern, OWN_WORDS),
    row("iam", "pathType", Pattern, OWN_WORDS),
    row("iam", "policyNameType", Pattern, OWN_WORDS),
    row("iam", "policyPathType", Pattern, OWN_WORDS),
    row("iam", "roleNameType", Pattern, OWN_WORDS),
    row("iam", "thumbprintType", Most, OWN_WORDS),
    row("iam", "thumbprintType", Least, OWN_WORDS),
    row("iam", "userNameType", Pattern, OWN_WORDS),
    row(
        "lambda",
        "S3Bucket",
        Pattern,
        "looks behind; Lath has no S3 and refuses the member",
    ),
    row("logs", "LogGroupName", Most, OWN_WORDS),
    row("logs", "LogStreamName", Most, OWN_WORDS),
    row(
        "logs",
        "Tags",
        Least,
        "clients that have no tags send an empty map",
    ),
    row(
        "route53",
        "ResourceId",
        Most,
        "clients send ids with their path in front; ident::resource holds the bare one",
    ),
    row(
        "route53",
        "TagList",
        Most,
        "extended mode has tags of its own beside AWS's ten; tag::change holds the number",
    ),
];
