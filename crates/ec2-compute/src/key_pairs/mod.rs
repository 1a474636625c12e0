//! Key pairs.

pub(crate) mod material;

use std::collections::BTreeMap;

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag, TagSpecification};
use lath_ec2_records::errors::{client, invalid_parameter, missing, over, unsupported};
use lath_ec2_records::ids::Ids as _;
use lath_ec2_records::resources::KEY_PAIR;
use lath_ec2_records::{KeyKind, KeyPair};
use lath_model::Timestamp;
use lath_model::id::KeyPairId;
use lath_service::run::{change, read};
use lath_service::{IdForm, Quota, operations};
use lath_store::{Tx, View};
use lath_wire::{ApiError, Blob, Caller};
use serde::{Deserialize, Serialize};

use material::PublicHalf;

/// How many key pairs a region may have.
const QUOTA: Quota<&str> = Quota::new("key pairs", "KeyPairLimitExceeded", 5000);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateKeyPair {
    key_name: String,
    key_type: Option<String>,
    #[serde(rename = "TagSpecification", default)]
    tags: Vec<TagSpecification>,
    key_format: Option<String>,
    dry_run: Option<bool>,
}

/// It does not print: it holds a private key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateKeyPairResult {
    key_pair_id: String,
    tag_set: Vec<Tag>,
    key_name: String,
    key_fingerprint: String,
    key_material: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImportKeyPair {
    #[serde(rename = "TagSpecification", default)]
    tags: Vec<TagSpecification>,
    dry_run: Option<bool>,
    key_name: String,
    public_key_material: Blob,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImportKeyPairResult {
    key_fingerprint: String,
    key_name: String,
    key_pair_id: String,
    tag_set: Vec<Tag>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeKeyPairs {
    #[serde(rename = "KeyName", default)]
    names: Vec<String>,
    #[serde(rename = "KeyPairId", default)]
    ids: Vec<String>,
    include_public_key: Option<bool>,
    dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeKeyPairsResult {
    key_set: Vec<KeyPairItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyPairItem {
    key_pair_id: String,
    key_type: String,
    tag_set: Vec<Tag>,
    public_key: Option<String>,
    create_time: Timestamp,
    key_name: String,
    key_fingerprint: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteKeyPair {
    key_name: Option<String>,
    key_pair_id: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteKeyPairResult {
    r#return: bool,
    key_pair_id: Option<String>,
}

operations! {
    for Ec2 as "ec2";
    asynchronous CreateKeyPair -> CreateKeyPairResult = create
        => on(&KEY_PAIR, |op, _| op.key_name.clone())
            .with("ec2:KeyPairType", |op, _| op.kind().to_owned())
            .tagged(|op, _| tags::requested(&op.tags, "key-pair"))
            .also("ec2:CreateTags", &KEY_PAIR, |op, _| tagged(&op.tags, &op.key_name))
            .with("ec2:KeyPairType", |op, _| op.kind().to_owned())
            .with("ec2:CreateAction", |_, _| "CreateKeyPair")
            .tagged(|op, _| tags::requested(&op.tags, "key-pair"));
    change ImportKeyPair -> ImportKeyPairResult = import, dry_run
        => on(&KEY_PAIR, |op, _| op.key_name.clone())
            .with("ec2:KeyPairType", |op, _| op.kind())
            .tagged(|op, _| tags::requested(&op.tags, "key-pair"))
            .also("ec2:CreateTags", &KEY_PAIR, |op, _| tagged(&op.tags, &op.key_name))
            .with("ec2:KeyPairType", |op, _| op.kind())
            .with("ec2:CreateAction", |_, _| "ImportKeyPair")
            .tagged(|op, _| tags::requested(&op.tags, "key-pair"));
    read DescribeKeyPairs -> DescribeKeyPairsResult = describe, dry_run => any();
    change DeleteKeyPair -> DeleteKeyPairResult = delete, dry_run
        => on(&KEY_PAIR, |op, at| match &op.key_pair_id {
            Some(id) => Some(KeyPair::name_of(at.view, id)),
            None => op.key_name.clone(),
        });
}

impl CreateKeyPair {
    fn kind(&self) -> &str {
        self.key_type.as_deref().unwrap_or("rsa")
    }
}

impl ImportKeyPair {
    fn kind(&self) -> Option<&'static str> {
        let half = material::import(&self.public_key_material.0, &self.key_name);
        Some(half.ok()?.kind.name())
    }
}

/// The new key pair, when it gets tags.
fn tagged(tags: &[TagSpecification], name: &str) -> Option<String> {
    let given = !tags::requested(tags, "key-pair").is_empty();
    given.then(|| name.to_owned())
}

/// Checks before it spends a core on the key, and again in the transaction.
async fn create(
    app: &Ec2,
    _caller: &Caller,
    op: CreateKeyPair,
) -> Result<CreateKeyPairResult, ApiError> {
    let kind = wanted_kind(&op)?;
    let tags = tags::specified(&op.tags, "key-pair")?;
    read(app, op.dry_run, |view| check_new(app, view, &op.key_name))?;
    let name = op.key_name.clone();
    let made = tokio::task::spawn_blocking(move || material::generate(kind, &name)).await;
    let (half, pem) = made
        .map_err(ApiError::internal)?
        .map_err(ApiError::internal)?;
    change(app, None, |tx| {
        let pair = add(app, tx, &op.key_name, half, tags)?;
        Ok(CreateKeyPairResult {
            tag_set: tags::of(tx.view(), pair.id.as_str()),
            key_pair_id: pair.id.to_string(),
            key_name: pair.name,
            key_fingerprint: pair.fingerprint,
            key_material: pem,
        })
    })
    .await
}

fn wanted_kind(op: &CreateKeyPair) -> Result<KeyKind, ApiError> {
    match op.key_format.as_deref() {
        None | Some("pem") => {}
        Some("ppk") => return Err(unsupported("The key format ppk is not supported.")),
        Some(other) => return Err(invalid_parameter("KeyFormat", other, "Use pem.")),
    }
    match op.key_type.as_deref() {
        None | Some("rsa") => Ok(KeyKind::Rsa),
        Some("ed25519") => Ok(KeyKind::Ed25519),
        Some(other) => Err(invalid_parameter("KeyType", other, "Use rsa or ed25519.")),
    }
}

fn check_new(app: &Ec2, view: &View, name: &str) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(missing("KeyName"));
    }
    if name.len() > 255 || !name.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        let shown: String = name.chars().take(64).collect();
        let why = "A key name has up to 255 ASCII characters.";
        return Err(invalid_parameter("KeyName", shown, why));
    }
    if KeyPair::named(view, name).is_some() {
        return Err(client(
            "InvalidKeyPair.Duplicate",
            "The keypair already exists",
        ));
    }
    QUOTA.check(&app.cell, view.count::<KeyPair>() + 1, over)?;
    Ok(())
}

fn add(
    app: &Ec2,
    tx: &mut Tx,
    name: &str,
    half: PublicHalf,
    tags: BTreeMap<String, String>,
) -> Result<KeyPair, ApiError> {
    check_new(app, tx.view(), name)?;
    let pair = KeyPair {
        id: KeyPairId::random(),
        name: name.to_owned(),
        kind: half.kind,
        fingerprint: half.fingerprint,
        public_key: half.openssh,
        created_at: tx.now(),
    };
    tags::put(tx, pair.id.as_str(), tags);
    tx.put(pair.clone());
    Ok(pair)
}

fn import(app: &Ec2, tx: &mut Tx, op: ImportKeyPair) -> Result<ImportKeyPairResult, ApiError> {
    let tags = tags::specified(&op.tags, "key-pair")?;
    let half = material::import(&op.public_key_material.0, &op.key_name)
        .map_err(|error| client("InvalidKey.Format", error.to_string()))?;
    let pair = add(app, tx, &op.key_name, half, tags)?;
    Ok(ImportKeyPairResult {
        tag_set: tags::of(tx.view(), pair.id.as_str()),
        key_fingerprint: pair.fingerprint,
        key_name: pair.name,
        key_pair_id: pair.id.to_string(),
    })
}

/// No key pair has this name.
pub(crate) fn not_found(name: &str) -> ApiError {
    client(
        "InvalidKeyPair.NotFound",
        format!("The key pair '{name}' does not exist"),
    )
}

impl Listed for KeyPairItem {
    const ID: IdForm = KEY_PAIR.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("key-pair-id", |it| vec![it.key_pair_id.clone()]),
        ("fingerprint", |it| vec![it.key_fingerprint.clone()]),
        ("key-name", |it| vec![it.key_name.clone()]),
    ];
    fn id(&self) -> &str {
        &self.key_pair_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tag_set
    }
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeKeyPairs,
) -> Result<DescribeKeyPairsResult, ApiError> {
    if let Some(absent) = op
        .names
        .iter()
        .find(|name| KeyPair::named(view, name).is_none())
    {
        return Err(not_found(absent));
    }
    let with_key = op.include_public_key == Some(true);
    let show = |pair: &KeyPair| {
        let wanted = op.names.is_empty() || op.names.contains(&pair.name);
        wanted.then(|| shown(view, pair, with_key))
    };
    let query = Query {
        ids: &op.ids,
        filters: &op.filters,
        ..Query::default()
    };
    Ok(DescribeKeyPairsResult {
        key_set: select_records(view, show, &query)?.items,
    })
}

fn shown(view: &View, pair: &KeyPair, with_key: bool) -> KeyPairItem {
    KeyPairItem {
        key_pair_id: pair.id.to_string(),
        key_type: pair.kind.name().into(),
        tag_set: tags::of(view, pair.id.as_str()),
        public_key: with_key.then(|| pair.public_key.clone()),
        create_time: pair.created_at,
        key_name: pair.name.clone(),
        key_fingerprint: pair.fingerprint.clone(),
    }
}

/// One that does not exist is as good as deleted.
fn delete(_app: &Ec2, tx: &mut Tx, op: DeleteKeyPair) -> Result<DeleteKeyPairResult, ApiError> {
    let found = match (&op.key_pair_id, &op.key_name) {
        (Some(id), _) => {
            KEY_PAIR.id.check(id)?;
            tx.get::<KeyPair>(id)
        }
        (None, Some(name)) => KeyPair::named(tx.view(), name),
        (None, None) => return Err(missing("KeyName")),
    };
    if let Some(pair) = &found {
        tags::forget(tx, pair.id.as_str());
        tx.delete::<KeyPair>(pair.id.as_str());
    }
    Ok(DeleteKeyPairResult {
        r#return: true,
        key_pair_id: found.map(|pair| pair.id.to_string()),
    })
}

#[cfg(test)]
impl CreateKeyPair {
    pub(crate) fn of(name: &str, kind: &str) -> Self {
        Self {
            key_name: name.to_owned(),
            key_type: Some(kind.to_owned()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
impl ImportKeyPair {
    pub(crate) fn of(name: &str, material: &[u8]) -> Self {
        Self {
            key_name: name.to_owned(),
            public_key_material: Blob(material.to_vec()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
impl DescribeKeyPairs {
    pub(crate) fn of(name: &str) -> Self {
        Self {
            names: vec![name.to_owned()],
            ..Self::default()
        }
    }
}

#[cfg(test)]
impl DeleteKeyPair {
    pub(crate) fn of(name: &str) -> Self {
        Self {
            key_name: Some(name.to_owned()),
            ..Self::default()
        }
    }
}
