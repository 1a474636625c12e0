//! Faults, with packets: they break what they say, and end by themselves.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::time::{Duration, Instant};

use lab::{Draft, Lab, PATIENCE, id, is_root};
use lath_fabric::{Fault, Faults, Netns};

const ALL: &str = "all - 0.0.0.0/0";
const LONG: Duration = Duration::from_secs(600);

fn draft() -> Draft {
    let mut draft = Draft::default();
    draft.vpc(1, "10.0.0.0/16", "10.0.1.0/24");
    draft.group(1, 1, &[ALL], &[ALL]);
    for number in 10..=12 {
        draft.instance(1, 1, number, &format!("10.0.1.{number}"), &[1]);
    }
    draft
}

fn faults(lab: &Lab) -> Faults {
    let name = id::<lath_model::id::VpcId>("vpc", 1);
    let pin = lab.directory.path().join("netns").join(name.as_str());
    Faults::in_namespace(Netns::open(&pin).unwrap())
}

/// The router's link to an instance's interface.
fn link(number: u32) -> String {
    let interface: lath_model::id::NetworkInterfaceId = id("eni", number);
    let tail = interface.as_str().rsplit('-').next().unwrap().to_owned();
    format!("e{}", &tail[tail.len() - 14..])
}

#[test]
fn each_breaks_what_it_says_and_nothing_else() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    lab.apply(&draft());
    for number in 10..=12 {
        lab.instance(number).serve(&format!("10.0.1.{number}:80"));
    }
    let faults = faults(&lab);
    assert_eq!(faults.list().unwrap(), []);
    type Case = (Fault, &'static [(u32, u32)], &'static [(u32, u32)]);
    let cases: [Case; 3] = [
        (Fault::Link(link(11)), &[(10, 12)], &[(10, 11), (11, 12)]),
        (
            Fault::Address("10.0.1.11".parse().unwrap()),
            &[(12, 10)],
            &[(10, 11), (11, 10)],
        ),
        (
            Fault::Between(link(11), link(10)),
            &[(10, 12), (12, 11), (11, 12)],
            &[(10, 11), (11, 10)],
        ),
    ];
    for (fault, pass, cut) in cases {
        faults.for_duration(&fault, LONG).unwrap();
        for (from, to) in pass {
            lab.instance(*from).reach(&format!("10.0.1.{to}:80"));
        }
        for (from, to) in cut {
            let outcome = lab.instance(*from).outcome(&format!("10.0.1.{to}:80"));
            assert_eq!(outcome, "silence", "{fault:?}: {from} to {to}");
        }
        assert_eq!(lab.audit(&draft()), Vec::<String>::new(), "{fault:?}");
        let listed = faults.list().unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert!(listed[0].1 <= LONG && listed[0].1 > LONG / 2, "{listed:?}");
        faults.end(&fault).unwrap();
        assert_eq!(faults.list().unwrap(), []);
        for (from, to) in cut {
            lab.instance(*from).reach(&format!("10.0.1.{to}:80"));
        }
    }
}

#[test]
fn a_fault_ends_by_itself() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    lab.apply(&draft());
    lab.instance(11).serve("10.0.1.11:80");
    let fault = Fault::Address("10.0.1.11".parse().unwrap());
    // A long one becomes a short one; then its maker is gone.
    faults(&lab).for_duration(&fault, LONG).unwrap();
    faults(&lab)
        .for_duration(&fault, Duration::from_millis(1500))
        .unwrap();
    assert_eq!(lab.instance(10).outcome("10.0.1.11:80"), "silence");
    lab.instance(10).reach("10.0.1.11:80");
    let end = Instant::now() + PATIENCE;
    while !faults(&lab).list().unwrap().is_empty() {
        assert!(Instant::now() < end, "it is listed still");
        std::thread::sleep(Duration::from_millis(20));
    }
    // All at once, and again when there is nothing.
    faults(&lab).for_duration(&fault, LONG).unwrap();
    faults(&lab).clear().unwrap();
    faults(&lab).clear().unwrap();
    faults(&lab).end(&fault).unwrap();
    lab.instance(10).reach("10.0.1.11:80");
}

#[test]
fn what_is_no_fault_is_refused() {
    if !is_root() {
        return;
    }
    let faults = Faults::in_namespace(Netns::new().unwrap());
    let day = Duration::from_secs(86_401);
    for (fault, duration) in [
        (Fault::Link(String::new()), LONG),
        (Fault::Link("x".repeat(16)), LONG),
        (Fault::Between("a".into(), "b/c".into()), LONG),
        (Fault::Link("a".into()), Duration::ZERO),
        (Fault::Link("a".into()), day),
    ] {
        let refused = faults.for_duration(&fault, duration).unwrap_err();
        assert_eq!(
            refused.kind(),
            std::io::ErrorKind::InvalidInput,
            "{fault:?}"
        );
    }
    assert_eq!(faults.list().unwrap(), []);
}
