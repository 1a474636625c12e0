//! Requests and answers about prefix lists.

use lath_ec2_kit::filter::Filter;
use lath_ec2_kit::made::attributes;
use lath_ec2_kit::tags::{Tag, TagSpecification};
use lath_ec2_records::resources::Facts;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeManagedPrefixLists {
    pub(crate) dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
    pub(crate) max_results: Option<i32>,
    pub(crate) next_token: Option<String>,
    #[serde(rename = "PrefixListId", default)]
    pub(crate) prefix_list_ids: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeManagedPrefixListsResult {
    pub(crate) next_token: Option<String>,
    #[serde(rename = "prefixListSet")]
    pub(crate) prefix_lists: Vec<ListItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListItem {
    pub(crate) prefix_list_id: String,
    pub(crate) address_family: String,
    pub(crate) state: String,
    pub(crate) state_message: Option<String>,
    pub(crate) prefix_list_arn: String,
    pub(crate) prefix_list_name: String,
    pub(crate) max_entries: Option<i32>,
    pub(crate) version: Option<i64>,
    #[serde(rename = "tagSet")]
    pub(crate) tags: Vec<Tag>,
    pub(crate) owner_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetManagedPrefixListEntries {
    pub(crate) dry_run: Option<bool>,
    pub(crate) prefix_list_id: String,
    pub(crate) target_version: Option<i64>,
    pub(crate) max_results: Option<i32>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetManagedPrefixListEntriesResult {
    #[serde(rename = "entrySet")]
    pub(crate) entries: Vec<EntryItem>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EntryItem {
    pub(crate) cidr: String,
    pub(crate) description: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateManagedPrefixList {
    pub(crate) dry_run: Option<bool>,
    pub(crate) prefix_list_name: String,
    #[serde(rename = "Entry", default)]
    pub(crate) entries: Vec<EntryInput>,
    pub(crate) max_entries: i32,
    #[serde(rename = "TagSpecification", default)]
    pub(crate) tag_specifications: Vec<TagSpecification>,
    pub(crate) address_family: String,
    pub(crate) client_token: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EntryInput {
    pub(crate) cidr: String,
    pub(crate) description: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyManagedPrefixList {
    pub(crate) dry_run: Option<bool>,
    pub(crate) prefix_list_id: String,
    pub(crate) current_version: Option<i64>,
    pub(crate) prefix_list_name: Option<String>,
    #[serde(rename = "AddEntry", default)]
    pub(crate) add_entries: Vec<EntryInput>,
    #[serde(rename = "RemoveEntry", default)]
    pub(crate) remove_entries: Vec<EntryRemoval>,
    pub(crate) max_entries: Option<i32>,
    pub(crate) ipam_prefix_list_resolver_sync_enabled: Option<bool>,
}

impl ModifyManagedPrefixList {
    /// The attributes that it sets.
    pub(super) fn set(&self) -> Facts {
        let sync = self.ipam_prefix_list_resolver_sync_enabled;
        attributes(&[
            (
                "CurrentVersion",
                self.current_version.map(|it| it.to_string()),
            ),
            ("PrefixListName", self.prefix_list_name.clone()),
            ("MaxEntries", self.max_entries.map(|it| it.to_string())),
            (
                "IpamPrefixListResolverSyncEnabled",
                sync.map(|it| it.to_string()),
            ),
        ])
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EntryRemoval {
    pub(crate) cidr: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteManagedPrefixList {
    pub(crate) dry_run: Option<bool>,
    pub(crate) prefix_list_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManagedPrefixListResult {
    pub(crate) prefix_list: ListItem,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribePrefixLists {
    pub(crate) dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
    pub(crate) max_results: Option<i32>,
    pub(crate) next_token: Option<String>,
    #[serde(rename = "PrefixListId", default)]
    pub(crate) prefix_list_ids: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribePrefixListsResult {
    pub(crate) next_token: Option<String>,
    #[serde(rename = "prefixListSet")]
    pub(crate) prefix_lists: Vec<AwsListItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AwsListItem {
    #[serde(rename = "cidrSet")]
    pub(crate) cidrs: Vec<String>,
    pub(crate) prefix_list_id: String,
    pub(crate) prefix_list_name: String,
}
