use lath_authz::{ResourceType, Scope};
use lath_control::Cell;
use lath_ec2_kit::instance_types;
use lath_ec2_records::SecurityGroup;
use lath_ec2_records::ids;
use lath_model::id::{SecurityGroupId, VpcId};
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::images;
use crate::instances::{RunInstances, launchable};
use crate::key_pairs;
use crate::launch_templates::applied::{request, tags_of};
use crate::launch_templates::data::{Interface, TemplateData};
use crate::launch_templates::{LAUNCH_TEMPLATE, Named, version};

/// What policies know of launch templates.
pub const LAUNCH_TEMPLATE_TYPE: ResourceType = LAUNCH_TEMPLATE.resource_type;

/// A version of a launch template as it was when nodes were first to be launched from it: what becomes of the template
/// later does not matter to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeTemplate {
    /// The template's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The version's number.
    pub version: i64,
    pub(crate) data: TemplateData,
}

/// The id of the template that a request names; what stands in the request where nothing has it.
pub fn template_id(at: &Scope<'_>, id: Option<&str>, name: Option<&str>) -> Option<String> {
    named(id, name).id(at)
}

fn named<'a>(id: Option<&'a str>, name: Option<&'a str>) -> Named<'a> {
    Named {
        id,
        name,
        to: "launch from",
    }
}

/// The version of a template; the default one where none is named.
///
/// # Errors
/// `InvalidLaunchTemplateId.NotFound`, `InvalidLaunchTemplateName.NotFoundException`,
/// `InvalidLaunchTemplateId.VersionNotFound` and those of a request that names none or two.
pub fn node_template(
    view: &View,
    id: Option<&str>,
    name: Option<&str>,
    wanted: Option<&str>,
) -> Result<NodeTemplate, ApiError> {
    let template = named(id, name).find(view)?;
    let version = version(view, &template, wanted)?;
    Ok(NodeTemplate {
        id: template.id.to_string(),
        name: template.name.clone(),
        version: version.number,
        data: version.data.clone(),
    })
}

impl NodeTemplate {
    /// The instance type that it says.
    pub fn instance_type(&self) -> Option<&str> {
        self.data.instance_type.as_deref()
    }

    /// The image that it says.
    pub fn image(&self) -> Option<&str> {
        self.data.image_id.as_deref()
    }

    /// Whether nodes of an architecture may be launched from its image.
    pub fn has_image_for_nodes(&self, cell: &Cell, view: &View, architecture: &str) -> bool {
        let id = self.image().unwrap_or_default();
        images::for_nodes(cell, view, id, architecture).is_some()
    }

    /// User data in base64.
    pub fn user_data(&self) -> Option<&str> {
        self.data.user_data.as_deref().filter(|it| !it.is_empty())
    }

    /// The groups of its nodes' interfaces; none leaves the choice to the service.
    pub fn groups(&self) -> Vec<String> {
        let of_interfaces = self.data.network_interfaces.iter();
        let of_interfaces = of_interfaces.flat_map(|it| it.groups.0.iter());
        let named = self.data.security_group_ids.iter().chain(of_interfaces);
        named.cloned().collect()
    }

    /// The first of its parameters that a service decides on which launches nodes in its user's name.
    pub fn decided_by_service(&self) -> Option<&'static str> {
        let data = &self.data;
        let interfaces = &data.network_interfaces;
        let any = |is_set: fn(&Interface) -> bool| interfaces.iter().any(is_set);
        let zone = data
            .placement
            .as_ref()
            .and_then(|it| it.availability_zone.as_ref());
        let members = [
            (data.iam_instance_profile.is_some(), "an instance profile"),
            (any(|it| it.subnet_id.is_some()), "subnets"),
            (zone.is_some(), "an Availability Zone"),
            (
                any(|it| it.network_interface_id.is_some()),
                "network interfaces that exist",
            ),
            (
                any(|it| {
                    it.private_ip_address.is_some()
                        || !it.private_ip_addresses.is_empty()
                        || it.secondary_private_ip_address_count.is_some()
                }),
                "private IP addresses",
            ),
            (
                data.instance_initiated_shutdown_behavior.is_some(),
                "an instance initiated shutdown behavior",
            ),
            (
                data.instance_market_options.is_some(),
                "instance market options",
            ),
            (data.hibernation_options.is_some(), "hibernation options"),
            (
                data.instance_requirements.is_some(),
                "instance requirements",
            ),
        ];
        let mut set = members.into_iter().filter(|(is_set, _)| *is_set);
        set.next().map(|(_, name)| name)
    }

    /// Whether nodes of an instance type can be launched from it in a VPC.
    ///
    /// # Errors
    /// What RunInstances would answer.
    pub fn check(
        &self,
        cell: &Cell,
        view: &View,
        vpc: &VpcId,
        instance_type: &str,
    ) -> Result<(), ApiError> {
        let request = self.request(instance_type)?;
        let typed = instance_types::find(instance_type);
        let architecture = match typed {
            Some(typed) if typed.runs("arm64") => "arm64",
            _ => "x86_64",
        };
        let image = images::of_nodes(cell, view, architecture);
        if let (Some(typed), Some(image)) = (typed, image) {
            launchable(&request, &image, typed)?;
        }
        check_groups(&request)?;
        if !request.group_names.is_empty() {
            return Err(lath_ec2_records::errors::combination(
                "The parameter groupName cannot be used with the parameter subnet",
            ));
        }
        if request.network_interfaces.len() > 1 {
            return Err(lath_ec2_records::errors::unsupported(
                "Nodes of clusters have one network interface.",
            ));
        }
        if let Some(name) = request.key_name.as_deref().filter(|it| !it.is_empty()) {
            lath_ec2_records::KeyPair::named(view, name)
                .ok_or_else(|| key_pairs::not_found(name))?;
        }
        let groups = self.groups();
        if groups.len() > 5 {
            return Err(lath_ec2_records::errors::client(
                "SecurityGroupsPerInterfaceLimitExceeded",
                "The maximum number of security groups per interface has been reached.",
            ));
        }
        for id in groups {
            let group = ids::find::<SecurityGroup>(view, &id)?;
            if group.vpc != *vpc {
                return Err(lath_ec2_records::errors::client(
                    "InvalidParameter",
                    format!("Security group {id} belongs to another network than the subnets."),
                ));
            }
        }
        Ok(())
    }

    /// What it asks RunInstances for.
    pub(crate) fn request(&self, instance_type: &str) -> Result<RunInstances, ApiError> {
        let mut request = request(&self.data)?;
        request.instance_type = Some(instance_type.to_owned());
        Ok(request)
    }

    /// The groups as ids, of those that are well-formed.
    pub(crate) fn group_ids(&self) -> Vec<SecurityGroupId> {
        let ids = self.groups().into_iter();
        ids.filter_map(|id| id.parse().ok()).collect()
    }

    /// The tags that it gives to what a launch makes of a type.
    pub(crate) fn tags(&self, resource_type: &str) -> Vec<(String, String)> {
        tags_of(&self.data, resource_type)
    }
}

/// Groups stand in one place.
fn check_groups(request: &RunInstances) -> Result<(), ApiError> {
    if !request.network_interfaces.is_empty() && !request.group_ids.is_empty() {
        return Err(lath_ec2_records::errors::combination(
            "Network interfaces and an instance-level security groups may not be specified on the same request",
        ));
    }
    Ok(())
}
