//! Launch templates of node groups: what EKS takes from them, and what it decides itself
//! (<https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_authz::Scope;
use lath_ec2_compute::managed::{self, NodeTemplate};
use lath_store::View;
use lath_wire::ApiError;

use crate::Eks;
use crate::fault;
use crate::record::{Cluster, NodeGroup};
use crate::shape::*;

/// The amiType of groups whose image is their launch template's.
pub(super) const CUSTOM: &str = "CUSTOM";
/// The MIME type of a NodeConfig.
const NODE_CONFIG: &str = "application/node.eks.aws";
/// What a NodeConfig may not say; what it says of its cluster is what its group knows of it.
const REFUSED: [&str; 4] = ["kubelet:", "containerd:", "instance:", "featureGates:"];

/// The template that a request names.
pub(super) fn id(at: &Scope<'_>, given: Option<&LaunchTemplateSpecification>) -> Option<String> {
    let given = given?;
    managed::template_id(at, given.id.as_deref(), given.name.as_deref())
}

/// The template that a request names.
///
/// # Errors
/// `InvalidParameterException`, with EC2's words where it has no such template or version.
pub(super) fn find(
    view: &View,
    given: &LaunchTemplateSpecification,
) -> Result<NodeTemplate, ApiError> {
    let (id, name) = (given.id.as_deref(), given.name.as_deref());
    match (id, name) {
        (Some(_), Some(_)) => Err(fault::invalid_parameter(
            "You must specify either the launch template ID or the launch template name in the request, but not both.",
        )),
        (None, None) => Err(fault::invalid_parameter(
            "You must specify either the launch template ID or the launch template name in the request.",
        )),
        _ => managed::node_template(view, id, name, given.version.as_deref())
            .map_err(|error| fault::of_ec2(&error)),
    }
}

/// What a request says that its template must say, or the other way round.
///
/// # Errors
/// `InvalidParameterException`, `InvalidRequestException`.
pub(super) fn check_request(op: &CreateNodegroup, template: &NodeTemplate) -> Result<(), ApiError> {
    if op.disk_size.is_some() {
        return Err(fault::invalid_parameter(
            "Disk size must be specified within the launch template.",
        ));
    }
    if op.remote_access.is_some() {
        return Err(fault::invalid_parameter(
            "Remote access configuration cannot be specified with a launch template.",
        ));
    }
    if template.instance_type().is_some() && !op.instance_types.is_empty() {
        return Err(fault::invalid_request(
            "Cannot specify instance types in launch template and API request",
        ));
    }
    if template.image().is_none() {
        return match op.ami_type.as_deref() {
            Some(CUSTOM) => Err(fault::invalid_parameter(
                "You must specify an image id in your launch template, when specifying the AMI Type CUSTOM.",
            )),
            _ => Ok(()),
        };
    }
    if op.ami_type.as_deref().is_some_and(|it| it != CUSTOM) {
        return Err(fault::invalid_parameter(
            "You cannot specify an AMI Type other than CUSTOM, when specifying an image id in your launch template.",
        ));
    }
    check_custom(op.version.as_deref(), op.release_version.as_deref())
}

/// The image of a custom group says which version its nodes have.
fn check_custom(version: Option<&str>, release: Option<&str>) -> Result<(), ApiError> {
    let fields = [("kubernetesVersion", version), ("releaseVersion", release)];
    let set = fields.into_iter().find(|(_, value)| value.is_some());
    set.map_or(Ok(()), |(name, _)| {
        Err(fault::invalid_parameter(format!(
            "You cannot specify the field {name} when using custom AMIs."
        )))
    })
}

/// Whether nodes can be launched from a template.
///
/// # Errors
/// `InvalidParameterException`.
pub(super) fn check(
    app: &Eks,
    view: &View,
    cluster: &Cluster,
    template: &NodeTemplate,
    instance_type: &str,
) -> Result<(), ApiError> {
    let name = &template.name;
    match template.decided_by_service() {
        None => {}
        Some("an instance profile") => {
            return Err(fault::invalid_parameter(format!(
                "Launch template {name} should not specify an instance profile. The noderole in your request will be used to construct an instance profile."
            )));
        }
        Some(other) => {
            return Err(fault::invalid_parameter(format!(
                "Launch template {name} should not specify {other}."
            )));
        }
    }
    let architecture = managed::node_type(instance_type).map_or("x86_64", |it| it.architecture);
    if let Some(image) = template.image()
        && !template.has_image_for_nodes(&app.cell, view, architecture)
    {
        let shown: String = image.chars().take(64).collect();
        return Err(fault::invalid_parameter(format!(
            "Lath does not support nodes of the image {shown}: those of amazon-eks-node-al2023-* are copies of the host, and nothing else is."
        )));
    }
    check_user_data(template)?;
    template
        .check(&app.cell, view, &cluster.vpc, instance_type)
        .map_err(|error| fault::of_ec2(&error))
}

/// EKS adds its own part to a user's, which has to have parts for that.
fn check_user_data(template: &NodeTemplate) -> Result<(), ApiError> {
    let Some(text) = template.user_data() else {
        return Ok(());
    };
    let text: String = text.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(text).map_err(|_| {
        fault::invalid_parameter(
            "Invalid BASE64 encoding of user data. (Service: AmazonEC2; Status Code: 400; Error Code: InvalidUserData.Malformed)",
        )
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let start = text.get(..64).unwrap_or(&text).to_ascii_lowercase();
    let is_mime = ["mime-version:", "content-type:"]
        .iter()
        .any(|it| start.starts_with(it));
    if template.image().is_none() && !is_mime {
        return Err(fault::invalid_parameter(
            "Ec2LaunchTemplateInvalidConfiguration: User data was not in the MIME multipart format.",
        ));
    }
    let is_config = is_mime && text.contains(NODE_CONFIG) || text.contains("kind: NodeConfig");
    let refused = |line: &str| REFUSED.iter().any(|it| line.trim_start().starts_with(it));
    if is_config && text.lines().any(refused) {
        return Err(fault::unsupported(
            "spec.kubelet, spec.containerd, spec.instance and spec.featureGates of a NodeConfig",
        ));
    }
    Ok(())
}

/// The template of a group after a change: another version of its own.
///
/// # Errors
/// `InvalidRequestException`, `InvalidParameterException`.
pub(super) fn next(
    app: &Eks,
    view: &View,
    cluster: &Cluster,
    group: &NodeGroup,
    op: &UpdateNodegroupVersion,
) -> Result<Option<NodeTemplate>, ApiError> {
    let custom = group.ami_type == CUSTOM;
    if custom {
        check_custom(op.version.as_deref(), op.release_version.as_deref())?;
    }
    let Some(given) = &op.launch_template else {
        return Ok(group.template.clone());
    };
    let Some(now) = &group.template else {
        return Err(fault::invalid_request(
            "You cannot specify a launch template for a node group that was created without one.",
        ));
    };
    let next = find(view, given)?;
    if next.id != now.id {
        return Err(fault::invalid_request(
            "You can only update a node group to another version of the launch template that it was created with.",
        ));
    }
    if next.image().is_some() != custom {
        return Err(fault::invalid_request(
            "You cannot change a node group from or to a custom AMI: create another node group.",
        ));
    }
    let of_request = now.instance_type().is_none();
    if next.instance_type().is_none() != of_request {
        return Err(fault::invalid_request(
            "Cannot specify instance types in launch template and API request",
        ));
    }
    let first = group.instance_types.first().map(String::as_str);
    let instance_type = next.instance_type().or(first).unwrap_or_default();
    super::create::check_types(&[instance_type.to_owned()])?;
    check(app, view, cluster, &next, instance_type)?;
    Ok(Some(next))
}
