//! Attributes of instances: one at a time, as AWS has it.

use lath_ec2_kit::Ec2;
use lath_ec2_kit::instance_types;
use lath_ec2_kit::made::{ATTRIBUTES, attributes};
use lath_ec2_kit::messages::{BooleanInput, BooleanValue, Nothing, TextInput, TextValue};
use lath_ec2_kit::refused;
use lath_ec2_network::interfaces::limits;
use lath_ec2_records::errors::{
    client, combination, invalid_parameter, invalid_value, missing, unsupported,
};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::interfaces::checked_groups;
use lath_ec2_records::resources::{Facts, INSTANCE, SECURITY_GROUP};
use lath_ec2_records::{Instance, InstanceState, MetadataOptions, NetworkInterface, Subnet};
use lath_service::{Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::{ApiError, Blob};
use serde::{Deserialize, Serialize};

use super::launch::{on_shutdown, user_data};
use super::network::check_number;
use super::options::not_optimized;
use super::request::{MetadataOptionsInput, Structure};
use super::response::{
    BlockDeviceItem, GroupIdentifier, MetadataOptionsItem, ProductCode, ROOT_DEVICE, Showing,
    block_devices,
};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeInstanceAttribute {
    dry_run: Option<bool>,
    instance_id: String,
    attribute: String,
}

/// The instance's id and the one attribute.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceAttribute {
    block_device_mapping: Option<Vec<BlockDeviceItem>>,
    disable_api_termination: Option<BooleanValue>,
    ena_support: Option<BooleanValue>,
    enclave_options: Option<super::response::EnclaveItem>,
    ebs_optimized: Option<BooleanValue>,
    instance_id: String,
    instance_initiated_shutdown_behavior: Option<TextValue>,
    instance_type: Option<TextValue>,
    kernel: Option<Nothing>,
    product_codes: Option<Vec<ProductCode>>,
    ramdisk: Option<Nothing>,
    root_device_name: Option<TextValue>,
    source_dest_check: Option<BooleanValue>,
    sriov_net_support: Option<Nothing>,
    user_data: Option<OptionalText>,
    disable_api_stop: Option<BooleanValue>,
    group_set: Option<Vec<GroupIdentifier>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OptionalText {
    value: Option<String>,
}

/// Either the typed members, or `Attribute` with `Value`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyInstanceAttribute {
    source_dest_check: Option<BooleanInput>,
    disable_api_stop: Option<BooleanInput>,
    dry_run: Option<bool>,
    instance_id: String,
    attribute: Option<String>,
    value: Option<String>,
    #[serde(rename = "BlockDeviceMapping", default)]
    block_devices: Vec<Structure>,
    disable_api_termination: Option<BooleanInput>,
    instance_type: Option<TextInput>,
    kernel: Option<Structure>,
    ramdisk: Option<Structure>,
    user_data: Option<BlobInput>,
    instance_initiated_shutdown_behavior: Option<TextInput>,
    #[serde(rename = "GroupId", default)]
    groups: Vec<String>,
    ebs_optimized: Option<BooleanInput>,
    sriov_net_support: Option<Structure>,
    ena_support: Option<BooleanInput>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BlobInput {
    value: Option<Blob>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResetInstanceAttribute {
    dry_run: Option<bool>,
    instance_id: String,
    attribute: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyInstanceMetadataOptions {
    instance_id: String,
    http_tokens: Option<String>,
    http_put_response_hop_limit: Option<i32>,
    http_endpoint: Option<String>,
    dry_run: Option<bool>,
    http_protocol_ipv6: Option<String>,
    instance_metadata_tags: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModifyInstanceMetadataOptionsResult {
    instance_id: String,
    instance_metadata_options: MetadataOptionsItem,
}

operations! {
    for Ec2 as "ec2";
    read DescribeInstanceAttribute -> InstanceAttribute = describe, dry_run
        => on(&INSTANCE, |op, _| op.instance_id.clone());
    change ModifyInstanceAttribute -> Nothing = modify, dry_run
        => on(&INSTANCE, |op, _| op.instance_id.clone())
            .with_all(ATTRIBUTES, |op, _| op.set())
            .on(&SECURITY_GROUP, |op, _| op.wanted_groups())
        => refusing ["" ModifyInstanceAttribute];
    change ResetInstanceAttribute -> Nothing = reset, dry_run => on(&INSTANCE, |op, _| op.instance_id.clone());
    change ModifyInstanceMetadataOptions -> ModifyInstanceMetadataOptionsResult = modify_metadata, dry_run
        => on(&INSTANCE, |op, _| op.instance_id.clone()).with_all(ATTRIBUTES, |op, _| op.set());
}

impl ModifyInstanceAttribute {
    /// What it sets, under the names of the members; `Attribute` names one of them with a small first letter.
    fn set(&self) -> Facts {
        let boolean = |given: Option<BooleanInput>| given?.value.map(|it| it.to_string());
        let text = |given: &Option<TextInput>| given.as_ref()?.value.clone();
        let name = self.attribute.as_deref().unwrap_or_default();
        let (first, rest) = name.split_at_checked(1).unwrap_or_default();
        let name = first.to_ascii_uppercase() + rest;
        let named = self.attribute.as_ref().map(|_| self.value.clone());
        let groups = (!self.groups.is_empty()).then(|| self.groups.join(","));
        let user_data = self.user_data.as_ref().and_then(|it| it.value.as_ref());
        attributes(&[
            (&name, named.map(Option::unwrap_or_default)),
            ("SourceDestCheck", boolean(self.source_dest_check)),
            ("DisableApiStop", boolean(self.disable_api_stop)),
            (
                "DisableApiTermination",
                boolean(self.disable_api_termination),
            ),
            ("EnaSupport", boolean(self.ena_support)),
            ("EbsOptimized", boolean(self.ebs_optimized)),
            ("InstanceType", text(&self.instance_type)),
            (
                "InstanceInitiatedShutdownBehavior",
                text(&self.instance_initiated_shutdown_behavior),
            ),
            ("UserData", user_data.map(base64)),
            ("GroupSet", groups),
        ])
    }

    fn wanted_groups(&self) -> Vec<String> {
        let is_groups = self.attribute.as_deref() == Some("groupSet");
        let named = self.value.clone().filter(|_| is_groups);
        self.groups.iter().cloned().chain(named).collect()
    }
}

impl ModifyInstanceMetadataOptions {
    fn set(&self) -> Facts {
        let hops = self.http_put_response_hop_limit;
        attributes(&[
            ("HttpTokens", self.http_tokens.clone()),
            ("HttpPutResponseHopLimit", hops.map(|it| it.to_string())),
            ("HttpEndpoint", self.http_endpoint.clone()),
            ("HttpProtocolIpv6", self.http_protocol_ipv6.clone()),
            ("InstanceMetadataTags", self.instance_metadata_tags.clone()),
        ])
    }
}

fn base64(blob: &Blob) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(&blob.0)
}

fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeInstanceAttribute,
) -> Result<InstanceAttribute, ApiError> {
    let it = ids::find::<Instance>(view, &op.instance_id)?;
    let mut shown = InstanceAttribute {
        instance_id: it.id.to_string(),
        ..InstanceAttribute::default()
    };
    let boolean = |value| Some(BooleanValue { value });
    let text = |value: &str| {
        Some(TextValue {
            value: value.to_owned(),
        })
    };
    let item = Showing::new(&app.cell, view).instance(&it);
    match op.attribute.as_str() {
        "blockDeviceMapping" => shown.block_device_mapping = Some(block_devices(&it)),
        "disableApiTermination" => {
            shown.disable_api_termination = boolean(it.termination_protected);
        }
        "disableApiStop" => shown.disable_api_stop = boolean(it.stop_protected),
        "ebsOptimized" => shown.ebs_optimized = boolean(it.options.ebs_optimized),
        "enaSupport" => shown.ena_support = boolean(true),
        "enclaveOptions" => shown.enclave_options = Some(item.enclave_options),
        "groupSet" => shown.group_set = Some(item.group_set),
        "instanceInitiatedShutdownBehavior" => {
            shown.instance_initiated_shutdown_behavior = text(it.on_shutdown.name());
        }
        "instanceType" => shown.instance_type = text(&it.instance_type),
        "kernel" => shown.kernel = Some(Nothing {}),
        "productCodes" => shown.product_codes = Some(Vec::new()),
        "ramdisk" => shown.ramdisk = Some(Nothing {}),
        "rootDeviceName" => shown.root_device_name = text(ROOT_DEVICE),
        "sourceDestCheck" => shown.source_dest_check = item.source_dest_check.and_then(boolean),
        "sriovNetSupport" => shown.sriov_net_support = Some(Nothing {}),
        "userData" => {
            let value = it.user_data.clone();
            shown.user_data = Some(OptionalText { value });
        }
        other => return Err(unknown_attribute(other)),
    }
    Ok(shown)
}

fn unknown_attribute(name: &str) -> ApiError {
    let shown: String = name.chars().take(64).collect();
    invalid_parameter("attribute", shown, "Unknown attribute.")
}

fn modify(_app: &Ec2, tx: &mut Tx, op: ModifyInstanceAttribute) -> Result<Nothing, ApiError> {
    op.refuse()?;
    if op.ena_support.and_then(|it| it.value) == Some(false) {
        return Err(unsupported(
            "Instances always have the elastic network adapter.",
        ));
    }
    let instance = ids::find::<Instance>(tx.view(), &op.instance_id)?;
    if instance.state.is_ending() {
        return Err(wrong_state(&instance));
    }
    let changes = changes(op)?;
    match changes.as_slice() {
        [] => Err(missing("Attribute")),
        [one] => apply(tx, &instance, one).map(|()| Nothing {}),
        _ => Err(combination("Fields for multiple attribute types specified")),
    }
}

pub(crate) fn wrong_state(instance: &Instance) -> ApiError {
    client(
        "IncorrectInstanceState",
        format!(
            "The instance '{}' is not in a state in which it can be modified.",
            instance.id
        ),
    )
}

/// One change of an attribute.
enum Change {
    SourceDestCheck(bool),
    StopProtection(bool),
    TerminationProtection(bool),
    Type(String),
    /// In base64.
    UserData(String),
    OnShutdown(String),
    Groups(Vec<String>),
    EbsOptimized(bool),
    /// What it is anyway.
    Same,
}

fn changes(op: ModifyInstanceAttribute) -> Result<Vec<Change>, ApiError> {
    let named = op
        .attribute
        .as_deref()
        .map(|name| named_change(name, op.value.clone()))
        .transpose()?;
    let groups = (!op.groups.is_empty()).then_some(Change::Groups(op.groups));
    let boolean = |given: Option<BooleanInput>| given.and_then(|it| it.value);
    let text = |given: Option<TextInput>| given.and_then(|it| it.value);
    let user_data = op.user_data.and_then(|it| it.value);
    Ok([
        named,
        groups,
        boolean(op.source_dest_check).map(Change::SourceDestCheck),
        boolean(op.disable_api_stop).map(Change::StopProtection),
        boolean(op.disable_api_termination).map(Change::TerminationProtection),
        boolean(op.ena_support).map(|_| Change::Same),
        boolean(op.ebs_optimized).map(Change::EbsOptimized),
        text(op.instance_type).map(Change::Type),
        text(op.instance_initiated_shutdown_behavior).map(Change::OnShutdown),
        user_data.map(|blob| Change::UserData(base64(&blob))),
    ]
    .into_iter()
    .flatten()
    .collect())
}

fn named_change(name: &str, value: Option<String>) -> Result<Change, ApiError> {
    let value = value.ok_or_else(|| missing("Value"))?;
    let boolean = || match value.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid_value(format!(
            "The value of {name} must be true or false."
        ))),
    };
    Ok(match name {
        "sourceDestCheck" => Change::SourceDestCheck(boolean()?),
        "disableApiStop" => Change::StopProtection(boolean()?),
        "disableApiTermination" => Change::TerminationProtection(boolean()?),
        "instanceType" => Change::Type(value),
        "userData" => Change::UserData(value),
        "instanceInitiatedShutdownBehavior" => Change::OnShutdown(value),
        "groupSet" => Change::Groups(vec![value]),
        "ebsOptimized" => Change::EbsOptimized(boolean()?),
        "kernel" | "ramdisk" | "sriovNetSupport" | "blockDeviceMapping" | "enaSupport"
        | "enclaveOptions" | "rootDeviceName" | "productCodes" => {
            return Err(unsupported(format!(
                "The attribute {name} cannot be changed."
            )));
        }
        other => return Err(unknown_attribute(other)),
    })
}

fn apply(tx: &mut Tx, instance: &Instance, change: &Change) -> Result<(), ApiError> {
    let id = instance.id.as_str();
    let mut update = |f: &dyn Fn(&mut Instance)| {
        tx.update::<Instance>(id, |it| f(it));
    };
    match change {
        Change::Same => {}
        Change::StopProtection(on) => update(&|it| it.stop_protected = *on),
        Change::TerminationProtection(on) => update(&|it| it.termination_protected = *on),
        Change::OnShutdown(value) => {
            let behaviour = on_shutdown(Some(value))?;
            update(&|it| it.on_shutdown = behaviour);
        }
        Change::Type(name) => {
            let name = new_type(tx.view(), instance, name)?;
            // What was chosen of the old type's cores and credits is not the new one's.
            tx.update::<Instance>(id, |it| {
                name.clone_into(&mut it.instance_type);
                it.options.cpu = None;
                it.options.cpu_credits = None;
            });
        }
        Change::UserData(text) => {
            must_be_stopped(instance, "userData")?;
            let text = user_data(text)?;
            update(&|it| it.user_data = Some(text.clone()));
        }
        Change::SourceDestCheck(on) => {
            update_primary(tx, instance, |it| it.source_dest_check = *on)?;
        }
        Change::Groups(groups) => set_groups(tx, instance, groups)?,
        Change::EbsOptimized(on) => {
            must_be_stopped(instance, "ebsOptimized")?;
            let typed = instance_types::find(&instance.instance_type);
            if *on && typed.is_none_or(|it| it.ebs_optimized == "unsupported") {
                return Err(not_optimized(&instance.instance_type));
            }
            update(&|it| it.options.ebs_optimized = *on);
        }
    }
    Ok(())
}

fn must_be_stopped(instance: &Instance, attribute: &str) -> Result<(), ApiError> {
    if instance.state == InstanceState::Stopped {
        return Ok(());
    }
    Err(client(
        "IncorrectInstanceState",
        format!(
            "The instance '{}' must be in the 'stopped' state to change '{attribute}'.",
            instance.id
        ),
    ))
}

fn new_type(view: &View, instance: &Instance, name: &str) -> Result<&'static str, ApiError> {
    must_be_stopped(instance, "instanceType")?;
    let known = instance_types::find(name)
        .filter(|known| known.runs(&instance.architecture) && known.is_offered())
        .ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            invalid_value(format!("Invalid value '{shown}' for InstanceType."))
        })?;
    limits::check_type(view, &instance.id, known)?;
    Ok(known.name)
}

fn primary(view: &View, instance: &Instance) -> Result<std::sync::Arc<NetworkInterface>, ApiError> {
    instance
        .primary_interface
        .as_ref()
        .and_then(|id| view.get::<NetworkInterface>(id.as_str()))
        .ok_or_else(|| wrong_state(instance))
}

fn update_primary(
    tx: &mut Tx,
    instance: &Instance,
    f: impl FnOnce(&mut NetworkInterface),
) -> Result<(), ApiError> {
    let interface = primary(tx.view(), instance)?;
    tx.update::<NetworkInterface>(interface.id.as_str(), f);
    Ok(())
}

fn set_groups(tx: &mut Tx, instance: &Instance, wanted: &[String]) -> Result<(), ApiError> {
    let mut groups = Vec::new();
    for id in wanted {
        let id = SECURITY_GROUP.id.parse(id)?;
        if !groups.contains(&id) {
            groups.push(id);
        }
    }
    check_number(&groups)?;
    let interface = primary(tx.view(), instance)?;
    let subnet = ids::find::<Subnet>(tx.view(), interface.subnet.as_str())?;
    let groups = checked_groups(tx, &subnet, groups)?;
    update_primary(tx, instance, |it| it.groups = groups)
}

/// Kernels and ramdisks are the host's: there is nothing to reset but the check.
fn reset(_app: &Ec2, tx: &mut Tx, op: ResetInstanceAttribute) -> Result<Nothing, ApiError> {
    let instance = ids::find::<Instance>(tx.view(), &op.instance_id)?;
    match op.attribute.as_str() {
        "sourceDestCheck" => update_primary(tx, &instance, |it| it.source_dest_check = true)?,
        "kernel" | "ramdisk" => {
            return Err(unsupported(format!(
                "The attribute {} cannot be reset.",
                op.attribute
            )));
        }
        other => return Err(unknown_attribute(other)),
    }
    Ok(Nothing {})
}

fn modify_metadata(
    _app: &Ec2,
    tx: &mut Tx,
    op: ModifyInstanceMetadataOptions,
) -> Result<ModifyInstanceMetadataOptionsResult, ApiError> {
    let instance = ids::find::<Instance>(tx.view(), &op.instance_id)?;
    if instance.state.is_ending() {
        return Err(wrong_state(&instance));
    }
    let given = MetadataOptionsInput {
        http_tokens: op.http_tokens,
        http_put_response_hop_limit: op.http_put_response_hop_limit,
        http_endpoint: op.http_endpoint,
        http_protocol_ipv6: op.http_protocol_ipv6,
        instance_metadata_tags: op.instance_metadata_tags,
    };
    let options = metadata_options(instance.metadata.clone(), &given)?;
    let shown = MetadataOptionsItem::from(&options);
    tx.update::<Instance>(instance.id.as_str(), |it| it.metadata = options);
    Ok(ModifyInstanceMetadataOptionsResult {
        instance_id: instance.id.to_string(),
        instance_metadata_options: shown,
    })
}

/// The options with what was given changed.
pub(super) fn metadata_options(
    now: MetadataOptions,
    given: &MetadataOptionsInput,
) -> Result<MetadataOptions, ApiError> {
    let hop_limit = given.http_put_response_hop_limit.unwrap_or(now.hop_limit);
    if !(1..=64).contains(&hop_limit) {
        return Err(invalid_parameter(
            "HttpPutResponseHopLimit",
            hop_limit,
            "Use a number from 1 to 64.",
        ));
    }
    let choose = |member, value: &Option<String>, default, yes, no| match value.as_deref() {
        None => Ok(default),
        Some(value) if value == yes => Ok(true),
        Some(value) if value == no => Ok(false),
        Some(other) => Err(invalid_parameter(
            member,
            other.chars().take(64).collect::<String>(),
            &format!("Use {yes} or {no}."),
        )),
    };
    let ipv6 = choose(
        "HttpProtocolIpv6",
        &given.http_protocol_ipv6,
        false,
        "enabled",
        "disabled",
    )?;
    if ipv6 {
        return Err(unsupported("The metadata service has no IPv6 address."));
    }
    let tags = &given.instance_metadata_tags;
    Ok(MetadataOptions {
        enabled: choose(
            "HttpEndpoint",
            &given.http_endpoint,
            now.enabled,
            "enabled",
            "disabled",
        )?,
        tokens_required: choose(
            "HttpTokens",
            &given.http_tokens,
            now.tokens_required,
            "required",
            "optional",
        )?,
        hop_limit,
        tags: choose(
            "InstanceMetadataTags",
            tags,
            now.tags,
            "enabled",
            "disabled",
        )?,
    })
}

refused! {
    ModifyInstanceAttribute { block_devices as "BlockDeviceMapping", kernel, ramdisk, sriov_net_support }
}

#[cfg(test)]
impl DescribeInstanceAttribute {
    pub(super) fn of(id: &str, attribute: &str) -> Self {
        Self {
            instance_id: id.to_owned(),
            attribute: attribute.to_owned(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
impl ResetInstanceAttribute {
    pub(super) fn of(id: &str, attribute: &str) -> Self {
        Self {
            instance_id: id.to_owned(),
            attribute: attribute.to_owned(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
impl ModifyInstanceMetadataOptions {
    pub(super) fn of(id: &str) -> Self {
        Self {
            instance_id: id.to_owned(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
impl ModifyInstanceAttribute {
    pub(super) fn of(id: &str) -> Self {
        Self {
            instance_id: id.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn named(id: &str, attribute: &str, value: &str) -> Self {
        Self {
            attribute: Some(attribute.to_owned()),
            value: Some(value.to_owned()),
            ..Self::of(id)
        }
    }
}
