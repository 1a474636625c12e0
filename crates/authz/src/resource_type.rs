use std::fmt;

use lath_model::arn::{Arn, Owner};
use lath_model::partition::Partition;
use lath_store::View;
use lath_wire::Caller;

/// Condition keys and their values.
pub type Facts = Vec<(String, Vec<String>)>;

/// A resource type of the Service Authorization Reference.
#[derive(Clone, Copy)]
pub struct ResourceType {
    /// As the reference writes it, such as `subnet` or `ServiceNetwork`.
    pub name: &'static str,
    /// The ARN of the resource that a request names: by its id, its name, or in whatever form the service takes, an
    /// ARN included. Of a name that no record has, the ARN that it would have. `*` gives the ARN of what is to be made.
    pub arn: fn(&Scope<'_>, &str) -> String,
    /// The condition keys that `facts` fills in, as the reference writes them; those of tags with `${TagKey}`.
    pub keys: &'static [&'static str],
    /// What the record of a named resource says of its keys. One of `keys` without values cannot be told of this
    /// resource: see [`ResourceType::unknown`].
    pub facts: fn(&Scope<'_>, &str) -> Facts,
}

impl ResourceType {
    /// The facts of a resource that is there and has no record here, such as another region's: no key can be told. A
    /// condition on one denies, whichever way it is put.
    pub fn unknown(keys: &[&'static str]) -> Facts {
        let keys = keys.iter();
        keys.map(|key| ((*key).to_owned(), Vec::new())).collect()
    }
}

impl fmt::Debug for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Where a request is judged.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The region's records.
    pub view: &'a View,
    /// Whose resources these are. Not of the caller: a signature for a global service may name any region, and so
    /// any partition.
    pub owner: Owner<'a>,
    /// Who asks, in which region.
    pub caller: &'a Caller,
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("caller", self.caller)
            .finish_non_exhaustive()
    }
}

impl<'a> Scope<'a> {
    /// The request's region.
    pub fn region(&self) -> &str {
        &self.caller.region
    }

    /// The account whose resources these are: twelve digits.
    pub fn account(&self) -> &'a str {
        self.owner.account
    }

    /// The installation's partition.
    pub fn partition(&self) -> Partition {
        self.owner.partition
    }

    /// The account whose resources these are, in its partition.
    pub fn owner(&self) -> Owner<'a> {
        self.owner
    }

    /// The ARN of a resource of the account in the request's region.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        let (region, account) = (self.region(), self.account());
        Arn::new(self.partition(), service, region, account, resource).to_string()
    }

    /// The ARN of a resource of the account that is in no region.
    pub fn global_arn(&self, service: &str, resource: &str) -> String {
        Arn::new(self.partition(), service, "", self.account(), resource).to_string()
    }

    /// An ARN with the partition that every resource here has, whatever partition a request gives it: services look
    /// past it, and a policy must not be got round by it. What is no ARN stays as it is.
    pub fn settled(&self, arn: &str) -> String {
        let rest = arn.strip_prefix("arn:").and_then(|it| it.split_once(':'));
        match rest {
            Some((_, rest)) => format!("arn:{}:{rest}", self.partition()),
            None => arn.to_owned(),
        }
    }
}
