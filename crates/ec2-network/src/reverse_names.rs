//! DescribeAddressesAttribute: the reverse names of elastic addresses. None can be given one here, so none has
//! one; clients such as Terraform ask for it whenever they read an address.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeAddressesAttribute.html>

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Field;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::Tag;
use lath_ec2_records::Address;
use lath_ec2_records::errors::invalid_parameter;
use lath_ec2_records::resources::ELASTIC_IP;
use lath_service::{IdForm, operations};
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

operations! {
    for Ec2 as "ec2";
    read DescribeAddressesAttribute -> DescribeAddressesAttributeResult = describe, dry_run => any();
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeAddressesAttribute {
    #[serde(rename = "AllocationId", default)]
    allocation_ids: Vec<String>,
    attribute: Option<String>,
    next_token: Option<String>,
    max_results: Option<i32>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeAddressesAttributeResult {
    #[serde(rename = "addressSet")]
    addresses: Vec<AddressAttribute>,
    next_token: Option<String>,
}

/// An address that has a reverse name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddressAttribute {
    public_ip: String,
    allocation_id: String,
    ptr_record: String,
}

/// An address by its allocation, to hold what is asked for against what exists.
#[derive(Serialize)]
struct Known(String);

impl Listed for Known {
    const ID: IdForm = ELASTIC_IP.id;
    const FIELDS: &'static [Field<Self>] = &[];
    fn id(&self) -> &str {
        &self.0
    }
    fn tags(&self) -> &[Tag] {
        &[]
    }
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeAddressesAttribute,
) -> Result<DescribeAddressesAttributeResult, ApiError> {
    if let Some(other) = op.attribute.as_deref().filter(|it| *it != "domain-name") {
        return Err(invalid_parameter("attribute", other, "Invalid attribute."));
    }
    let query = Query {
        ids: &op.allocation_ids,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
        ..Query::default()
    };
    let show = |it: &Address| Some(Known(it.id.to_string()));
    let page = select_records(view, show, &query)?;
    Ok(DescribeAddressesAttributeResult {
        addresses: Vec::new(),
        next_token: page.next_token,
    })
}
