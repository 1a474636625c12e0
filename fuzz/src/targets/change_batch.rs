//! A change batch of Route 53, from XML to the feed.

pub(crate) fn run(xml: &[u8]) {
    lath_route53::fuzzing::change_batch(xml);
}
