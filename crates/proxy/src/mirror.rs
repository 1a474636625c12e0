//! Copies of requests for groups that mirror others: sent, and their answers thrown away.
//!
//! The client and its answer know nothing of a copy: it has a task of its own, and what fails of it is not tried again.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, header, request};
use http_body::Body as _;
use lath_model::lattice::ProtocolVersion;
use tokio::sync::oneshot;

use crate::breaker::Limit;
use crate::connection::Connection;
use crate::context::RequestContext;
use crate::core::Core;
use crate::counters::Count;
use crate::ejection;
use crate::framing::Interim;
use crate::head::{self, Provenance};
use crate::meter::Meter;
use crate::outlier::Outcome;
use crate::picking::{Wanted, open, pick};
use crate::shown::ShownIdentity;
use crate::slot::{GroupSlot, TargetSlot};
use crate::state::Choice;
use crate::upload::RequestBody;
use crate::upstream::Exchange;

/// Copies of one thread that are on their way at once.
const MOST: usize = 128;

/// How long a copy may take, its request's body included.
const PATIENCE: Duration = Duration::from_secs(15);

/// Copies a request, whose head is as its own target gets it, but for what HTTP/1.1 heads get last. The copy of a body
/// goes when the body has gone; `body` keeps it.
pub(crate) fn send(
    core: &Rc<Core>,
    choice: &Choice,
    parts: &request::Parts,
    body: &mut RequestBody,
    provenance: &Provenance<'_>,
    context: &RequestContext,
) {
    let Some(group) = &choice.group else { return };
    if core.copies.get() >= MOST {
        core.totals.add(Count::CopiesDropped, 1);
        return;
    }
    let mut request = Request::new(());
    request.method_mut().clone_from(&parts.method);
    request.uri_mut().clone_from(&parts.uri);
    *request.version_mut() = parts.version;
    request.headers_mut().clone_from(&parts.headers);
    let (mut parts, ()) = request.into_parts();
    let mut lines = Vec::new();
    let to_http2 = group.version != ProtocolVersion::Http1;
    head::respeak(&mut parts, to_http2, group.secure);
    provenance.remove_from(&mut parts.headers, &context.scan);
    match to_http2 {
        true => provenance.add_to(&mut parts.headers, &context.scan),
        false => provenance.write_to(&mut lines, &context.scan),
    }
    let copy = Copy {
        _place: CopyGuard::taken(core),
        core: Rc::clone(core),
        connection: Rc::clone(context.connection()),
        group: Arc::clone(group),
        caller: context.shown().filter(|_| group.secure),
        parts,
        lines,
    };
    let body = (!body.is_end_stream()).then(|| body.copy());
    tokio::task::spawn_local(async move {
        let _ = tokio::time::timeout(PATIENCE, copy.go(body)).await;
    });
}

/// One of the copies on their way.
struct CopyGuard(Rc<Core>);

impl CopyGuard {
    fn taken(core: &Rc<Core>) -> Self {
        core.copies.set(core.copies.get() + 1);
        Self(Rc::clone(core))
    }
}

impl Drop for CopyGuard {
    fn drop(&mut self) {
        self.0.copies.set(self.0.copies.get().saturating_sub(1));
    }
}

struct Copy {
    _place: CopyGuard,
    core: Rc<Core>,
    connection: Rc<Connection>,
    group: Arc<GroupSlot>,
    /// In whose name targets are connected.
    caller: Option<ShownIdentity>,
    parts: request::Parts,
    /// What an HTTP/1.1 head ends with.
    lines: Vec<u8>,
}

/// What is counted of a copy while it is on its way.
struct Counted {
    core: Rc<Core>,
    group: Arc<GroupSlot>,
    target: Arc<TargetSlot>,
    meter: Rc<Meter>,
    started: Instant,
    status: u16,
}

impl Copy {
    async fn go(self, body: Option<oneshot::Receiver<Vec<Bytes>>>) {
        let pieces = match body {
            None => Vec::new(),
            Some(body) => match body.await {
                Ok(pieces) => pieces,
                // It was too long, or did not come whole.
                Err(_) => return self.core.totals.add(Count::CopiesDropped, 1),
            },
        };
        let members = self.group.members.load_full();
        let Some((target, _)) = pick(&self.core, &self.group, &members, &[]) else {
            return;
        };
        let mut counted = Counted::begin(&self, target);
        let policy = members.policy.as_ref();
        // A copy takes a place like any request, and none where there is none.
        let Ok(_place) = policy.map_or(Ok(None), |it| it.enter(Limit::Requests)) else {
            return;
        };
        let aim = (target, self.caller.as_ref());
        let opened = open(&self.core, &self.group, aim, Wanted::Idle, policy).await;
        let note = |outcome| {
            if let Some(policy) = policy {
                ejection::note(
                    &self.group,
                    &members,
                    policy,
                    target,
                    outcome,
                    &self.core.config.clock,
                );
            }
        };
        let mut lease = match opened {
            Ok(Some(lease)) => lease,
            Ok(None) => return note(Outcome::Gateway),
            // A limit is no fault of the target's.
            Err(_) => return,
        };
        let mut parts = self.parts;
        let size: usize = pieces.iter().map(Bytes::len).sum();
        parts.headers.remove(header::TRANSFER_ENCODING);
        if size > 0 {
            parts.headers.insert(header::CONTENT_LENGTH, size.into());
        }
        let body = RequestBody::of(pieces, Rc::clone(&counted.meter));
        let request = Box::new(Request::from_parts(parts, body));
        let sending = Sending {
            meter: &counted.meter,
            lines: &self.lines,
        };
        let response = match lease.send(request, false, &sending).await {
            Ok(response) => response,
            Err(failed) if failed.speaks_against_target(lease.reused, &counted.meter) => {
                return note(Outcome::Gateway);
            }
            Err(_) => return,
        };
        note(Outcome::of(response.status()));
        target.proved();
        counted.status = response.status().as_u16();
        let mut source = response.into_body();
        while !source.is_end_stream() {
            match poll_fn(|cx| lease.poll_body(&mut source, &counted.meter, cx)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return,
                None => break,
            }
        }
        lease.release();
    }
}

impl Counted {
    fn begin(copy: &Copy, target: &Arc<TargetSlot>) -> Self {
        let core = &copy.core;
        core.totals.add(Count::Copies, 1);
        let cells = copy.group.counters.of(core.index);
        cells.add(Count::Requests, 1);
        cells.add(Count::ActiveRequests, 1);
        target.enter(core.index);
        let meter = Meter::begin(&copy.connection, &core.exchanges, 0);
        meter.aim(target);
        Self {
            core: Rc::clone(core),
            group: Arc::clone(&copy.group),
            target: Arc::clone(target),
            meter,
            started: Instant::now(),
            status: 0,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let cells = self.group.counters.of(self.core.index);
        cells.subtract(Count::ActiveRequests, 1);
        cells.status(self.status);
        cells.time(self.started.elapsed());
        self.target.leave(self.core.index);
        self.meter.end();
    }
}

/// A copy that is being sent.
struct Sending<'a> {
    meter: &'a Rc<Meter>,
    lines: &'a [u8],
}

impl Exchange for Sending<'_> {
    fn meter(&self) -> &Rc<Meter> {
        self.meter
    }

    fn goes_over_http1(&self, _: &Request<RequestBody>, lines: &mut Vec<u8>) {
        lines.extend_from_slice(self.lines);
    }

    fn pass_on(&self, _: Vec<Interim>) -> bool {
        false
    }
}
