//! The instance profile and the credentials of its role
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>).

use lath_feed::InstanceProfile;
use serde_json::json;

use super::tree::{Entry, folder, text};

/// Where an unusable role's page leads, as on AWS.
const HELP: &str = "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html#troubleshoot_iam-ec2_errors-info-doc";

/// `iam/`: without a role there are no credentials to list.
pub(super) fn folder_of(profile: &InstanceProfile) -> Entry {
    let mut entries = vec![text("info", info(profile))];
    if let Some(role) = &profile.role {
        let document = vec![text(role, credentials(profile, role))];
        entries.push(folder("security-credentials", document));
    }
    folder("iam", entries)
}

fn info(profile: &InstanceProfile) -> String {
    let code = match profile.role {
        Some(_) => "Success",
        None => "InstanceProfileNotFound",
    };
    pretty(&json!({
        "Code": code,
        "LastUpdated": profile.updated.iso8601_seconds(),
        "InstanceProfileArn": profile.arn,
        "InstanceProfileId": profile.id,
    }))
}

fn credentials(profile: &InstanceProfile, role: &str) -> String {
    let updated = profile.updated.iso8601_seconds();
    let Some(keys) = &profile.keys else {
        return pretty(&json!({
            "Code": "AssumeRoleUnauthorizedAccess",
            "Message": format!("EC2 cannot assume the role {role}. Please see documentation at {HELP}."),
            "LastUpdated": updated,
        }));
    };
    pretty(&json!({
        "Code": "Success",
        "LastUpdated": updated,
        "Type": "AWS-HMAC",
        "AccessKeyId": keys.id,
        "SecretAccessKey": keys.secret.0,
        "Token": keys.token.0,
        "Expiration": keys.expires.iso8601_seconds(),
    }))
}

fn pretty(document: &serde_json::Value) -> String {
    serde_json::to_string_pretty(document).expect("a map of strings has a text form")
}
