//! Amazon Resource Names: `arn:partition:service:region:account:resource`.

use std::fmt;
use std::str::FromStr;

use crate::partition::Partition;

/// A parsed ARN. The resource part keeps its inner `/` and `:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arn {
    /// Such as `aws` or `aws-cn`: see [`Partition`].
    pub partition: String,
    /// The service namespace, such as `vpc-lattice`.
    pub service: String,
    /// Empty for global resources.
    pub region: String,
    /// Twelve digits, or empty.
    pub account: String,
    /// What follows the fifth colon.
    pub resource: String,
}

/// The text is not an ARN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an ARN: it needs six parts separated by colons and must begin with arn:")]
pub struct InvalidArn;

impl Arn {
    /// The ARN of a resource in a region.
    pub fn new(
        partition: Partition,
        service: &str,
        region: &str,
        account: &str,
        resource: impl Into<String>,
    ) -> Self {
        Self {
            partition: partition.name().into(),
            service: service.into(),
            region: region.into(),
            account: account.into(),
            resource: resource.into(),
        }
    }
}

/// An account in its partition: numbers of accounts mean nothing without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// Where the account is.
    pub partition: Partition,
    /// Twelve digits.
    pub account: &'a str,
}

impl Owner<'_> {
    /// The ARN of a resource of the account in a region.
    pub fn arn_in(self, region: &str, service: &str, resource: impl Into<String>) -> String {
        Arn::new(self.partition, service, region, self.account, resource).to_string()
    }

    /// The ARN of a resource of the account that is in no region, such as IAM's.
    pub fn arn(self, service: &str, resource: impl Into<String>) -> String {
        self.arn_in("", service, resource)
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            service,
            region,
            account,
            resource,
        } = self;
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

impl FromStr for Arn {
    type Err = InvalidArn;
    fn from_str(text: &str) -> Result<Self, InvalidArn> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().map(str::to_owned).ok_or(InvalidArn);
        if next()? != "arn" {
            return Err(InvalidArn);
        }
        Ok(Self {
            partition: next()?,
            service: next()?,
            region: next()?,
            account: next()?,
            resource: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_print_agree() {
        let text = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/x:*";
        let arn: Arn = text.parse().unwrap();
        assert_eq!(arn.resource, "log-group:/aws/x:*");
        assert_eq!(arn.to_string(), text);
        assert!("arn:aws:logs".parse::<Arn>().is_err());
    }

    #[test]
    fn an_arn_names_its_partition() {
        let (cn, gov) = (Partition::China, Partition::UsGov);
        let vpc = Arn::new(cn, "ec2", "cn-north-1", "123456789012", "vpc/vpc-1");
        let want = "arn:aws-cn:ec2:cn-north-1:123456789012:vpc/vpc-1";
        assert_eq!(vpc.to_string(), want);
        let owner = Owner {
            partition: gov,
            account: "123456789012",
        };
        let user = owner.arn("iam", "user/ann");
        assert_eq!(user, "arn:aws-us-gov:iam::123456789012:user/ann");
    }
}
