//! How instances start, change and end.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn an_instance_lives_and_dies_as_its_node_says() {
    let mut lab = Lab::new().await;
    let shown = lab.run(public_interface(&lab)).await;
    let id = shown.instance_id.as_str();
    assert_eq!(shown.instance_state.name, "pending");
    assert_eq!(shown.private_ip_address.as_deref(), Some("10.0.1.4"));
    assert!(shown.ip_address.is_some());
    assert_eq!(shown.private_dns_name, "ip-10-0-1-4.ec2.internal");
    let fed = Arc::clone(&lab.feed().instances[&id.parse().unwrap()]);
    assert_eq!((fed.power, fed.boot), (Power::On, 1));
    assert_eq!(fed.hostname, "ip-10-0-1-4.ec2.internal");

    lab.node_says(id, Some(InstancePhase::Starting)).await;
    assert_eq!(lab.state(id), "pending");
    lab.node_says(id, Some(InstancePhase::Running)).await;
    assert_eq!(lab.state(id), "running");

    lab.call(StopInstances::of(id)).await.unwrap();
    assert_eq!(lab.state(id), "stopping");
    assert_eq!(lab.feed().instances[&id.parse().unwrap()].power, Power::Off);
    lab.node_says(id, Some(InstancePhase::Stopped)).await;
    let stopped = lab.shown(id);
    assert_eq!(stopped.instance_state.name, "stopped");
    assert_eq!(stopped.ip_address, None);
    assert_eq!(stopped.private_ip_address.as_deref(), Some("10.0.1.4"));

    lab.call(StartInstances::of(id)).await.unwrap();
    assert_eq!(lab.state(id), "pending");
    assert!(lab.shown(id).ip_address.is_some());
    assert_eq!(lab.feed().instances[&id.parse().unwrap()].boot, 2);
    lab.node_says(id, Some(InstancePhase::Running)).await;
    assert_eq!(lab.state(id), "running");

    lab.call(TerminateInstances::of(id)).await.unwrap();
    assert_eq!(lab.state(id), "shutting-down");
    assert!(lab.feed().instances.is_empty());
    lab.node_says(id, Some(InstancePhase::Stopping)).await;
    assert_eq!(lab.state(id), "shutting-down");
    lab.node_says(id, None).await;
    let gone = lab.shown(id);
    assert_eq!(gone.instance_state.code, 48);
    assert_eq!((gone.private_ip_address, gone.subnet_id), (None, None));
    assert_eq!(lab.interfaces(), 0);
}

#[tokio::test]
async fn what_was_terminated_is_shown_for_an_hour() {
    let mut lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    lab.call(TerminateInstances::of(id)).await.unwrap();
    lab.node_says(id, None).await;
    lab.hands.advance(Duration::from_secs(3599));
    lab.node_says(id, None).await;
    assert_eq!(lab.state(id), "terminated");
    lab.hands.advance(Duration::from_secs(1));
    lab.node_says(id, None).await;
    let asked = DescribeInstances {
        ids: vec![id.into()],
        ..DescribeInstances::default()
    };
    assert_eq!(lab.refusal(asked).await, "InvalidInstanceID.NotFound 400");
}

#[tokio::test]
async fn an_instance_carries_the_time_of_its_launch() {
    let mut lab = Lab::new().await;
    let begin = lab.hands.now();
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    let record = lab.record(id);
    assert_eq!(record.launched_at, begin);
    assert_eq!(record.root_volume.created_at, begin);
    lab.node_says(id, Some(InstancePhase::Running)).await;
    lab.call(StopInstances::of(id)).await.unwrap();
    lab.node_says(id, Some(InstancePhase::Stopped)).await;
    let later = lab.hands.advance(Duration::from_secs(60));
    lab.call(StartInstances::of(id)).await.unwrap();
    let record = lab.record(id);
    assert_eq!(record.launched_at, later);
    assert_eq!(record.root_volume.created_at, begin);
}

#[tokio::test]
async fn a_node_that_has_not_obeyed_yet_does_not_end_an_instance() {
    let mut lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    lab.call(TerminateInstances::of(id)).await.unwrap();
    super::super::reconcile(Arc::clone(&lab.app)).await.unwrap();
    assert_eq!(lab.state(id), "shutting-down");
    lab.node_says(id, None).await;
    assert_eq!(lab.state(id), "terminated");
}

#[tokio::test]
async fn what_cannot_start_is_terminated_and_says_why() {
    let mut lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    let reason = "no space left".to_owned();
    lab.node_says(id, Some(InstancePhase::Failed { reason }))
        .await;
    assert_eq!(lab.state(id), "shutting-down");
    lab.node_says(id, None).await;
    let reason = lab.shown(id).state_reason.unwrap();
    assert_eq!(reason.code, "Server.InternalError");
    assert_eq!(reason.message, "Server.InternalError: no space left");
}

#[tokio::test]
async fn a_shutdown_from_within_stops_or_terminates_as_chosen() {
    for (behaviour, want) in [(None, "stopping"), (Some("terminate"), "shutting-down")] {
        let mut lab = Lab::new().await;
        let mut request = lab.request();
        request.instance_initiated_shutdown_behavior = behaviour.map(str::to_owned);
        let shown = lab.run(request).await;
        let id = shown.instance_id.as_str();
        lab.node_says(id, Some(InstancePhase::Running)).await;
        let reason = "ended".to_owned();
        lab.node_says(id, Some(InstancePhase::Failed { reason }))
            .await;
        assert_eq!(lab.state(id), want);
    }
}

#[tokio::test]
async fn an_observation_of_an_earlier_boot_changes_nothing() {
    let mut lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    lab.node_says(id, Some(InstancePhase::Running)).await;
    lab.call(RebootInstances::of(id)).await.unwrap();
    let seen = lab.seen.instances.get_mut(&id.parse().unwrap()).unwrap();
    seen.state = InstancePhase::Failed {
        reason: "old".into(),
    };
    lab.observe.send_replace(Arc::new(lab.seen.clone()));
    super::super::reconcile(Arc::clone(&lab.app)).await.unwrap();
    assert_eq!(lab.state(id), "running");
}

#[tokio::test]
async fn a_stop_right_after_a_reboot_comes_to_its_end() {
    let mut lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    lab.node_says(id, Some(InstancePhase::Running)).await;
    lab.call(RebootInstances::of(id)).await.unwrap();
    lab.call(StopInstances::of(id)).await.unwrap();
    // The node never saw the second boot.
    let seen = lab.seen.instances.get_mut(&id.parse().unwrap()).unwrap();
    seen.state = InstancePhase::Stopped;
    lab.seen.applied_version = lab.app.cell.db.view().revision();
    lab.observe.send_replace(Arc::new(lab.seen.clone()));
    super::super::reconcile(Arc::clone(&lab.app)).await.unwrap();
    assert_eq!(lab.state(id), "stopped");
}

#[tokio::test]
async fn a_second_request_that_skips_the_shutdown_ends_the_wait() {
    let mut lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    let is_cut = |lab: &Lab| lab.feed().cut.contains(&id.parse().unwrap());
    lab.node_says(id, Some(InstancePhase::Running)).await;
    lab.call(StopInstances::of(id)).await.unwrap();
    lab.call(StopInstances::of(id)).await.unwrap();
    assert_eq!((lab.state(id), is_cut(&lab)), ("stopping".into(), false));
    lab.call(StopInstances::cutting(id)).await.unwrap();
    assert_eq!((lab.state(id), is_cut(&lab)), ("stopping".into(), true));
    lab.node_says(id, Some(InstancePhase::Stopped)).await;
    lab.call(StartInstances::of(id)).await.unwrap();
    assert!(!is_cut(&lab));
    lab.node_says(id, Some(InstancePhase::Running)).await;
    lab.call(TerminateInstances::of(id)).await.unwrap();
    assert!(!is_cut(&lab));
    lab.call(TerminateInstances::cutting(id)).await.unwrap();
    assert_eq!(
        (lab.state(id), is_cut(&lab)),
        ("shutting-down".into(), true)
    );
    lab.node_says(id, None).await;
    let again = TerminateInstances::cutting(id);
    lab.call(again).await.unwrap();
    assert_eq!(lab.state(id), "terminated");
}

#[tokio::test]
async fn instances_are_filtered_by_members_of_the_answer() {
    let lab = Lab::new().await;
    lab.run(public_interface(&lab)).await;
    for (name, value, want) in [
        ("network-interface.addresses.private-dns-name", "ip-10-*", 1),
        ("network-interface.addresses.private-dns-name", "ip-11-*", 0),
        ("network-interface.attachment.network-card-index", "0", 1),
        (
            "private-dns-name-options.enable-resource-name-dns-a-record",
            "false",
            1,
        ),
        ("metadata-options.state", "*", 1),
        ("usage-operation-update-time", "20*", 1),
        ("operator.managed", "false", 1),
        ("network-interface.operator.managed", "true", 0),
        ("network-interface.ipv6-address", "*", 0),
    ] {
        let filters = vec![Filter {
            name: Some(name.into()),
            values: vec![value.into()],
        }];
        let shown = lab.call(op!(DescribeInstances { filters: filters })).await;
        let found = shown.unwrap().reservation_set.len();
        assert_eq!(found, want, "{name} {value}");
    }
}
