//! Finds the signer of a request to a Lattice service in the newest snapshot. No other process is asked, so this works while
//! the control plane is down and while the home region of IAM is out of reach.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use lath_clock::Clock;
use lath_feed::{CallerBook, KnownCaller, Snapshot, SnapshotReceiver};
use lath_model::{Owner, Partition, Timestamp};
use lath_policy::{Context, Grammar, Kind, Policy, Principal};
use lath_proxy::Caller;
use lath_session::{Holder, SealingKey, Session, Sessions, SourceInstance};
use lath_sigv4::{Credential, Credentials, LookupError, Secret};

/// Most callers that are kept read.
const MOST: usize = 10_000;

/// The callers of the newest snapshot.
pub(crate) struct KnownCallers {
    snapshots: SnapshotReceiver,
    clock: Clock,
    open: Mutex<Option<Arc<OpenBook>>>,
}

impl KnownCallers {
    pub(crate) fn new(snapshots: SnapshotReceiver, clock: Clock) -> Self {
        Self {
            snapshots,
            clock,
            open: Mutex::default(),
        }
    }

    /// What was read of a book is forgotten with it.
    fn book(&self) -> Arc<OpenBook> {
        let newest = Arc::clone(&self.snapshots.borrow());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*open
            && Arc::ptr_eq(&known.book, &newest.callers)
        {
            return Arc::clone(known);
        }
        let opened = OpenBook::new(&newest, &newest.callers);
        Arc::clone(open.insert(Arc::new(opened)))
    }
}

impl Credentials for KnownCallers {
    type Owner = Caller;

    /// As at the front door: only keys that begin with `ASIA` have a session.
    fn lookup(&self, id: &str, token: Option<&str>) -> Result<Credential<Caller>, LookupError> {
        let book = self.book();
        match token {
            Some(token) if id.starts_with("ASIA") => book.temporary(id, token, self.clock.now()),
            Some(_) => Err(LookupError::BadToken),
            None => book.long_lived(id).ok_or(LookupError::UnknownKey),
        }
    }
}

/// One book, with what was read of it.
struct OpenBook {
    book: Arc<CallerBook>,
    account: String,
    partition: Partition,
    seal: Option<SealingKey>,
    sessions: Sessions,
    /// By access key.
    callers: Mutex<HashMap<String, Arc<Caller>>>,
}

impl OpenBook {
    fn new(snapshot: &Snapshot, book: &Arc<CallerBook>) -> Self {
        let keys = book.installation.as_ref();
        Self {
            book: Arc::clone(book),
            account: snapshot.account.clone(),
            partition: Partition::of_region(&snapshot.region),
            seal: keys.and_then(|keys| SealingKey::parse(keys.sealing.0.as_bytes())),
            sessions: Sessions::default(),
            callers: Mutex::default(),
        }
    }

    fn long_lived(&self, id: &str) -> Option<Credential<Caller>> {
        let root = self.book.installation.as_ref();
        if let Some(root) = root.filter(|root| root.root_id == id) {
            return Some(owned(&root.root_secret.0, self.root()));
        }
        let key = self.book.keys.get(id)?;
        let owner = self.once(id, || self.user(&key.user))?;
        Some(owned(&key.secret.0, owner))
    }

    fn temporary(
        &self,
        id: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<Credential<Caller>, LookupError> {
        let seal = self.seal.as_ref().ok_or(LookupError::BadToken)?;
        let session = self.sessions.open(seal, id, token, now);
        let session = session.ok_or(LookupError::BadToken)?;
        if session.expires <= now {
            return Err(LookupError::ExpiredToken);
        }
        let owner = self.once(id, || self.of_session(&session));
        let owner = owner.ok_or(LookupError::UnknownKey)?;
        Ok(owned(&session.secret, owner))
    }

    fn once(&self, id: &str, read: impl FnOnce() -> Option<Caller>) -> Option<Caller> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = callers.get(id) {
            return Some(Caller::clone(known));
        }
        let caller = read()?;
        if callers.len() >= MOST {
            callers.clear();
        }
        callers.insert(id.to_owned(), Arc::new(caller.clone()));
        Some(caller)
    }

    fn owner(&self) -> Owner<'_> {
        Owner {
            partition: self.partition,
            account: &self.account,
        }
    }

    fn root(&self) -> Caller {
        Caller {
            principal: Principal::root(&self.account, self.owner().arn("iam", "root")),
            policies: Vec::new(),
            facts: Context::default().with("aws:userid", self.account.clone()),
            tags: BTreeMap::new(),
        }
    }

    fn user(&self, unique_id: &str) -> Option<Caller> {
        let user = self.book.users.get(unique_id)?;
        Some(Caller {
            principal: Principal::user(&self.account, &user.arn),
            policies: self.policies(user),
            facts: Context::default()
                .with("aws:userid", unique_id)
                .with("aws:username", user.name.clone()),
            tags: user.tags.clone(),
        })
    }

    /// `None` when the user or role is gone.
    fn of_session(&self, session: &Session) -> Option<Caller> {
        let mut caller = match &session.holder {
            Holder::Root => self.root(),
            Holder::User { unique_id } => self.user(unique_id)?,
            Holder::Role {
                name,
                unique_id,
                session: called,
            } => {
                let role = self.book.roles.get(unique_id);
                let role = role.filter(|role| role.name.eq_ignore_ascii_case(name))?;
                let mut caller = self.role(role, unique_id, called);
                caller.policies.extend(self.of_session_only(session));
                let given =
                    |key: &String| session.tags.keys().any(|it| it.eq_ignore_ascii_case(key));
                caller.tags.retain(|key, _| !given(key));
                caller.tags.extend(session.tags.clone());
                caller
            }
        };
        let issued = session.issued.iso8601_seconds();
        caller.facts.set("aws:TokenIssueTime", issued);
        caller.facts.set("aws:MultiFactorAuthPresent", "false");
        if let Some(identity) = &session.source_identity {
            caller.facts.set("aws:SourceIdentity", identity.clone());
        }
        for (key, value) in session.instance.iter().flat_map(SourceInstance::facts) {
            caller.facts.set(key, value);
        }
        Some(caller)
    }

    fn role(&self, role: &KnownCaller, unique_id: &str, session: &str) -> Caller {
        let account = &self.account;
        let resource = format!("assumed-role/{}/{session}", role.name);
        let arn = self.owner().arn("sts", resource);
        Caller {
            principal: Principal::session(account, &role.arn, arn),
            policies: self.policies(role),
            facts: Context::default().with("aws:userid", format!("{unique_id}:{session}")),
            tags: role.tags.clone(),
        }
    }

    fn policies(&self, holder: &KnownCaller) -> Vec<(Kind, Arc<Policy>)> {
        let attached = holder.attached.iter().map(|arn| self.managed(arn));
        let inline = holder.inline.iter().map(|text| read(Some(text)));
        let boundary = holder.boundary.iter().map(|arn| self.managed(arn));
        attached
            .chain(inline)
            .map(|policy| (Kind::Identity, policy))
            .chain(boundary.map(|policy| (Kind::Boundary, policy)))
            .collect()
    }

    /// What was passed when the role was assumed. A document of another partition, which an older version sealed in the
    /// token, allows nothing.
    fn of_session_only(&self, session: &Session) -> Vec<(Kind, Arc<Policy>)> {
        let is_ours = |text: &&String| {
            let policy = Policy::parse(text, Grammar::Identity);
            policy.is_ok_and(|it| it.check_partition(self.partition.name()).is_ok())
        };
        let inline = session.policy.iter();
        let inline = inline.map(|text| read(Some(text).filter(is_ours)));
        let managed = session.policy_arns.iter().map(|arn| self.managed(arn));
        inline
            .chain(managed)
            .map(|policy| (Kind::Session, policy))
            .collect()
    }

    fn managed(&self, arn: &str) -> Arc<Policy> {
        read(self.book.managed.get(arn))
    }
}

fn owned(secret: &str, owner: Caller) -> Credential<Caller> {
    Credential {
        secret: Secret::new(secret),
        owner,
    }
}

/// A document that is gone, or cannot be read (which the API refuses), allows nothing.
fn read(text: Option<&String>) -> Arc<Policy> {
    let parsed = text.and_then(|text| Policy::parse(text, Grammar::Identity).ok());
    Arc::new(parsed.unwrap_or(Policy {
        id: None,
        statements: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use lath_clock::ManualClock;

    use lath_feed::{Hidden, InstallationKeys, UserKey};
    use lath_policy::Facts as _;
    use tokio::sync::watch;

    const ALLOW: &str =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;

    fn known(name: &str, arn: &str) -> KnownCaller {
        KnownCaller {
            name: name.into(),
            arn: arn.into(),
            tags: [("team".to_owned(), "shop".to_owned())].into(),
            attached: vec!["arn:aws:iam::1:policy/known".into(), "arn:gone".into()],
            inline: vec![ALLOW.into()],
            boundary: Some("arn:gone".into()),
        }
    }

    fn snapshot(seal: &SealingKey) -> Arc<Snapshot> {
        let user_key = UserKey {
            secret: Hidden("hers".into()),
            user: "AIDA1".into(),
        };
        let book = CallerBook {
            installation: Some(InstallationKeys {
                root_id: "AKIAROOT".into(),
                root_secret: Hidden("root's".into()),
                sealing: Hidden(seal.reveal().into()),
            }),
            keys: [("AKIAANN".to_owned(), user_key)].into(),
            users: [("AIDA1".to_owned(), known("ann", "arn:aws:iam::1:user/ann"))].into(),
            roles: [(
                "AROA1".to_owned(),
                known("cart", "arn:aws:iam::1:role/x/cart"),
            )]
            .into(),
            managed: [("arn:aws:iam::1:policy/known".to_owned(), ALLOW.to_owned())].into(),
        };
        Arc::new(Snapshot {
            account: "1".into(),
            callers: Arc::new(book),
            ..Snapshot::default()
        })
    }

    /// When tests begin.
    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    /// A token for `ASIA1`, which ends in that many seconds.
    fn token(seal: &SealingKey, unique_id: &str, seconds: i64) -> String {
        token_with(seal, unique_id, seconds, ALLOW)
    }

    fn token_with(seal: &SealingKey, unique_id: &str, seconds: i64, policy: &str) -> String {
        let now = NOW;
        let session = Session {
            key: "ASIA1".into(),
            secret: "its".into(),
            issued: now,
            expires: Timestamp::from_millis(now.as_millis() + seconds * 1000),
            holder: Holder::Role {
                name: "cart".into(),
                unique_id: unique_id.into(),
                session: "build".into(),
            },
            policy: Some(policy.into()),
            policy_arns: Vec::new(),
            tags: [("Team".to_owned(), "cart".to_owned())].into(),
            transitive: Vec::new(),
            source_identity: None,
            instance: None,
            federation: BTreeMap::new(),
        };
        session.seal(seal)
    }

    #[test]
    fn keys_and_sessions_are_their_holders() {
        let seal = SealingKey::random();
        let (snapshots_tx, snapshots) = watch::channel(snapshot(&seal));
        let hands = ManualClock::at(NOW);
        let callers = KnownCallers::new(snapshots, hands.clock());
        let good = token(&seal, "AROA1", 600);
        let role = "arn:aws:sts::1:assumed-role/cart/build";
        let table = [
            ("AKIAROOT", None, Ok(("root's", "arn:aws:iam::1:root"))),
            ("AKIAANN", None, Ok(("hers", "arn:aws:iam::1:user/ann"))),
            ("ASIA1", Some(good.clone()), Ok(("its", role))),
            ("ASIA1", Some(good.clone()), Ok(("its", role))),
            ("ASIA2", Some(good.clone()), Err(LookupError::BadToken)),
            ("AKIAANN", Some(good.clone()), Err(LookupError::BadToken)),
            ("ASIA1", None, Err(LookupError::UnknownKey)),
            ("AKIANONE", None, Err(LookupError::UnknownKey)),
            (
                "ASIA1",
                Some(token(&SealingKey::random(), "AROA1", 600)),
                Err(LookupError::BadToken),
            ),
            (
                "ASIA1",
                Some(token(&seal, "AROA1", -1)),
                Err(LookupError::ExpiredToken),
            ),
        ];
        for (id, token, want) in table {
            let got = callers.lookup(id, token.as_deref());
            let got = got.map(|it| (it.secret.reveal().to_owned(), it.owner.principal.arn()));
            let want = want.map(|(secret, arn)| (secret.to_owned(), arn.to_owned()));
            assert_eq!(got, want, "{id}");
        }
        // A session that was opened before ends all the same.
        hands.advance(Duration::from_secs(599));
        assert!(callers.lookup("ASIA1", Some(&good)).is_ok());
        hands.advance(Duration::from_secs(1));
        let ended = callers.lookup("ASIA1", Some(&good)).unwrap_err();
        assert_eq!(ended, LookupError::ExpiredToken);
        hands.set(NOW);
        // With the book goes all that was read of it, and a namesake made later is somebody else.
        snapshots_tx.send_replace(Arc::new(Snapshot::default()));
        assert!(callers.lookup("AKIAANN", None).is_err());
        assert!(callers.lookup("ASIA1", Some(&good)).is_err());
        snapshots_tx.send_replace(snapshot(&seal));
        let other = token(&seal, "AROA2", 600);
        let gone = callers.lookup("ASIA1", Some(&other)).unwrap_err();
        assert_eq!(gone, LookupError::UnknownKey);
    }

    #[test]
    fn a_session_has_its_roles_policies_and_its_own_and_the_tags_of_both() {
        let seal = SealingKey::random();
        let callers = KnownCallers::new(
            watch::channel(snapshot(&seal)).1,
            ManualClock::at(NOW).clock(),
        );
        let token = token(&seal, "AROA1", 600);
        let found = callers.lookup("ASIA1", Some(&token)).unwrap().owner;
        let kinds: Vec<_> = found.policies.iter().map(|(kind, _)| *kind).collect();
        use Kind::{Boundary, Identity, Session};
        assert_eq!(kinds, [Identity, Identity, Identity, Boundary, Session]);
        let empty: Vec<_> = found
            .policies
            .iter()
            .map(|(_, it)| it.statements.is_empty())
            .collect();
        assert_eq!(empty, [false, true, false, true, false]);
        let value = |key: &str| found.values(key).unwrap();
        assert_eq!(value("aws:userid"), ["AROA1:build"]);
        assert_eq!(value("aws:principaltag/team"), ["cart"]);
        assert_eq!(value("aws:multifactorauthpresent"), ["false"]);
        assert_eq!(found.values("aws:username"), None);
        let ann = callers.lookup("AKIAANN", None).unwrap().owner;
        assert_eq!(ann.values("aws:username").unwrap(), ["ann"]);
    }

    #[test]
    fn a_session_policy_of_another_partition_allows_nothing() {
        let seal = SealingKey::random();
        for (resource, allows) in [
            ("arn:aws:vpc-lattice:*:*:service/*", true),
            ("arn:*:vpc-lattice:*:*:service/*", true),
            ("arn:aws-cn:vpc-lattice:*:*:service/*", false),
        ] {
            let callers = KnownCallers::new(
                watch::channel(snapshot(&seal)).1,
                ManualClock::at(NOW).clock(),
            );
            let policy = ALLOW.replace(r#""Resource":"*""#, &format!(r#""Resource":"{resource}""#));
            let token = token_with(&seal, "AROA1", 600, &policy);
            let found = callers.lookup("ASIA1", Some(&token)).unwrap().owner;
            let (_, session) = found.policies.last().unwrap();
            assert_eq!(!session.statements.is_empty(), allows, "{resource}");
        }
    }
}
