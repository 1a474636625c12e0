//! What CloudWatch says of a dashboard's body
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html>).
//! Errors refuse it; warnings are reported and it is saved.

use serde_json::{Map, Value};

use super::api::DashboardValidationMessage;

/// Everything found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<DashboardValidationMessage>,
    pub(crate) warnings: Vec<DashboardValidationMessage>,
}

const MAX_WIDGETS: usize = 500;
const MAX_METRICS: usize = 500;
const MAX_METRICS_IN_ALL: usize = 2500;
const TYPES: [&str; 6] = ["metric", "text", "log", "alarm", "explorer", "custom"];
const VIEWS: [&str; 6] = ["timeSeries", "singleValue", "gauge", "bar", "pie", "table"];

impl Findings {
    fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.errors.push(DashboardValidationMessage {
            data_path: path.into(),
            message: message.into(),
        });
    }

    fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let message = message.into();
        self.warnings.push(DashboardValidationMessage {
            data_path: path.into(),
            message,
        });
    }
}

/// Checks a body. serde_json itself refuses nesting deeper than 128.
pub(crate) fn check(body: &str) -> Findings {
    let mut findings = Findings::default();
    match serde_json::from_str(body) {
        Ok(Value::Object(body)) => check_body(&body, &mut findings),
        Ok(_) => findings.error("", "The dashboard body must be a JSON object."),
        Err(error) => findings.error("", format!("The dashboard body is not valid JSON: {error}")),
    }
    findings
}

fn check_body(body: &Map<String, Value>, findings: &mut Findings) {
    for key in body.keys() {
        if !["start", "end", "periodOverride", "widgets", "variables"].contains(&key.as_str()) {
            findings.warn(format!("/{key}"), format!("Unknown property {key}"));
        }
    }
    if let Some(value) = body.get("periodOverride")
        && !matches!(value.as_str(), Some("auto" | "inherit"))
    {
        findings.error(
            "/periodOverride",
            "Should be either \"auto\" or \"inherit\"",
        );
    }
    if body.contains_key("end") && !body.contains_key("start") {
        findings.error("/end", "End needs a start");
    }
    match body.get("widgets") {
        Some(Value::Array(widgets)) => check_widgets(widgets, findings),
        Some(_) => findings.error("/widgets", "Should be an array"),
        None => findings.error("", "Should have required property 'widgets'"),
    }
    match body.get("variables") {
        Some(Value::Array(variables)) if variables.len() > 25 => {
            findings.error("/variables", "Should have at most 25 variables");
        }
        None | Some(Value::Array(_)) => {}
        Some(_) => findings.error("/variables", "Should be an array"),
    }
}

fn check_widgets(widgets: &[Value], findings: &mut Findings) {
    if widgets.len() > MAX_WIDGETS {
        findings.error(
            "/widgets",
            format!("Should have at most {MAX_WIDGETS} widgets"),
        );
        return;
    }
    let mut metrics = 0;
    for (index, widget) in widgets.iter().enumerate() {
        let path = format!("/widgets/{index}");
        match widget {
            Value::Object(widget) => {
                check_widget(widget, &path, findings);
                metrics += metric_rows(widget).map_or(0, <[Value]>::len);
            }
            _ => findings.error(path, "Should be an object"),
        }
    }
    if metrics > MAX_METRICS_IN_ALL {
        findings.error(
            "/widgets",
            format!("Should have at most {MAX_METRICS_IN_ALL} metrics in all"),
        );
    }
}

fn metric_rows(widget: &Map<String, Value>) -> Option<&[Value]> {
    widget
        .get("properties")?
        .get("metrics")?
        .as_array()
        .map(Vec::as_slice)
}

fn check_widget(widget: &Map<String, Value>, path: &str, findings: &mut Findings) {
    check_place(widget, path, findings);
    let kind = widget.get("type").and_then(Value::as_str);
    let Some(kind) = kind.filter(|kind| TYPES.contains(kind)) else {
        findings.error(
            format!("{path}/type"),
            format!("Should be one of {}", TYPES.join(", ")),
        );
        return;
    };
    let at = format!("{path}/properties");
    let Some(Value::Object(properties)) = widget.get("properties") else {
        findings.error(path, "Should have required property 'properties'");
        return;
    };
    let required: &[&str] = match kind {
        "text" => &["markdown"],
        "log" => &["query", "region"],
        "alarm" => &["alarms"],
        "custom" => &["endpoint"],
        "explorer" => &["metrics"],
        _ => &["region"],
    };
    for name in required
        .iter()
        .filter(|name| !properties.contains_key(**name))
    {
        findings.error(&at, format!("Should have required property '{name}'"));
    }
    if kind == "metric" {
        check_metric_properties(properties, &at, findings);
    }
}

fn check_place(widget: &Map<String, Value>, path: &str, findings: &mut Findings) {
    for (name, low, high) in [
        ("x", 0, 23),
        ("y", 0, i64::MAX),
        ("width", 1, 24),
        ("height", 1, 1000),
    ] {
        if let Some(value) = widget.get(name)
            && !value
                .as_i64()
                .is_some_and(|value| (low..=high).contains(&value))
        {
            findings.error(
                format!("{path}/{name}"),
                format!("Should be a whole number from {low} to {high}"),
            );
        }
    }
    let number = |name, default| widget.get(name).and_then(Value::as_i64).unwrap_or(default);
    if number("x", 0).saturating_add(number("width", 6)) > 24 {
        findings.error(
            format!("{path}/width"),
            "x and width should not go beyond 24 columns",
        );
    }
}

fn check_metric_properties(properties: &Map<String, Value>, at: &str, findings: &mut Findings) {
    let alarms = properties.get("annotations").and_then(|a| a.get("alarms"));
    match properties.get("metrics") {
        Some(Value::Array(rows)) if rows.len() > MAX_METRICS => {
            findings.error(
                format!("{at}/metrics"),
                format!("Should have at most {MAX_METRICS} metrics"),
            );
        }
        Some(Value::Array(rows)) => check_rows(rows, at, findings),
        Some(_) => findings.error(format!("{at}/metrics"), "Should be an array"),
        None if alarms.is_none() => findings.error(
            at,
            "Should have required property 'metrics' or 'annotations.alarms'",
        ),
        None => {}
    }
    if let Some(period) = properties.get("period")
        && !period
            .as_i64()
            .is_some_and(|p| [1, 5, 10, 20, 30].contains(&p) || (p > 0 && p % 60 == 0))
    {
        findings.error(
            format!("{at}/period"),
            "Should be 1, 5, 10, 20, 30 or a multiple of 60",
        );
    }
    if let Some(stat) = properties.get("stat")
        && stat
            .as_str()
            .is_none_or(|stat| stat.parse::<crate::metrics::Statistic>().is_err())
    {
        findings.error(
            format!("{at}/stat"),
            "Should be a statistic such as Average, Sum or p99",
        );
    }
    let view = properties
        .get("view")
        .map_or(Some("timeSeries"), Value::as_str);
    match view {
        Some("gauge") => {
            let left = properties.get("yAxis").and_then(|axis| axis.get("left"));
            if !["min", "max"]
                .iter()
                .all(|end| left.is_some_and(|left| left.get(end).is_some()))
            {
                findings.error(at, "A gauge should have yAxis.left.min and yAxis.left.max");
            }
        }
        Some(view) if VIEWS.contains(&view) => {}
        _ => findings.error(
            format!("{at}/view"),
            format!("Should be one of {}", VIEWS.join(", ")),
        ),
    }
}

fn check_rows(rows: &[Value], at: &str, findings: &mut Findings) {
    for (index, row) in rows.iter().enumerate() {
        let path = format!("{at}/metrics/{index}");
        let Value::Array(cells) = row else {
            findings.error(path, "Should be an array");
            continue;
        };
        let rendering = matches!(cells.last(), Some(Value::Object(_)));
        let names = &cells[..cells.len() - usize::from(rendering)];
        let expression = rendering
            && cells
                .last()
                .is_some_and(|last| last.get("expression").is_some());
        if !names.iter().all(Value::is_string) {
            findings.error(path, "Should have text cells, then at most one object");
        } else if names.is_empty() && !expression {
            findings.error(path, "Should name a metric or have an expression");
        } else if index == 0
            && names
                .iter()
                .any(|cell| matches!(cell.as_str(), Some("." | "...")))
        {
            findings.error(path, "The first metric has none before it to copy from");
        } else if names.len() > 2 && names.len() % 2 == 1 && !names.iter().any(|c| c == "...") {
            findings.error(path, "A dimension should have a name and a value");
        } else if names.len() == 1 && names[0] != "..." {
            findings.error(path, "Should have a namespace and a metric name");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(found: &[DashboardValidationMessage]) -> Vec<&str> {
        found
            .iter()
            .map(|finding| finding.data_path.as_str())
            .collect()
    }

    #[test]
    fn bodies_and_what_is_found() {
        let metric = r#"{"widgets":[{"type":"metric","properties":{"region":"us-east-1","stat":"Sum","period":300,
            "metrics":[["AWS/VpcLattice","TotalRequestCount","Service","svc-1"],["...","svc-2"],[{"expression":"m1"}]]}}]}"#;
        let cases: [(&str, &str, &[&str], &[&str]); 9] = [
            ("a good metric widget", metric, &[], &[]),
            ("not JSON", "{", &[""], &[]),
            ("not an object", "[]", &[""], &[]),
            ("no widgets", "{}", &[""], &[]),
            (
                "an unknown key",
                r#"{"widgets":[],"title":1}"#,
                &[],
                &["/title"],
            ),
            (
                "an unknown type",
                r#"{"widgets":[{"type":"x"}]}"#,
                &["/widgets/0/type"],
                &[],
            ),
            (
                "text without markdown",
                r#"{"widgets":[{"type":"text","properties":{}}]}"#,
                &["/widgets/0/properties"],
                &[],
            ),
            (
                "too wide",
                r#"{"widgets":[{"type":"text","x":20,"width":6,"properties":{"markdown":""}}]}"#,
                &["/widgets/0/width"],
                &[],
            ),
            (
                "half a dimension",
                r#"{"widgets":[{"type":"metric","properties":{"region":"r","metrics":[["N","M","D"]]}}]}"#,
                &["/widgets/0/properties/metrics/0"],
                &[],
            ),
        ];
        for (name, body, errors, warnings) in cases {
            let found = check(body);
            assert_eq!(
                (paths(&found.errors), paths(&found.warnings)),
                (errors.to_vec(), warnings.to_vec()),
                "{name}"
            );
        }
    }
}
