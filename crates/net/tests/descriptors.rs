//! The limit on open files of a process of its own.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;

use lath_net::descriptors;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Says in this test's own child what it is to do.
const CHILD: &str = "LATH_TEST_CHILD";

fn soft() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).unwrap().0
}

#[test]
fn children_get_the_old_limit_back() {
    match std::env::var(CHILD).as_deref() {
        Ok("grandchild") => {
            descriptors::restore().unwrap();
            assert_eq!(soft(), 100);
        }
        // As a region's process, which is started by one that raised its own limit.
        Ok(_) => {
            descriptors::raise().unwrap();
            assert!(soft() > 100);
            again("grandchild");
        }
        Err(_) => {
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 100, hard).unwrap();
            assert_eq!(descriptors::raise().unwrap(), hard);
            assert_eq!(descriptors::limit(), usize::try_from(hard).unwrap());
            again("child");
        }
    }
}

fn again(role: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "children_get_the_old_limit_back"])
        .env(CHILD, role);
    descriptors::hand_down(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{role}: {output:?}");
}
