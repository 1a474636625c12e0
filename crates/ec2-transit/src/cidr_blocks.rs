//! CIDR blocks of gateways.

use ipnet::IpNet;
use lath_ec2_records::errors::{invalid_value, limit};
use lath_wire::ApiError;

/// How many CIDR blocks a gateway may have.
const MAX_CIDR_BLOCKS: usize = 5;

/// The blocks after additions and removals
/// (<https://docs.aws.amazon.com/vpc/latest/tgw/tgw-transit-gateways.html>).
pub(super) fn blocks(
    now: &[IpNet],
    added: &[String],
    removed: &[String],
) -> Result<Vec<IpNet>, ApiError> {
    let mut blocks = now.to_vec();
    for text in removed {
        let block = cidr_block(text)?;
        if !blocks.contains(&block) {
            return Err(invalid_value(format!(
                "The Transit Gateway has no CIDR block {block}."
            )));
        }
        blocks.retain(|it| *it != block);
    }
    for text in added {
        let block = cidr_block(text)?;
        let overlaps = |it: &IpNet| it.contains(&block) || block.contains(it);
        if blocks.iter().any(overlaps) {
            return Err(invalid_value(format!(
                "The CIDR block {block} overlaps with another one of the Transit Gateway."
            )));
        }
        blocks.push(block);
    }
    if blocks.len() > MAX_CIDR_BLOCKS {
        return Err(limit(
            "TransitGatewayCidrBlocksLimitExceeded",
            "CIDR blocks of a Transit Gateway",
        ));
    }
    Ok(blocks)
}

/// A /24 or larger of IPv4, a /64 or larger of IPv6, and nothing link-local.
fn cidr_block(text: &str) -> Result<IpNet, ApiError> {
    let fits = |block: &IpNet| match block {
        IpNet::V4(block) => block.prefix_len() <= 24 && !block.network().is_link_local(),
        IpNet::V6(block) => block.prefix_len() <= 64,
    };
    text.parse::<IpNet>()
        .ok()
        .map(|block| block.trunc())
        .filter(fits)
        .ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            invalid_value(format!(
                "Value ({shown}) for parameter TransitGatewayCidrBlocks is invalid. Use an IPv4 block of /24 or larger outside 169.254.0.0/16, or an IPv6 block of /64 or larger."
            ))
        })
}
