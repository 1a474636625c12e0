//! Labels with dynamic values
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/graph-dynamic-labels.html>): those that name the
//! query. Those that speak of data points, and of their times in a time zone, are refused.

/// What a query's label may name.
pub(super) struct Named<'a> {
    /// The label of a query that was given none.
    pub(super) default: &'a str,
    pub(super) account: &'a str,
    pub(super) region: &'a str,
    pub(super) namespace: &'a str,
    pub(super) metric: &'a str,
    pub(super) statistic: &'a str,
    pub(super) period: u64,
    pub(super) dimensions: &'a [(String, String)],
}

/// The label with its dynamic values filled in; the one that is not served as the error.
pub(super) fn fill(label: &str, named: &Named<'_>) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), label);
    while let Some((before, after)) = rest.split_once("${") {
        let Some((value, following)) = after.split_once('}') else {
            break;
        };
        filled.push_str(before);
        filled.push_str(&named.value(value).ok_or_else(|| format!("${{{value}}}"))?);
        rest = following;
    }
    filled.push_str(rest);
    Ok(filled)
}

impl Named<'_> {
    fn value(&self, name: &str) -> Option<String> {
        if name == "LABEL" {
            return Some(self.default.to_owned());
        }
        let property = name.strip_prefix("PROP('")?.strip_suffix("')")?;
        if let Some(dimension) = property.strip_prefix("Dim.") {
            let mut dimensions = self.dimensions.iter();
            let found = dimensions.find(|(name, _)| name == dimension);
            return Some(found.map_or_else(|| "--".to_owned(), |(_, value)| value.clone()));
        }
        Some(match property {
            "AccountId" => self.account.to_owned(),
            "MetricName" => self.metric.to_owned(),
            "Namespace" => self.namespace.to_owned(),
            "Period" => self.period.to_string(),
            "Region" => self.region.to_owned(),
            "Stat" => self.statistic.to_owned(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_name_their_query() {
        let dimensions = [("Host".to_owned(), "web".to_owned())];
        let named = Named {
            default: "cpu Sum",
            account: "123456789012",
            region: "us-east-1",
            namespace: "App",
            metric: "cpu",
            statistic: "Sum",
            period: 60,
            dimensions: &dimensions,
        };
        for (label, want) in [
            ("plain", Ok("plain")),
            ("", Ok("")),
            ("${LABEL}!", Ok("cpu Sum!")),
            ("${PROP('Dim.Host')}/${PROP('Dim.Other')}", Ok("web/--")),
            (
                "${PROP('Namespace')}:${PROP('MetricName')} ${PROP('Stat')} ${PROP('Period')}",
                Ok("App:cpu Sum 60"),
            ),
            (
                "${PROP('Region')} ${PROP('AccountId')}",
                Ok("us-east-1 123456789012"),
            ),
            ("not closed ${LABEL", Ok("not closed ${LABEL")),
            ("$ {} }", Ok("$ {} }")),
            ("max ${MAX}", Err("${MAX}")),
            ("${LAST_TIME}", Err("${LAST_TIME}")),
            ("${PROP('AccountLabel')}", Err("${PROP('AccountLabel')}")),
            ("é${X}", Err("${X}")),
        ] {
            let filled = fill(label, &named);
            let got = filled.as_deref().map_err(String::as_str);
            assert_eq!(got, want, "{label}");
        }
    }
}
