//! Session persistence: which target a request's session is at, and what its response says of that.
//!
//! A session is all in what the client keeps: the target's group and name, and when it began, sealed with a key that
//! the rule has in every region. So it outlives processes, it cannot be made by a client, and it says nothing to one.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use lath_clock::Clock;
use lath_feed::TargetKey;
use lath_model::id::{RuleId, TargetGroupId};
use lath_model::traffic::{SessionKind, SessionPersistence};
use lath_session::{Purpose, SealingKey};

/// Names of targets have different lengths, which sealing does not hide.
const PADDED: usize = 112;

/// As many values under the session's name are looked at: a client may have cookies of several paths.
const MOST_VALUES: usize = 4;

/// The sessions of a rule.
#[derive(Debug)]
pub(crate) struct Sessions {
    policy: SessionPersistence,
    name: String,
    /// The name of its header in requests and in responses.
    headers: (HeaderName, HeaderName),
    key: SealingKey,
}

/// A session, as a client has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) group: TargetGroupId,
    pub(crate) target: TargetKey,
    /// In seconds of the wall clock.
    begun: u64,
    used: u64,
}

impl Sessions {
    /// `None`: the policy is none that could have been written here.
    pub(crate) fn of(policy: &SessionPersistence, rule: &RuleId) -> Option<Self> {
        let name = policy.name.clone().unwrap_or_else(|| {
            let id = rule.as_str();
            format!("lath-{}", id.strip_prefix("rule-").unwrap_or(id))
        });
        let headers = match policy.kind {
            SessionKind::Cookie => (header::COOKIE, header::SET_COOKIE),
            SessionKind::Header => {
                let header: HeaderName = name.parse().ok()?;
                (header.clone(), header)
            }
        };
        Some(Self {
            name,
            headers,
            key: SealingKey::parse(policy.key.0.as_bytes())?,
            policy: policy.clone(),
        })
    }

    /// Whether a session holds to its group.
    pub(crate) fn holds_group(&self) -> bool {
        self.policy.target_group
    }

    /// The session that a request belongs to.
    pub(crate) fn of_request(&self, headers: &HeaderMap, clock: &Clock) -> Option<Session> {
        let values = headers.get_all(&self.headers.0).iter();
        let values = values.filter_map(|value| value.to_str().ok());
        let now = seconds(clock);
        let mut found = values
            .flat_map(|value| self.values_of(value))
            .take(MOST_VALUES);
        found.find_map(|value| self.open(value, now))
    }

    /// The values under the session's name in a header.
    fn values_of<'a>(&'a self, header: &'a str) -> impl Iterator<Item = &'a str> {
        let is_cookie = self.policy.kind == SessionKind::Cookie;
        let cookies = header.split(';').filter(move |_| is_cookie);
        let cookies = cookies.filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.name).then_some(value)
        });
        cookies.chain((!is_cookie).then_some(header.trim()))
    }

    fn open(&self, value: &str, now: u64) -> Option<Session> {
        let plain = self.key.open(Purpose::Persistence, value)?;
        let session = Session::read(std::str::from_utf8(&plain).ok()?)?;
        let over = |since: u64, after: Option<std::time::Duration>| {
            after.is_some_and(|it| now.saturating_sub(since) >= it.as_secs())
        };
        let is_over = over(session.begun, self.policy.absolute_timeout)
            || over(session.used, self.policy.idle_timeout);
        (!is_over).then_some(session)
    }

    /// What a response from this target says, if its client does not know it yet. `before` is the session that the request had.
    pub(crate) fn of_response(
        &self,
        before: Option<&Session>,
        group: &TargetGroupId,
        target: &TargetKey,
        secure: bool,
        clock: &Clock,
    ) -> Option<(HeaderName, HeaderValue)> {
        let now = seconds(clock);
        let same = before.filter(|it| it.group == *group && it.target == *target);
        let session = match same {
            Some(session) => {
                // It is sent again in time, and not with each response.
                let idle = self.policy.idle_timeout?.as_secs();
                let is_due = now.saturating_sub(session.used) >= (idle / 8).max(1);
                is_due.then(|| Session {
                    used: now,
                    ..session.clone()
                })?
            }
            None => Session {
                group: group.clone(),
                target: target.clone(),
                begun: now,
                used: now,
            },
        };
        let sealed = self
            .key
            .seal(Purpose::Persistence, session.write().as_bytes());
        let value = match self.policy.kind {
            SessionKind::Header => sealed,
            SessionKind::Cookie => self.cookie(&session, &sealed, secure, now),
        };
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some((self.headers.1.clone(), value))
    }

    /// Whether a session's header replaces what the target says under its name.
    pub(crate) fn replaces(&self) -> bool {
        self.policy.kind == SessionKind::Header
    }

    /// RFC 6265 section 4.1.
    fn cookie(&self, session: &Session, sealed: &str, secure: bool, now: u64) -> String {
        let mut cookie = format!("{}={sealed}; Path=/; HttpOnly; SameSite=Lax", self.name);
        if secure {
            cookie += "; Secure";
        }
        let absolute = self
            .policy
            .absolute_timeout
            .filter(|_| self.policy.permanent);
        if let Some(absolute) = absolute {
            let left = (session.begun + absolute.as_secs()).saturating_sub(now);
            cookie += &format!("; Max-Age={left}");
        }
        cookie
    }
}

impl Session {
    fn write(&self) -> String {
        let Self {
            group,
            target,
            begun,
            used,
        } = self;
        let text = format!("{begun} {used} {group} {} {}", target.port, target.id);
        format!("{text:PADDED$}")
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.trim_end().splitn(5, ' ');
        Some(Self {
            begun: words.next()?.parse().ok()?,
            used: words.next()?.parse().ok()?,
            group: words.next()?.parse().ok()?,
            target: TargetKey {
                port: words.next()?.parse().ok()?,
                id: words.next()?.to_owned(),
            },
        })
    }
}

fn seconds(clock: &Clock) -> u64 {
    u64::try_from(clock.unix_seconds()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lath_clock::ManualClock;
    use lath_model::Timestamp;
    use lath_model::traffic::SessionKey;

    use super::*;

    fn policy(kind: SessionKind) -> SessionPersistence {
        SessionPersistence {
            kind,
            name: None,
            absolute_timeout: None,
            idle_timeout: None,
            permanent: false,
            target_group: true,
            key: SessionKey(SealingKey::random().reveal().to_owned()),
        }
    }

    fn hands() -> ManualClock {
        ManualClock::at(Timestamp::from_millis(1_000_000))
    }

    fn target() -> TargetKey {
        TargetKey {
            id: "10.0.0.7".into(),
            port: 80,
        }
    }

    fn cookie_of(value: &HeaderValue) -> String {
        value
            .to_str()
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_session_comes_back_as_it_went_and_tells_nothing() {
        let rule = RuleId::random();
        let group = TargetGroupId::random();
        let of = policy(SessionKind::Cookie);
        let (sessions, clock) = (Sessions::of(&of, &rule).unwrap(), hands().clock());
        let said = sessions.of_response(None, &group, &target(), true, &clock);
        let (name, value) = said.unwrap();
        assert_eq!(name, header::SET_COOKIE);
        let text = value.to_str().unwrap();
        assert!(
            text.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"),
            "{text}"
        );
        assert!(!text.contains("10.0.0.7"));
        let long = TargetKey {
            id: "fd00:1111:2222:3333:4444:5555:6666:7777".into(),
            ..target()
        };
        let longer = sessions
            .of_response(None, &group, &long, true, &clock)
            .unwrap()
            .1;
        assert_eq!(longer.len(), value.len(), "its length tells nothing either");
        let mut headers = HeaderMap::new();
        let cookie = cookie_of(&value);
        let forged = format!("{}=x; a=b; {cookie}", sessions.name);
        headers.insert(header::COOKIE, forged.parse().unwrap());
        let session = sessions.of_request(&headers, &clock).unwrap();
        assert_eq!((&session.group, &session.target), (&group, &target()));
        // What the client knows is not told again.
        assert!(
            sessions
                .of_response(Some(&session), &group, &target(), true, &clock)
                .is_none()
        );
        assert!(
            sessions
                .of_response(Some(&session), &group, &long, true, &clock)
                .is_some()
        );
        // Another key does not open it.
        let other = Sessions::of(&policy(SessionKind::Cookie), &rule).unwrap();
        assert_eq!(other.of_request(&headers, &clock), None);
        let again = Sessions::of(&of, &rule).unwrap();
        assert_eq!(again.of_request(&headers, &clock), Some(session));
    }

    #[test]
    fn sessions_end_when_they_are_old_or_idle() {
        let rule = RuleId::random();
        let of = SessionPersistence {
            absolute_timeout: Some(Duration::from_secs(100)),
            idle_timeout: Some(Duration::from_secs(10)),
            permanent: true,
            name: Some("sid".into()),
            ..policy(SessionKind::Cookie)
        };
        let sessions = Sessions::of(&of, &rule).unwrap();
        let (group, hands) = (TargetGroupId::random(), hands());
        let clock = hands.clock();
        let respond = |before: Option<&Session>| {
            let (_, value) = sessions.of_response(before, &group, &target(), true, &clock)?;
            let cookie = cookie_of(&value).parse().unwrap();
            Some(HeaderMap::from_iter([(header::COOKIE, cookie)]))
        };
        let find = |headers: &HeaderMap| sessions.of_request(headers, &clock);
        let begun = respond(None).unwrap();
        hands.advance(Duration::from_secs(9));
        let mut session = find(&begun).unwrap();
        hands.advance(Duration::from_secs(1));
        assert_eq!(find(&begun), None, "it was idle for too long");
        // Used every nine seconds, it lasts for its absolute time all the same.
        for _ in 0..9 {
            hands.advance(Duration::from_secs(9));
            let again = respond(Some(&session)).unwrap();
            match find(&again) {
                Some(found) => session = found,
                None => panic!("it is in use"),
            }
        }
        hands.advance(Duration::from_secs(9));
        assert_eq!(respond(Some(&session)).and_then(|it| find(&it)), None);
        let cookie = Session {
            group: "tg-0123456789abcdef0".parse().unwrap(),
            target: target(),
            begun: 950,
            used: 995,
        };
        let cookie = sessions.cookie(&cookie, "x", false, 1000);
        assert_eq!(cookie, "sid=x; Path=/; HttpOnly; SameSite=Lax; Max-Age=50");
    }

    #[test]
    fn a_header_is_the_value_alone() {
        let of = SessionPersistence {
            name: Some("X-Session".into()),
            ..policy(SessionKind::Header)
        };
        let sessions = Sessions::of(&of, &RuleId::random()).unwrap();
        let (group, clock) = (TargetGroupId::random(), hands().clock());
        let (name, value) = sessions
            .of_response(None, &group, &target(), false, &clock)
            .unwrap();
        assert_eq!(name, "x-session");
        let headers = HeaderMap::from_iter([(name, value)]);
        assert_eq!(sessions.of_request(&headers, &clock).unwrap().group, group);
    }
}
