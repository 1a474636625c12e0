//! Partitions: the worlds that AWS keeps apart, each with accounts, ARNs and domain names of its own.
//!
//! The facts are those of botocore's `partitions.json`, and of the page
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>.

use std::fmt;
use std::str::FromStr;

use crate::arn::InvalidArn;

/// A group of regions that share accounts, IAM and Route 53, and nothing with other partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Partition {
    /// `aws`: the commercial regions, and every region that no other partition claims.
    #[default]
    Aws,
    /// `aws-cn`: `cn-*`.
    China,
    /// `aws-us-gov`: `us-gov-*`.
    UsGov,
    /// `aws-eusc`: `eusc-*`, the European Sovereign Cloud.
    EuSovereign,
    /// `aws-iso`: `us-iso-*`.
    Iso,
    /// `aws-iso-b`: `us-isob-*`.
    IsoB,
    /// `aws-iso-e`: `eu-isoe-*`.
    IsoE,
    /// `aws-iso-f`: `us-isof-*`.
    IsoF,
}

impl Partition {
    /// Every partition.
    pub const ALL: [Self; 8] = [
        Self::Aws,
        Self::China,
        Self::UsGov,
        Self::EuSovereign,
        Self::Iso,
        Self::IsoB,
        Self::IsoE,
        Self::IsoF,
    ];

    /// The partition that a region is in. Unknown regions are in `aws`, as the SDKs have it.
    pub fn of_region(region: &str) -> Self {
        let claims = |it: &Self| it.prefix().is_some_and(|prefix| region.starts_with(prefix));
        Self::ALL.into_iter().find(claims).unwrap_or_default()
    }

    /// The second part of ARNs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::China => "aws-cn",
            Self::UsGov => "aws-us-gov",
            Self::EuSovereign => "aws-eusc",
            Self::Iso => "aws-iso",
            Self::IsoB => "aws-iso-b",
            Self::IsoE => "aws-iso-e",
            Self::IsoF => "aws-iso-f",
        }
    }

    /// What the names of endpoints and public hosts end with.
    pub const fn dns_suffix(self) -> &'static str {
        match self {
            Self::Aws | Self::UsGov => "amazonaws.com",
            Self::China => "amazonaws.com.cn",
            Self::EuSovereign => "amazonaws.eu",
            Self::Iso => "c2s.ic.gov",
            Self::IsoB => "sc2s.sgov.gov",
            Self::IsoE => "cloud.adc-e.uk",
            Self::IsoF => "csp.hci.ic.gov",
        }
    }

    /// The region that signs for global services where a client names none.
    pub const fn global_region(self) -> &'static str {
        match self {
            Self::Aws => "us-east-1",
            Self::China => "cn-northwest-1",
            Self::UsGov => "us-gov-west-1",
            Self::EuSovereign => "eusc-de-east-1",
            Self::Iso => "us-iso-east-1",
            Self::IsoB => "us-isob-east-1",
            Self::IsoE => "eu-isoe-west-1",
            Self::IsoF => "us-isof-south-1",
        }
    }

    /// What EC2 calls itself when it assumes the roles of instances. Most other services have one name in every
    /// partition (<https://docs.amazonaws.cn/en_us/aws/latest/userguide/iam.html>).
    pub const fn ec2_principal(self) -> &'static str {
        match self {
            Self::China => "ec2.amazonaws.com.cn",
            _ => "ec2.amazonaws.com",
        }
    }

    /// The zone of a region's public hosts: `compute-1.amazonaws.com` in us-east-1,
    /// `REGION.compute.amazonaws.com` elsewhere
    /// (<https://docs.aws.amazon.com/vpc/latest/userguide/vpc-dns.html>).
    pub fn public_hosts(region: &str) -> String {
        match region {
            "us-east-1" => "compute-1.amazonaws.com".to_owned(),
            region => format!("{region}.compute.{}", Self::of_region(region).dns_suffix()),
        }
    }

    /// How the names of its regions begin; `None` for the partition of all others.
    const fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Aws => None,
            Self::China => Some("cn-"),
            Self::UsGov => Some("us-gov-"),
            Self::EuSovereign => Some("eusc-"),
            Self::Iso => Some("us-iso-"),
            Self::IsoB => Some("us-isob-"),
            Self::IsoE => Some("eu-isoe-"),
            Self::IsoF => Some("us-isof-"),
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Partition {
    type Err = InvalidArn;

    /// The partition of an ARN's second part.
    fn from_str(name: &str) -> Result<Self, InvalidArn> {
        let known = Self::ALL.into_iter().find(|it| it.name() == name);
        known.ok_or(InvalidArn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_tells_its_partition() {
        for (region, name, suffix, global) in [
            ("us-east-1", "aws", "amazonaws.com", "us-east-1"),
            ("eu-central-1", "aws", "amazonaws.com", "us-east-1"),
            ("moon-base-1", "aws", "amazonaws.com", "us-east-1"),
            ("us-govern-1", "aws", "amazonaws.com", "us-east-1"),
            ("cn-north-1", "aws-cn", "amazonaws.com.cn", "cn-northwest-1"),
            (
                "us-gov-east-1",
                "aws-us-gov",
                "amazonaws.com",
                "us-gov-west-1",
            ),
            (
                "eusc-de-east-1",
                "aws-eusc",
                "amazonaws.eu",
                "eusc-de-east-1",
            ),
            ("us-iso-west-1", "aws-iso", "c2s.ic.gov", "us-iso-east-1"),
            (
                "us-isob-west-1",
                "aws-iso-b",
                "sc2s.sgov.gov",
                "us-isob-east-1",
            ),
            (
                "eu-isoe-west-1",
                "aws-iso-e",
                "cloud.adc-e.uk",
                "eu-isoe-west-1",
            ),
            (
                "us-isof-east-1",
                "aws-iso-f",
                "csp.hci.ic.gov",
                "us-isof-south-1",
            ),
        ] {
            let it = Partition::of_region(region);
            assert_eq!(it.name(), name, "{region}");
            assert_eq!(it.dns_suffix(), suffix, "{region}");
            assert_eq!(it.global_region(), global, "{region}");
            assert_eq!(Partition::of_region(global), it, "{region}");
            assert_eq!(name.parse(), Ok(it));
        }
        assert!("aws-moon".parse::<Partition>().is_err());
    }

    #[test]
    fn hosts_are_named_by_region_and_partition() {
        for (region, want) in [
            ("us-east-1", "compute-1.amazonaws.com"),
            ("eu-west-1", "eu-west-1.compute.amazonaws.com"),
            ("us-gov-west-1", "us-gov-west-1.compute.amazonaws.com"),
            ("cn-north-1", "cn-north-1.compute.amazonaws.com.cn"),
        ] {
            assert_eq!(Partition::public_hosts(region), want);
        }
    }
}
