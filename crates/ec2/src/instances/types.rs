//! The instance types that Lath offers: sizes as AWS publishes them
//! (<https://aws.amazon.com/ec2/instance-types/>). They are labels: an instance may use the whole host,
//! whatever its type says.

/// An instance type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct InstanceType {
    /// Such as `t3.medium`.
    pub(crate) name: &'static str,
    /// `x86_64` or `arm64`.
    pub(crate) architecture: &'static str,
    pub(crate) vcpus: i32,
    pub(crate) cores: i32,
    pub(crate) memory_mib: i64,
    /// In GHz.
    pub(crate) clock: f64,
    pub(crate) network: &'static str,
    /// How many interfaces, and how many addresses each.
    pub(crate) interfaces: i32,
    pub(crate) addresses: i32,
}

impl InstanceType {
    /// Whether it earns CPU credits.
    pub(crate) fn is_burstable(&self) -> bool {
        self.name.starts_with('t')
    }

    /// Such as `Intel`.
    pub(crate) fn manufacturer(&self) -> &'static str {
        let family = self.name.split('.').next().unwrap_or_default();
        match family {
            _ if self.architecture == "arm64" => "AWS",
            "t3a" | "m5a" => "AMD",
            _ => "Intel",
        }
    }
}

/// The architecture of this machine, in EC2's words: nodes run on the machine that answers.
pub(crate) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

/// The type of this name.
pub(crate) fn find(name: &str) -> Option<&'static InstanceType> {
    CATALOGUE.iter().find(|known| known.name == name)
}

/// The types that this host can run, by name.
pub(crate) fn offered() -> impl Iterator<Item = &'static InstanceType> {
    let host = host_architecture();
    CATALOGUE
        .iter()
        .filter(move |known| known.architecture == host)
}

macro_rules! catalogue {
    ($($arch:literal $threads:literal $clock:literal {
        $($name:literal $vcpus:literal $mib:literal $network:literal $enis:literal $ips:literal;)*
    })*) => {
        const CATALOGUE: &[InstanceType] = &[$($(InstanceType {
            name: $name,
            architecture: $arch,
            vcpus: $vcpus,
            cores: $vcpus / $threads,
            memory_mib: $mib,
            clock: $clock,
            network: $network,
            interfaces: $enis,
            addresses: $ips,
        },)*)*];
    };
}

catalogue! {
    "x86_64" 2 3.4 {
        "c5.2xlarge" 8 16384 "Up to 10 Gigabit" 4 15;
        "c5.4xlarge" 16 32768 "Up to 10 Gigabit" 8 30;
        "c5.large" 2 4096 "Up to 10 Gigabit" 3 10;
        "c5.xlarge" 4 8192 "Up to 10 Gigabit" 4 15;
    }
    "x86_64" 2 3.1 {
        "m5.2xlarge" 8 32768 "Up to 10 Gigabit" 4 15;
        "m5.4xlarge" 16 65536 "Up to 10 Gigabit" 8 30;
        "m5.large" 2 8192 "Up to 10 Gigabit" 3 10;
        "m5.xlarge" 4 16384 "Up to 10 Gigabit" 4 15;
        "r5.large" 2 16384 "Up to 10 Gigabit" 3 10;
        "r5.xlarge" 4 32768 "Up to 10 Gigabit" 4 15;
    }
    "x86_64" 1 2.5 {
        "t2.medium" 2 4096 "Low to Moderate" 3 6;
    }
    "x86_64" 1 3.3 {
        "t2.micro" 1 1024 "Low to Moderate" 2 2;
        "t2.small" 1 2048 "Low to Moderate" 3 4;
    }
    "x86_64" 2 2.5 {
        "t3.2xlarge" 8 32768 "Up to 5 Gigabit" 4 15;
        "t3.large" 2 8192 "Up to 5 Gigabit" 3 12;
        "t3.medium" 2 4096 "Up to 5 Gigabit" 3 6;
        "t3.micro" 2 1024 "Up to 5 Gigabit" 2 2;
        "t3.nano" 2 512 "Up to 5 Gigabit" 2 2;
        "t3.small" 2 2048 "Up to 5 Gigabit" 3 4;
        "t3.xlarge" 4 16384 "Up to 5 Gigabit" 4 15;
    }
    "x86_64" 2 2.2 {
        "t3a.large" 2 8192 "Up to 5 Gigabit" 3 12;
        "t3a.medium" 2 4096 "Up to 5 Gigabit" 3 6;
        "t3a.micro" 2 1024 "Up to 5 Gigabit" 2 2;
        "t3a.small" 2 2048 "Up to 5 Gigabit" 2 4;
    }
    "arm64" 1 2.5 {
        "c6g.large" 2 4096 "Up to 10 Gigabit" 3 10;
        "c6g.xlarge" 4 8192 "Up to 10 Gigabit" 4 15;
        "m6g.large" 2 8192 "Up to 10 Gigabit" 3 10;
        "m6g.xlarge" 4 16384 "Up to 10 Gigabit" 4 15;
        "t4g.large" 2 8192 "Up to 5 Gigabit" 3 12;
        "t4g.medium" 2 4096 "Up to 5 Gigabit" 3 6;
        "t4g.micro" 2 1024 "Up to 5 Gigabit" 2 2;
        "t4g.small" 2 2048 "Up to 5 Gigabit" 3 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sane() {
        for known in CATALOGUE {
            assert!(
                known.cores >= 1 && known.vcpus % known.cores == 0,
                "{known:?}"
            );
            assert_eq!(find(known.name), Some(known), "twice: {known:?}");
        }
        assert_eq!(find("t3.medium").map(|it| it.memory_mib), Some(4096));
        assert_eq!(find("z9.huge"), None);
    }
}
