//! Internet gateways (<https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html>).

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::made::Making as _;
use lath_ec2_kit::messages::Nothing;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag, TagSpecification};
use lath_ec2_records::errors::{client, dependency, has_dependencies, invalid_value, over};
use lath_ec2_records::ids;
use lath_ec2_records::resources::{INTERNET_GATEWAY, VPC};
use lath_ec2_records::{InternetGateway, NetworkInterface, Vpc};
use lath_model::id::{InternetGatewayId, VpcId};
use lath_service::{IdForm, Quota, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

/// How many internet gateways a region may have.
pub(super) const MAX_GATEWAYS: Quota<&str> =
    Quota::new("internet gateways", "InternetGatewayLimitExceeded", 5);

operations! {
    for Ec2 as "ec2";
    change CreateInternetGateway -> CreateInternetGatewayResult = create, dry_run
        => creates(&INTERNET_GATEWAY, |op| &op.tag_specifications);
    change DeleteInternetGateway -> Nothing = delete, dry_run
        => on(&INTERNET_GATEWAY, |op, _| op.internet_gateway_id.clone());
    read DescribeInternetGateways -> DescribeInternetGatewaysResult = describe, dry_run => any();
    change AttachInternetGateway -> Nothing = attach, dry_run
        => on(&INTERNET_GATEWAY, |op, _| op.internet_gateway_id.clone())
            .on(&VPC, |op, _| op.vpc_id.clone());
    change DetachInternetGateway -> Nothing = detach, dry_run
        => on(&INTERNET_GATEWAY, |op, _| op.internet_gateway_id.clone())
            .on(&VPC, |op, _| op.vpc_id.clone());
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateInternetGateway {
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateInternetGatewayResult {
    internet_gateway: GatewayItem,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayItem {
    internet_gateway_id: String,
    owner_id: String,
    #[serde(rename = "attachmentSet")]
    attachments: Vec<GatewayAttachment>,
    #[serde(rename = "tagSet")]
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayAttachment {
    state: String,
    vpc_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteInternetGateway {
    dry_run: Option<bool>,
    internet_gateway_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeInternetGateways {
    next_token: Option<String>,
    max_results: Option<i32>,
    dry_run: Option<bool>,
    #[serde(rename = "InternetGatewayId", default)]
    internet_gateway_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeInternetGatewaysResult {
    #[serde(rename = "internetGatewaySet")]
    internet_gateways: Vec<GatewayItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AttachInternetGateway {
    dry_run: Option<bool>,
    internet_gateway_id: String,
    vpc_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DetachInternetGateway {
    dry_run: Option<bool>,
    internet_gateway_id: String,
    vpc_id: String,
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateInternetGateway,
) -> Result<CreateInternetGatewayResult, ApiError> {
    let tags = tags::specified(&op.tag_specifications, "internet-gateway")?;
    MAX_GATEWAYS.check(&app.cell, tx.view().count::<InternetGateway>() + 1, over)?;
    let gateway = tx.put(InternetGateway {
        id: InternetGatewayId::random(),
        owner: app.cell.account.clone(),
        vpc: None,
    });
    tags::put(tx, gateway.id.as_str(), tags);
    Ok(CreateInternetGatewayResult {
        internet_gateway: item(tx.view(), &gateway),
    })
}

fn delete(_app: &Ec2, tx: &mut Tx, op: DeleteInternetGateway) -> Result<Nothing, ApiError> {
    let gateway = ids::find::<InternetGateway>(tx.view(), &op.internet_gateway_id)?;
    if gateway.vpc.is_some() {
        return Err(has_dependencies("internetGateway", &gateway.id));
    }
    tags::forget(tx, gateway.id.as_str());
    tx.delete::<InternetGateway>(gateway.id.as_str());
    Ok(Nothing {})
}

fn attach(_app: &Ec2, tx: &mut Tx, op: AttachInternetGateway) -> Result<Nothing, ApiError> {
    let gateway = ids::find::<InternetGateway>(tx.view(), &op.internet_gateway_id)?;
    let vpc = ids::find::<Vpc>(tx.view(), &op.vpc_id)?;
    if let Some(other) = &gateway.vpc {
        return Err(client(
            "Resource.AlreadyAssociated",
            format!(
                "resource {} is already attached to network {other}",
                gateway.id
            ),
        ));
    }
    if tx.view().has::<InternetGateway>("vpc", vpc.id.as_str()) {
        return Err(invalid_value(format!(
            "Network {} already has an internet gateway attached",
            vpc.id
        )));
    }
    set_vpc(tx, &gateway.id, Some(vpc.id.clone()));
    Ok(Nothing {})
}

fn detach(_app: &Ec2, tx: &mut Tx, op: DetachInternetGateway) -> Result<Nothing, ApiError> {
    let gateway = ids::find::<InternetGateway>(tx.view(), &op.internet_gateway_id)?;
    let vpc = ids::find::<Vpc>(tx.view(), &op.vpc_id)?;
    if gateway.vpc.as_ref() != Some(&vpc.id) {
        return Err(client(
            "Gateway.NotAttached",
            format!(
                "resource {} is not attached to network {}",
                gateway.id, vpc.id
            ),
        ));
    }
    if has_public_addresses(tx.view(), &vpc.id) {
        return Err(dependency(format!(
            "Network {} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.",
            vpc.id
        )));
    }
    set_vpc(tx, &gateway.id, None);
    Ok(Nothing {})
}

fn set_vpc(tx: &mut Tx, gateway: &InternetGatewayId, vpc: Option<VpcId>) {
    tx.update::<InternetGateway>(gateway.as_str(), |gateway| gateway.vpc = vpc);
}

fn has_public_addresses(view: &View, vpc: &VpcId) -> bool {
    view.by::<NetworkInterface>("vpc", vpc.as_str())
        .any(|interface| interface.addresses.iter().any(|it| it.public.is_some()))
}

fn item(view: &View, gateway: &InternetGateway) -> GatewayItem {
    let attachment = |vpc: &VpcId| GatewayAttachment {
        state: "available".into(),
        vpc_id: vpc.to_string(),
    };
    GatewayItem {
        internet_gateway_id: gateway.id.to_string(),
        owner_id: gateway.owner.clone(),
        attachments: gateway.vpc.iter().map(attachment).collect(),
        tags: tags::of(view, gateway.id.as_str()),
    }
}

impl Listed for GatewayItem {
    const ID: IdForm = INTERNET_GATEWAY.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("internet-gateway-id", |it| {
            vec![it.internet_gateway_id.clone()]
        }),
        ("owner-id", |it| vec![it.owner_id.clone()]),
        ("attachment.state", |it| {
            it.attachments.iter().map(|it| it.state.clone()).collect()
        }),
        ("attachment.vpc-id", |it| {
            it.attachments.iter().map(|it| it.vpc_id.clone()).collect()
        }),
    ];
    fn id(&self) -> &str {
        &self.internet_gateway_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeInternetGateways,
) -> Result<DescribeInternetGatewaysResult, ApiError> {
    let show = |it: &InternetGateway| Some(item(view, it));
    let query = Query {
        ids: &op.internet_gateway_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeInternetGatewaysResult {
        internet_gateways: page.items,
        next_token: page.next_token,
    })
}
