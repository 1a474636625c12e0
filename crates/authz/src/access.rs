use std::borrow::Cow;
use std::marker::PhantomData;

use lath_model::Partition;
use lath_model::arn::Owner;
use lath_store::View;
use lath_wire::{Caller, Operation, Permission, Stated, TooMuch};

use crate::{Facts, REQUEST_TAG, ResourceType, Scope, TAG_KEYS, Values};

/// An operation that states what it needs permission for.
pub trait Authorized: Operation {
    /// The prefix of its action, such as `ec2`.
    const SERVICE: &'static str;

    /// The name of its action, which is its own but for a few operations that have another's.
    const ACTION: &'static str = Self::NAME;

    /// What it needs.
    fn access() -> Access<Self>;
}

type Read<Op, T> = Box<dyn Fn(&Op, &Scope<'_>) -> T>;

/// The needs of an operation. Each of the methods `on`, `makes`, `also` and `any` adds one; `with`, `tagged` and
/// `untagged` say of the need before them which condition keys the request fills in. `on_each` and `also_each` are
/// for requests that say of each of several resources something else.
pub struct Access<Op> {
    needs: Vec<Need<Op>>,
    free: bool,
    refused: Option<Read<Op, bool>>,
    operation: PhantomData<fn(Op)>,
}

struct Need<Op> {
    /// `None`: the operation's own.
    action: Option<&'static str>,
    /// `None`: no resource, `*`.
    resource_type: Option<&'static ResourceType>,
    /// With the keys that the request fills in for this one alone.
    names: Read<Op, Vec<(String, Facts)>>,
    keys: Vec<Key<Op>>,
}

struct Key<Op> {
    known: Vec<&'static str>,
    read: Read<Op, Facts>,
}

impl<Op> std::fmt::Debug for Access<Op> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let types = self.needs.iter().map(|need| need.resource_type);
        f.debug_list().entries(types).finish()
    }
}

impl<Op> Default for Access<Op> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Op> Access<Op> {
    /// Nothing yet. An operation that states nothing more needs its action on `*`.
    pub fn new() -> Self {
        Self {
            needs: Vec::new(),
            free: false,
            refused: None,
            operation: PhantomData,
        }
    }

    /// The operation needs no permission, or its handler decides.
    #[must_use]
    pub fn free(mut self) -> Self {
        self.free = true;
        self
    }

    /// Requests that the handler refuses by themselves, before it reads a record, need no permission: some services
    /// validate first. The handler must use the same function, first of all.
    #[must_use]
    pub fn unless(mut self, refused: impl Fn(&Op, &Scope<'_>) -> bool + 'static) -> Self {
        self.refused = Some(Box::new(refused));
        self
    }

    /// The action without a resource, as lists need it. Only policies about `*` give it.
    #[must_use]
    pub fn any(self) -> Self {
        self.push(None, None, |_, _| "*")
    }

    /// The resources that the request names; none, one or many. The texts are those of the request, as
    /// [`ResourceType::arn`] takes them.
    #[must_use]
    pub fn on<V: Values>(
        self,
        resource_type: &'static ResourceType,
        names: impl Fn(&Op, &Scope<'_>) -> V + 'static,
    ) -> Self {
        self.push(None, Some(resource_type), names)
    }

    /// A resource that the request makes and that has no name yet.
    #[must_use]
    pub fn makes(self, resource_type: &'static ResourceType) -> Self {
        self.push(None, Some(resource_type), |_, _| "*")
    }

    /// Another action that the request needs on the resources that it names, such as `iam:PassRole`.
    #[must_use]
    pub fn also<V: Values>(
        self,
        action: &'static str,
        resource_type: &'static ResourceType,
        names: impl Fn(&Op, &Scope<'_>) -> V + 'static,
    ) -> Self {
        self.push(Some(action), Some(resource_type), names)
    }

    /// Another action without a resource, when `needed` says that the request asks for it.
    #[must_use]
    pub fn also_any(
        self,
        action: &'static str,
        needed: impl Fn(&Op, &Scope<'_>) -> bool + 'static,
    ) -> Self {
        self.push(Some(action), None, move |op, at| {
            needed(op, at).then_some("*")
        })
    }

    /// As `on` and, for what is to be made, `makes` (its name is `*`): each with the condition keys that the request
    /// fills in for it alone, which are among `known`.
    #[must_use]
    pub fn on_each(
        self,
        resource_type: &'static ResourceType,
        known: &'static [&'static str],
        each: impl Fn(&Op, &Scope<'_>) -> Vec<(String, Facts)> + 'static,
    ) -> Self {
        self.need(None, Some(resource_type), Box::new(each))
            .key(known, |_, _| Vec::new())
    }

    /// As `on_each`, of another action.
    #[must_use]
    pub fn also_each(
        self,
        action: &'static str,
        resource_type: &'static ResourceType,
        known: &'static [&'static str],
        each: impl Fn(&Op, &Scope<'_>) -> Vec<(String, Facts)> + 'static,
    ) -> Self {
        self.need(Some(action), Some(resource_type), Box::new(each))
            .key(known, |_, _| Vec::new())
    }

    /// What a function adds, for needs that are too many for a line.
    #[must_use]
    pub fn by(self, needs: fn(Self) -> Self) -> Self {
        needs(self)
    }

    /// A condition key of the need before, with the request's values.
    #[must_use]
    pub fn with<V: Values>(
        self,
        key: &'static str,
        values: impl Fn(&Op, &Scope<'_>) -> V + 'static,
    ) -> Self {
        self.key(&[key], move |op, at| {
            let values = values(op, at).texts();
            let given = (!values.is_empty()).then(|| (key.to_owned(), values));
            given.into_iter().collect()
        })
    }

    /// Several condition keys of the need before at once. Pairs of the same key are one key with several values.
    #[must_use]
    pub fn with_all(
        self,
        known: &'static [&'static str],
        read: impl Fn(&Op, &Scope<'_>) -> Facts + 'static,
    ) -> Self {
        self.key(known, read)
    }

    /// The tags that the request gives: `aws:RequestTag/...` and `aws:TagKeys` of the need before.
    #[must_use]
    pub fn tagged(self, tags: impl Fn(&Op, &Scope<'_>) -> Vec<(String, String)> + 'static) -> Self {
        self.key(&[REQUEST_TAG, TAG_KEYS], move |op, at| {
            let tags = tags(op, at);
            let keys: Vec<String> = tags.iter().map(|(key, _)| key.clone()).collect();
            let tags = tags
                .into_iter()
                .map(|(key, value)| (format!("aws:RequestTag/{key}"), vec![value]));
            let keys = (!keys.is_empty()).then(|| (TAG_KEYS.to_owned(), keys));
            tags.chain(keys).collect()
        })
    }

    /// The keys of tags that the request takes away: `aws:TagKeys` of the need before.
    #[must_use]
    pub fn untagged<V: Values>(self, keys: impl Fn(&Op, &Scope<'_>) -> V + 'static) -> Self {
        self.with(TAG_KEYS, keys)
    }

    fn push<V: Values>(
        self,
        action: Option<&'static str>,
        resource_type: Option<&'static ResourceType>,
        names: impl Fn(&Op, &Scope<'_>) -> V + 'static,
    ) -> Self {
        let bare = |name: String| (name, Vec::new());
        let names = move |op: &Op, at: &Scope<'_>| {
            let names = names(op, at).texts();
            names.into_iter().map(bare).collect()
        };
        self.need(action, resource_type, Box::new(names))
    }

    fn need(
        mut self,
        action: Option<&'static str>,
        resource_type: Option<&'static ResourceType>,
        names: Read<Op, Vec<(String, Facts)>>,
    ) -> Self {
        self.needs.push(Need {
            action,
            resource_type,
            names,
            keys: Vec::new(),
        });
        self
    }

    fn key(
        mut self,
        known: &[&'static str],
        read: impl Fn(&Op, &Scope<'_>) -> Facts + 'static,
    ) -> Self {
        let need = self.needs.last_mut();
        let need = need.expect("a condition key is stated after the need that it belongs to");
        need.keys.push(Key {
            known: known.to_vec(),
            read: Box::new(read),
        });
        self
    }
}

impl<Op> Need<Op> {
    fn known(&self, service: &str) -> Vec<&'static str> {
        let of_service = of_service(service).iter();
        let of_type = self.resource_type.map_or(&[][..], |it| it.keys);
        let of_request = self.keys.iter().flat_map(|key| &key.known);
        let known = of_type.iter().chain(of_request).chain(of_service);
        let mut known: Vec<&'static str> = known.copied().collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    /// Takes what it makes off the budget, before it makes it.
    fn permissions(
        &self,
        action: Cow<'static, str>,
        op: &Op,
        at: &Scope<'_>,
        budget: &mut usize,
    ) -> Result<Vec<Permission>, TooMuch> {
        let mut names = (self.names)(op, at);
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        take(budget, names.len(), OF_A_RESOURCE)?;
        let service = service_of(&action);
        let mut of_request: Vec<_> = self
            .keys
            .iter()
            .flat_map(|key| (key.read)(op, at))
            .collect();
        let of_service = of_service(service).iter();
        of_request.extend(of_service.map(|key| ((*key).to_owned(), vec![at.region().to_owned()])));
        let values: usize = of_request.iter().map(|(_, values)| 1 + values.len()).sum();
        take(budget, names.len(), values)?;
        let known = self.known(service);
        let of_name = |(name, own): (String, Facts)| {
            let mut keys = of_request.clone();
            keys.extend(own);
            let mut known = known.clone();
            let resource = match self.resource_type {
                None => name,
                Some(it) => {
                    let (known_facts, unknown): (Facts, Facts) = (it.facts)(at, &name)
                        .into_iter()
                        .partition(|(_, values)| !values.is_empty());
                    keys.extend(known_facts);
                    known.retain(|key| !unknown.iter().any(|(written, _)| written == key));
                    (it.arn)(at, &name)
                }
            };
            Permission {
                action: action.clone(),
                resource_type: self.resource_type.map_or("", |it| it.name),
                resource,
                keys,
                known,
            }
        };
        Ok(names.into_iter().map(of_name).collect())
    }
}

/// Takes the cost of some resources off a budget.
fn take(budget: &mut usize, resources: usize, each: usize) -> Result<(), TooMuch> {
    let size = resources.saturating_mul(each);
    *budget = budget.checked_sub(size).ok_or(TooMuch)?;
    Ok(())
}

/// The keys that every action of a service has: the region, as EC2 calls it.
fn of_service(service: &str) -> &'static [&'static str] {
    match service {
        "ec2" => &["ec2:Region"],
        _ => &[],
    }
}

fn service_of(action: &str) -> &str {
    action
        .split_once(':')
        .map_or(action, |(service, _)| service)
}

fn own_action<Op: Authorized>() -> Cow<'static, str> {
    Cow::Owned(format!("{}:{}", Op::SERVICE, Op::ACTION))
}

/// What one resource costs of the budget, beside the values of condition keys that the request gives it.
const OF_A_RESOURCE: usize = 100;
/// What one request may cost: 10,000 resources, or a thousand with 900 values each. A thousand resources with fifty tags,
/// the most that EC2 takes, are a quarter of it.
const BUDGET: usize = 1_000_000;

/// What a request needs, all of it. A request that names nothing needs its action on `*`: its handler says what is
/// missing, to those who may know.
///
/// # Errors
/// That it is about more than is judged at once.
pub fn bounded_permissions<Op: Authorized>(
    view: &View,
    owner: Owner<'_>,
    caller: &Caller,
    op: &Op,
) -> Result<Vec<Permission>, TooMuch> {
    within(BUDGET, view, owner, caller, op)
}

/// As [`bounded_permissions`], of a request of any size and in the partition of the caller's region: for tests.
pub fn permissions<Op: Authorized>(view: &View, caller: &Caller, op: &Op) -> Vec<Permission> {
    let owner = Owner {
        partition: Partition::of_region(&caller.region),
        account: &caller.account,
    };
    within(usize::MAX, view, owner, caller, op).unwrap_or_default()
}

fn within<Op: Authorized>(
    mut budget: usize,
    view: &View,
    owner: Owner<'_>,
    caller: &Caller,
    op: &Op,
) -> Result<Vec<Permission>, TooMuch> {
    let at = Scope {
        view,
        owner,
        caller,
    };
    let access = Op::access();
    let refused = access.refused.as_ref();
    if access.free || refused.is_some_and(|refused| refused(op, &at)) {
        return Ok(Vec::new());
    }
    let own = own_action::<Op>();
    let mut found = Vec::new();
    let mut has_own = false;
    for need in &access.needs {
        let action = need.action.map_or_else(|| own.clone(), Cow::Borrowed);
        let permissions = need.permissions(action, op, &at, &mut budget)?;
        has_own |= need.action.is_none() && !permissions.is_empty();
        found.extend(permissions);
    }
    if !has_own {
        found.push(Permission {
            action: own,
            resource_type: "",
            resource: "*".to_owned(),
            keys: Vec::new(),
            known: Vec::new(),
        });
    }
    Ok(found)
}

/// What requests of an operation can need; empty where it needs no permission.
pub fn stated<Op: Authorized>() -> Vec<Stated> {
    let access = Op::access();
    if access.free {
        return Vec::new();
    }
    let own = own_action::<Op>();
    let of_need = |need: &Need<Op>| Stated {
        action: need.action.map_or_else(|| own.clone(), Cow::Borrowed),
        resource_type: need.resource_type.map_or("", |it| it.name),
        known: need.known(service_of(need.action.unwrap_or(&own))),
    };
    let mut found: Vec<Stated> = access.needs.iter().map(of_need).collect();
    if !found.iter().any(|it| it.action == own) {
        found.push(Stated {
            action: own,
            resource_type: "",
            known: Vec::new(),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tag {
        ids: Vec<String>,
        tags: Vec<(String, String)>,
    }

    impl<'de> serde::Deserialize<'de> for Tag {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("made by tests only"))
        }
    }

    impl Operation for Tag {
        const NAME: &'static str = "CreateTags";
        type Output = ();
    }

    const VPC: ResourceType = ResourceType {
        name: "vpc",
        arn: |at, id| at.arn("ec2", &format!("vpc/{id}")),
        keys: &[],
        facts: |_, _| Vec::new(),
    };

    impl Authorized for Tag {
        const SERVICE: &'static str = "ec2";
        fn access() -> Access<Self> {
            Access::<Self>::new()
                .on(&VPC, |op, _| op.ids.clone())
                .tagged(|op, _| op.tags.clone())
        }
    }

    const FOREIGN: ResourceType = ResourceType {
        name: "vpc",
        arn: |at, id| at.arn("ec2", &format!("vpc/{id}")),
        keys: &[crate::RESOURCE_TAG, "ec2:Tenancy"],
        facts: |_, id| match id {
            "here" => vec![("aws:ResourceTag/env".into(), vec!["prod".into()])],
            _ => ResourceType::unknown(&[crate::RESOURCE_TAG]),
        },
    };

    struct Read(&'static str);

    impl<'de> serde::Deserialize<'de> for Read {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("made by tests only"))
        }
    }

    impl Operation for Read {
        const NAME: &'static str = "DescribeVpcAttribute";
        type Output = ();
    }

    impl Authorized for Read {
        const SERVICE: &'static str = "ec2";
        fn access() -> Access<Self> {
            Access::<Self>::new().on(&FOREIGN, |op, _| op.0)
        }
    }

    #[test]
    fn what_cannot_be_told_of_a_resource_is_not_known() {
        let of = |name| permissions(&View::default(), &caller(), &Read(name)).remove(0);
        let here = of("here");
        assert!(here.known.contains(&crate::RESOURCE_TAG));
        assert!(
            here.keys
                .iter()
                .any(|(key, _)| key == "aws:ResourceTag/env")
        );
        let there = of("there");
        assert!(!there.known.contains(&crate::RESOURCE_TAG));
        assert!(there.known.contains(&"ec2:Tenancy"));
        assert!(there.keys.iter().all(|(_, values)| !values.is_empty()));
    }

    fn caller() -> Caller {
        Caller {
            account: "123456789012".into(),
            region: "us-east-1".into(),
            service: "ec2".into(),
            principal: lath_wire::Principal {
                arn: String::new(),
                user_id: String::new(),
            },
            access_key_id: String::new(),
            request_id: String::new(),
            source_ip: None,
            from_vpc: None,
        }
    }

    #[test]
    fn a_request_is_judged_up_to_a_size() {
        let view = View::default();
        let caller = caller();
        for (ids, tags, want) in [
            (0, 0, Ok(1)),
            (1000, 50, Ok(1000)),
            (1, 50_000, Ok(1)),
            (9_000, 0, Ok(9_000)),
            (20_000, 0, Err(TooMuch)),
            (1000, 5_000, Err(TooMuch)),
            (100_000, 100_000, Err(TooMuch)),
        ] {
            let op = Tag {
                ids: (0..ids).map(|id| format!("vpc-{id}")).collect(),
                tags: (0..tags).map(|key| (key.to_string(), "x".into())).collect(),
            };
            let owner = Owner {
                partition: Partition::Aws,
                account: &caller.account,
            };
            let found = bounded_permissions(&view, owner, &caller, &op);
            assert_eq!(found.map(|it| it.len()), want, "{ids} {tags}");
        }
    }
}
