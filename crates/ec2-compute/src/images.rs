//! Machine images. Lath has no disk images: the root of an instance is a copy of a directory, and an
//! image says of which. AWS's usual names find the copy of the host; the description tells the truth.

use std::path::PathBuf;

use lath_control::Cell;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::instance_types::host_architecture;
use lath_ec2_kit::select::{Listed, Query, select};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::DirectoryImage;
use lath_ec2_records::errors::client;
use lath_ec2_records::ids::Ids as _;
use lath_feed::RootSource;
use lath_model::Timestamp;
use lath_model::id::ImageId;
use lath_service::{IdForm, operations};
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::image_kinds::IMAGE;
use crate::instances::ROOT_DEVICE;

/// AWS's accounts for Amazon Linux and for the images of EKS, to which the alias `amazon` leads.
const AMAZON: &str = "137112412989";
const AMAZON_EKS: &str = "602401143452";
/// What an image's root disk is said to hold, in GiB.
pub(crate) const ROOT_SIZE: i32 = 8;

/// An image.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) id: ImageId,
    name: String,
    description: String,
    pub(crate) owner: String,
    /// `None` for images of the account.
    pub(crate) owner_alias: Option<&'static str>,
    pub(crate) created_at: Timestamp,
    pub(crate) volume_type: &'static str,
    /// Whether its instances demand session tokens of the metadata service by default.
    pub(crate) imds_v2: bool,
    pub(crate) root: RootSource,
    /// The snapshot that its root volume is said to be made from.
    pub(crate) snapshot: String,
    /// What types its instances may have: `x86_64` or `arm64`.
    pub(crate) architecture: &'static str,
    /// Whether its instances run containers, and have what nodes of clusters need.
    pub(crate) for_kubernetes: bool,
}

/// A directory with a root file system, which instances get a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDirectory {
    /// Unique; the image keeps its id as long as it is offered under this name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The directory.
    pub path: PathBuf,
}

/// Offers exactly these directories as images of the account, at start-up. Instances of an image that is
/// not offered any more live on.
///
/// # Errors
/// When the state cannot be written.
pub async fn offer_directories(
    cell: &Cell,
    directories: Vec<ImageDirectory>,
) -> Result<(), ApiError> {
    cell.db
        .write(|tx| {
            let known: Vec<_> = tx.list::<DirectoryImage>().collect();
            for image in &known {
                tx.delete::<DirectoryImage>(image.id.as_str());
            }
            for directory in directories {
                let before = known.iter().find(|image| image.name == directory.name);
                tx.put(DirectoryImage {
                    id: before.map_or_else(ImageId::random, |image| image.id.clone()),
                    created_at: before.map_or_else(|| tx.now(), |image| image.created_at),
                    name: directory.name,
                    description: directory.description,
                    path: directory.path,
                });
            }
            Ok(())
        })
        .await
}

/// Every image of the region.
pub(crate) fn all(cell: &Cell, view: &View) -> Vec<Image> {
    of_region(&cell.account, &cell.region, view)
}

/// As [`all`], where there is no cell at hand.
pub(crate) fn of_region(account: &str, region: &str, view: &View) -> Vec<Image> {
    let directories: Vec<Image> = view
        .list::<DirectoryImage>()
        .map(|image| Image {
            id: image.id.clone(),
            name: image.name.clone(),
            description: image.description.clone(),
            owner: account.to_owned(),
            owner_alias: None,
            created_at: image.created_at,
            volume_type: "gp3",
            imds_v2: false,
            root: RootSource::Directory(image.path.clone()),
            snapshot: snapshot_of(&image.id),
            architecture: host_architecture(),
            for_kubernetes: false,
        })
        .collect();
    host_images(region).into_iter().chain(directories).collect()
}

/// The host under the names of Amazon Linux 2023 and 2, for types of its own architecture and for those of
/// the other: types are labels, and programs are always this machine's. The dates are those of these
/// entries; the host's own architecture has the newer ones.
fn host_images(region: &str) -> Vec<Image> {
    let other = match host_architecture() {
        "arm64" => "x86_64",
        _ => "arm64",
    };
    let own = host_architecture();
    vec![
        al2023(region, own, "2025-11-05"),
        amzn2(region, own, "2025-11-03"),
        al2023(region, other, "2025-11-04"),
        amzn2(region, other, "2025-11-02"),
        kubernetes(region, own, "2025-11-01"),
    ]
}

fn al2023(region: &str, architecture: &'static str, day: &str) -> Image {
    Image {
        volume_type: "gp3",
        imds_v2: true,
        ..host_image(
            region,
            format!("al2023-ami-2023.9.20251105.0-kernel-6.1-{architecture}"),
            "Stands for Amazon Linux 2023",
            architecture,
            day,
        )
    }
}

/// As AWS names the image of nodes. The version is the one that `./x kubernetes` builds; what runs is what the host has.
fn kubernetes(region: &str, architecture: &'static str, day: &str) -> Image {
    let name = format!("amazon-eks-node-al2023-{architecture}-standard-1.37-v20251101");
    let id = last_id(region, &name);
    let stands_for = "Stands for the image of EKS's nodes";
    let image = host_image(region, name, stands_for, architecture, day);
    Image {
        description: format!(
            "{} Its instances can run containers, and have containerd, kubelet, kubeadm and kubectl.",
            image.description
        ),
        snapshot: snapshot_of(&id),
        id,
        owner: AMAZON_EKS.into(),
        volume_type: "gp3",
        imds_v2: true,
        for_kubernetes: true,
        ..image
    }
}

fn amzn2(region: &str, architecture: &'static str, day: &str) -> Image {
    host_image(
        region,
        format!("amzn2-ami-hvm-2.0.20251103.0-{architecture}-gp2"),
        "Stands for Amazon Linux 2",
        architecture,
        day,
    )
}

fn host_image(
    region: &str,
    name: String,
    stands_for: &str,
    architecture: &'static str,
    day: &str,
) -> Image {
    let machine = host_architecture();
    let id = if architecture == machine {
        stable_id(region, &name)
    } else {
        last_id(region, &name)
    };
    Image {
        snapshot: snapshot_of(&id),
        id,
        name,
        description: format!(
            "{stands_for}. In Lath, the root file system is a copy of the host's, whose programs are {machine}."
        ),
        owner: AMAZON.into(),
        owner_alias: Some("amazon"),
        created_at: Timestamp::parse_iso8601(&format!("{day}T00:00:00Z")).unwrap_or_default(),
        volume_type: "gp2",
        imds_v2: false,
        root: RootSource::Host,
        architecture,
        for_kubernetes: false,
    }
}

/// The same in every run, and another one in each region.
fn stable_id(region: &str, name: &str) -> ImageId {
    let digest = Sha256::digest(format!("{region}/{name}"));
    format!("ami-0{}", hex::encode(&digest[..8]))
        .parse()
        .expect("0 and 16 hexadecimal digits follow the prefix")
}

/// As [`stable_id`], and behind other ids in lists: who takes the first image gets one of this machine's.
fn last_id(region: &str, name: &str) -> ImageId {
    let digest = Sha256::digest(format!("{region}/{name}"));
    format!("ami-0ff{}", hex::encode(&digest[..7]))
        .parse()
        .expect("0ff and 14 hexadecimal digits follow the prefix")
}

/// As long as the image is there, and the same.
fn snapshot_of(image: &ImageId) -> String {
    image.as_str().replacen("ami-", "snap-", 1)
}

/// The image of this id.
///
/// # Errors
/// `InvalidAMIID.Malformed` and `InvalidAMIID.NotFound`.
pub(crate) fn find(cell: &Cell, view: &View, id: &str) -> Result<Image, ApiError> {
    IMAGE.id.check(id)?;
    all(cell, view)
        .into_iter()
        .find(|image| image.id.as_str() == id)
        .ok_or_else(|| not_found(id))
}

/// The image that nodes of clusters of an architecture have: Amazon Linux 2023.
pub(crate) fn of_nodes(cell: &Cell, view: &View, architecture: &str) -> Option<Image> {
    let mut all = all(cell, view).into_iter();
    all.find(|image| image.architecture == architecture && image.name.starts_with("al2023-"))
}

/// The image of this id, where it is one that nodes of an architecture may be launched from.
pub(crate) fn for_nodes(cell: &Cell, view: &View, id: &str, architecture: &str) -> Option<Image> {
    let mut all = all(cell, view).into_iter();
    all.find(|it| it.id.as_str() == id && it.for_kubernetes && it.architecture == architecture)
}

fn not_found(id: &str) -> ApiError {
    client(
        IMAGE.id.not_found,
        format!("The image id '[{id}]' does not exist"),
    )
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeImages {
    #[serde(rename = "ExecutableBy", default)]
    executable_by: Vec<String>,
    #[serde(rename = "ImageId", default)]
    ids: Vec<String>,
    #[serde(rename = "Owner", default)]
    owners: Vec<String>,
    /// No image is ever deprecated,
    #[serde(rename = "IncludeDeprecated")]
    _deprecated: Option<bool>,
    /// or disabled.
    #[serde(rename = "IncludeDisabled")]
    _disabled: Option<bool>,
    max_results: Option<i32>,
    next_token: Option<String>,
    dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeImagesResult {
    next_token: Option<String>,
    images_set: Vec<ImageItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageItem {
    platform_details: String,
    usage_operation: String,
    block_device_mapping: Vec<ImageDevice>,
    description: String,
    ena_support: bool,
    hypervisor: String,
    image_owner_alias: Option<String>,
    name: String,
    root_device_name: String,
    root_device_type: String,
    tag_set: Vec<Tag>,
    virtualization_type: String,
    imds_support: Option<String>,
    image_id: String,
    image_location: String,
    image_state: String,
    image_owner_id: String,
    creation_date: String,
    is_public: bool,
    architecture: String,
    image_type: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageDevice {
    device_name: String,
    ebs: ImageVolume,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageVolume {
    delete_on_termination: bool,
    snapshot_id: String,
    volume_size: i32,
    volume_type: String,
    encrypted: bool,
}

operations! {
    for Ec2 as "ec2";
    read DescribeImages -> DescribeImagesResult = describe, dry_run => any();
}

impl Listed for ImageItem {
    const ID: IdForm = IMAGE.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("architecture", |it| vec![it.architecture.clone()]),
        ("block-device-mapping.delete-on-termination", |it| {
            devices(it, |ebs| ebs.delete_on_termination.to_string())
        }),
        ("block-device-mapping.device-name", |it| {
            vec![it.root_device_name.clone()]
        }),
        ("block-device-mapping.encrypted", |it| {
            devices(it, |ebs| ebs.encrypted.to_string())
        }),
        ("block-device-mapping.snapshot-id", |it| {
            devices(it, |ebs| ebs.snapshot_id.clone())
        }),
        ("block-device-mapping.volume-size", |it| {
            devices(it, |ebs| ebs.volume_size.to_string())
        }),
        ("block-device-mapping.volume-type", |it| {
            devices(it, |ebs| ebs.volume_type.clone())
        }),
        ("creation-date", |it| vec![it.creation_date.clone()]),
        ("description", |it| vec![it.description.clone()]),
        ("ena-support", |it| vec![it.ena_support.to_string()]),
        ("free-tier-eligible", |_| Vec::new()),
        ("hypervisor", |it| vec![it.hypervisor.clone()]),
        ("image-allowed", |_| Vec::new()),
        ("image-id", |it| vec![it.image_id.clone()]),
        ("image-type", |it| vec![it.image_type.clone()]),
        ("is-public", |it| vec![it.is_public.to_string()]),
        ("kernel-id", |_| Vec::new()),
        ("manifest-location", |it| vec![it.image_location.clone()]),
        ("name", |it| vec![it.name.clone()]),
        ("owner-alias", |it| {
            it.image_owner_alias.clone().into_iter().collect()
        }),
        ("owner-id", |it| vec![it.image_owner_id.clone()]),
        ("platform", |_| Vec::new()),
        ("product-code", |_| Vec::new()),
        ("product-code.type", |_| Vec::new()),
        ("ramdisk-id", |_| Vec::new()),
        ("root-device-name", |it| vec![it.root_device_name.clone()]),
        ("root-device-type", |it| vec![it.root_device_type.clone()]),
        ("source-image-id", |_| Vec::new()),
        ("source-image-region", |_| Vec::new()),
        ("source-instance-id", |_| Vec::new()),
        ("state", |it| vec![it.image_state.clone()]),
        ("state-reason-code", |_| Vec::new()),
        ("state-reason-message", |_| Vec::new()),
        ("sriov-net-support", |_| Vec::new()),
        ("usage-operation", |it| vec![it.usage_operation.clone()]),
        ("virtualization-type", |it| {
            vec![it.virtualization_type.clone()]
        }),
    ];
    const PAGE: std::ops::RangeInclusive<i32> = 1..=1000;
    fn id(&self) -> &str {
        &self.image_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tag_set
    }
}

fn devices(it: &ImageItem, of: fn(&ImageVolume) -> String) -> Vec<String> {
    it.block_device_mapping
        .iter()
        .map(|device| of(&device.ebs))
        .collect()
}

fn describe(app: &Ec2, view: &View, op: &DescribeImages) -> Result<DescribeImagesResult, ApiError> {
    for owner in &op.owners {
        check_owner(owner)?;
    }
    let images = all(&app.cell, view);
    for id in &op.ids {
        IMAGE.id.check(id)?;
        if images.iter().all(|image| image.id.as_str() != id) {
            return Err(not_found(id));
        }
    }
    let wanted = images
        .iter()
        .filter(|image| is_owned(app, image, &op.owners))
        .map(|image| shown(view, image))
        .filter(|item| is_executable(item, &op.executable_by));
    // Ids were checked above; here they only choose, so that an owner may exclude one.
    let chosen = wanted.filter(|item| op.ids.is_empty() || op.ids.contains(&item.image_id));
    let query = Query {
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
        ..Query::default()
    };
    let page = select(chosen, &query)?;
    Ok(DescribeImagesResult {
        next_token: page.next_token,
        images_set: page.items,
    })
}

fn check_owner(owner: &str) -> Result<(), ApiError> {
    let is_account = owner.len() == 12 && owner.bytes().all(|byte| byte.is_ascii_digit());
    if is_account
        || matches!(
            owner,
            "self" | "amazon" | "aws-marketplace" | "aws-backup-vault"
        )
    {
        return Ok(());
    }
    let shown: String = owner.chars().take(64).collect();
    Err(client(
        "InvalidUserID.Malformed",
        format!("Invalid user id: \"{shown}\""),
    ))
}

fn is_owned(app: &Ec2, image: &Image, owners: &[String]) -> bool {
    owners.is_empty()
        || owners.iter().any(|owner| match owner.as_str() {
            "self" => image.owner == app.cell.account,
            alias_or_account => {
                image.owner_alias == Some(alias_or_account) || image.owner == alias_or_account
            }
        })
}

/// All accounts may launch public images. No launch permission names a single account.
fn is_executable(item: &ImageItem, by: &[String]) -> bool {
    by.is_empty() || (item.is_public && by.iter().any(|who| who == "all"))
}

fn shown(view: &View, image: &Image) -> ImageItem {
    let place = image.owner_alias.unwrap_or(&image.owner);
    ImageItem {
        platform_details: "Linux/UNIX".into(),
        usage_operation: "RunInstances".into(),
        block_device_mapping: vec![ImageDevice {
            device_name: ROOT_DEVICE.into(),
            ebs: ImageVolume {
                delete_on_termination: true,
                snapshot_id: image.snapshot.clone(),
                volume_size: ROOT_SIZE,
                volume_type: image.volume_type.into(),
                encrypted: false,
            },
        }],
        description: image.description.clone(),
        ena_support: true,
        hypervisor: "xen".into(),
        image_owner_alias: image.owner_alias.map(str::to_owned),
        name: image.name.clone(),
        root_device_name: ROOT_DEVICE.into(),
        root_device_type: "ebs".into(),
        tag_set: tags::of(view, image.id.as_str()),
        virtualization_type: "hvm".into(),
        imds_support: image.imds_v2.then(|| "v2.0".into()),
        image_id: image.id.to_string(),
        image_location: format!("{place}/{}", image.name),
        image_state: "available".into(),
        image_owner_id: image.owner.clone(),
        creation_date: image.created_at.iso8601_millis(),
        is_public: image.owner_alias.is_some(),
        architecture: image.architecture.into(),
        image_type: "machine".into(),
    }
}

/// Whether there is such an image, of whomever: tags are the account's own, also of public images.
pub(crate) fn exists(cell: &Cell, view: &View, id: &str) -> bool {
    all(cell, view).iter().any(|image| image.id.as_str() == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> Ec2 {
        Ec2 {
            cell: Cell::for_test().0,
        }
    }

    fn names(app: &Ec2, op: &DescribeImages) -> Result<Vec<String>, String> {
        describe(app, &app.cell.db.view(), op)
            .map(|found| found.images_set.into_iter().map(|it| it.name).collect())
            .map_err(|error| format!("{} {}", error.code, error.status))
    }

    fn filter(name: &str, value: &str) -> Filter {
        Filter {
            name: Some(name.into()),
            values: vec![value.into()],
        }
    }

    #[test]
    fn the_usual_filters_find_the_host() {
        let pattern = format!("al2023-ami-2023.*-{}", host_architecture());
        let op = DescribeImages {
            owners: vec!["amazon".into()],
            filters: vec![filter("name", &pattern), filter("state", "available")],
            ..Default::default()
        };
        assert_eq!(names(&app(), &op).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn directories_of_the_configuration_are_images_and_keep_their_ids() {
        let app = app();
        let directory = |path: &str| ImageDirectory {
            name: "mine".into(),
            description: "d".into(),
            path: path.into(),
        };
        offer_directories(&app.cell, vec![directory("/a")])
            .await
            .unwrap();
        let id = |app: &Ec2| {
            let found = app.cell.db.view().list::<DirectoryImage>().next();
            found.map(|image| (image.id.clone(), image.path.clone()))
        };
        let (first, _) = id(&app).unwrap();
        offer_directories(&app.cell, vec![directory("/b")])
            .await
            .unwrap();
        assert_eq!(id(&app), Some((first, PathBuf::from("/b"))));
        let own = DescribeImages {
            owners: vec!["self".into()],
            ..Default::default()
        };
        assert_eq!(names(&app, &own).unwrap(), ["mine"]);
        offer_directories(&app.cell, vec![]).await.unwrap();
        assert_eq!(id(&app), None);
    }

    #[test]
    fn bad_requests_are_refused() {
        let ids = |id: &str| DescribeImages {
            ids: vec![id.into()],
            ..Default::default()
        };
        let owner = DescribeImages {
            owners: vec!["nobody".into()],
            ..Default::default()
        };
        let unknown = DescribeImages {
            filters: vec![filter("colour", "red")],
            ..Default::default()
        };
        for (op, want) in [
            (ids("None"), "InvalidAMIID.Malformed 400"),
            (ids("ami-0123456789abcdef0"), "InvalidAMIID.NotFound 400"),
            (owner, "InvalidUserID.Malformed 400"),
            (unknown, "InvalidParameterValue 400"),
        ] {
            assert_eq!(names(&app(), &op), Err(want.to_owned()), "{op:?}");
        }
    }
}
