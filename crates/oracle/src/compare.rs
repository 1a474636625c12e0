//! Where a service differs from its model.

use std::fmt;

use lath_wire::{Description, Member, Protocol, Route, Service, Shape, TimeFormat};
use serde_json::Value;

use crate::model::{Model, ModelMember, ModelShape, Way};

/// What items of EC2's lists are called that have a name of their own. Their types print it: `GroupIdSet` of launch templates.
const NAMED: [&str; 1] = ["groupId"];

/// One difference between a service and its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The operation.
    pub operation: String,
    /// Where, such as `input.Filter.Value`.
    pub place: String,
    /// What differs.
    pub what: String,
    /// Whether clients work all the same: something is left out or laxer than in the model. The others
    /// are mistakes.
    pub lax: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.lax { "lax: " } else { "" };
        write!(f, "{kind}{} {}: {}", self.operation, self.place, self.what)
    }
}

/// Compares every registered operation with the document of `tests/model/dump.py`: names, routes, status,
/// members, required members, types, enum values.
pub fn compare(service: &Service, document: &Value) -> Vec<Difference> {
    let Some(model) = Model::of(document, service) else {
        return vec![difference("", "", "the document has no such model")];
    };
    let mut differences = Vec::new();
    if model.version() != service.info().version {
        differences.push(difference(
            "",
            "version",
            &format!("the model's is {}", model.version()),
        ));
    }
    for described in service
        .operations()
        .filter_map(|name| service.describe(name))
    {
        let mut comparison = Comparison {
            service,
            operation: described.name,
            place: Vec::new(),
            found: Vec::new(),
        };
        comparison.operation(&described, model);
        differences.append(&mut comparison.found);
    }
    differences
}

fn difference(operation: &str, place: &str, what: &str) -> Difference {
    Difference {
        operation: operation.to_owned(),
        place: place.to_owned(),
        what: what.to_owned(),
        lax: false,
    }
}

struct Comparison<'s> {
    service: &'s Service,
    operation: &'static str,
    place: Vec<String>,
    found: Vec<Difference>,
}

impl Comparison<'_> {
    fn report(&mut self, what: impl AsRef<str>) {
        let place = self.place.join(".");
        self.found
            .push(difference(self.operation, &place, what.as_ref()));
    }

    fn report_lax(&mut self, what: impl AsRef<str>) {
        self.report(what);
        if let Some(last) = self.found.last_mut() {
            last.lax = true;
        }
    }

    fn within(&mut self, name: &str, work: impl FnOnce(&mut Self)) {
        self.place.push(name.to_owned());
        work(self);
        self.place.pop();
    }

    fn operation(&mut self, described: &Description, model: Model<'_>) {
        let Some(operation) = model.operation(described.name) else {
            self.report("the model has no such operation");
            return;
        };
        if self.is_rest() {
            self.within("route", |c| c.route(described.route.as_ref(), operation));
        }
        for (name, way, ours) in [
            ("input", Way::In, (described.input)()),
            ("output", Way::Out, (described.output)()),
        ] {
            self.within(name, |c| match model.of_operation(operation, way) {
                Some(theirs) => c.top(&ours, theirs, way),
                None if ours.members().is_empty() => {}
                None => c.report("the model has none"),
            });
        }
    }

    fn is_rest(&self) -> bool {
        let rest = |p: &Protocol| matches!(p, Protocol::RestJson | Protocol::RestXml);
        self.service.info().protocols.iter().any(rest)
    }

    fn route(&mut self, route: Option<&Route>, operation: &Value) {
        let Some(route) = route else {
            self.report("it has none");
            return;
        };
        let uri = operation["uri"].as_str().unwrap_or_default();
        let uri = uri.split('?').next().unwrap_or_default();
        let method = operation["method"].as_str().unwrap_or_default();
        if (route.method, route.path) != (method, uri) {
            self.report(format!(
                "{} {} instead of {method} {uri}",
                route.method, route.path
            ));
        }
        if Some(u64::from(route.status)) != operation["status"].as_u64() {
            self.report(format!(
                "status {} instead of {}",
                route.status, operation["status"]
            ));
        }
    }

    /// An operation's whole input or output: `()` stands for a structure without required members.
    fn top(&mut self, ours: &Shape, theirs: ModelShape<'_>, way: Way) {
        match ours {
            Shape::Unit => self.members(&[], theirs, way),
            _ => self.shape(ours, theirs, way),
        }
    }

    fn shape(&mut self, ours: &Shape, theirs: ModelShape<'_>, way: Way) {
        match (ours, theirs.kind()) {
            (Shape::Recursive(_), _) => {}
            (Shape::Any, _) => self.report_lax("its form is not known"),
            (Shape::Boolean, "boolean")
            | (Shape::Integer, "integer" | "long")
            | (Shape::Float, "double" | "float")
            | (Shape::Blob, "blob") => {}
            (Shape::Integer, "double" | "float") => self.report_lax("an integer for a number"),
            (Shape::Timestamp, "timestamp") => self.time(theirs, way),
            (Shape::String, "string") => {
                if theirs.values().is_some() {
                    self.report_lax("text for an enum");
                }
            }
            (Shape::Enum { values, .. }, "string") => self.values(values, theirs, way),
            (Shape::List(inner), "list") => self.list(inner, theirs, way),
            (Shape::Map(inner), "map") => {
                if let Some(held) = theirs.inner() {
                    self.within("{}", |c| c.shape(inner, held, way));
                }
            }
            (Shape::Struct { members, .. }, "structure") => self.members(members, theirs, way),
            (Shape::Enum { values, members }, "structure") if theirs.is_union() => {
                if !values.is_empty() {
                    self.report(format!("a union with bare values {values:?}"));
                }
                self.members(members, theirs, way);
            }
            (ours, kind) => self.report(format!("{} instead of {kind}", word(ours))),
        }
    }

    fn time(&mut self, theirs: ModelShape<'_>, way: Way) {
        let rest_json = self.service.info().protocols.first() == Some(&Protocol::RestJson);
        if way == Way::In || !rest_json {
            return;
        }
        let iso = self.service.times(Protocol::RestJson) != TimeFormat::EpochSeconds;
        if iso != (theirs.time_format() == Some("iso8601")) {
            self.report("timestamps are printed in another format");
        }
    }

    fn list(&mut self, inner: &Shape, theirs: ModelShape<'_>, way: Way) {
        if way == Way::Out {
            self.item_name(theirs);
        }
        if let Some(held) = theirs.inner() {
            self.within("[]", |c| c.shape(inner, held, way));
        }
    }

    /// XML replies: the items are called the same but in [`NAMED`] lists.
    fn item_name(&mut self, theirs: ModelShape<'_>) {
        let wanted = match self.service.info().protocols.first() {
            Some(Protocol::Ec2Query) => "item",
            Some(Protocol::Query) => "member",
            _ => return,
        };
        if theirs.is_flattened() {
            self.report("a flattened list");
        } else if theirs
            .item_name()
            .is_some_and(|name| name != wanted && !NAMED.contains(&name))
        {
            self.report(format!("items are called {:?}", theirs.item_name()));
        }
    }

    fn values(&mut self, ours: &[&str], theirs: ModelShape<'_>, way: Way) {
        let Some(theirs) = theirs.values() else {
            return;
        };
        let strange: Vec<_> = ours
            .iter()
            .filter(|value| !theirs.contains(value))
            .collect();
        if !strange.is_empty() {
            self.report(format!("values that the model lacks: {strange:?}"));
        }
        let absent: Vec<_> = theirs
            .iter()
            .filter(|value| !ours.contains(value))
            .collect();
        if way == Way::In && !absent.is_empty() {
            self.report_lax(format!("values that are not accepted: {absent:?}"));
        }
    }

    fn members(&mut self, ours: &[Member], theirs: ModelShape<'_>, way: Way) {
        let modelled: Vec<ModelMember<'_>> = theirs.members();
        for member in ours {
            let found = modelled.iter().find(|m| m.name(way) == member.name);
            self.within(member.name, |c| match found {
                Some(modelled) => c.member(member, modelled, way),
                None => c.report(format!("{} has no such member", theirs.name)),
            });
        }
        for modelled in modelled.iter().filter(|member| member.is_bound()) {
            let name = modelled.name(way);
            if !ours.iter().any(|member| member.name == name) {
                self.within(name, |c| c.absent(modelled));
            }
        }
    }

    fn absent(&mut self, modelled: &ModelMember<'_>) {
        if modelled.required {
            self.report("the required member is not there");
        } else {
            self.report_lax("the member is not there");
        }
    }

    fn member(&mut self, ours: &Member, modelled: &ModelMember<'_>, way: Way) {
        if way == Way::In && ours.required && !modelled.required {
            let what = "required here, optional in the model";
            // EC2's model marks few of the members that EC2 itself demands.
            match self.service.info().protocols.first() {
                Some(Protocol::Ec2Query) => self.report_lax(what),
                _ => self.report(what),
            }
        }
        if way == Way::In && !ours.required && modelled.required {
            self.report_lax("optional here, required in the model");
        }
        self.shape(&ours.shape, modelled.shape, way);
    }
}

fn word(shape: &Shape) -> &'static str {
    match shape {
        Shape::Boolean => "a boolean",
        Shape::Integer => "an integer",
        Shape::Float => "a float",
        Shape::String => "a string",
        Shape::Blob => "a blob",
        Shape::Timestamp => "a timestamp",
        Shape::Unit => "nothing",
        Shape::Any => "anything",
        Shape::List(_) => "a list",
        Shape::Map(_) => "a map",
        Shape::Struct { .. } => "a structure",
        Shape::Enum { .. } => "an enum",
        Shape::Recursive(name) => name,
    }
}
