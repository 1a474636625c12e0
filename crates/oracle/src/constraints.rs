//! Writes the tables of [`lath_wire::constraint`] from the published models.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lath_wire::constraint::{HIGH, LOW, can_express};
use serde_json::Value;

use crate::model::{Model, ModelShape, Way};

/// A bound of a model that the table leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassedOver {
    /// botocore's name of the model.
    pub model: &'static str,
    /// The shape that has the bound.
    pub shape: &'static str,
    /// Which one.
    pub bound: Part,
    /// Why.
    pub reason: &'static str,
}

/// A part of what a shape is bound by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The least length or value.
    Least,
    /// The greatest length or value.
    Most,
    /// The regular expression.
    Pattern,
    /// All of these.
    All,
}

/// The source of a service's table: of what the model says of the inputs of the served operations, without what is passed
/// over.
///
/// # Errors
/// The document has no such model, or a bound in it cannot be expressed and is not passed over, or something is passed
/// over that is not there.
pub fn constraint_table(
    document: &Value,
    name: &str,
    served: &[&str],
    passed_over: &[PassedOver],
) -> Result<String, String> {
    let model = Model::named(document, name).ok_or("the document has no such model")?;
    let mut table = Table {
        passed_over: passed_over.iter().filter(|it| it.model == name).collect(),
        ..Table::default()
    };
    let inputs = served.iter().filter_map(|operation| {
        let input = model.of_operation(model.operation(operation)?, Way::In)?;
        Some((*operation, input))
    });
    let inputs: Vec<_> = inputs.collect();
    for (_, input) in &inputs {
        table.reach(*input);
    }
    let unused = table.passed_over.iter().filter(|it| !table.used(it));
    let unused = unused.map(|it| format!("{} has no {:?} to pass over", it.shape, it.bound));
    let wrong: Vec<String> = table.wrong.iter().cloned().chain(unused).collect();
    if !wrong.is_empty() {
        return Err(format!("{name}: {}", wrong.join("\n")));
    }
    table.spread();
    for (operation, input) in inputs {
        let rule = table.rule(input);
        if rule != 0 {
            table.operations.push((operation.to_owned(), rule));
        }
    }
    Ok(table.source(name, model.version()))
}

/// What a shape is bound by, without what is passed over.
#[derive(Debug, Clone, Default)]
struct Bounds {
    least: Option<i64>,
    most: Option<i64>,
    pattern: Option<String>,
}

impl Bounds {
    fn is_any(&self) -> bool {
        self.least.is_some() || self.most.is_some() || self.pattern.is_some()
    }
}

#[derive(Default)]
struct Table<'m> {
    passed_over: Vec<&'m PassedOver>,
    /// Every shape that requests can have.
    shapes: BTreeMap<&'m str, (ModelShape<'m>, Bounds)>,
    /// Bounds that cannot be expressed.
    wrong: Vec<String>,
    /// Bounds of the model that were met, by shape.
    met: BTreeSet<(&'m str, &'static str)>,
    /// The shapes that are bound, or hold some that are.
    bound: BTreeSet<&'m str>,
    operations: Vec<(String, usize)>,
    /// The places of rules, by shape; one that is being written has its place already.
    places: BTreeMap<&'m str, usize>,
    rules: Vec<String>,
    patterns: Vec<String>,
}

impl<'m> Table<'m> {
    fn passes(&self, shape: &str, part: Part) -> bool {
        let mut all = self.passed_over.iter();
        all.any(|it| it.shape == shape && (it.bound == part || it.bound == Part::All))
    }

    /// Whether what is passed over is there.
    fn used(&self, it: &PassedOver) -> bool {
        let has = |part| self.met.contains(&(it.shape, part));
        match it.bound {
            Part::Least => has("min"),
            Part::Most => has("max"),
            Part::Pattern => has("pattern"),
            Part::All => has("min") || has("max") || has("pattern"),
        }
    }

    /// Notes a shape with its bounds, and all that it holds.
    fn reach(&mut self, shape: ModelShape<'m>) {
        if !self.shapes.contains_key(shape.name) {
            let bounds = self.bounds(shape);
            self.shapes.insert(shape.name, (shape, bounds));
            shape.held().for_each(|it| self.reach(it));
        }
    }

    fn bounds(&mut self, shape: ModelShape<'m>) -> Bounds {
        // A member with an enumeration has no other value.
        if shape.values().is_some() {
            return Bounds::default();
        }
        for name in ["min", "max", "pattern"] {
            if !shape.said(name).is_null() {
                self.met.insert((shape.name, name));
            }
        }
        let pattern = shape.said("pattern").as_str();
        let pattern = pattern.filter(|_| !self.passes(shape.name, Part::Pattern));
        if let Some(pattern) = pattern.filter(|it| !can_express(it)) {
            let name = shape.name;
            self.wrong
                .push(format!("{name}: the engine cannot express {pattern}"));
        }
        Bounds {
            least: self.whole(shape, "min", Part::Least),
            most: self.whole(shape, "max", Part::Most),
            pattern: pattern.map(str::to_owned),
        }
    }

    fn whole(&mut self, shape: ModelShape<'m>, name: &str, part: Part) -> Option<i64> {
        let said = shape.said(name);
        if said.is_null() || self.passes(shape.name, part) {
            return None;
        }
        // Ends of the ranges of numbers are written as `2.0`.
        let written = said.to_string();
        let whole = written.strip_suffix(".0").unwrap_or(&written).parse();
        if whole.is_err() {
            let shape = shape.name;
            self.wrong
                .push(format!("{shape}: {name} is {said}, and no whole number"));
        }
        whole.ok()
    }

    /// Finds what holds something that is bound.
    fn spread(&mut self) {
        loop {
            let known = self.bound.len();
            for (name, (shape, bounds)) in &self.shapes {
                let mut held = shape.held();
                if bounds.is_any() || held.any(|it| self.bound.contains(it.name)) {
                    self.bound.insert(name);
                }
            }
            if self.bound.len() == known {
                return;
            }
        }
    }

    /// The place of a shape's rule.
    fn rule(&mut self, shape: ModelShape<'m>) -> usize {
        if !self.bound.contains(shape.name) {
            return 0;
        }
        if let Some(place) = self.places.get(shape.name) {
            return *place;
        }
        let bounds = self.shapes.get(shape.name);
        let bounds = bounds.map(|(_, it)| it.clone()).unwrap_or_default();
        let least = number(bounds.least, LOW);
        let most = number(bounds.most, HIGH);
        let alone = match shape.kind() {
            "string" => {
                let pattern = self.pattern(bounds.pattern.as_deref());
                let kind = match shape.said("sensitive").as_bool() {
                    Some(true) => "Secret",
                    _ => "Text",
                };
                format!("{kind}({least}, {most}, {pattern})")
            }
            "blob" => format!("Bytes({least}, {most})"),
            "list" | "map" | "structure" => return self.holding(shape, &least, &most),
            _ => format!("Number({least}, {most})"),
        };
        // Many shapes are bound alike.
        let place = self.rules.iter().position(|it| *it == alone);
        let place = place.map_or_else(
            || {
                self.rules.push(alone);
                self.rules.len()
            },
            |it| it + 1,
        );
        self.places.insert(shape.name, place);
        place
    }

    fn holding(&mut self, shape: ModelShape<'m>, least: &str, most: &str) -> usize {
        self.rules.push(String::new());
        let place = self.rules.len();
        self.places.insert(shape.name, place);
        let inner = |table: &mut Self| shape.inner().map_or(0, |it| table.rule(it));
        let rule = match shape.kind() {
            "list" => format!("List({least}, {most}, {})", inner(self)),
            "map" => {
                let key = shape.key().map_or(0, |it| self.rule(it));
                format!("Map({least}, {most}, {key}, {})", inner(self))
            }
            _ => {
                let members = shape.members();
                let members = members.iter().map(|member| {
                    let rule = self.rule(member.shape);
                    (member.name(Way::In), rule)
                });
                let members = members.filter(|(_, rule)| *rule != 0);
                let members: Vec<String> = members
                    .map(|(name, rule)| format!("({name:?}, {rule})"))
                    .collect();
                format!("Members(&[{}])", members.join(", "))
            }
        };
        let same = self.rules.iter().position(|it| *it == rule);
        if let Some(same) = same.filter(|_| place == self.rules.len()) {
            self.rules.pop();
            self.places.insert(shape.name, same + 1);
            return same + 1;
        }
        if let Some(reserved) = self.rules.get_mut(place - 1) {
            *reserved = rule;
        }
        place
    }

    fn pattern(&mut self, source: Option<&str>) -> usize {
        let Some(source) = source else { return 0 };
        if let Some(place) = self.patterns.iter().position(|it| it == source) {
            return place + 1;
        }
        self.patterns.push(source.to_owned());
        self.patterns.len()
    }

    fn source(&self, name: &str, version: &str) -> String {
        let mut out = format!(
            "//! What the model of {name} {version} says of the values of requests. Written by `cargo xtask constraints`.\n\n"
        );
        let is_used = |word: &str| self.rules.iter().any(|it| it.contains(word));
        let kinds = [
            "Bytes(", "Free", "List(", "Map(", "Members(", "Number(", "Secret(", "Text(",
        ];
        let kinds = kinds.into_iter().filter(|it| *it == "Free" || is_used(it));
        let kinds: Vec<&str> = kinds.map(|it| it.trim_end_matches('(')).collect();
        let ends = ["HIGH", "LOW"].into_iter().filter(|it| is_used(it));
        let ends: String = ends.map(|it| format!("{it}, ")).collect();
        let mut line = |text: &str| writeln!(out, "{text}").expect("a String takes all");
        line(&format!(
            "use lath_wire::constraint::Rule::{{{}}};",
            kinds.join(", ")
        ));
        line(&format!(
            "use lath_wire::constraint::{{Constraints, {ends}Rule}};"
        ));
        line("\n/// The table.\npub(crate) const CONSTRAINTS: Constraints = Constraints {");
        line("    operations: OPERATIONS,\n    rules: RULES,\n    patterns: PATTERNS,\n};\n");
        line("#[rustfmt::skip]\nconst OPERATIONS: &[(&str, u16)] = &[");
        for (operation, rule) in &self.operations {
            line(&format!("    ({operation:?}, {rule}),"));
        }
        line("];\n\n#[rustfmt::skip]\nconst RULES: &[Rule] = &[\n    Free,");
        for rule in &self.rules {
            line(&format!("    {rule},"));
        }
        line("];\n\n#[rustfmt::skip]\nconst PATTERNS: &[&str] = &[\n    \"\",");
        for pattern in &self.patterns {
            line(&format!("    {},", literal(pattern)));
        }
        line("];");
        out
    }
}

fn number(bound: Option<i64>, none: i64) -> String {
    match bound {
        Some(bound) => bound.to_string(),
        None if none == LOW => "LOW".to_owned(),
        None => "HIGH".to_owned(),
    }
}

/// A string of the source.
fn literal(text: &str) -> String {
    match text.contains('\\') && !text.contains('"') {
        true => format!("r\"{text}\""),
        false => format!("{text:?}"),
    }
}
