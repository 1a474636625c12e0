//! Watches: they keep the world as the API server has it, and say what has to be worked on.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use kube::api::{Api, ApiResource, PartialObjectMeta};
use kube::core::{DeserializeGuard, NamespaceResourceScope, Object};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::authorities::Authorities;
use crate::controller::App;
use crate::gates::{self, Gated, PODS, Pod};
use crate::kinds::{self, PolicyKind, RouteKind};
use crate::routes::service_of;
use crate::secrets::{self, Secret};
use crate::world::{BackendKind, Key, Name, Service, Slice, Table, World};

/// How often the API server is asked whether it has a kind by now.
const LOOK: Duration = Duration::from_secs(3);
const SECRETS: &str = "secrets";
const CONFIG_MAPS: &str = "configmaps";
/// The versions that routes are served in, the best first.
pub(crate) const VERSIONS: [&str; 3] = ["v1", "v1alpha3", "v1alpha2"];

/// How many kinds were not read yet, for workers that wait for the whole picture.
pub(crate) struct Unread {
    left: AtomicUsize,
    none: Notify,
}

impl Unread {
    /// Counts one more.
    fn ticket(self: &Arc<Self>) -> Ticket {
        self.left.fetch_add(1, Ordering::AcqRel);
        Ticket(Some(Arc::clone(self)))
    }

    fn one_less(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none.notify_waiters();
        }
    }

    /// Waits until every kind was read once, or is not served.
    pub(crate) async fn none_left(&self) {
        loop {
            let none = self.none.notified();
            if self.left.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

/// Counts a kind down once.
struct Ticket(Option<Arc<Unread>>);

impl Ticket {
    fn punch(&mut self) {
        if let Some(unread) = self.0.take() {
            unread.one_less();
        }
    }
}

/// How a kind is kept.
struct TableSpec<K, T> {
    /// `None` for what is not kept.
    convert: fn(K) -> Option<T>,
    table: fn(&mut World) -> &mut Table<T>,
    /// What an object's change has to be worked on for.
    touched: fn(&World, &Name, &T) -> Vec<Key>,
    /// Whether two states differ in anything that matters.
    differ: fn(&World, &Name, &T, &T) -> bool,
}

impl<K, T> TableSpec<K, T> {
    fn put(&self, app: &App, name: Name, object: T) {
        let mut world = app.world();
        let object = Arc::new(object);
        let mut keys = Vec::new();
        let before = (self.table)(&mut world).get(&name).cloned();
        let changed = before
            .as_ref()
            .is_none_or(|it| (self.differ)(&world, &name, it, &object));
        if changed && let Some(before) = &before {
            keys.extend((self.touched)(&world, &name, before));
        }
        (self.table)(&mut world).insert(name.clone(), Arc::clone(&object));
        if changed {
            keys.extend((self.touched)(&world, &name, &object));
        }
        drop(world);
        keys.into_iter().for_each(|key| app.queue.add(key));
    }

    fn remove(&self, app: &App, name: &Name) {
        let mut world = app.world();
        let Some(before) = (self.table)(&mut world).remove(name) else {
            return;
        };
        let keys = (self.touched)(&world, name, &before);
        drop(world);
        keys.into_iter().for_each(|key| app.queue.add(key));
    }
}

/// What is read of an object, without what takes room and says nothing. `None` for one that cannot be read.
pub(crate) fn readable<K: Resource>(
    DeserializeGuard(object): DeserializeGuard<K>,
) -> (Name, Option<K>) {
    match object {
        Ok(mut object) => {
            let meta = object.meta_mut();
            meta.managed_fields = None;
            if let Some(annotations) = &mut meta.annotations {
                // The object once more, as text.
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
            (Name::of(meta), Some(object))
        }
        Err(object) => {
            let name = Name::of(&object.metadata);
            tracing::warn!(%name, error = object.error, "an object cannot be read");
            (name, None)
        }
    }
}

/// Keeps what is read of an object. One that cannot be read stays as it was known: it must not keep the others of its
/// kind from being read, nor count as deleted.
fn keep<K: Resource, T>(
    app: &App,
    kept: &TableSpec<K, T>,
    plural: &str,
    object: DeserializeGuard<K>,
) -> Name {
    let (name, object) = readable(object);
    let at = (plural.to_owned(), name.clone());
    match object {
        Some(object) => {
            app.world().unreadable.remove(&at);
            match (kept.convert)(object) {
                Some(object) => kept.put(app, name.clone(), object),
                None => kept.remove(app, &name),
            }
        }
        None => drop(app.world().unreadable.insert(at)),
    }
    name
}

/// Makes of what a watch brings an object, if it can be read.
type Opened<F, K> = fn(F) -> DeserializeGuard<K>;

/// Follows a kind, whose objects come in a form that may be one of objects that cannot be read.
async fn follow<F, K, T>(
    app: Arc<App>,
    (api, opened, config): (Api<F>, Opened<F, K>, watcher::Config),
    kept: TableSpec<K, T>,
    (plural, mut ticket): (String, Ticket),
) where
    F: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K: Resource + Send + 'static,
    T: Send + Sync + 'static,
{
    let stream = watcher(api, config).default_backoff();
    futures::pin_mut!(stream);
    let mut listed: Option<BTreeSet<Name>> = None;
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed = Some(BTreeSet::new()),
            Ok(Event::InitApply(object)) => {
                let name = keep(&app, &kept, &plural, opened(object));
                if let Some(listed) = &mut listed {
                    listed.insert(name);
                }
            }
            Ok(Event::InitDone) => {
                let listed = listed.take().unwrap_or_default();
                let table: Vec<_> = (kept.table)(&mut app.world()).keys().cloned().collect();
                for name in table.iter().filter(|it| !listed.contains(*it)) {
                    kept.remove(&app, name);
                }
                let mut world = app.world();
                let there = |name: &Name| listed.contains(name);
                world
                    .unreadable
                    .retain(|(of, name)| *of != plural || there(name));
                world.read.insert(plural.clone());
                drop(world);
                ticket.punch();
            }
            Ok(Event::Apply(object)) => drop(keep(&app, &kept, &plural, opened(object))),
            Ok(Event::Delete(object)) => {
                let name = Name::of(object.meta());
                app.world()
                    .unreadable
                    .remove(&(plural.clone(), name.clone()));
                kept.remove(&app, &name);
            }
            Err(error) => {
                if plural == CONFIG_MAPS && forbidden(&error) {
                    tracing::warn!(
                        "Gateways know no authorities of clients, and BackendTLSPolicies none of targets, until the role allows to get, list and watch configmaps"
                    );
                    ticket.punch();
                }
                if plural == SECRETS && forbidden(&error) {
                    tracing::warn!(
                        "listeners have no certificates of Secrets until the role allows to get, list and watch secrets"
                    );
                    ticket.punch();
                }
                if plural == kinds::listener_set().plural && forbidden(&error) {
                    tracing::warn!(
                        "Gateways that allow ListenerSets wait until the role allows to get, list and watch listenersets"
                    );
                    ticket.punch();
                }
                if plural == kinds::backend_tls_policy().plural && forbidden(&error) {
                    if app.settings.has_addresses() {
                        // Taken for none, they would let requests go to targets that were not verified.
                        tracing::error!(
                            "nothing is changed in VPC Lattice until the role allows to get, list and watch backendtlspolicies"
                        );
                    } else {
                        ticket.punch();
                    }
                }
                if plural == PODS && forbidden(&error) {
                    // A role that was written before pods were read: all but their gates can be had without.
                    tracing::warn!(
                        "readiness gates stay shut until the role allows to get, list and watch pods"
                    );
                    ticket.punch();
                }
                tracing::warn!(kind = plural, %error, "a watch breaks off, and begins again");
            }
        }
    }
}

/// Whether a watch fails because the controller's role does not allow it.
fn forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 403,
        _ => false,
    }
}

/// Waits until the API server serves a kind, in one of these forms.
async fn served(client: &Client, forms: &[ApiResource], ticket: &mut Ticket) -> ApiResource {
    loop {
        let mut known = true;
        for form in forms {
            match client.list_api_group_resources(&form.api_version).await {
                Ok(list) => {
                    if list.resources.iter().any(|it| it.name == form.plural) {
                        return form.clone();
                    }
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    known = false;
                    tracing::warn!(%error, "the API server does not say what it serves");
                }
            }
        }
        if known {
            ticket.punch();
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether anything but the status of an object changed.
fn differ<P: Clone, U: Clone>(_: &World, _: &Name, a: &Object<P, U>, b: &Object<P, U>) -> bool {
    let (a, b) = (&a.metadata, &b.metadata);
    a.uid != b.uid
        || a.generation != b.generation
        || a.annotations != b.annotations
        || a.finalizers != b.finalizers
        || a.deletion_timestamp != b.deletion_timestamp
}

/// One kind of custom resource whose status is no news.
fn custom<P, U>(
    app: &Arc<App>,
    unread: &Arc<Unread>,
    forms: Vec<ApiResource>,
    table: fn(&mut World) -> &mut Table<Object<P, U>>,
    touched: fn(&World, &Name, &Object<P, U>) -> Vec<Key>,
) where
    P: Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    U: Clone + Default + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let kept = TableSpec {
        convert: Some,
        table,
        touched,
        differ,
    };
    resource(app, unread, forms, kept);
}

/// One kind of custom resource: waits until it is served, then follows it.
fn resource<P, U>(
    app: &Arc<App>,
    unread: &Arc<Unread>,
    forms: Vec<ApiResource>,
    kept: TableSpec<Object<P, U>, Object<P, U>>,
) where
    P: Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    U: Clone + Default + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let app = Arc::clone(app);
    let mut ticket = unread.ticket();
    tokio::spawn(async move {
        let form = served(&app.client, &forms, &mut ticket).await;
        app.serves(&form);
        let api = Api::all_with(app.client.clone(), &form);
        let opened: Opened<DeserializeGuard<Object<P, U>>, _> = |it| it;
        let all = watcher::Config::default();
        let known = kinds::known_as(&form);
        follow(app, (api, opened, all), kept, (known, ticket)).await;
    });
}

/// A kind that every API server has.
fn plain<K, T>(app: &Arc<App>, unread: &Arc<Unread>, api: Api<K>, kept: TableSpec<K, T>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
    T: Send + Sync + 'static,
{
    some(app, unread, (api, watcher::Config::default()), kept);
}

/// The objects of such a kind that a watch is configured for.
fn some<K, T>(
    app: &Arc<App>,
    unread: &Arc<Unread>,
    (api, config): (Api<K>, watcher::Config),
    kept: TableSpec<K, T>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
    T: Send + Sync + 'static,
{
    let ticket = unread.ticket();
    let plural = K::plural(&K::DynamicType::default()).into_owned();
    let opened: Opened<K, K> = |it| DeserializeGuard(Ok(it));
    tokio::spawn(follow(
        Arc::clone(app),
        (api, opened, config),
        kept,
        (plural, ticket),
    ));
}

/// Pods: of each only what readiness gates need is read, and of those without the gate nothing is kept.
fn pods(app: &Arc<App>, unread: &Arc<Unread>) {
    let kept = TableSpec {
        convert: Pod::of,
        table: |it| &mut it.pods,
        touched: |world, name, _| world.touched_by_pod(name),
        // What this controller writes into a pod is no news to it.
        differ: |_, _, a: &Pod, b: &Pod| {
            (&a.uid, a.ready_otherwise, a.is_open()) != (&b.uid, b.ready_otherwise, b.is_open())
        },
    };
    let ticket = unread.ticket();
    let api = Api::all_with(app.client.clone(), &gates::pods());
    let opened: Opened<DeserializeGuard<Gated>, _> = |it| it;
    let all = watcher::Config::default();
    tokio::spawn(follow(
        Arc::clone(app),
        (api, opened, all),
        kept,
        (PODS.to_owned(), ticket),
    ));
}

fn routes<const KIND: usize>(world: &mut World) -> &mut Table<kinds::Route> {
    world.routes.entry(RouteKind::ALL[KIND]).or_default()
}

fn touched_by_route<const KIND: usize>(
    world: &World,
    name: &Name,
    route: &kinds::Route,
) -> Vec<Key> {
    world.touched_by_route(RouteKind::ALL[KIND], name, route)
}

/// Routes of one kind. When their status has the name of their service, that is news to their Gateways.
fn follow_routes<const KIND: usize>(app: &Arc<App>, unread: &Arc<Unread>, forms: Vec<ApiResource>) {
    let kept = TableSpec {
        convert: Some,
        table: routes::<KIND>,
        touched: touched_by_route::<KIND>,
        differ: |world: &World, name: &Name, a: &kinds::Route, b: &kinds::Route| {
            differ(world, name, a, b) || service_of(a) != service_of(b)
        },
    };
    resource(app, unread, forms, kept);
}

fn policies<const KIND: usize>(world: &mut World) -> &mut Table<kinds::Policy> {
    world.policies.entry(PolicyKind::ALL[KIND]).or_default()
}

fn touched_by_policy<const KIND: usize>(
    world: &World,
    name: &Name,
    policy: &kinds::Policy,
) -> Vec<Key> {
    world.touched_by_policy(PolicyKind::ALL[KIND], name, policy)
}

fn all<K>(client: &Client) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    Api::all(client.clone())
}

/// Begins all watches.
pub(crate) fn begin(app: &Arc<App>) -> Arc<Unread> {
    let unread = &Arc::new(Unread {
        left: AtomicUsize::new(0),
        none: Notify::new(),
    });
    // Of its own, so that the last one is not counted down before all have begun.
    let mut begun = unread.ticket();
    let forms = |kind: RouteKind| {
        VERSIONS
            .iter()
            .map(|version| kind.resource(version))
            .collect()
    };
    custom(
        app,
        unread,
        vec![kinds::gateway_class()],
        |it| &mut it.classes,
        |world, name, _| world.touched_by_class(name),
    );
    custom(
        app,
        unread,
        vec![kinds::gateway()],
        |it| &mut it.gateways,
        |world, name, _| world.touched_by_gateway(name),
    );
    custom(
        app,
        unread,
        vec![kinds::listener_set()],
        |it| &mut it.listener_sets,
        World::touched_by_listener_set,
    );
    follow_routes::<0>(app, unread, forms(RouteKind::Http));
    follow_routes::<1>(app, unread, forms(RouteKind::Grpc));
    follow_routes::<2>(app, unread, forms(RouteKind::Tls));
    follow_routes::<3>(app, unread, forms(RouteKind::Tcp));
    custom(
        app,
        unread,
        vec![kinds::reference_grant()],
        |it| &mut it.grants,
        |world, _, grant| world.touched_by_grant(grant),
    );
    custom(
        app,
        unread,
        vec![kinds::service_export()],
        |it| &mut it.exports,
        |world, name, _| world.touched_by_export(name),
    );
    custom(
        app,
        unread,
        vec![kinds::service_import()],
        |it| &mut it.imports,
        |world, name, _| {
            let mut keys = world.touched_by_backend(BackendKind::Import, name);
            keys.push(Key::Import(name.clone()));
            keys
        },
    );
    custom(
        app,
        unread,
        kinds::mcs_exports(),
        |it| &mut it.mcs_exports,
        |world, name, _| world.touched_by_export(name),
    );
    custom(
        app,
        unread,
        kinds::mcs_imports(),
        |it| &mut it.mcs_imports,
        |world, name, _| {
            let mut keys = world.touched_by_backend(BackendKind::Mcs, name);
            keys.push(Key::Mcs(name.clone()));
            keys
        },
    );
    custom(
        app,
        unread,
        vec![kinds::service_network()],
        |it| &mut it.networks,
        |world, name, _| world.touched_by_network(name),
    );
    let policies = vec![kinds::target_group_policy()];
    custom(
        app,
        unread,
        policies,
        |it| &mut it.group_policies,
        World::touched_by_group_policy,
    );
    custom(
        app,
        unread,
        vec![kinds::backend_tls_policy()],
        |it| &mut it.tls_policies,
        World::touched_by_backend_tls,
    );
    let form = |kind: PolicyKind| vec![kind.resource()];
    custom(
        app,
        unread,
        form(PolicyKind::Vpc),
        self::policies::<0>,
        touched_by_policy::<0>,
    );
    custom(
        app,
        unread,
        form(PolicyKind::Auth),
        self::policies::<1>,
        touched_by_policy::<1>,
    );
    custom(
        app,
        unread,
        form(PolicyKind::Log),
        self::policies::<2>,
        touched_by_policy::<2>,
    );
    let services = TableSpec {
        convert: |it: core::Service| Some(Service::from(it)),
        table: |it| &mut it.services,
        touched: |world, name, _| world.touched_by_service(name),
        differ: |_, _, a, b| a != b,
    };
    plain(app, unread, all(&app.client), services);
    let slices = TableSpec {
        convert: |it: discovery::EndpointSlice| Some(Slice::from(it)),
        table: |it| &mut it.slices,
        touched: |world, name, slice| {
            world.touched_by_endpoints(&Name::new(&name.namespace, &slice.service))
        },
        differ: World::endpoints_differ,
    };
    plain(app, unread, all(&app.client), slices);
    pods(app, unread);
    let namespaces = TableSpec {
        convert: |it: PartialObjectMeta<core::Namespace>| {
            Some(it.metadata.labels.unwrap_or_default())
        },
        table: |it| &mut it.namespaces,
        touched: |world, name, _| world.touched_by_namespace(&name.name),
        differ: |_, _, a, b| a != b,
    };
    plain(app, unread, Api::all(app.client.clone()), namespaces);
    if app.settings.has_addresses() {
        let kept = TableSpec {
            convert: |it: core::Secret| Some(Secret::from(it)),
            table: |it| &mut it.secrets,
            touched: |world, name, _| world.touched_by_secret(name),
            differ: |_, _, a, b| a != b,
        };
        let config = watcher::Config::default().fields(secrets::TLS);
        some(app, unread, (all(&app.client), config), kept);
        let kept = TableSpec {
            convert: Authorities::of,
            table: |it| &mut it.authorities,
            touched: |world, name, _| world.touched_by_authorities(name),
            differ: |_, _, a, b| a != b,
        };
        plain(app, unread, all::<core::ConfigMap>(&app.client), kept);
    }
    begun.punch();
    Arc::clone(unread)
}
