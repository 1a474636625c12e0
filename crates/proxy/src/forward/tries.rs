//! What a rule's traffic policy adds to carrying a request: ends in time, and tries.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body::Body as _;
use lath_model::lattice::ProtocolVersion;

use super::Outbound;
use crate::breaker::{Limit, Ticket};
use crate::core::Core;
use crate::counters::Count;
use crate::engine::Source;
use crate::refusal::Refusal;
use crate::spare;
use crate::traffic::{Retry, Traffic};
use crate::upload::RequestBody;
use crate::upstream::Lease;

type Delivered = Result<(Lease, Response<Source>), Refusal>;

/// As much of an answer that is not passed on is read so that its connection can be used again, in pieces.
const MOST_PIECES: usize = 16;

/// Sends the request, again where the policy says so and nothing of an answer went to the client.
///
/// # Errors
/// Of the last try.
pub(super) async fn deliver(
    core: &Rc<Core>,
    outbound: &mut Outbound,
    traffic: &Arc<Traffic>,
) -> Delivered {
    let timeouts = &traffic.timeouts;
    let meter = Rc::clone(outbound.meter());
    if let Some(longest) = timeouts.request.or(timeouts.backend_request) {
        // What a target may take in all, it may take in silence.
        meter.limit.set(meter.limit.get().max(longest));
    }
    let end = timeouts.request.map(|it| outbound.context.started() + it);
    let retry = traffic.retry.as_ref();
    let mut again = retry.and_then(|it| Again::of(it, outbound, core));
    let mut _retrying = None;
    loop {
        let one = timeouts.backend_request.map(|it| Instant::now() + it);
        let until = [end, one].into_iter().flatten().min();
        let delivered = match until {
            None => super::deliver(core, outbound).await,
            Some(until) => {
                let trying = super::deliver(core, outbound);
                let tried = tokio::time::timeout_at(until.into(), trying).await;
                tried.unwrap_or_else(|_| {
                    outbound.gave_none();
                    Err(Refusal::timeout())
                })
            }
        };
        let wait = again
            .as_mut()
            .and_then(|it| it.wait(core, outbound, &delivered, end));
        let place = wait.and_then(|wait| Some((wait, again_place(outbound)?)));
        let (Some((wait, place)), Some(again)) = (place, &again) else {
            meter.end_at(until);
            return delivered;
        };
        if let Ok((lease, response)) = delivered {
            discard(lease, response, outbound).await;
        }
        core.totals.add(Count::Retries, 1);
        tokio::time::sleep(wait).await;
        meter.renew();
        again.prepare(outbound);
        // Held until there is an answer, or the next try.
        _retrying = place;
    }
}

/// A place among the retries to the group, where their number has a limit. `None`: there is none.
fn again_place(outbound: &Outbound) -> Option<Option<Ticket>> {
    let members = outbound.group.members.load();
    match &members.policy {
        None => Some(None),
        Some(policy) => policy.enter(Limit::Retries).ok(),
    }
}

/// A request that can be sent again: it has no body, and means the same when it comes twice.
struct Again<'a> {
    retry: &'a Retry,
    head: Box<Request<()>>,
    done: u8,
}

impl<'a> Again<'a> {
    fn of(retry: &'a Retry, outbound: &Outbound, core: &Core) -> Option<Self> {
        let request = outbound.request.as_deref()?;
        if !request.body().is_end_stream() || !spare::is_idempotent(request.method()) {
            return None;
        }
        retry.earn(core.index);
        Some(Self {
            retry,
            head: spare::head_of(request),
            done: 0,
        })
    }

    /// How long to wait before the next try; `None`: what was delivered is the client's.
    fn wait(
        &mut self,
        core: &Core,
        outbound: &Outbound,
        delivered: &Delivered,
        end: Option<Instant>,
    ) -> Option<Duration> {
        let failed = match delivered {
            Ok((_, response)) => self.retry.is_on(response.status()),
            Err(refusal) => refusal.is_targets(),
        };
        let is_over = outbound.context.has_informed() || outbound.meter().client_failed.get();
        if !failed || is_over || self.done >= self.retry.attempts {
            return None;
        }
        let wait = self.retry.wait(self.done);
        let now = Instant::now();
        if end.is_some_and(|end| now + wait >= end) || !self.retry.spend(core.index, now) {
            return None;
        }
        self.done += 1;
        Some(wait)
    }

    /// Makes the request ready for another try.
    fn prepare(&self, outbound: &mut Outbound) {
        let failed = outbound.context.target().map(|it| it.serial);
        outbound.tried.extend(failed);
        let mut request = Box::new(spare::head_of(&self.head).map(|()| {
            let meter = Rc::clone(outbound.meter());
            RequestBody::empty(meter)
        }));
        // An earlier try may have turned to another group.
        let choice = outbound.route.choice();
        if let Some(choice) = choice.filter(|_| outbound.group.version != ProtocolVersion::Http1) {
            let headers = request.headers_mut();
            headers.insert(choice.header.name.clone(), choice.header.value.clone());
        }
        outbound.request = Some(request);
    }
}

/// Lets go of an answer: its connection serves others if nearly all of it has come.
async fn discard(mut lease: Lease, response: Response<Source>, outbound: &Outbound) {
    let mut source = response.into_body();
    let meter = outbound.meter();
    let ended = poll_fn(|cx| {
        for _ in 0..MOST_PIECES {
            if source.is_end_stream() {
                return Poll::Ready(true);
            }
            match lease.poll_body(&mut source, meter, cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Ready(Some(Err(_))) | Poll::Pending => break,
            }
        }
        Poll::Ready(false)
    });
    if ended.await {
        lease.release();
    }
}
