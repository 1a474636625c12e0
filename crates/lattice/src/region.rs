//! Lattice beyond its region, in extended mode: what regions tell one another, and what is held of them.
//!
//! Each region tells the others all its networks, services, target groups and associations. What they send is
//! kept in a record for each region, so that it outlives the teller; everything here is a look-up in those
//! records. A thing belongs to the region in its ARN, and only that region changes it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use lath_control::{Cell, Derive, Mode, Parts, Section, set_only};
use lath_feed as feed;
use lath_model::arn::Arn;
use lath_model::id::{ServiceId, ServiceNetworkId, TargetGroupId};
use lath_model::lattice::{ProtocolVersion, TargetProtocol};
use lath_store::{Record, Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::ident::{Identifier, Kind, resolve};
use crate::record::{
    ForeignAddress, ForeignCertificate, Service, ServiceAssociation, ServiceNetwork, TargetGroup,
    VpcAssociation,
};
use crate::{certificate, contribute, endpoint, fault, gateway, network, service, target_group};

/// What a region tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exported {
    /// Its networks; their services are in the associations.
    pub(crate) networks: Vec<feed::ServiceNetwork>,
    pub(crate) services: Vec<feed::Service>,
    pub(crate) groups: Vec<ExportedGroup>,
    /// Its associations, also with what belongs to others.
    pub(crate) service_associations: Vec<ServiceAssociation>,
    pub(crate) vpc_associations: Vec<VpcAssociation>,
}

/// A target group; its targets are told beside it, because their keys are no texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExportedGroup {
    pub(crate) group: feed::TargetGroup,
    pub(crate) targets: Vec<(feed::TargetKey, feed::Target)>,
}

/// What another region exported last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Region {
    pub(crate) name: String,
    #[serde(rename = "told")]
    pub(crate) exported: Exported,
}

impl Record for Region {
    const KIND: &'static str = "lattice.region";
    fn id(&self) -> String {
        self.name.clone()
    }
}

/// What regions tell one another of Lattice. Nothing in strict mode, or where there is only one region.
pub const SECTION: Section = Section {
    name: "lattice",
    export: &[Derive::Whole(export)],
    import,
};

fn is_spoken(cell: &Cell) -> bool {
    cell.mode == Mode::Extended && cell.topology.regions.len() > 1
}

fn export(cell: &Cell, view: &View, parts: &mut Parts) {
    let exported =
        is_spoken(cell).then(|| serde_json::to_vec(&contribute::exported(cell, view)).ok());
    set_only(parts, exported.flatten());
}

fn import(
    cell: &Cell,
    tx: &mut Tx,
    region: &str,
    told: &lath_control::Told,
) -> Result<(), ApiError> {
    let Some(bytes) = told
        .only()
        .filter(|_| is_spoken(cell) && region != cell.region)
    else {
        return Ok(());
    };
    let told: Exported = serde_json::from_slice(bytes)
        .map_err(|error| fault::refused(format!("the region's part is malformed: {error}")))?;
    tx.put(Region {
        name: region.to_owned(),
        exported: told.only_of(region),
    });
    allot_addresses(tx);
    endpoint::refresh(cell, tx);
    Ok(())
}

impl Exported {
    /// Drops what a region cannot speak for.
    pub(crate) fn only_of(mut self, region: &str) -> Self {
        let own = |arn: &str| region_of(arn).as_deref() == Some(region);
        self.networks.retain(|it| own(&it.arn));
        self.services.retain(|it| own(&it.arn));
        self.groups.retain(|it| own(&it.group.arn));
        // Each region has certificates of its own.
        let services = self.services.into_iter();
        self.services = services.map(feed::Service::without_keys).collect();
        self
    }
}

/// The region in an ARN.
pub(crate) fn region_of(arn: &str) -> Option<String> {
    arn.parse::<Arn>().ok().map(|arn| arn.region)
}

/// Whether an ARN is of this region.
pub(crate) fn is_here(cell: &Cell, arn: Option<&str>) -> bool {
    arn.and_then(region_of).as_deref() == Some(cell.region.as_str())
}

/// Every service of another region gets an address of this region's, and keeps it. One that went keeps no certificate
/// from being deleted.
fn allot_addresses(tx: &mut Tx) {
    let wanted: Vec<ServiceId> = services(tx.view()).map(|it| it.id).collect();
    let gone: Vec<String> = tx
        .list::<ForeignAddress>()
        .filter(|known| !wanted.contains(&known.service))
        .map(|known| known.id())
        .collect();
    for id in gone {
        tx.delete::<ForeignAddress>(&id);
    }
    let presented: Vec<ServiceId> = tx
        .list::<ForeignCertificate>()
        .map(|it| it.service.clone())
        .filter(|service| !wanted.contains(service))
        .collect();
    for service in presented {
        certificate::forget(tx, &service);
    }
    for service in wanted {
        if tx.get::<ForeignAddress>(service.as_str()).is_none() {
            let address = service::free_address(tx.view());
            tx.put(ForeignAddress { service, address });
        }
    }
    part_gateways(tx);
}

/// A gateway of another region that shares its address here with another gateway gets a free one.
fn part_gateways(tx: &mut Tx) {
    let crowded = |view: &View, address| {
        let counts = gateway::addresses(view);
        counts.get(&address).is_some_and(|count| *count > 1)
    };
    let known: Vec<Arc<ForeignAddress>> = tx.list::<ForeignAddress>().collect();
    for known in known {
        let is_gateway =
            || find_service(tx.view(), &known.service).is_some_and(|it| is_gateway(&it));
        if !crowded(tx.view(), known.address) || !is_gateway() {
            continue;
        }
        let address = service::free_address(tx.view());
        if !gateway::addresses(tx.view()).contains_key(&address) {
            tx.put(ForeignAddress {
                service: known.service.clone(),
                address,
            });
        }
    }
}

/// The address at which a service of another region is reached here.
pub(crate) fn address(view: &View, id: &ServiceId) -> Option<Ipv4Addr> {
    view.get::<ForeignAddress>(id.as_str())
        .map(|known| known.address)
}

fn regions(view: &View) -> impl Iterator<Item = Arc<Region>> + '_ {
    view.list::<Region>()
}

/// Whether another region has exported anything.
pub(crate) fn has_exported(view: &View) -> bool {
    regions(view).next().is_some()
}

/// Every network of the other regions.
pub(crate) fn networks(view: &View) -> impl Iterator<Item = feed::ServiceNetwork> + '_ {
    regions(view).flat_map(|region| region.exported.networks.clone())
}

/// Every service of the other regions.
pub(crate) fn services(view: &View) -> impl Iterator<Item = feed::Service> + '_ {
    regions(view).flat_map(|region| region.exported.services.clone())
}

/// A network of another region.
pub(crate) fn find_network(view: &View, id: &ServiceNetworkId) -> Option<feed::ServiceNetwork> {
    regions(view).find_map(|region| {
        let mut networks = region.exported.networks.iter();
        networks.find(|it| it.id == *id).cloned()
    })
}

/// A service of another region.
pub(crate) fn find_service(view: &View, id: &ServiceId) -> Option<feed::Service> {
    regions(view).find_map(|region| {
        let mut services = region.exported.services.iter();
        services.find(|it| it.id == *id).cloned()
    })
}

/// Whether a listener of it is an entrance to other services.
pub(crate) fn is_gateway(service: &feed::Service) -> bool {
    let mut listeners = service.listeners.values();
    listeners.any(|it| it.gateway.is_some())
}

/// A target group of another region.
pub(crate) fn find_group(view: &View, id: &TargetGroupId) -> Option<feed::TargetGroup> {
    regions(view).find_map(|region| {
        let found = region
            .exported
            .groups
            .iter()
            .find(|it| it.group.id == *id)?;
        let mut group = found.group.clone();
        group.targets = found.targets.iter().cloned().collect();
        group.region = Some(region.name.clone());
        Some(group)
    })
}

/// The other regions' associations with services, in whatever state.
pub(crate) fn service_associations(
    view: &View,
) -> impl Iterator<Item = (String, ServiceAssociation)> + '_ {
    regions(view).flat_map(|region| {
        let associations = region.exported.service_associations.clone();
        associations
            .into_iter()
            .map(move |it| (region.name.clone(), it))
    })
}

/// The other regions' associations with VPCs, in whatever state.
pub(crate) fn vpc_associations(view: &View) -> impl Iterator<Item = (String, VpcAssociation)> + '_ {
    regions(view).flat_map(|region| {
        let associations = region.exported.vpc_associations.clone();
        associations
            .into_iter()
            .map(move |it| (region.name.clone(), it))
    })
}

/// The groups that a service's rules send requests to, or copies of them.
pub(crate) fn groups_of(service: &feed::Service) -> impl Iterator<Item = &TargetGroupId> {
    let listeners = service.listeners.values();
    listeners.flat_map(feed::Listener::groups)
}

/// A resource that a caller named: of this region, or, in extended mode, of another one that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: String,
    /// Its ARN, when it is another region's.
    pub(crate) foreign: Option<String>,
}

/// What an identifier names, without looking whether it is there.
///
/// # Errors
/// `ResourceNotFoundException` for what cannot be: in strict mode all that is of another region.
pub(crate) fn named(cell: &Cell, kind: Kind, text: &str) -> Result<Named, ApiError> {
    if is_spoken(cell)
        && let Some(ident) = Identifier::parse(kind, text)
        && let Some((partition, region, account)) = ident.place()
        && partition == cell.partition().name()
        && region != cell.region
        && account == cell.account
        && cell.topology.regions.contains_key(region)
    {
        return Ok(Named {
            id: ident.id().to_owned(),
            foreign: Some(text.to_owned()),
        });
    }
    let id = resolve(cell, kind, text, &[])?;
    Ok(Named { id, foreign: None })
}

/// The id that a filter asks for; what no region told of matches nothing.
pub(crate) fn filter(cell: &Cell, kind: Kind, text: Option<&str>) -> Option<String> {
    let text = text?;
    Identifier::parse(kind, text)?;
    Some(named(cell, kind, text).map_or_else(|_| String::new(), |named| named.id))
}

/// A network, wherever it is, as far as associations need to know it.
#[derive(Debug, Clone)]
pub(crate) struct NetworkSide {
    pub(crate) id: ServiceNetworkId,
    pub(crate) name: Option<String>,
    pub(crate) arn: String,
    /// Whether it is another region's.
    pub(crate) is_foreign: bool,
}

impl NetworkSide {
    /// The network that an identifier names.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(crate) fn find(cell: &Cell, view: &View, text: &str) -> Result<Self, ApiError> {
        let named = named(cell, Kind::ServiceNetwork, text)?;
        let missing = || fault::not_found(Kind::ServiceNetwork, &named.id);
        let id: ServiceNetworkId = named.id.parse().map_err(|_| missing())?;
        let side = Self::of(cell, view, &id, named.foreign.as_deref());
        if side.name.is_none() {
            return Err(missing());
        }
        Ok(side)
    }

    /// The network of an association; without a name when it is gone.
    pub(crate) fn of(
        cell: &Cell,
        view: &View,
        id: &ServiceNetworkId,
        foreign: Option<&str>,
    ) -> Self {
        let name = match foreign {
            None => view
                .get::<ServiceNetwork>(id.as_str())
                .map(|it| it.name.clone()),
            // The id is one region's: an ARN that gives another region names nothing.
            Some(arn) => find_network(view, id)
                .filter(|it| it.arn == arn)
                .map(|it| it.name),
        };
        Self {
            id: id.clone(),
            name,
            arn: foreign.map_or_else(|| network::arn(cell, id), str::to_owned),
            is_foreign: foreign.is_some(),
        }
    }

    /// The ARN, when the network is another region's.
    pub(crate) fn foreign(&self) -> Option<String> {
        self.is_foreign.then(|| self.arn.clone())
    }
}

/// A service, wherever it is, as far as associations need to know it.
#[derive(Debug, Clone)]
pub(crate) struct ServiceSide {
    pub(crate) id: ServiceId,
    /// `None` when it is gone.
    pub(crate) name: Option<String>,
    pub(crate) arn: String,
    pub(crate) domain_name: Option<String>,
    pub(crate) custom_domain_name: Option<String>,
    pub(crate) is_foreign: bool,
}

impl ServiceSide {
    /// The service that an identifier names, in whatever state.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(crate) fn find(cell: &Cell, view: &View, text: &str) -> Result<Self, ApiError> {
        let named = named(cell, Kind::Service, text)?;
        let missing = || fault::not_found(Kind::Service, &named.id);
        let id: ServiceId = named.id.parse().map_err(|_| missing())?;
        let side = Self::of(cell, view, &id, named.foreign.as_deref());
        if side.name.is_none() {
            return Err(missing());
        }
        Ok(side)
    }

    /// The service of an association; without a name when it is gone.
    pub(crate) fn of(cell: &Cell, view: &View, id: &ServiceId, foreign: Option<&str>) -> Self {
        let nothing = Self {
            id: id.clone(),
            name: None,
            arn: foreign.map_or_else(|| service::arn(cell, id), str::to_owned),
            domain_name: None,
            custom_domain_name: None,
            is_foreign: foreign.is_some(),
        };
        if let Some(arn) = foreign {
            let Some(it) = find_service(view, id).filter(|it| it.arn == arn) else {
                return nothing;
            };
            return Self {
                name: Some(it.name),
                domain_name: Some(it.domain_name),
                custom_domain_name: it.custom_domain_name,
                ..nothing
            };
        }
        let Some(it) = view.get::<Service>(id.as_str()) else {
            return nothing;
        };
        Self {
            name: Some(it.name.clone()),
            domain_name: Some(service::domain_name(cell, &it)),
            custom_domain_name: it.custom_domain_name.clone(),
            ..nothing
        }
    }

    /// The ARN, when the service is another region's.
    pub(crate) fn foreign(&self) -> Option<String> {
        self.is_foreign.then(|| self.arn.clone())
    }
}

/// A target group, wherever it is, as far as rules need to know it.
#[derive(Debug, Clone)]
pub(crate) struct GroupSide {
    pub(crate) id: TargetGroupId,
    pub(crate) status: crate::shape::Status,
    pub(crate) protocol: TargetProtocol,
    pub(crate) version: ProtocolVersion,
}

impl GroupSide {
    /// The group that an identifier names, in whatever state.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(crate) fn find(cell: &Cell, view: &View, text: &str) -> Result<Self, ApiError> {
        let named = named(cell, Kind::TargetGroup, text)?;
        let missing = || fault::not_found(Kind::TargetGroup, &named.id);
        if let Some(arn) = &named.foreign {
            let id = named.id.parse().map_err(|_| missing())?;
            let group = find_group(view, &id).filter(|it| it.arn == *arn);
            let group = group.ok_or_else(missing)?;
            let version = group.protocol_version;
            return Ok(Self {
                id,
                // A group is exported only while it is in use.
                status: crate::shape::Status::Active,
                protocol: group.protocol,
                version: version.unwrap_or(ProtocolVersion::Http1),
            });
        }
        let group = target_group::find(cell, view, text)?;
        Ok(Self {
            id: group.id.clone(),
            status: group.status,
            protocol: group.protocol,
            version: group.protocol_version,
        })
    }
}

/// How a group is named in answers: by its id, or by its ARN when it is another region's.
pub(crate) fn group_identifier(view: &View, id: &TargetGroupId) -> String {
    if view.get::<TargetGroup>(id.as_str()).is_some() {
        return id.to_string();
    }
    find_group(view, id).map_or_else(|| id.to_string(), |group| group.arn)
}

/// A service's ARN, wherever the service is.
pub(crate) fn service_arn(cell: &Cell, view: &View, id: &ServiceId) -> String {
    if view.get::<Service>(id.as_str()).is_some() {
        return service::arn(cell, id);
    }
    find_service(view, id).map_or_else(|| service::arn(cell, id), |service| service.arn)
}

/// Whether a region that once exported a resource no longer does: its owner deleted it although it was used.
pub(crate) fn is_withdrawn(
    view: &View,
    arn: Option<&str>,
    still_exports: impl Fn(&Exported) -> bool,
) -> bool {
    let region = arn.and_then(region_of);
    let region = region.and_then(|region| view.get::<Region>(&region));
    region.is_some_and(|region| !still_exports(&region.exported))
}
