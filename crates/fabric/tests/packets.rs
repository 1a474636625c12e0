//! Real packets between real namespaces.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use lab::{Draft, Lab, is_root};

const OPEN: (&[&str], &[&str]) = (&["all - 0.0.0.0/0"], &["all - 0.0.0.0/0"]);

#[test]
fn instances_of_a_vpc_reach_each_other_and_no_namesake() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = Draft::default();
    // Two VPCs with the same block, the same subnet and the same addresses.
    for vpc in [1, 2] {
        draft
            .vpc(vpc, "10.0.0.0/16", "10.0.1.0/24")
            .group(vpc, vpc, OPEN.0, OPEN.1);
        draft.instance(vpc, vpc, vpc * 10, "10.0.1.10", &[vpc]);
        draft.instance(vpc, vpc, vpc * 10 + 1, "10.0.1.11", &[vpc]);
    }
    lab.apply(&draft);
    lab.instance(10).serve("10.0.1.10:80");
    lab.instance(20).serve("10.0.1.10:8080");
    assert_eq!(lab.instance(11).reach("10.0.1.10:80"), "10.0.1.11");
    assert_eq!(lab.instance(21).reach("10.0.1.10:8080"), "10.0.1.11");
    // The namesake has no such server: its own stack refuses.
    assert_eq!(
        lab.instance(11).outcome("10.0.1.10:8080"),
        "ConnectionRefused"
    );
    assert_eq!(
        lab.instance(21).outcome("10.0.1.10:80"),
        "ConnectionRefused"
    );
    assert_eq!(lab.instance(11).outcome("10.0.1.99:80"), "HostUnreachable");
    assert_eq!(lab.instance(11).outcome("10.9.1.99:80"), "HostUnreachable");
    assert_eq!(
        lab.audit(&draft),
        Vec::<String>::new(),
        "nothing is left to do"
    );
}
