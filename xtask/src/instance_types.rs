//! Writes the table of EC2's instance types.
//!
//! The facts are those that AWS publishes with DescribeInstanceTypes. The Python package `moto` (Apache-2.0)
//! carries a recording of them; `pip` fetches that package, and this program keeps what Lath serves: one
//! line for each type. Raise [`VERSION`] to take newer types.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// The release of `moto` whose recording is read.
const VERSION: &str = "5.2.5";
/// Where the table goes.
const TABLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/ec2-kit/src/instance_types.tsv"
);
/// Reads the recording out of the wheel that is its argument; Python has a reader for both formats.
const EXTRACT: &str = "import sys,zipfile,gzip;\
sys.stdout.buffer.write(gzip.decompress(zipfile.ZipFile(sys.argv[1]).read('moto/ec2/resources/instance_types.json.gz')))";

/// What a column is called, and how a type's value is found in the recording.
type Column = (&'static str, fn(&Value) -> Option<String>);

const COLUMNS: &[Column] = &[
    ("name", |it| text(&it["InstanceType"])),
    ("architectures", |it| {
        list(&it["ProcessorInfo"]["SupportedArchitectures"])
    }),
    ("manufacturer", |it| {
        text(&it["ProcessorInfo"]["Manufacturer"])
    }),
    ("clock_ghz", |it| {
        number(&it["ProcessorInfo"]["SustainedClockSpeedInGhz"])
    }),
    ("vcpus", |it| number(&it["VCpuInfo"]["DefaultVCpus"])),
    ("cores", |it| number(&it["VCpuInfo"]["DefaultCores"])),
    ("valid_cores", |it| {
        Some(runs(&numbers(&it["VCpuInfo"]["ValidCores"])))
    }),
    ("valid_threads", |it| {
        Some(runs(&numbers(&it["VCpuInfo"]["ValidThreadsPerCore"])))
    }),
    ("memory_mib", |it| number(&it["MemoryInfo"]["SizeInMiB"])),
    ("network_performance", |it| {
        text(&it["NetworkInfo"]["NetworkPerformance"])
    }),
    ("network_cards", cards),
    ("ipv4_per_interface", |it| {
        number(&it["NetworkInfo"]["Ipv4AddressesPerInterface"])
    }),
    ("ipv6_per_interface", |it| {
        number(&it["NetworkInfo"]["Ipv6AddressesPerInterface"])
    }),
    ("ena", |it| text(&it["NetworkInfo"]["EnaSupport"])),
    ("hypervisor", |it| text(&it["Hypervisor"])),
    ("ebs_optimized", |it| {
        text(&it["EbsInfo"]["EbsOptimizedSupport"])
    }),
    ("ebs_nvme", |it| text(&it["EbsInfo"]["NvmeSupport"])),
    ("ebs_mbps", |it| {
        pair(&it["EbsInfo"]["EbsOptimizedInfo"], "BandwidthInMbps")
    }),
    ("ebs_iops", |it| {
        pair(&it["EbsInfo"]["EbsOptimizedInfo"], "Iops")
    }),
    ("ebs_attachments", |it| {
        number(&it["EbsInfo"]["MaximumEbsAttachments"])
    }),
    ("boot_modes", |it| list(&it["SupportedBootModes"])),
    ("gpus", gpus),
    ("flags", flags),
];

/// Fetches the recording and writes the table.
pub(crate) fn write() -> anyhow::Result<()> {
    let recording: Value = serde_json::from_slice(&fetch()?)?;
    let types = recording
        .as_object()
        .context("the recording is no object")?;
    let mut types: Vec<&Value> = types.values().collect();
    types.sort_by_key(|it| it["InstanceType"].as_str().map(str::to_owned));
    let mut table = format!(
        "# Instance types as AWS describes them; written by `cargo xtask instance-types` from moto {VERSION}.\n"
    );
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    writeln!(table, "{}", names.join("\t"))?;
    for it in types {
        let cells: Vec<String> = COLUMNS
            .iter()
            .map(|(_, of)| of(it).unwrap_or_default())
            .collect();
        ensure!(
            cells.iter().all(|cell| !cell.contains(['\t', '\n'])),
            "a value of {} does not fit a table",
            cells[0]
        );
        writeln!(table, "{}", cells.join("\t"))?;
    }
    std::fs::write(TABLE, table).with_context(|| format!("cannot write {TABLE}"))
}

fn fetch() -> anyhow::Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    let status = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
        .arg(directory.path())
        .arg(format!("moto=={VERSION}"))
        .status()
        .context("python3 cannot be run")?;
    ensure!(status.success(), "pip cannot download moto {VERSION}");
    extract(
        &directory
            .path()
            .join(format!("moto-{VERSION}-py3-none-any.whl")),
    )
}

fn extract(wheel: &Path) -> anyhow::Result<Vec<u8>> {
    let out = Command::new("python3")
        .args(["-c", EXTRACT])
        .arg(wheel)
        .output()
        .context("python3 cannot be run")?;
    ensure!(
        out.status.success(),
        "{} has no recording: {}",
        wheel.display(),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(out.stdout)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn number(value: &Value) -> Option<String> {
    value.as_number().map(ToString::to_string)
}

fn list(value: &Value) -> Option<String> {
    let words: Option<Vec<&str>> = value.as_array()?.iter().map(Value::as_str).collect();
    Some(words?.join(","))
}

fn numbers(value: &Value) -> Vec<u64> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_u64).collect()
}

/// Ascending numbers, with `first-last/step` for three or more at equal distances.
fn runs(numbers: &[u64]) -> String {
    let mut parts = Vec::new();
    let mut rest = numbers;
    while let [first, ..] = rest {
        let step = rest.get(1).map_or(1, |next| next - first);
        let length = 1 + rest
            .windows(2)
            .take_while(|two| two[1] - two[0] == step)
            .count();
        let taken = if length < 3 { 1 } else { length };
        parts.push(match taken {
            1 => first.to_string(),
            _ => format!("{first}-{}/{step}", rest[taken - 1]),
        });
        rest = &rest[taken..];
    }
    parts.join(",")
}

fn pair(value: &Value, what: &str) -> Option<String> {
    let of = |which: &str| number(&value[format!("{which}{what}")]);
    Some(format!("{}/{}", of("Baseline")?, of("Maximum")?))
}

/// `count x interfaces:performance:baseline:peak` (Gbit/s), equal neighbours together.
fn cards(it: &Value) -> Option<String> {
    let mut all: Vec<(usize, String)> = Vec::new();
    for card in it["NetworkInfo"]["NetworkCards"].as_array()? {
        let shown = format!(
            "{}:{}:{}:{}",
            card["MaximumNetworkInterfaces"],
            card["NetworkPerformance"].as_str()?,
            number(&card["BaselineBandwidthInGbps"])?,
            number(&card["PeakBandwidthInGbps"])?,
        );
        match all.last_mut() {
            Some((count, last)) if *last == shown => *count += 1,
            _ => all.push((1, shown)),
        }
    }
    let all: Vec<String> = all
        .iter()
        .map(|(count, card)| format!("{count}x{card}"))
        .collect();
    Some(all.join(";"))
}

/// `count:manufacturer:name:MiB each`.
fn gpus(it: &Value) -> Option<String> {
    let gpu = it["GpuInfo"]["Gpus"].as_array()?.first()?;
    Some(format!(
        "{}:{}:{}:{}",
        gpu["Count"],
        gpu["Manufacturer"].as_str()?,
        gpu["Name"].as_str()?,
        gpu["MemoryInfo"]["SizeInMiB"]
    ))
}

/// The words that hold, in the order of this list.
fn flags(it: &Value) -> Option<String> {
    let accelerators = [
        "GpuInfo",
        "FpgaInfo",
        "InferenceAcceleratorInfo",
        "MediaAcceleratorInfo",
        "NeuronInfo",
    ];
    let words = [
        ("metal", it["BareMetal"] == true),
        ("burstable", it["BurstablePerformanceSupported"] == true),
        ("current", it["CurrentGeneration"] == true),
        (
            "accelerated",
            accelerators.iter().any(|kind| it[*kind].is_object()),
        ),
    ];
    let held: Vec<&str> = words
        .iter()
        .filter(|(_, holds)| *holds)
        .map(|(word, _)| *word)
        .collect();
    Some(held.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_equal_distances_are_a_run() {
        for (numbers, want) in [
            (&[][..], ""),
            (&[1], "1"),
            (&[1, 2], "1,2"),
            (&[2, 4, 6, 8], "2-8/2"),
            (&[1, 2, 3, 4, 8, 12, 16], "1-4/1,8-16/4"),
            (&[6, 12, 48], "6,12,48"),
        ] {
            assert_eq!(runs(numbers), want, "{numbers:?}");
        }
    }
}
