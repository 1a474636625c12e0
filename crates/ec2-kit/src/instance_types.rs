//! The instance types of EC2, as AWS publishes them (<https://aws.amazon.com/ec2/instance-types/>).
//!
//! Of what a type promises, an instance gets its memory and CPUs as limits. The table `instance_types.tsv` is written
//! by `cargo xtask instance-types`, which says where its facts come from.

use std::sync::LazyLock;

/// An instance type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstanceType {
    /// Such as `t3.medium`.
    pub name: &'static str,
    /// Such as `x86_64`; old types also have `i386`.
    pub architectures: Vec<&'static str>,
    /// Such as `Intel`.
    pub manufacturer: &'static str,
    /// In GHz, where it is known.
    pub clock: Option<f64>,
    /// Hardware threads.
    pub vcpus: i32,
    /// Cores.
    pub cores: i32,
    /// What `CpuOptions` may choose; empty where it may not.
    pub valid_cores: Vec<i32>,
    /// As the cores, of threads of each.
    pub valid_threads: Vec<i32>,
    /// In MiB.
    pub memory_mib: i64,
    /// Such as `Up to 10 Gigabit`.
    pub network: &'static str,
    /// Its network cards.
    pub cards: Vec<NetworkCard>,
    /// How many addresses an interface may have.
    pub ipv4_addresses: i32,
    /// As of IPv4.
    pub ipv6_addresses: i32,
    /// `required`, `supported` or `unsupported`.
    pub ena: &'static str,
    /// `nitro` or `xen`; bare metal has none.
    pub hypervisor: Option<&'static str>,
    /// `default`, `supported` or `unsupported`.
    pub ebs_optimized: &'static str,
    /// `required`, `supported` or `unsupported`.
    pub ebs_nvme: &'static str,
    /// Baseline and maximum, in Mbit/s.
    pub ebs_bandwidth: Option<(i32, i32)>,
    /// Baseline and maximum.
    pub ebs_iops: Option<(i32, i32)>,
    /// How many volumes it may have.
    pub ebs_attachments: i32,
    /// Such as `uefi`.
    pub boot_modes: Vec<&'static str>,
    /// Its GPUs, if it has some.
    pub gpu: Option<Gpu>,
    /// Whether it has no hypervisor.
    pub bare_metal: bool,
    /// Whether it earns CPU credits.
    pub burstable: bool,
    /// Whether it is of a current generation.
    pub current: bool,
    /// Whether it has GPUs, FPGAs or accelerators for inference, training or media.
    pub accelerated: bool,
}

/// One of a type's network cards.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkCard {
    /// How many interfaces it may have.
    pub interfaces: i32,
    /// Such as `Up to 10 Gigabit`.
    pub performance: &'static str,
    /// In Gbit/s.
    pub baseline: f64,
    /// In Gbit/s.
    pub peak: f64,
}

/// The GPUs of a type, which are alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpu {
    /// How many.
    pub count: i32,
    /// Such as `NVIDIA`.
    pub manufacturer: &'static str,
    /// Such as `A100`.
    pub name: &'static str,
    /// Of each, in MiB.
    pub memory_mib: i32,
}

impl InstanceType {
    /// How many interfaces it may have.
    pub fn interfaces(&self) -> i32 {
        self.cards.iter().map(|card| card.interfaces).sum()
    }

    /// Hardware threads of a core.
    pub fn threads(&self) -> i32 {
        self.vcpus / self.cores.max(1)
    }

    /// Whether images of this architecture run on it.
    pub fn runs(&self, architecture: &str) -> bool {
        self.architectures.contains(&architecture)
    }

    /// Whether instances of it can be launched here: what its name promises beyond sizes (accelerators,
    /// Apple's computers) a process of this host does not get.
    pub fn is_offered(&self) -> bool {
        !self.accelerated && (self.runs("x86_64") || self.runs("arm64"))
    }

    /// The CPU credit option of instances that asked for none.
    pub fn default_credits(&self) -> Option<&'static str> {
        let earns = if self.name.starts_with("t2.") {
            "standard"
        } else {
            "unlimited"
        };
        self.burstable.then_some(earns)
    }
}

/// The architecture of this machine, in EC2's words: nodes run on the machine that answers.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

/// The type of this name.
pub fn find(name: &str) -> Option<&'static InstanceType> {
    let at = CATALOGUE.binary_search_by(|known| known.name.cmp(name));
    at.ok().map(|at| &CATALOGUE[at])
}

/// Every type, by name.
pub fn all() -> impl Iterator<Item = &'static InstanceType> {
    CATALOGUE.iter()
}

const TABLE: &str = include_str!("instance_types.tsv");

/// The table below its two lines of heading.
static CATALOGUE: LazyLock<Vec<InstanceType>> = LazyLock::new(|| {
    let mut types: Vec<InstanceType> = TABLE.lines().skip(2).filter_map(row).collect();
    types.sort_by_key(|known| known.name);
    types
});

fn row(line: &'static str) -> Option<InstanceType> {
    let mut cells = line.split('\t');
    let mut next = || cells.next();
    Some(InstanceType {
        name: next()?,
        architectures: words(next()?),
        manufacturer: next()?,
        clock: next()?.parse().ok(),
        vcpus: next()?.parse().ok()?,
        cores: next()?.parse().ok()?,
        valid_cores: runs(next()?)?,
        valid_threads: runs(next()?)?,
        memory_mib: next()?.parse().ok()?,
        network: next()?,
        cards: cards(next()?)?,
        ipv4_addresses: next()?.parse().ok()?,
        ipv6_addresses: next()?.parse().ok()?,
        ena: next()?,
        hypervisor: Some(next()?).filter(|name| !name.is_empty()),
        ebs_optimized: next()?,
        ebs_nvme: next()?,
        ebs_bandwidth: pair(next()?),
        ebs_iops: pair(next()?),
        ebs_attachments: next()?.parse().ok()?,
        boot_modes: words(next()?),
        gpu: gpu(next()?),
        ..flagged(&words(next()?))
    })
}

/// A type with nothing but its flags.
fn flagged(words: &[&str]) -> InstanceType {
    let has = |word| words.contains(&word);
    InstanceType {
        bare_metal: has("metal"),
        burstable: has("burstable"),
        current: has("current"),
        accelerated: has("accelerated"),
        ..InstanceType::default()
    }
}

fn words(cell: &'static str) -> Vec<&'static str> {
    cell.split(',').filter(|word| !word.is_empty()).collect()
}

/// Numbers, and `first-last/step`.
fn runs(cell: &str) -> Option<Vec<i32>> {
    let mut numbers = Vec::new();
    for part in cell.split(',').filter(|part| !part.is_empty()) {
        let Some((first, rest)) = part.split_once('-') else {
            numbers.push(part.parse().ok()?);
            continue;
        };
        let (last, step) = rest.split_once('/')?;
        let range = first.parse::<i32>().ok()?..=last.parse().ok()?;
        numbers.extend(range.step_by(step.parse().ok()?));
    }
    Some(numbers)
}

fn pair(cell: &str) -> Option<(i32, i32)> {
    let (baseline, maximum) = cell.split_once('/')?;
    Some((baseline.parse().ok()?, maximum.parse().ok()?))
}

/// `count x interfaces:performance:baseline:peak`, several with semicolons between.
fn cards(cell: &'static str) -> Option<Vec<NetworkCard>> {
    let mut cards = Vec::new();
    for part in cell.split(';') {
        let (count, card) = part.split_once('x')?;
        let mut parts = card.split(':');
        let card = NetworkCard {
            interfaces: parts.next()?.parse().ok()?,
            performance: parts.next()?,
            baseline: parts.next()?.parse().ok()?,
            peak: parts.next()?.parse().ok()?,
        };
        cards.extend(std::iter::repeat_n(card, count.parse().ok()?));
    }
    Some(cards)
}

/// `count:manufacturer:name:MiB each`.
fn gpu(cell: &'static str) -> Option<Gpu> {
    let mut parts = cell.split(':');
    Some(Gpu {
        count: parts.next()?.parse().ok()?,
        manufacturer: parts.next()?,
        name: parts.next()?,
        memory_mib: parts.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_read() {
        assert_eq!(CATALOGUE.len(), TABLE.lines().count() - 2);
        for known in all() {
            assert_eq!(known.cores * known.threads(), known.vcpus, "{known:?}");
            assert_eq!(find(known.name), Some(known), "twice: {known:?}");
            let fits = |choices: &[i32], default| choices.is_empty() || choices.contains(&default);
            assert!(fits(&known.valid_cores, known.cores), "{known:?}");
            assert!(fits(&known.valid_threads, known.threads()), "{known:?}");
            assert!(!known.cards.is_empty() && !known.architectures.is_empty());
        }
        assert_eq!(find("z9.huge"), None);
    }

    /// Sizes that AWS's pages give.
    #[test]
    fn sizes_are_those_that_aws_publishes() {
        let size = |name: &str| {
            let it = find(name).unwrap();
            let mib = it.memory_mib;
            (it.vcpus, it.cores, mib, it.interfaces(), it.ipv4_addresses)
        };
        for (name, want) in [
            ("m1.small", (1, 1, 1740, 2, 4)),
            ("t3.medium", (2, 1, 4096, 3, 6)),
            ("t4g.micro", (2, 2, 1024, 2, 2)),
            ("m6i.large", (2, 1, 8192, 3, 10)),
            ("c5a.4xlarge", (16, 8, 32768, 8, 30)),
            ("m5.metal", (96, 48, 393_216, 15, 50)),
            ("p4d.24xlarge", (96, 48, 1_179_648, 60, 50)),
        ] {
            assert_eq!(size(name), want, "{name}");
        }
        let c5a = find("c5a.4xlarge").unwrap();
        assert_eq!(c5a.valid_cores, [1, 2, 3, 4, 8]);
        assert_eq!(c5a.ebs_bandwidth, Some((1580, 3170)));
        let metal = find("m5.metal").unwrap();
        assert!(metal.bare_metal && metal.hypervisor.is_none());
        let p4d = find("p4d.24xlarge").unwrap();
        assert_eq!(p4d.cards.len(), 4);
        assert_eq!(
            p4d.gpu.as_ref().map(|it| (it.count, it.name)),
            Some((8, "A100"))
        );
    }

    #[test]
    fn what_needs_other_hardware_is_not_offered() {
        for (name, want) in [
            ("m6i.large", true),
            ("t4g.micro", true),
            ("i3.large", true),
            ("p4d.24xlarge", false),
            ("inf2.xlarge", false),
            ("mac1.metal", false),
        ] {
            assert_eq!(find(name).unwrap().is_offered(), want, "{name}");
        }
    }
}
