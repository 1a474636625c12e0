use std::sync::Arc;

use lath_model::id::{ServiceId, ServiceNetworkId, ServiceNetworkServiceAssociationId};
use lath_store::{Record, View};
use serde::{Deserialize, Serialize};

/// A service of a Lattice service network, for those who know nothing else of Lattice: EC2 names the
/// services of a network at its VPC endpoints. Lattice writes the record in the transaction that creates
/// the association, and deletes it when the association is being deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkService {
    /// The network.
    pub network: ServiceNetworkId,
    /// The network's name.
    pub network_name: String,
    /// The network's association with the service.
    pub association: ServiceNetworkServiceAssociationId,
    /// The service.
    pub service: ServiceId,
    /// The service's ARN.
    pub service_arn: String,
}

impl Record for NetworkService {
    const KIND: &'static str = "control.network-service";
    fn id(&self) -> String {
        format!("{}/{}", self.network, self.association)
    }
}

/// The services of a network.
pub fn services_of(view: &View, network: &ServiceNetworkId) -> Vec<Arc<NetworkService>> {
    view.range::<NetworkService>(&format!("{network}/"))
        .collect()
}
