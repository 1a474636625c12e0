//! What intrinsic functions mean.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::references::{Piece, pieces};
use crate::template::{DEEPEST, Template, Wrong, cut};

/// How much is evaluated of a template.
const MOST_STEPS: u32 = 500_000;
/// The longest text that a function may make, in bytes: each may repeat a parameter many times.
const LONGEST: usize = 1 << 20;

/// What pseudo parameters and functions know of the installation.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) partition: String,
    pub(crate) suffix: String,
    pub(crate) stack_name: String,
    pub(crate) stack_id: String,
    pub(crate) topics: Vec<String>,
    pub(crate) zones: Vec<String>,
}

/// What a resource is referred to by, or an attribute of it.
pub(crate) type Lookup<'a> = dyn Fn(&str, Option<&str>) -> Result<Value, Wrong> + 'a;

/// What names mean where a template is evaluated.
pub(crate) struct Scope<'a> {
    pub(crate) template: &'a Template,
    pub(crate) parameters: &'a BTreeMap<String, Value>,
    pub(crate) around: &'a Surroundings,
    /// The value of an export of the region.
    pub(crate) export: &'a dyn Fn(&str) -> Option<String>,
    /// What a resource is referred to by, or an attribute of it.
    pub(crate) resource: &'a Lookup<'a>,
    /// How much was evaluated: conditions may name others many times each.
    pub(crate) steps: &'a Cell<u32>,
}

impl Scope<'_> {
    /// A value without functions; `None` where it is `AWS::NoValue`.
    pub(crate) fn value(&self, value: &Value) -> Result<Option<Value>, Wrong> {
        self.at(value, 0)
    }

    fn at(&self, value: &Value, depth: usize) -> Result<Option<Value>, Wrong> {
        self.count()?;
        // Conditions lead from one part of a template to another.
        if depth > 4 * DEEPEST {
            return Err("Template error: the template is nested too deeply".into());
        }
        match value {
            Value::Array(items) => {
                let items: Result<Vec<_>, _> =
                    items.iter().map(|it| self.at(it, depth + 1)).collect();
                Ok(Some(Value::Array(items?.into_iter().flatten().collect())))
            }
            Value::Object(members) => {
                if members.len() == 1
                    && let Some((name, argument)) = members.iter().next()
                    && (name == "Ref" || name.starts_with("Fn::"))
                {
                    return self.call(name, argument, depth + 1);
                }
                let mut object = Map::new();
                for (name, value) in members {
                    if let Some(value) = self.at(value, depth + 1)? {
                        object.insert(name.clone(), value);
                    }
                }
                Ok(Some(Value::Object(object)))
            }
            other => Ok(Some(other.clone())),
        }
    }

    fn call(&self, name: &str, argument: &Value, depth: usize) -> Result<Option<Value>, Wrong> {
        match name {
            "Ref" => match argument.as_str() {
                Some("AWS::NoValue") => Ok(None),
                Some(name) => self.reference(name).map(Some),
                None => {
                    Err("Template error: every Ref object must have a single String value.".into())
                }
            },
            "Fn::If" => {
                let [condition, yes, no] = arguments(argument, "Fn::If")?;
                let condition = condition.as_str().unwrap_or_default();
                let chosen = if self.condition(condition, depth)? {
                    yes
                } else {
                    no
                };
                self.at(chosen, depth)
            }
            _ => self.function(name, argument, depth).map(Some),
        }
    }

    fn function(&self, name: &str, argument: &Value, depth: usize) -> Result<Value, Wrong> {
        match name {
            "Fn::GetAtt" => {
                let (resource, attribute) = match argument {
                    Value::Array(parts) if parts.len() == 2 => {
                        let attribute = self.text(&parts[1], depth)?;
                        (parts[0].as_str().unwrap_or_default().to_owned(), attribute)
                    }
                    Value::String(text) => {
                        let (resource, attribute) = text.split_once('.').unwrap_or((text, ""));
                        (resource.to_owned(), attribute.to_owned())
                    }
                    _ => {
                        return Err("Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute".into());
                    }
                };
                self.copied((self.resource)(&resource, Some(&attribute))?)
            }
            "Fn::Sub" => self.sub(argument, depth),
            "Fn::Join" => {
                let [between, items] = arguments(argument, "Fn::Join")?;
                let between = self.text(between, depth)?;
                let items: Result<Vec<_>, _> =
                    self.list(items, depth)?.iter().map(as_text).collect();
                self.bounded(items?.join(&between)).map(Value::String)
            }
            "Fn::Split" => {
                let [between, text] = arguments(argument, "Fn::Split")?;
                let between = self.text(between, depth)?;
                if between.is_empty() {
                    return Err("Template error: every Fn::Split object requires a delimiter that is not empty".into());
                }
                let text = self.text(text, depth)?;
                self.copied(text.split(&between).map(Value::from).collect())
            }
            "Fn::Select" => {
                let [index, items] = arguments(argument, "Fn::Select")?;
                let index = self.text(index, depth)?;
                let items = self.list(items, depth)?;
                let chosen = index.parse::<usize>().ok().and_then(|at| items.get(at));
                chosen.cloned().ok_or_else(|| {
                    let index = cut(&index);
                    format!("Template error: Fn::Select cannot select nonexistent value at index {index}")
                })
            }
            "Fn::GetAZs" => {
                let region = self.text(argument, depth)?;
                if region.is_empty() || region == self.around.region {
                    return Ok(self.around.zones.iter().cloned().map(Value::from).collect());
                }
                Err(format!(
                    "Template validation error: Template error: Invalid region {}",
                    cut(&region)
                ))
            }
            "Fn::FindInMap" => self.find_in_map(argument, depth),
            "Fn::ImportValue" => {
                let name = self.text(argument, depth)?;
                let value = (self.export)(&name);
                value
                    .map(Value::String)
                    .ok_or_else(|| format!("No export named {} found.", cut(&name)))
            }
            "Fn::Base64" => {
                let text = self.text(argument, depth)?;
                self.bounded(STANDARD.encode(text)).map(Value::String)
            }
            "Fn::Cidr" => {
                let Value::Array(parts) = argument else {
                    return Err(cidr_error());
                };
                let [block, count, bits @ ..] = parts.as_slice() else {
                    return Err(cidr_error());
                };
                let block = self.text(block, depth)?;
                let count = self.text(count, depth)?.parse().map_err(|_| cidr_error())?;
                let bits = match bits.first() {
                    Some(bits) => self.text(bits, depth)?.parse().map_err(|_| cidr_error())?,
                    None if block.contains(':') => 64,
                    None => 8,
                };
                let blocks = cidr(&block, count, bits).ok_or_else(cidr_error)?;
                Ok(blocks.into_iter().map(Value::String).collect())
            }
            "Fn::And" | "Fn::Equals" | "Fn::Not" | "Fn::Or" => {
                let mut members = Map::new();
                members.insert(name.to_owned(), argument.clone());
                self.holds(&Value::Object(members), depth).map(Value::Bool)
            }
            _ => Err(format!(
                "Template validation error: Template error: {} is not supported by Lath",
                cut(name)
            )),
        }
    }

    fn reference(&self, name: &str) -> Result<Value, Wrong> {
        let around = self.around;
        let text = match name {
            "AWS::AccountId" => &around.account,
            "AWS::Partition" => &around.partition,
            "AWS::Region" => &around.region,
            "AWS::StackId" => &around.stack_id,
            "AWS::StackName" => &around.stack_name,
            "AWS::URLSuffix" => &around.suffix,
            "AWS::NotificationARNs" => {
                return Ok(around.topics.iter().cloned().map(Value::from).collect());
            }
            name => {
                return match self.parameters.get(name) {
                    Some(value) => self.copied(value.clone()),
                    None => self.copied((self.resource)(name, None)?),
                };
            }
        };
        Ok(Value::String(text.clone()))
    }

    fn sub(&self, argument: &Value, depth: usize) -> Result<Value, Wrong> {
        let wrong = || {
            "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, and an optional second argument to specify a mapping of values to replace in the string".to_owned()
        };
        let (text, own) = match argument {
            Value::String(text) => (text, None),
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(text), Value::Object(own)] => (text, Some(own)),
                [Value::String(text)] => (text, None),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        let mut out = String::new();
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Literal(name) => out.push_str(&format!("${{{name}}}")),
                Piece::Name(name) => {
                    let value = match own.and_then(|own| own.get(name)) {
                        Some(value) => self.at(value, depth)?.unwrap_or(Value::Null),
                        None => match name.split_once('.') {
                            Some((resource, attribute)) => {
                                (self.resource)(resource, Some(attribute))?
                            }
                            None => self.reference(name)?,
                        },
                    };
                    out.push_str(&as_text(&value)?);
                }
            }
            if out.len() > LONGEST {
                return Err(too_long());
            }
        }
        self.bounded(out).map(Value::String)
    }

    fn find_in_map(&self, argument: &Value, depth: usize) -> Result<Value, Wrong> {
        let Value::Array(parts) = argument else {
            return Err("Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value".into());
        };
        let [map, first, second, rest @ ..] = parts.as_slice() else {
            return Err("Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value".into());
        };
        let (map, first, second) = (
            self.text(map, depth)?,
            self.text(first, depth)?,
            self.text(second, depth)?,
        );
        let found = self.template.mappings.get(&map);
        let found = found.and_then(|it| it.get(&first)?.get(&second));
        if let Some(value) = found {
            return self.copied(value.clone());
        }
        if let Some(default) = rest.first().and_then(|it| it.get("DefaultValue")) {
            return Ok(self.at(default, depth)?.unwrap_or(Value::Null));
        }
        if !self.template.mappings.contains_key(&map) {
            let map = cut(&map);
            return Err(format!(
                "Template error: Mapping named '{map}' is not present in the 'Mappings' section of template."
            ));
        }
        Err(format!(
            "Template error: Unable to get mapping for {}",
            cut(&format!("{map}::{first}::{second}"))
        ))
    }

    fn text(&self, value: &Value, depth: usize) -> Result<String, Wrong> {
        match self.at(value, depth)? {
            Some(value) => as_text(&value),
            None => Ok(String::new()),
        }
    }

    fn list(&self, value: &Value, depth: usize) -> Result<Vec<Value>, Wrong> {
        match self.at(value, depth)? {
            Some(Value::Array(items)) => Ok(items),
            _ => Err("Template error: a list was expected where a function takes one".into()),
        }
    }

    fn count(&self) -> Result<(), Wrong> {
        self.spend(1)
    }

    fn spend(&self, steps: usize) -> Result<(), Wrong> {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.steps.set(self.steps.get().saturating_add(steps));
        if self.steps.get() > MOST_STEPS {
            return Err("Template error: the template takes too long to evaluate".into());
        }
        Ok(())
    }

    /// A value that a function gave, which may be a long list.
    fn copied(&self, value: Value) -> Result<Value, Wrong> {
        self.spend(size(&value))?;
        Ok(value)
    }

    /// A text that a function made. All of them together are bounded too.
    fn bounded(&self, text: String) -> Result<String, Wrong> {
        if text.len() > LONGEST {
            return Err(too_long());
        }
        self.spend(text.len() / 32)?;
        Ok(text)
    }

    /// Whether a condition of the template holds.
    pub(crate) fn condition(&self, name: &str, depth: usize) -> Result<bool, Wrong> {
        let condition = self.template.conditions.get(name).ok_or_else(|| {
            format!(
                "Template error: unresolved condition dependency {}",
                cut(name)
            )
        })?;
        self.holds(condition, depth + 1)
    }

    fn holds(&self, value: &Value, depth: usize) -> Result<bool, Wrong> {
        self.count()?;
        if depth > 4 * DEEPEST {
            return Err("Template format error: Circular dependency in conditions".into());
        }
        let wrong = || {
            "Template format error: Conditions can only be boolean operations on parameters and other conditions".to_owned()
        };
        let Value::Object(members) = value else {
            return Err(wrong());
        };
        let (name, argument) = members.iter().next().ok_or_else(wrong)?;
        let each = || -> Result<Vec<bool>, Wrong> {
            let items = argument.as_array().ok_or_else(wrong)?;
            items.iter().map(|it| self.holds(it, depth + 1)).collect()
        };
        match name.as_str() {
            "Condition" => self.condition(argument.as_str().ok_or_else(wrong)?, depth + 1),
            "Fn::Equals" => {
                let [one, other] = arguments(argument, "Fn::Equals")?;
                Ok(self.text_or_tree(one, depth + 1)? == self.text_or_tree(other, depth + 1)?)
            }
            "Fn::Not" => each().map(|it| !it.iter().all(|it| *it)),
            "Fn::And" => each().map(|it| it.iter().all(|it| *it)),
            "Fn::Or" => each().map(|it| it.iter().any(|it| *it)),
            _ => Err(wrong()),
        }
    }

    fn text_or_tree(&self, value: &Value, depth: usize) -> Result<String, Wrong> {
        let value = self.at(value, depth)?.unwrap_or(Value::Null);
        Ok(as_text(&value).unwrap_or_else(|_| value.to_string()))
    }

    /// The names of the exports that a value imports.
    pub(crate) fn imports(&self, value: &Value, names: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|it| self.imports(it, names)),
            Value::Object(members) => {
                for (key, value) in members {
                    if key == "Fn::ImportValue"
                        && let Ok(name) = self.text(value, 0)
                    {
                        names.push(name);
                    }
                    self.imports(value, names);
                }
            }
            _ => {}
        }
    }
}

fn arguments<'v, const N: usize>(value: &'v Value, name: &str) -> Result<&'v [Value; N], Wrong> {
    let items = value
        .as_array()
        .and_then(|it| it.as_slice().try_into().ok());
    items.ok_or_else(|| format!("Template error: every {name} object requires {N} parameters"))
}

/// How much a value is, in steps.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(key, it)| key.len() / 32 + size(it))
            .sum(),
        Value::String(text) => text.len() / 32,
        _ => 0,
    }
}

/// A scalar as text.
pub(crate) fn as_text(value: &Value) -> Result<String, Wrong> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(it) => Ok(it.to_string()),
        Value::Number(it) => Ok(it.to_string()),
        Value::Null => Ok(String::new()),
        Value::Array(_) | Value::Object(_) => {
            Err("Template error: a string was expected where a function takes one".into())
        }
    }
}

fn too_long() -> Wrong {
    "Template error: a function makes a string that is too long".into()
}

fn cidr_error() -> Wrong {
    "Template error: every Fn::Cidr object requires two or three parameters: the ipBlock, the count from 1 to 256 and the cidrBits".into()
}

/// So many blocks of so many host bits out of a block.
fn cidr(block: &str, count: u32, bits: u32) -> Option<Vec<String>> {
    let (address, length) = block.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length: u32 = length.parse().ok()?;
    let (width, first) = match address {
        IpAddr::V4(it) => (32, u128::from(u32::from(it))),
        IpAddr::V6(it) => (128, u128::from(it)),
    };
    if !(1..=256).contains(&count) || bits == 0 || length > width || bits > width - length {
        return None;
    }
    let room = width - length - bits;
    if room < 32 && u64::from(count) > 1 << room {
        return None;
    }
    let of = |at: u32| {
        let address = first.checked_add(u128::from(at).checked_shl(bits)?)?;
        let address = match width {
            32 => IpAddr::V4(Ipv4Addr::from(u32::try_from(address).ok()?)),
            _ => IpAddr::V6(Ipv6Addr::from(address)),
        };
        Some(format!("{address}/{}", width - bits))
    };
    (0..count).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn functions_mean_what_cloudformation_says() {
        let body = "Mappings: {M: {a: {b: found}}}\nConditions: {Yes: !Equals [!Ref P, x], No: !Not [!Condition Yes]}\n\
                    Resources: {R: {Type: 'AWS::EC2::InternetGateway'}}\n";
        let template = Template::read(body).unwrap();
        let parameters = BTreeMap::from([
            ("P".to_owned(), json!("x")),
            ("L".to_owned(), json!(["1", "2"])),
        ]);
        let around = Surroundings {
            account: "123456789012".into(),
            region: "us-east-1".into(),
            partition: "aws".into(),
            suffix: "amazonaws.com".into(),
            stack_name: "s".into(),
            stack_id: "id".into(),
            topics: Vec::new(),
            zones: vec!["us-east-1a".into(), "us-east-1b".into()],
        };
        let scope = Scope {
            template: &template,
            parameters: &parameters,
            around: &around,
            export: &|name| (name == "e").then(|| "exported".to_owned()),
            resource: &|name, attribute| {
                Ok(json!(format!("{name}.{}", attribute.unwrap_or("ref"))))
            },
            steps: &Cell::new(0),
        };
        for (given, want) in [
            (json!({"Ref": "R"}), json!("R.ref")),
            (json!({"Fn::GetAtt": ["R", "A.B"]}), json!("R.A.B")),
            (
                json!({"Fn::Sub": "${P} ${!P} ${R.A} ${AWS::Region}"}),
                json!("x ${P} R.A us-east-1"),
            ),
            (
                json!({"Fn::Sub": ["${Q}", {"Q": {"Ref": "P"}}]}),
                json!("x"),
            ),
            (json!({"Fn::Join": ["-", {"Ref": "L"}]}), json!("1-2")),
            (
                json!({"Fn::Select": ["1", {"Fn::Split": [",", "a,b"]}]}),
                json!("b"),
            ),
            (
                json!({"Fn::Select": [0, {"Fn::GetAZs": ""}]}),
                json!("us-east-1a"),
            ),
            (json!({"Fn::FindInMap": ["M", "a", "b"]}), json!("found")),
            (json!({"Fn::ImportValue": "e"}), json!("exported")),
            (json!({"Fn::Base64": "hi"}), json!("aGk=")),
            (json!({"Fn::If": ["Yes", 1, 2]}), json!(1)),
            (
                json!([{"Fn::If": ["No", 1, {"Ref": "AWS::NoValue"}]}, 3]),
                json!([3]),
            ),
            (
                json!({"Fn::Cidr": ["10.0.0.0/16", 2, 8]}),
                json!(["10.0.0.0/24", "10.0.1.0/24"]),
            ),
        ] {
            assert_eq!(scope.value(&given), Ok(Some(want)), "{given}");
        }
        for (given, said) in [
            (json!({"Fn::ImportValue": "f"}), "No export named f found."),
            (
                json!({"Fn::Select": [5, ["a"]]}),
                "nonexistent value at index 5",
            ),
            (
                json!({"Fn::FindInMap": ["N", "a", "b"]}),
                "Mapping named 'N' is not present",
            ),
            (json!({"Fn::Cidr": ["10.0.0.0/24", 9, 8]}), "Fn::Cidr"),
            (json!({"Fn::Nope": 1}), "Fn::Nope"),
        ] {
            let error = scope.value(&given).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let long = ",".repeat(4000);
        let many = vec![json!({"Fn::Split": [",", long]}); 200];
        let error = scope.value(&Value::Array(many)).unwrap_err();
        assert!(error.contains("takes too long"), "{error}");
    }
}
