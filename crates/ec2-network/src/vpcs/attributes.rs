use lath_ec2_kit::Ec2;
use lath_ec2_kit::made::attributes;
use lath_ec2_kit::messages::{BooleanInput, BooleanValue, Nothing};
use lath_ec2_kit::refused;
use lath_ec2_records::Vpc;
use lath_ec2_records::errors::{combination, invalid_parameter, missing};
use lath_ec2_records::ids;
use lath_ec2_records::resources::Facts;
use lath_service::Refuses;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::messages::{DescribeVpcAttribute, DescribeVpcAttributeResult, ModifyVpcAttribute};

pub(super) fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeVpcAttribute,
) -> Result<DescribeVpcAttributeResult, ApiError> {
    let vpc = ids::find::<Vpc>(view, &op.vpc_id)?;
    let mut answer = DescribeVpcAttributeResult {
        vpc_id: vpc.id.to_string(),
        ..DescribeVpcAttributeResult::default()
    };
    let value = |value| Some(BooleanValue { value });
    match op.attribute.as_str() {
        "enableDnsSupport" => answer.enable_dns_support = value(vpc.dns_support),
        "enableDnsHostnames" => answer.enable_dns_hostnames = value(vpc.dns_hostnames),
        "enableNetworkAddressUsageMetrics" => {
            answer.enable_network_address_usage_metrics = value(false);
        }
        other => return Err(invalid_parameter("attribute", other, "Unknown attribute.")),
    }
    Ok(answer)
}

/// The attributes that a request sets, as policies judge them.
pub(super) fn set(op: &ModifyVpcAttribute) -> Facts {
    let metrics = op.enable_network_address_usage_metrics;
    attributes(&[
        (
            "EnableDnsHostnames",
            BooleanInput::text(op.enable_dns_hostnames),
        ),
        (
            "EnableDnsSupport",
            BooleanInput::text(op.enable_dns_support),
        ),
        (
            "EnableNetworkAddressUsageMetrics",
            BooleanInput::text(metrics),
        ),
    ])
}

/// One attribute per call, as AWS demands.
pub(super) fn modify(_app: &Ec2, tx: &mut Tx, op: ModifyVpcAttribute) -> Result<Nothing, ApiError> {
    let vpc = ids::find::<Vpc>(tx.view(), &op.vpc_id)?;
    op.refuse()?;
    let value = |input: Option<BooleanInput>| input.and_then(|input| input.value);
    let support = value(op.enable_dns_support);
    let hostnames = value(op.enable_dns_hostnames);
    let metrics = value(op.enable_network_address_usage_metrics);
    match [support, hostnames, metrics].iter().flatten().count() {
        0 => return Err(missing("EnableDnsSupport or EnableDnsHostnames")),
        1 => {}
        _ => {
            return Err(combination(
                "Only one VPC attribute can be modified at a time.",
            ));
        }
    }
    if hostnames == Some(true) && !vpc.dns_support {
        return Err(combination(
            "DNS hostnames can be enabled only while DNS support is enabled.",
        ));
    }
    tx.update::<Vpc>(vpc.id.as_str(), |vpc| {
        vpc.dns_support = support.unwrap_or(vpc.dns_support);
        vpc.dns_hostnames = hostnames.unwrap_or(vpc.dns_hostnames);
    });
    Ok(Nothing {})
}

refused! {
    ModifyVpcAttribute { enable_network_address_usage_metrics }
}
