//! The format of actions and resources in policies, with AWS's messages for invalid ones.

use crate::Grammar;
use crate::parse::{LEGACY, Rank};

/// The partitions that ARNs in policies may name
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>).
const PARTITIONS: &[&str] = &[
    "aws",
    "aws-cn",
    "aws-us-gov",
    "aws-eusc",
    "aws-iso",
    "aws-iso-b",
    "aws-iso-e",
    "aws-iso-f",
];

/// The prefixes of the resource part of IAM's ARNs.
const IAM_KINDS: &[&str] = &[
    "user/",
    "federated-user/",
    "role/",
    "group/",
    "instance-profile/",
    "mfa/",
    "server-certificate/",
    "policy/",
    "sms-mfa/",
    "saml-provider/",
    "oidc-provider/",
    "report/",
    "access-report/",
];

/// The actions that trust policies may contain.
const TRUST_ACTIONS: &[&str] = &[
    "assumerole",
    "assumerolewithsaml",
    "assumerolewithwebidentity",
    "setcontext",
    "setsourceidentity",
    "tagsession",
];

pub(crate) fn is_partition(name: &str) -> bool {
    PARTITIONS.contains(&name)
}

/// The message for an invalid action; `None` for a valid one.
pub(crate) fn action_fault(action: &str, grammar: Grammar) -> Option<String> {
    if action == "*" {
        return (grammar == Grammar::Trust).then(only_sts);
    }
    let Some((vendor, name)) = action.split_once(':') else {
        return Some(
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.".into(),
        );
    };
    if name.contains(':') {
        return Some("Actions/Condition can contain only one colon.".into());
    }
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if vendor != "*" && !vendor.bytes().all(letter) {
        return Some(format!("Vendor {vendor} is not valid"));
    }
    let trusts = vendor.eq_ignore_ascii_case("sts") && names_trust(name);
    (grammar == Grammar::Trust && !trusts).then(only_sts)
}

/// Whether a name with wildcards matches an action of trust policies.
fn names_trust(name: &str) -> bool {
    let Ok(pattern) = crate::Pattern::new(&name.to_ascii_lowercase(), false) else {
        return false;
    };
    let nothing = crate::Context::default();
    let mut known = TRUST_ACTIONS.iter();
    known.any(|action| pattern.matches(action, &nothing))
}

fn only_sts() -> String {
    "AssumeRole policy may only specify STS AssumeRole actions.".into()
}

/// The message for an invalid resource; `None` for a valid one. In a resource policy a pattern such as `*/rates` is
/// valid, because Lattice accepts it.
pub(crate) fn resource_fault(resource: &str, grammar: Grammar) -> Option<(Rank, String)> {
    if resource == "*" || resource.starts_with("${") {
        return None;
    }
    if grammar == Grammar::Resource {
        let parts = resource.splitn(6, ':').count();
        let arn = resource.starts_with("arn:") && (parts == 6 || resource.contains('*'));
        return (!arn && !resource.starts_with('*')).then(|| no_arn(resource));
    }
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    match parts[..] {
        [_] => Some(no_arn(resource)),
        [_, partition, ..] if !is_partition(partition) && partition != "*" => {
            Some((Rank::Resource, bad_partition(&parts)))
        }
        [_, _] => Some((Rank::Resource, unqualified())),
        [_, _, "", ..] => Some((Rank::Legacy, LEGACY.into())),
        [_, _, vendor, ..] if vendor.contains(['*', '?']) => Some((Rank::Resource, unqualified())),
        [_, _, vendor, ref rest @ ..] => of_vendor(resource, vendor, rest),
        [] => None,
    }
}

fn of_vendor(resource: &str, vendor: &str, rest: &[&str]) -> Option<(Rank, String)> {
    let regional = rest.first().is_some_and(|region| !region.is_empty());
    let text = match (vendor, rest) {
        ("iam", _) if regional => {
            format!("IAM resource {resource} cannot contain region information.")
        }
        ("s3", _) if regional => {
            format!("Resource {resource} can not contain region information.")
        }
        ("iam", [_, _, path]) if !is_iam_path(path) => format!(
            "IAM resource path must either be \"*\" or start with {}.",
            IAM_KINDS.join(", ")
        ),
        _ if rest.len() < 3 && resource.contains("::") => {
            return Some((Rank::Legacy, LEGACY.into()));
        }
        _ => return None,
    };
    Some((Rank::Resource, text))
}

/// Whether this is a path of IAM. Wildcards and variables may stand for the kind.
fn is_iam_path(path: &str) -> bool {
    let open = path.starts_with(['*', '?']) || path.starts_with("${");
    open || IAM_KINDS.iter().any(|kind| path.starts_with(kind))
}

fn no_arn(resource: &str) -> (Rank, String) {
    let text = format!("Resource {resource} must be in ARN format or \"*\".");
    (Rank::Resource, text)
}

fn unqualified() -> String {
    "Resource vendor must be fully qualified and cannot contain regexes.".into()
}

/// The message shows the ARN that AWS builds from the parts, with `*` for absent ones.
pub(crate) fn bad_partition(parts: &[&str]) -> String {
    let part = |at: usize| match parts.get(at) {
        None => "*",
        Some(&"") if at == 2 && parts.len() == 3 => "*",
        Some(part) => part,
    };
    format!(
        "Partition \"{0}\" is not valid for resource \"arn:{0}:{1}:{2}:{3}:{4}\".",
        part(1),
        part(2),
        part(3),
        part(4),
        part(5)
    )
}
