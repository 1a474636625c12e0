use super::*;

fn part(topic: &str, total: u32, bytes: &'static [u8]) -> Frame {
    Frame::Part {
        topic: topic.into(),
        total,
        bytes: Bytes::from_static(bytes),
    }
}

#[test]
fn a_section_counts_when_it_is_complete_and_the_first_time_whole() {
    let mut incoming = Incoming::default();
    for frame in [
        part("a/1", 4, b"on"),
        part("a/1", 4, b"e!"),
        part("b", 0, b""),
        Frame::Gone("a/2".into()),
    ] {
        assert_eq!(incoming.hear(frame).unwrap(), None);
    }
    let first = incoming.hear(Frame::Commit("a".into())).unwrap().unwrap();
    let topics = [
        ("a/1".to_owned(), Some(Bytes::from_static(b"one!"))),
        ("a/2".to_owned(), None),
    ];
    let want = Change {
        section: "a".into(),
        whole: true,
        topics: topics.into(),
    };
    assert_eq!(first, want);
    incoming.hear(part("a/1", 1, b"x")).unwrap();
    let next = incoming.hear(Frame::Commit("a".into())).unwrap().unwrap();
    assert!(!next.whole && next.topics.len() == 1);
    let other = incoming.hear(Frame::Commit("b".into())).unwrap().unwrap();
    assert!(other.whole && other.topics.contains_key("b"));
    assert_eq!(incoming.size, 0);
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    for (name, second) in [
        ("another topic", part("a/2", 4, b"22")),
        ("another length", part("a/1", 5, b"22")),
        ("too long", part("a/1", 4, b"333")),
        ("a commit between", Frame::Commit("a".into())),
        ("one gone between", Frame::Gone("a/2".into())),
        ("all is told between", Frame::AllTold),
    ] {
        let mut incoming = Incoming::default();
        incoming.hear(part("a/1", 4, b"11")).unwrap();
        assert!(incoming.hear(second).is_err(), "{name}");
    }
    let huge = part("a", u32::MAX, b"");
    assert!(Incoming::default().hear(huge).is_err());
}

#[tokio::test]
async fn what_is_told_is_what_changed() {
    let (mut outgoing, mut incoming) = (Outgoing::default(), Incoming::default());
    let mut heard = Values::new();
    let mut values = Values::new();
    let long = Bytes::from(vec![7; LONGEST_PART * 2 + 1]);
    for (name, changes) in [
        (
            "two",
            vec![("s/a", Some(long.clone())), ("t", Some(long.clone()))],
        ),
        ("one gone", vec![("s/a", None), ("s/b", Some(Bytes::new()))]),
        ("nothing", vec![]),
    ] {
        for (topic, value) in &changes {
            match value {
                Some(value) => drop(values.insert((*topic).into(), value.clone())),
                None => drop(values.remove(*topic)),
            }
        }
        let mut wire = Vec::new();
        send(&mut outgoing, &mut wire, &values).await;
        assert_eq!(wire.is_empty(), changes.is_empty(), "{name}");
        let mut wire = BytesMut::from(&wire[..]);
        while let Some(frame) = Frame::take(&mut wire).unwrap() {
            if let Some(change) = incoming.hear(frame).unwrap() {
                change.apply(&mut heard, usize::MAX);
            }
        }
        assert_eq!(heard, values, "{name}");
    }
}

#[tokio::test]
async fn a_section_that_the_other_end_would_not_take_is_withheld_whole() {
    let (mut outgoing, mut values) = (Outgoing::default(), Values::new());
    values.insert("small".into(), Bytes::new());
    values.insert("large/1".into(), Bytes::new());
    values.insert(format!("large/{}", "x".repeat(LONGEST_TOPIC)), Bytes::new());
    let mut wire = Vec::new();
    send(&mut outgoing, &mut wire, &values).await;
    let mut heard = Values::new();
    let mut incoming = Incoming::default();
    hear(&mut incoming, &mut heard, &wire);
    assert_eq!(heard.keys().collect::<Vec<_>>(), ["small"]);
    // When it fits again, all of it is sent.
    values.remove(&format!("large/{}", "x".repeat(LONGEST_TOPIC)));
    let mut wire = Vec::new();
    send(&mut outgoing, &mut wire, &values).await;
    hear(&mut incoming, &mut heard, &wire);
    assert_eq!(heard, values);
    for number in 0..TOPICS {
        values.insert(format!("many/{number}"), Bytes::new());
    }
    let mut wire = Vec::new();
    send(&mut outgoing, &mut wire, &values).await;
    assert!(wire.is_empty(), "they are too many");
}

#[tokio::test]
async fn a_section_without_a_name_keeps_no_other_from_being_told() {
    let (mut outgoing, mut values) = (Outgoing::default(), Values::new());
    values.insert("/x".into(), Bytes::new());
    values.insert("y".into(), Bytes::new());
    let (mut wire, mut heard) = (Vec::new(), Values::new());
    send(&mut outgoing, &mut wire, &values).await;
    hear(&mut Incoming::default(), &mut heard, &wire);
    assert_eq!(heard.keys().collect::<Vec<_>>(), ["y"]);
}

#[tokio::test]
async fn little_of_a_large_section_waits_in_the_kernel() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
    let stream = stream.unwrap();
    keep_little_waiting(&stream);
    let most = SockRef::from(&stream).tcp_notsent_lowat().unwrap();
    assert_eq!(usize::try_from(most).unwrap(), LONGEST_PART);
}

#[test]
fn all_is_told_only_between_sections() {
    let mut incoming = Incoming::default();
    assert!(incoming.all().unwrap().is_empty());
    incoming.hear(part("a", 1, b"x")).unwrap();
    assert!(incoming.hear(Frame::AllTold).is_err());
    incoming.hear(Frame::Commit("a".into())).unwrap();
    assert_eq!(*incoming.all().unwrap(), ["a".to_owned()].into());
}

#[tokio::test]
async fn a_small_section_does_not_wait_for_a_large_one() {
    let (mut outgoing, mut values) = (Outgoing::default(), Values::new());
    let large = Bytes::from(vec![1; 8 * LONGEST_PART]);
    values.insert("large/1".into(), large.clone());
    values.insert("large/2".into(), large.clone());
    let (mut wire, mut heard) = (Vec::new(), Values::new());
    let mut incoming = Incoming::default();
    outgoing.take(&values);
    for _ in 0..3 {
        assert!(outgoing.send_next(&mut wire).await.unwrap());
    }
    // While it is on its way, it and another one change.
    values.insert("large/1".into(), Bytes::new());
    values.insert("small".into(), Bytes::from_static(b"x"));
    outgoing.take(&values);
    for _ in 0..2 {
        assert!(outgoing.send_next(&mut wire).await.unwrap());
    }
    hear(&mut incoming, &mut heard, &wire);
    assert_eq!(heard.keys().collect::<Vec<_>>(), ["small"]);
    let mut wire = Vec::new();
    while outgoing.queued.contains("large") {
        assert!(outgoing.send_next(&mut wire).await.unwrap());
    }
    hear(&mut incoming, &mut heard, &wire);
    assert_eq!(heard["large/1"], large, "as it was when it set out");
    let mut wire = Vec::new();
    send(&mut outgoing, &mut wire, &values).await;
    hear(&mut incoming, &mut heard, &wire);
    assert_eq!(heard, values);
    assert_eq!((incoming.size, incoming.topics), (0, 0));
}

async fn send(outgoing: &mut Outgoing, wire: &mut Vec<u8>, values: &Values) {
    outgoing.take(values);
    while outgoing.send_next(wire).await.unwrap() {}
}

fn hear(incoming: &mut Incoming, heard: &mut Values, wire: &[u8]) {
    let mut wire = BytesMut::from(wire);
    while let Some(frame) = Frame::take(&mut wire).unwrap() {
        if let Some(change) = incoming.hear(frame).unwrap() {
            change.apply(heard, usize::MAX);
        }
    }
}
