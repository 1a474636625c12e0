//! A client of the service in this process: forms in, XML out, no signature.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use lath_clock::ManualClock;
use lath_control::Cell;
use lath_ec2::Ec2;
use lath_feed::{Condition, Observed};
use lath_model::Timestamp;
use lath_wire::{Caller, Principal, Service};
use tokio::sync::watch;

pub(crate) struct Api {
    pub(crate) app: Arc<Ec2>,
    pub(crate) hands: ManualClock,
    service: Service,
    pub(crate) observed: watch::Sender<Arc<Observed>>,
}

impl Api {
    pub(crate) fn new() -> Self {
        let hands = ManualClock::at(Timestamp::from_millis(1_767_225_600_000));
        let (cell, observed) = Cell::for_test_at(hands.clock());
        let app = Arc::new(Ec2 { cell });
        Self {
            service: lath_ec2::service(&app),
            app,
            hands,
            observed,
        }
    }

    /// Starts it anew in this mode.
    pub(crate) fn become_of(&mut self, mode: lath_control::Mode) {
        let mut cell = self.app.cell.clone();
        cell.mode = mode;
        self.app = Arc::new(Ec2 { cell });
        self.service = lath_ec2::service(&self.app);
    }

    /// Moves it to another region.
    pub(crate) fn place(&mut self, region: &str, topology: lath_feed::Topology) {
        let mut cell = self.app.cell.clone();
        cell.region = region.to_owned();
        cell.topology = Arc::new(topology);
        self.app = Arc::new(Ec2 { cell });
        self.service = lath_ec2::service(&self.app);
    }

    async fn call(&self, form: &str) -> (u16, String) {
        let request = Request::post("/")
            .header(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            )
            .body(Bytes::from(format!("{form}&Version=2016-11-15")))
            .expect("method, path and header are well formed");
        let answer = self.service.respond(&request, &caller()).await;
        let body = String::from_utf8(answer.body().to_vec()).expect("XML is UTF-8");
        (answer.status().as_u16(), body)
    }

    /// The body of a success.
    pub(crate) async fn ok(&self, form: &str) -> String {
        let (status, body) = self.call(form).await;
        assert_eq!(status, 200, "{form}\n{body}");
        body
    }

    /// The text of the first element of this name in a success.
    pub(crate) async fn get(&self, element: &str, form: &str) -> String {
        let body = self.ok(form).await;
        let all = texts(&body, element);
        assert!(!all.is_empty(), "no {element} in {body}");
        all[0].clone()
    }

    /// The texts of every element of this name in a success.
    pub(crate) async fn all(&self, element: &str, form: &str) -> Vec<String> {
        texts(&self.ok(form).await, element)
    }

    /// The code, status and message of a failure.
    pub(crate) async fn error(&self, form: &str) -> (String, u16, String) {
        let (status, body) = self.call(form).await;
        assert_ne!(status, 200, "{form}\n{body}");
        (
            texts(&body, "Code").remove(0),
            status,
            texts(&body, "Message").remove(0),
        )
    }

    /// Every form must fail with its code, most with status 400.
    pub(crate) async fn refuses(&self, table: &[(&str, &str)]) {
        for (form, code) in table {
            let (got, status, message) = self.error(form).await;
            assert_eq!(got, *code, "{form}: {message}");
            let want = match *code {
                "DryRunOperation" => 412,
                "UnauthorizedOperation" => 403,
                "AuthFailure" => 401,
                _ => 400,
            };
            assert_eq!(status, want, "{form}");
        }
    }

    /// A node says that it has made everything of the newest state.
    pub(crate) fn make_everything_ready(&self) {
        let view = self.app.cell.db.view();
        let version = view.revision();
        let vpcs = view
            .list::<lath_ec2::records::Vpc>()
            .map(|vpc| (vpc.id.clone(), Condition::Ready { version }))
            .collect();
        self.observed.send_replace(Arc::new(Observed {
            applied_version: version,
            vpcs,
            ..Observed::default()
        }));
    }

    pub(crate) async fn vpc(&self, cidr: &str) -> String {
        self.get("vpcId", &format!("Action=CreateVpc&CidrBlock={cidr}"))
            .await
    }

    pub(crate) async fn subnet(&self, vpc: &str, cidr: &str) -> String {
        let form = format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock={cidr}");
        self.get("subnetId", &form).await
    }

    pub(crate) async fn group(&self, vpc: &str, name: &str) -> String {
        let form = format!(
            "Action=CreateSecurityGroup&GroupName={name}&GroupDescription=test&VpcId={vpc}"
        );
        self.get("groupId", &form).await
    }

    /// A gateway that is attached.
    pub(crate) async fn gateway(&self, vpc: &str) -> String {
        let id = self
            .get("internetGatewayId", "Action=CreateInternetGateway")
            .await;
        let form = format!("Action=AttachInternetGateway&InternetGatewayId={id}&VpcId={vpc}");
        self.ok(&form).await;
        id
    }

    pub(crate) async fn main_table(&self, vpc: &str) -> String {
        let form = format!(
            "Action=DescribeRouteTables&Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}&Filter.2.Name=association.main&Filter.2.Value.1=true"
        );
        self.get("routeTableId", &form).await
    }

    pub(crate) async fn interface(&self, subnet: &str) -> String {
        let form = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
        self.get("networkInterfaceId", &form).await
    }
}

fn texts(body: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    body.split(&open)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned()))
        .collect()
}

fn caller() -> Caller {
    Caller {
        account: "123456789012".into(),
        region: "us-east-1".into(),
        service: "ec2".into(),
        principal: Principal {
            arn: "arn:aws:iam::123456789012:root".into(),
            user_id: "123456789012".into(),
        },
        access_key_id: "AKIATEST".into(),
        request_id: "00000000-0000-0000-0000-000000000000".into(),
        source_ip: None,
        from_vpc: None,
    }
}
