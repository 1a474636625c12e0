//! Reads the document that `tests/model/dump.py` prints.

use lath_wire::Service;
use serde_json::Value;

/// A service's model.
#[derive(Clone, Copy)]
pub(crate) struct Model<'m> {
    value: &'m Value,
}

/// A shape in a model.
#[derive(Clone, Copy)]
pub(crate) struct ModelShape<'m> {
    pub(crate) name: &'m str,
    value: &'m Value,
    model: Model<'m>,
}

/// A member of a structure in a model.
#[derive(Clone, Copy)]
pub(crate) struct ModelMember<'m> {
    pub(crate) required: bool,
    sent: &'m str,
    answered: &'m str,
    pub(crate) location: &'m str,
    pub(crate) shape: ModelShape<'m>,
}

/// Which way a shape travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    In,
    Out,
}

impl<'m> Model<'m> {
    pub(crate) fn of(document: &'m Value, service: &Service) -> Option<Self> {
        Self::named(document, service.info().model)
    }

    /// The model of botocore's name.
    pub(crate) fn named(document: &'m Value, name: &str) -> Option<Self> {
        let value = document.get("services")?.get(name)?;
        Some(Self { value })
    }

    pub(crate) fn version(self) -> &'m str {
        self.value["version"].as_str().unwrap_or_default()
    }

    pub(crate) fn operation_names(self) -> impl Iterator<Item = &'m str> {
        let operations = self.value["operations"].as_object();
        operations
            .into_iter()
            .flat_map(|all| all.keys().map(String::as_str))
    }

    pub(crate) fn operation(self, name: &str) -> Option<&'m Value> {
        self.value["operations"].get(name)
    }

    pub(crate) fn shape(self, name: &'m str) -> Option<ModelShape<'m>> {
        let value = self.value["shapes"].get(name)?;
        Some(ModelShape {
            name,
            value,
            model: self,
        })
    }

    /// The input or output of an operation, if it has one.
    pub(crate) fn of_operation(self, operation: &'m Value, way: Way) -> Option<ModelShape<'m>> {
        let key = match way {
            Way::In => "input",
            Way::Out => "output",
        };
        self.shape(operation[key].as_str()?)
    }
}

impl<'m> ModelShape<'m> {
    pub(crate) fn kind(self) -> &'m str {
        self.value["type"].as_str().unwrap_or_default()
    }

    pub(crate) fn is_union(self) -> bool {
        self.value["union"].as_bool().unwrap_or(false)
    }

    pub(crate) fn values(self) -> Option<Vec<&'m str>> {
        let values = self.value["enum"].as_array()?;
        Some(values.iter().filter_map(Value::as_str).collect())
    }

    pub(crate) fn time_format(self) -> Option<&'m str> {
        self.value["format"].as_str()
    }

    /// What a list or map holds.
    pub(crate) fn inner(self) -> Option<Self> {
        let name = self.value["member"]
            .as_str()
            .or_else(|| self.value["value"].as_str());
        self.model.shape(name?)
    }

    /// What a map's keys are.
    pub(crate) fn key(self) -> Option<Self> {
        self.model.shape(self.value["key"].as_str()?)
    }

    /// What is said of the shape itself, such as its `max`.
    pub(crate) fn said(self, name: &str) -> &'m Value {
        &self.value[name]
    }

    /// All that it holds: members, items, keys, values.
    pub(crate) fn held(self) -> impl Iterator<Item = Self> {
        let members = self.members().into_iter().map(|it| it.shape);
        members.chain(self.inner()).chain(self.key())
    }

    /// The name of a list's items, where the model gives one.
    pub(crate) fn item_name(self) -> Option<&'m str> {
        self.value["item"].as_str()
    }

    pub(crate) fn is_flattened(self) -> bool {
        self.value["flattened"].as_bool().unwrap_or(false)
    }

    pub(crate) fn members(self) -> Vec<ModelMember<'m>> {
        let members = self.value["members"].as_array();
        members
            .into_iter()
            .flatten()
            .filter_map(|member| self.member_of(member))
            .collect()
    }

    fn member_of(self, value: &'m Value) -> Option<ModelMember<'m>> {
        Some(ModelMember {
            required: value["required"].as_bool()?,
            sent: value["in"].as_str()?,
            answered: value["out"].as_str()?,
            location: value["location"].as_str()?,
            shape: self.model.shape(value["shape"].as_str()?)?,
        })
    }
}

impl<'m> ModelMember<'m> {
    pub(crate) fn name(&self, way: Way) -> &'m str {
        match way {
            Way::In => self.sent,
            Way::Out => self.answered,
        }
    }

    /// Whether it travels where Lath looks: headers and the status are the codecs' own.
    pub(crate) fn is_bound(&self) -> bool {
        matches!(self.location, "body" | "uri" | "querystring")
    }
}
