//! What requests about Transit Gateways need permission for.

use lath_authz::Authorized;
use lath_control::Cell;
use lath_ec2_kit::Ec2;
use lath_ec2_records::{
    AttachedTo, AttachmentState, Life, LifeState, PeeringEnd, TransitAttachment, TransitGateway,
    TransitOptions, VpcEnd,
};
use lath_model::Timestamp;
use lath_model::id::{TransitGatewayAttachmentId, TransitGatewayId, VpcId};
use lath_wire::{Caller, Principal};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::gateways::ModifyTransitGateway;
use super::name_sharing;
use super::peering::{
    AcceptTransitGatewayPeeringAttachment, CreateTransitGatewayPeeringAttachment,
    DeleteTransitGatewayPeeringAttachment, RejectTransitGatewayPeeringAttachment, attachment,
};
use super::routes::CreateTransitGatewayRoute;
use super::vpc_attachments::ModifyTransitGatewayVpcAttachment;

fn asked<Op: Authorized + DeserializeOwned>(app: &Ec2, request: &Value) -> Vec<String> {
    let op: Op = serde_json::from_value(request.clone()).unwrap();
    let caller = Caller {
        account: "123456789012".into(),
        region: "us-east-1".into(),
        service: "ec2".into(),
        principal: Principal {
            arn: "arn:aws:iam::123456789012:user/ann".into(),
            user_id: "AIDA".into(),
        },
        access_key_id: "AKIA".into(),
        request_id: "r".into(),
        source_ip: None,
        from_vpc: None,
    };
    let permissions = lath_authz::permissions(&app.cell.db.view(), &caller, &op);
    let name = |arn: &str| arn.rsplit_once(':').map(|(_, name)| name.to_owned());
    let mut names: Vec<_> = permissions.iter().map(|it| name(&it.resource)).collect();
    names.sort();
    names.into_iter().flatten().collect()
}

fn app() -> Ec2 {
    Ec2 {
        cell: Cell::for_test().0,
    }
}

#[tokio::test]
async fn a_peering_within_a_region_is_of_both_its_sides() {
    let app = app();
    let (ours, theirs) = (
        TransitGatewayAttachmentId::random(),
        TransitGatewayAttachmentId::random(),
    );
    let end = PeeringEnd {
        requester: true,
        gateway: TransitGatewayId::random(),
        region: "us-east-1".into(),
        owner: "123456789012".into(),
        attachment: theirs.clone(),
        tunnel: None,
        ready: false,
        dynamic_routing: None,
        failure: None,
    };
    let waiting = AttachmentState::PendingAcceptance;
    let written = lath_service::run::change(&app, None, |tx| {
        let gateway = TransitGatewayId::random();
        let record = attachment(&app.cell, tx, ours.clone(), gateway, end, waiting);
        tx.put(record);
        Ok(())
    });
    written.await.unwrap();
    let request = json!({"TransitGatewayAttachmentId": ours.as_str()});
    let mut want = [&ours, &theirs].map(|id| format!("transit-gateway-attachment/{id}"));
    want.sort();
    for found in [
        asked::<AcceptTransitGatewayPeeringAttachment>(&app, &request),
        asked::<RejectTransitGatewayPeeringAttachment>(&app, &request),
        asked::<DeleteTransitGatewayPeeringAttachment>(&app, &request),
    ] {
        assert_eq!(found, want);
    }
}

#[test]
fn requests_are_about_all_that_they_name() {
    let app = app();
    let peer = |region: &str| {
        json!({"TransitGatewayId": "tgw-1", "PeerTransitGatewayId": "tgw-2",
            "PeerAccountId": "123456789012", "PeerRegion": region})
    };
    let peering = |region| asked::<CreateTransitGatewayPeeringAttachment>(&app, &peer(region));
    let made = "transit-gateway-attachment/*";
    let (own, other) = ("transit-gateway/tgw-1", "transit-gateway/tgw-2");
    assert_eq!(peering("us-east-1"), [made, own, other]);
    assert_eq!(peering("eu-west-1"), [made, own]);

    let options = json!({"AssociationDefaultRouteTableId": "tgw-rtb-1",
        "PropagationDefaultRouteTableId": "tgw-rtb-2"});
    let modify = json!({"TransitGatewayId": "tgw-1", "Options": options});
    let tables = ["tgw-rtb-1", "tgw-rtb-2"].map(|id| format!("transit-gateway-route-table/{id}"));
    let want = [&tables[0], &tables[1], own];
    assert_eq!(asked::<ModifyTransitGateway>(&app, &modify), want);

    let route = |attachment: &str| {
        json!({"DestinationCidrBlock": "10.0.0.0/8", "TransitGatewayRouteTableId": "tgw-rtb-1",
            "TransitGatewayAttachmentId": attachment})
    };
    let created = |attachment| asked::<CreateTransitGatewayRoute>(&app, &route(attachment));
    assert_eq!(
        created("tgw-attach-1"),
        ["transit-gateway-attachment/tgw-attach-1", &tables[0]]
    );
    assert_eq!(created(""), [tables[0].as_str()]);

    let change = json!({"TransitGatewayAttachmentId": "tgw-attach-1",
        "AddSubnetIds": ["subnet-1"], "RemoveSubnetIds": ["subnet-2"]});
    assert_eq!(
        asked::<ModifyTransitGatewayVpcAttachment>(&app, &change),
        [
            "subnet/subnet-1",
            "subnet/subnet-2",
            "transit-gateway-attachment/tgw-attach-1"
        ]
    );
}

fn gateway_with(dns: bool) -> TransitGateway {
    TransitGateway {
        id: TransitGatewayId::random(),
        owner: "123456789012".into(),
        description: String::new(),
        asn: 64512,
        options: TransitOptions {
            auto_accept: false,
            associates: false,
            propagates: false,
            vpn_ecmp: false,
            dns,
            group_references: false,
        },
        association_default: None,
        propagation_default: None,
        cidr_blocks: Vec::new(),
        life: Life {
            state: LifeState::Available,
            after: 0,
            ended_at: None,
        },
        created_at: Timestamp::default(),
    }
}

fn attached(
    gateway: &TransitGateway,
    vpc: &VpcId,
    dns: bool,
    state: AttachmentState,
) -> TransitAttachment {
    TransitAttachment {
        id: TransitGatewayAttachmentId::random(),
        gateway: gateway.id.clone(),
        owner: gateway.owner.clone(),
        to: AttachedTo::Vpc(VpcEnd {
            vpc: vpc.clone(),
            subnets: Default::default(),
            dns,
            group_references: false,
            appliance: false,
        }),
        association: None,
        propagations: Vec::new(),
        state,
        after: 0,
        created_at: Timestamp::default(),
        ended_at: None,
    }
}

#[tokio::test]
async fn names_are_shared_by_membership() {
    use AttachmentState::{Available, Deleting};
    let app = app();
    let (sharing, silent) = (gateway_with(true), gateway_with(false));
    let members: Vec<VpcId> = (0..300).map(|_| VpcId::random()).collect();
    let [other, apart, leaving] = [(); 3].map(|()| VpcId::random());
    let written = lath_service::run::change(&app, None, |tx| {
        for vpc in &members {
            tx.put(attached(&sharing, vpc, true, Available));
        }
        tx.put(attached(&silent, &other, true, Available));
        tx.put(attached(&sharing, &apart, false, Available));
        tx.put(attached(&sharing, &leaving, true, Deleting));
        tx.put(sharing.clone());
        tx.put(silent.clone());
        Ok(())
    });
    written.await.unwrap();
    let found = name_sharing(&app.cell.db.view());
    // One entry for each member: pairs would be 90,000.
    assert_eq!(found.len(), members.len());
    for vpc in &members {
        assert!(found[vpc].iter().eq([&sharing.id]));
    }
}
