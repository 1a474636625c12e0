//! What cloud-init does on AWS's images, as far as user data needs it. Runs inside the instance,
//! confined, so whatever user data makes of these parsers stays there.

mod config;
mod extent;
mod output;
mod parts;
mod steps;

use crate::boot::BootPlan;
use crate::init::println_console;
use config::CloudConfig;
use output::Output;
use parts::Part;

/// Greets on the console.
pub(crate) fn announce(plan: &BootPlan, first_boot: bool, notes: &[String]) {
    let which = if first_boot { "first boot" } else { "boot" };
    println_console(&format!(
        "Lath instance {} ({}), {which} {}",
        plan.id, plan.hostname, plan.boot
    ));
    for note in notes {
        println_console(&format!("note: {note}"));
    }
}

/// The host name that `#cloud-config` asks for.
pub(crate) fn hostname(plan: &BootPlan) -> Option<String> {
    let (parts, _) = parts::split(&plan.user_data);
    parts.into_iter().find_map(|part| match part {
        Part::Config(text) => CloudConfig::parse(&text).ok()?.hostname,
        Part::Script(_) => None,
    })
}

/// Runs the boot; the answer is an exit status. What it started in the background lives on.
pub(crate) fn run(plan: &BootPlan, first_boot: bool) -> i32 {
    let (parts, problems) = parts::split(&plan.user_data);
    let output = match Output::open() {
        Ok(output) => output,
        Err(error) => {
            println_console(&format!("cloud-init: no output: {error}"));
            return 1;
        }
    };
    for problem in problems {
        output.write_line(&problem);
    }
    let mut configs = Vec::new();
    let mut scripts = Vec::new();
    for part in parts {
        match part {
            Part::Script(bytes) => scripts.push(bytes),
            Part::Config(text) => match CloudConfig::parse(&text) {
                Ok(config) => configs.push(config),
                Err(reason) => {
                    output.write_line(&format!("#cloud-config: {reason}; it is ignored"))
                }
            },
        }
    }
    steps::run(plan, &output, &configs, &scripts, first_boot);
    0
}

/// For [`crate::fuzzing`].
pub(crate) fn extent(user_data: &[u8]) -> crate::fuzzing::Extent {
    let (parts, problems) = parts::split(user_data);
    let mut extent = crate::fuzzing::Extent {
        parts: parts.len(),
        bytes: 0,
        problems: problems.len(),
    };
    for part in parts {
        match part {
            Part::Script(bytes) => extent.bytes += bytes.len(),
            Part::Config(text) => {
                extent.bytes += text.len();
                let files = CloudConfig::parse(&text).unwrap_or_default().write_files;
                extent.bytes += files.iter().map(|file| file.content.len()).sum::<usize>();
            }
        }
    }
    extent
}
