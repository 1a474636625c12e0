//! Checks the partition of resources and principals: IAM accepts only its own partition.

use crate::format::bad_partition;
use crate::parse::invalid_principal;
use crate::{Malformed, Policy, PrincipalSet, Scope};

impl Policy {
    /// Checks that all resources and principals belong to `partition`, such as `aws-cn`.
    ///
    /// # Errors
    /// For the first one that does not, with AWS's message.
    pub fn check_partition(&self, partition: &str) -> Result<(), Malformed> {
        for statement in &self.statements {
            if let Some(Scope::These(set) | Scope::AllBut(set)) = &statement.principals {
                check_principals(set, partition)?;
            }
            let Some(Scope::These(list) | Scope::AllBut(list)) = &statement.resources else {
                continue;
            };
            let foreign = |text: &&str| is_foreign(text, partition);
            if let Some(text) = list.iter().map(|it| it.as_str()).find(foreign) {
                let parts: Vec<&str> = text.splitn(6, ':').collect();
                return Err(Malformed(bad_partition(&parts)));
            }
        }
        Ok(())
    }
}

/// Whether an ARN belongs to another partition. A wildcard matches every partition.
fn is_foreign(arn: &str, ours: &str) -> bool {
    let mut parts = arn.splitn(6, ':');
    let named = (parts.next() == Some("arn"))
        .then(|| parts.next())
        .flatten();
    named.is_some_and(|it| it != ours && it != "*")
}

fn check_principals(set: &PrincipalSet, partition: &str) -> Result<(), Malformed> {
    let foreign = |name: &&String| is_foreign(name, partition);
    // China has its own names for some services, and also accepts the common ones.
    let chinese = |name: &&String| name.ends_with(".amazonaws.com.cn") && partition != "aws-cn";
    let found = [
        ("AWS", set.aws.iter().find(foreign)),
        ("Service", set.services.iter().find(chinese)),
        ("Federated", set.federated.iter().find(foreign)),
    ];
    match found.iter().find_map(|(kind, name)| Some((kind, (*name)?))) {
        Some((kind, name)) => Err(Malformed(invalid_principal(kind, name))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grammar;

    #[test]
    fn documents_speak_of_their_own_partition() {
        let resource = |arn: &str| {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Deny","Action":"ec2:*","Resource":["*","{arn}"]}}}}"#
            );
            Policy::parse(&text, Grammar::Identity).unwrap()
        };
        let trust = |kind: &str, name: &str| {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{{"{kind}":"{name}"}},"Action":"sts:AssumeRole"}}}}"#
            );
            Policy::parse(&text, Grammar::Trust).unwrap()
        };
        let vpc = "arn:aws:ec2:*:*:vpc/*";
        let bad_vpc = r#"Partition "aws" is not valid for resource "arn:aws:ec2:*:*:vpc/*"."#;
        let root = "arn:aws:iam::123456789012:root";
        let bad_root = r#"Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:root""#;
        let (ec2, cn) = ("ec2.amazonaws.com", "ec2.amazonaws.com.cn");
        let bad_cn = r#"Invalid principal in policy: "SERVICE":"ec2.amazonaws.com.cn""#;
        for (name, policy, partition, want) in [
            ("its own", resource(vpc), "aws", None),
            ("another's", resource(vpc), "aws-cn", Some(bad_vpc)),
            ("any", resource("arn:*:ec2:*:*:vpc/*"), "aws-us-gov", None),
            ("a root", trust("AWS", root), "aws", None),
            (
                "a foreign root",
                trust("AWS", root),
                "aws-cn",
                Some(bad_root),
            ),
            ("an account", trust("AWS", "123456789012"), "aws-cn", None),
            ("a service", trust("Service", ec2), "aws-cn", None),
            ("a Chinese one", trust("Service", cn), "aws-cn", None),
            (
                "it elsewhere",
                trust("Service", cn),
                "aws-us-gov",
                Some(bad_cn),
            ),
        ] {
            let got = policy.check_partition(partition).err().map(|it| it.0);
            assert_eq!(got.as_deref(), want, "{name}");
        }
    }
}
