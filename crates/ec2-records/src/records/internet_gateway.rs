use lath_model::id::{InternetGatewayId, VpcId};
use lath_store::Record;
use serde::{Deserialize, Serialize};

/// An internet gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetGateway {
    /// Its id.
    pub id: InternetGatewayId,
    /// The account.
    pub owner: String,
    /// The VPC it is attached to.
    pub vpc: Option<VpcId>,
}

impl Record for InternetGateway {
    const KIND: &'static str = "ec2.internet-gateway";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let vpc = self.vpc.iter();
        vpc.map(|vpc| ("vpc", vpc.to_string())).collect()
    }
}
