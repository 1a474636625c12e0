//! DescribeAccountAttributes.

use lath_ec2_kit::Ec2;
use lath_ec2_records::Vpc;
use lath_ec2_records::errors::invalid_parameter;
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeAccountAttributes {
    dry_run: Option<bool>,
    #[serde(rename = "AttributeName", default)]
    names: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeAccountAttributesResult {
    account_attribute_set: Vec<Attribute>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attribute {
    attribute_name: String,
    attribute_value_set: Vec<AttributeValue>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttributeValue {
    attribute_value: String,
}

operations! {
    for Ec2 as "ec2";
    read DescribeAccountAttributes -> DescribeAccountAttributesResult = describe, dry_run => any();
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeAccountAttributes,
) -> Result<DescribeAccountAttributesResult, ApiError> {
    let all = attributes(view);
    for name in &op.names {
        if all.iter().all(|known| known.attribute_name != *name) {
            return Err(invalid_parameter(
                "attributeName",
                name,
                "Unknown attribute.",
            ));
        }
    }
    Ok(DescribeAccountAttributesResult {
        account_attribute_set: all
            .into_iter()
            .filter(|it| op.names.is_empty() || op.names.contains(&it.attribute_name))
            .collect(),
    })
}

/// The defaults of a new account.
fn attributes(view: &View) -> Vec<Attribute> {
    let default_vpc = view
        .list::<Vpc>()
        .find(|vpc| vpc.is_default)
        .map_or_else(|| "none".to_owned(), |vpc| vpc.id.to_string());
    [
        ("vpc-max-security-groups-per-interface", "5".to_owned()),
        ("max-instances", "20".to_owned()),
        ("supported-platforms", "VPC".to_owned()),
        ("default-vpc", default_vpc),
        ("max-elastic-ips", "5".to_owned()),
        ("vpc-max-elastic-ips", "5".to_owned()),
    ]
    .map(|(name, value)| Attribute {
        attribute_name: name.into(),
        attribute_value_set: vec![AttributeValue {
            attribute_value: value,
        }],
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lath_control::Cell;

    #[test]
    fn known_attributes_are_told_and_others_refused() {
        let app = Ec2 {
            cell: Cell::for_test().0,
        };
        let ask = |name: &str| {
            let op = DescribeAccountAttributes {
                names: vec![name.into()],
                ..Default::default()
            };
            describe(&app, &View::default(), &op)
        };
        let told = ask("default-vpc").unwrap().account_attribute_set;
        assert_eq!(told[0].attribute_value_set[0].attribute_value, "none");
        let error = ask("shoe-size").unwrap_err();
        assert_eq!(
            (error.code.as_ref(), error.status),
            ("InvalidParameterValue", 400)
        );
    }
}
