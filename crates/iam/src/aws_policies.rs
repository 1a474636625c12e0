//! Policies of AWS's own that people attach: their names and what they give, in our words and no more
//! than the services here (and those beside them) ask for.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use lath_model::{Partition, Timestamp};

use crate::records::{ManagedPolicy, Tags, Version};

/// Path, name, actions allowed on everything.
type Entry = (&'static str, &'static str, &'static [&'static str]);

/// What only looks.
const LOOK: &[&str] = &[
    "acm:Describe*",
    "acm:Get*",
    "acm:List*",
    "autoscaling:Describe*",
    "cloudformation:Describe*",
    "cloudformation:Get*",
    "cloudformation:List*",
    "cloudwatch:Describe*",
    "cloudwatch:Get*",
    "cloudwatch:List*",
    "ec2:Describe*",
    "ec2:Get*",
    "ec2:Search*",
    "ecr:BatchCheck*",
    "ecr:BatchGet*",
    "ecr:Describe*",
    "ecr:Get*",
    "ecr:List*",
    "eks:Describe*",
    "eks:List*",
    "elasticloadbalancing:Describe*",
    "iam:Generate*",
    "iam:Get*",
    "iam:List*",
    "iam:Simulate*",
    "kms:Describe*",
    "kms:Get*",
    "kms:List*",
    "logs:Describe*",
    "logs:FilterLogEvents",
    "logs:Get*",
    "logs:List*",
    "logs:StartQuery",
    "logs:StopQuery",
    "logs:TestMetricFilter",
    "organizations:Describe*",
    "organizations:List*",
    "ram:Get*",
    "ram:List*",
    "rds:Describe*",
    "rds:List*",
    "route53:Get*",
    "route53:List*",
    "route53:Test*",
    "s3:Describe*",
    "s3:Get*",
    "s3:List*",
    "secretsmanager:Describe*",
    "secretsmanager:GetResourcePolicy",
    "secretsmanager:List*",
    "sns:Get*",
    "sns:List*",
    "sqs:Get*",
    "sqs:List*",
    "ssm:Describe*",
    "ssm:Get*",
    "ssm:List*",
    "sts:GetAccessKeyInfo",
    "sts:GetCallerIdentity",
    "sts:GetSessionToken",
    "tag:Get*",
    "vpc-lattice:Get*",
    "vpc-lattice:List*",
    "xray:BatchGet*",
    "xray:Get*",
];

const EC2_NETWORK: &[&str] = &[
    "ec2:AcceptVpc*",
    "ec2:AllocateAddress",
    "ec2:AssignIpv6Addresses",
    "ec2:AssignPrivateIpAddresses",
    "ec2:AssociateAddress",
    "ec2:AssociateDhcpOptions",
    "ec2:AssociateRouteTable",
    "ec2:AssociateSubnetCidrBlock",
    "ec2:AssociateVpcCidrBlock",
    "ec2:AttachInternetGateway",
    "ec2:AttachNetworkInterface",
    "ec2:AuthorizeSecurityGroup*",
    "ec2:CreateCarrierGateway",
    "ec2:CreateCustomerGateway",
    "ec2:CreateDefault*",
    "ec2:CreateDhcpOptions",
    "ec2:CreateEgressOnly*",
    "ec2:CreateFlowLogs",
    "ec2:CreateInternetGateway",
    "ec2:CreateNatGateway",
    "ec2:CreateNetworkAcl*",
    "ec2:CreateNetworkInterface*",
    "ec2:CreateRoute",
    "ec2:CreateRouteTable",
    "ec2:CreateSecurityGroup",
    "ec2:CreateSubnet",
    "ec2:CreateTags",
    "ec2:CreateVpc*",
    "ec2:CreateVpn*",
    "ec2:DeleteCustomerGateway",
    "ec2:DeleteDhcpOptions",
    "ec2:DeleteEgressOnly*",
    "ec2:DeleteFlowLogs",
    "ec2:DeleteInternetGateway",
    "ec2:DeleteNatGateway",
    "ec2:DeleteNetwork*",
    "ec2:DeleteRoute",
    "ec2:DeleteRouteTable",
    "ec2:DeleteSecurityGroup",
    "ec2:DeleteSubnet",
    "ec2:DeleteTags",
    "ec2:DeleteVpc*",
    "ec2:DeleteVpn*",
    "ec2:Describe*",
    "ec2:DetachInternetGateway",
    "ec2:DetachNetworkInterface",
    "ec2:DetachVpnGateway",
    "ec2:DisableVgw*",
    "ec2:DisableVpc*",
    "ec2:DisassociateAddress",
    "ec2:DisassociateRouteTable",
    "ec2:DisassociateSubnet*",
    "ec2:DisassociateVpc*",
    "ec2:EnableVgw*",
    "ec2:EnableVpc*",
    "ec2:Get*",
    "ec2:ModifyNetworkInterfaceAttribute",
    "ec2:ModifySecurityGroupRules",
    "ec2:ModifySubnetAttribute",
    "ec2:ModifyVpc*",
    "ec2:MoveAddressToVpc",
    "ec2:RejectVpc*",
    "ec2:ReleaseAddress",
    "ec2:ReplaceNetworkAcl*",
    "ec2:ReplaceRoute*",
    "ec2:ResetNetworkInterfaceAttribute",
    "ec2:RestoreAddressToClassic",
    "ec2:RevokeSecurityGroup*",
    "ec2:UnassignIpv6Addresses",
    "ec2:UnassignPrivateIpAddresses",
    "ec2:UpdateSecurityGroup*",
];

const EKS_CLUSTER: &[&str] = &[
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:UpdateAutoScalingGroup",
    "ec2:AttachVolume",
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:CreateRoute",
    "ec2:CreateSecurityGroup",
    "ec2:CreateTags",
    "ec2:CreateVolume",
    "ec2:DeleteRoute",
    "ec2:DeleteSecurityGroup",
    "ec2:DeleteVolume",
    "ec2:Describe*",
    "ec2:DetachVolume",
    "ec2:ModifyInstanceAttribute",
    "ec2:ModifyVolume",
    "ec2:RevokeSecurityGroupIngress",
    "elasticloadbalancing:*",
    "kms:DescribeKey",
];

const CNI: &[&str] = &[
    "ec2:AssignPrivateIpAddresses",
    "ec2:AttachNetworkInterface",
    "ec2:CreateNetworkInterface",
    "ec2:CreateTags",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DescribeTags",
    "ec2:DetachNetworkInterface",
    "ec2:ModifyNetworkInterfaceAttribute",
    "ec2:UnassignPrivateIpAddresses",
];

const EKS_WORKER: &[&str] = &[
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVolumes",
    "ec2:DescribeVolumesModifications",
    "ec2:DescribeVpcs",
    "eks-auth:AssumeRoleForPodIdentity",
    "eks:DescribeCluster",
];

const ECR_READ: &[&str] = &[
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:DescribeImageScanFindings",
    "ecr:DescribeImages",
    "ecr:DescribeRepositories",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
    "ecr:GetLifecyclePolicy",
    "ecr:GetLifecyclePolicyPreview",
    "ecr:GetRepositoryPolicy",
    "ecr:ListImages",
    "ecr:ListTagsForResource",
];

const ECR_PULL: &[&str] = &[
    "ecr:BatchGetImage",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
];

const LATTICE_FULL: &[&str] = &[
    "acm:DescribeCertificate",
    "acm:ListCertificates",
    "cloudwatch:GetMetricData",
    "ec2:DescribeInstances",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcAttribute",
    "ec2:DescribeVpcs",
    "firehose:DescribeDeliveryStream",
    "firehose:ListDeliveryStreams",
    "lambda:AddPermission",
    "lambda:ListAliases",
    "lambda:ListFunctions",
    "lambda:ListVersionsByFunction",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:UpdateLogDelivery",
    "s3:GetBucketPolicy",
    "s3:ListAllMyBuckets",
    "vpc-lattice:*",
];

const CLOUDWATCH_AGENT: &[&str] = &[
    "cloudwatch:PutMetricData",
    "ec2:DescribeTags",
    "ec2:DescribeVolumes",
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:DescribeLogGroups",
    "logs:DescribeLogStreams",
    "logs:PutLogEvents",
    "logs:PutRetentionPolicy",
    "xray:GetSamplingRules",
    "xray:GetSamplingStatisticSummaries",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
];

const SSM_CORE: &[&str] = &[
    "ec2messages:*",
    "ssm:DescribeAssociation",
    "ssm:DescribeDocument",
    "ssm:GetDeployablePatchSnapshotForInstance",
    "ssm:GetDocument",
    "ssm:GetManifest",
    "ssm:GetParameter",
    "ssm:GetParameters",
    "ssm:ListAssociations",
    "ssm:ListInstanceAssociations",
    "ssm:PutComplianceItems",
    "ssm:PutInventory",
    "ssm:UpdateAssociationStatus",
    "ssm:UpdateInstanceAssociationStatus",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:*",
];

/// Those that allow some actions on everything.
const ENTRIES: &[Entry] = &[
    ("/", "AdministratorAccess", &["*"]),
    ("/", "ReadOnlyAccess", LOOK),
    ("/job-function/", "ViewOnlyAccess", LOOK),
    ("/", "SecurityAudit", LOOK),
    (
        "/",
        "IAMFullAccess",
        &["iam:*", "organizations:Describe*", "organizations:List*"],
    ),
    (
        "/",
        "IAMReadOnlyAccess",
        &[
            "iam:GenerateCredentialReport",
            "iam:GenerateServiceLastAccessedDetails",
            "iam:Get*",
            "iam:List*",
            "iam:SimulateCustomPolicy",
            "iam:SimulatePrincipalPolicy",
        ],
    ),
    ("/", "AmazonVPCFullAccess", EC2_NETWORK),
    (
        "/",
        "AmazonVPCReadOnlyAccess",
        &["ec2:Describe*", "ec2:Get*", "ec2:Search*"],
    ),
    (
        "/",
        "AmazonEC2FullAccess",
        &[
            "autoscaling:*",
            "cloudwatch:*",
            "ec2:*",
            "elasticloadbalancing:*",
        ],
    ),
    (
        "/",
        "AmazonEC2ReadOnlyAccess",
        &[
            "autoscaling:Describe*",
            "cloudwatch:Describe*",
            "cloudwatch:GetMetricStatistics",
            "cloudwatch:ListMetrics",
            "ec2:Describe*",
            "ec2:GetSecurityGroupsForVpc",
            "elasticloadbalancing:Describe*",
        ],
    ),
    (
        "/",
        "AmazonRoute53FullAccess",
        &[
            "cloudwatch:DescribeAlarms",
            "cloudwatch:GetMetricStatistics",
            "ec2:DescribeRegions",
            "ec2:DescribeVpcs",
            "elasticloadbalancing:DescribeLoadBalancers",
            "route53:*",
            "route53domains:*",
            "s3:GetBucketLocation",
            "s3:GetBucketWebsite",
            "s3:ListBucket",
            "sns:ListSubscriptionsByTopic",
            "sns:ListTopics",
        ],
    ),
    (
        "/",
        "AmazonRoute53ReadOnlyAccess",
        &["route53:Get*", "route53:List*", "route53:TestDNSAnswer"],
    ),
    (
        "/",
        "AmazonRoute53ResolverFullAccess",
        &["ec2:Describe*", "route53resolver:*"],
    ),
    ("/", "VPCLatticeFullAccess", LATTICE_FULL),
    (
        "/",
        "VPCLatticeReadOnlyAccess",
        &[
            "acm:DescribeCertificate",
            "acm:ListCertificates",
            "ec2:DescribeInstances",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
            "logs:DescribeLogGroups",
            "logs:GetLogDelivery",
            "logs:ListLogDeliveries",
            "vpc-lattice:Get*",
            "vpc-lattice:List*",
        ],
    ),
    (
        "/",
        "VPCLatticeServicesInvokeAccess",
        &["vpc-lattice-svcs:Connect", "vpc-lattice-svcs:Invoke"],
    ),
    ("/", "AmazonEKSClusterPolicy", EKS_CLUSTER),
    ("/", "AmazonEKSServicePolicy", EKS_CLUSTER),
    (
        "/",
        "AmazonEKSVPCResourceController",
        &[
            "ec2:AssignPrivateIpAddresses",
            "ec2:AttachNetworkInterface",
            "ec2:CreateNetworkInterface",
            "ec2:CreateNetworkInterfacePermission",
            "ec2:DeleteNetworkInterface",
            "ec2:DetachNetworkInterface",
            "ec2:ModifyNetworkInterfaceAttribute",
            "ec2:UnassignPrivateIpAddresses",
        ],
    ),
    ("/", "AmazonEKSWorkerNodePolicy", EKS_WORKER),
    (
        "/",
        "AmazonEKSWorkerNodeMinimalPolicy",
        &["eks-auth:AssumeRoleForPodIdentity"],
    ),
    ("/", "AmazonEKS_CNI_Policy", CNI),
    ("/", "AmazonEC2ContainerRegistryReadOnly", ECR_READ),
    ("/", "AmazonEC2ContainerRegistryPullOnly", ECR_PULL),
    (
        "/",
        "AmazonEC2ContainerRegistryPowerUser",
        &[
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:CompleteLayerUpload",
            "ecr:Describe*",
            "ecr:Get*",
            "ecr:InitiateLayerUpload",
            "ecr:List*",
            "ecr:PutImage",
            "ecr:UploadLayerPart",
        ],
    ),
    (
        "/",
        "AmazonEC2ContainerRegistryFullAccess",
        &["cloudtrail:LookupEvents", "ecr:*"],
    ),
    (
        "/service-role/",
        "AmazonEBSCSIDriverPolicy",
        &[
            "ec2:AttachVolume",
            "ec2:CreateSnapshot",
            "ec2:CreateTags",
            "ec2:CreateVolume",
            "ec2:DeleteSnapshot",
            "ec2:DeleteTags",
            "ec2:DeleteVolume",
            "ec2:Describe*",
            "ec2:DetachVolume",
            "ec2:ModifyVolume",
        ],
    ),
    ("/", "AmazonSSMManagedInstanceCore", SSM_CORE),
    (
        "/",
        "CloudWatchFullAccess",
        &[
            "autoscaling:Describe*",
            "cloudwatch:*",
            "iam:GetPolicy",
            "iam:GetPolicyVersion",
            "iam:GetRole",
            "logs:*",
            "sns:*",
        ],
    ),
    (
        "/",
        "CloudWatchFullAccessV2",
        &[
            "autoscaling:Describe*",
            "cloudwatch:*",
            "iam:GetPolicy",
            "iam:GetPolicyVersion",
            "iam:GetRole",
            "logs:*",
            "sns:*",
            "xray:*",
        ],
    ),
    (
        "/",
        "CloudWatchReadOnlyAccess",
        &[
            "autoscaling:Describe*",
            "cloudwatch:Describe*",
            "cloudwatch:Get*",
            "cloudwatch:List*",
            "logs:Describe*",
            "logs:FilterLogEvents",
            "logs:Get*",
            "logs:List*",
            "logs:StartQuery",
            "logs:StopQuery",
            "logs:TestMetricFilter",
            "sns:Get*",
            "sns:List*",
        ],
    ),
    (
        "/",
        "CloudWatchLogsFullAccess",
        &["cloudwatch:GenerateQuery", "logs:*"],
    ),
    (
        "/",
        "CloudWatchLogsReadOnlyAccess",
        &[
            "logs:Describe*",
            "logs:FilterLogEvents",
            "logs:Get*",
            "logs:List*",
            "logs:StartQuery",
            "logs:StopQuery",
            "logs:TestMetricFilter",
        ],
    ),
    ("/", "CloudWatchAgentServerPolicy", CLOUDWATCH_AGENT),
    ("/", "CloudWatchAgentAdminPolicy", CLOUDWATCH_AGENT),
    (
        "/",
        "SecretsManagerReadWrite",
        &[
            "kms:DescribeKey",
            "kms:ListAliases",
            "kms:ListKeys",
            "secretsmanager:*",
        ],
    ),
    ("/", "AmazonS3FullAccess", &["s3-object-lambda:*", "s3:*"]),
    (
        "/",
        "AmazonS3ReadOnlyAccess",
        &[
            "s3-object-lambda:Get*",
            "s3-object-lambda:List*",
            "s3:Describe*",
            "s3:Get*",
            "s3:List*",
        ],
    ),
    (
        "/",
        "AmazonRDSFullAccess",
        &["cloudwatch:GetMetricStatistics", "ec2:Describe*", "rds:*"],
    ),
    (
        "/",
        "AmazonRDSReadOnlyAccess",
        &[
            "cloudwatch:GetMetricStatistics",
            "ec2:Describe*",
            "rds:Describe*",
            "rds:List*",
        ],
    ),
    (
        "/",
        "AWSXRayDaemonWriteAccess",
        &[
            "xray:GetSamplingRules",
            "xray:GetSamplingStatisticSummaries",
            "xray:GetSamplingTargets",
            "xray:PutTelemetryRecords",
            "xray:PutTraceSegments",
        ],
    ),
    (
        "/",
        "AWSXrayWriteOnlyAccess",
        &[
            "xray:GetSamplingRules",
            "xray:GetSamplingStatisticSummaries",
            "xray:GetSamplingTargets",
            "xray:PutTelemetryRecords",
            "xray:PutTraceSegments",
        ],
    ),
    ("/", "AWSResourceAccessManagerFullAccess", &["ram:*"]),
    (
        "/",
        "AWSFaultInjectionSimulatorEC2Access",
        &[
            "ec2:DescribeInstances",
            "ec2:RebootInstances",
            "ec2:StartInstances",
            "ec2:StopInstances",
            "ec2:TerminateInstances",
        ],
    ),
    (
        "/service-role/",
        "AWSLambdaBasicExecutionRole",
        &[
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ],
    ),
    (
        "/service-role/",
        "AWSLambdaVPCAccessExecutionRole",
        &[
            "ec2:AssignPrivateIpAddresses",
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSubnets",
            "ec2:UnassignPrivateIpAddresses",
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ],
    ),
    (
        "/",
        "ElasticLoadBalancingFullAccess",
        &["ec2:Describe*", "elasticloadbalancing:*"],
    ),
    (
        "/",
        "AutoScalingFullAccess",
        &[
            "autoscaling:*",
            "cloudwatch:PutMetricAlarm",
            "ec2:Describe*",
            "elasticloadbalancing:Describe*",
        ],
    ),
    (
        "/aws-service-role/",
        "AWSVpcLatticeServiceRolePolicy",
        &["cloudwatch:PutMetricData"],
    ),
    (
        "/aws-service-role/",
        "AWSVPCTransitGatewayServiceRolePolicy",
        &[
            "ec2:AssignIpv6Addresses",
            "ec2:CreateNetworkInterface",
            "ec2:CreateNetworkInterfacePermission",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:ModifyNetworkInterfaceAttribute",
            "ec2:UnAssignIpv6Addresses",
        ],
    ),
    (
        "/aws-service-role/",
        "AmazonEKSServiceRolePolicy",
        EKS_CLUSTER,
    ),
    (
        "/aws-service-role/",
        "AWSServiceRoleForAmazonEKSNodegroup",
        &["autoscaling:*", "ec2:*"],
    ),
    (
        "/aws-service-role/",
        "AWSElasticLoadBalancingServiceRolePolicy",
        &[
            "ec2:AssignPrivateIpAddresses",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:CreateNetworkInterface",
            "ec2:CreateSecurityGroup",
            "ec2:DeleteNetworkInterface",
            "ec2:Describe*",
            "ec2:ModifyNetworkInterfaceAttribute",
        ],
    ),
];

/// What takes more than a list of actions.
const WHOLE: &[(&str, &str, &str)] = &[
    (
        "/",
        "PowerUserAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":["iam:*","organizations:*","account:*"],"Resource":"*"},{"Effect":"Allow","Action":["account:GetAccountInformation","account:GetPrimaryEmail","account:ListRegions","iam:CreateServiceLinkedRole","iam:DeleteServiceLinkedRole","iam:ListRoles","organizations:DescribeOrganization"],"Resource":"*"}]}"#,
    ),
    (
        "/",
        "IAMUserChangePassword",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:ChangePassword","Resource":"arn:aws:iam::*:user/${aws:username}"},{"Effect":"Allow","Action":"iam:GetAccountPasswordPolicy","Resource":"*"}]}"#,
    ),
    (
        "/",
        "AWSDenyAll",
        r#"{"Version":"2012-10-17","Statement":[{"Sid":"DenyAll","Effect":"Deny","Action":"*","Resource":"*"}]}"#,
    ),
];

/// Policies by their ARNs.
type ByArn = BTreeMap<String, Arc<ManagedPolicy>>;

/// By partition, in the order of [`Partition::ALL`].
static BY_ARN: [OnceLock<ByArn>; Partition::ALL.len()] =
    [const { OnceLock::new() }; Partition::ALL.len()];

fn by_arn(partition: Partition) -> &'static ByArn {
    let made = |path: &str, name: &str, document: String| made(partition, path, name, document);
    BY_ARN[partition as usize].get_or_init(|| {
        let simple = ENTRIES.iter().map(|(path, name, actions)| {
            let statement = serde_json::json!({
                "Effect": "Allow",
                "Action": actions,
                "Resource": "*",
            });
            let document = serde_json::json!({"Version": "2012-10-17", "Statement": [statement]});
            made(path, name, document.to_string())
        });
        let whole = WHOLE
            .iter()
            .map(|(path, name, text)| made(path, name, (*text).to_owned()));
        simple
            .chain(whole)
            .map(|policy| (policy.arn.clone(), Arc::new(policy)))
            .collect()
    })
}

/// Documents are written for the partition `aws`.
fn made(partition: Partition, path: &str, name: &str, document: String) -> ManagedPolicy {
    // 2015-02-06, about when most of them came to be.
    let created_at = Timestamp::from_millis(1_423_248_060_000);
    let version = Version {
        document: document.replace("arn:aws:", &format!("arn:{partition}:")),
        created_at,
    };
    ManagedPolicy {
        arn: format!("arn:{partition}:iam::aws:policy{path}{name}"),
        name: name.to_owned(),
        unique_id: unique_id(name),
        path: path.to_owned(),
        description: None,
        versions: BTreeMap::from([(1, version)]),
        default: 1,
        next: 2,
        tags: Tags::new(),
        created_at,
        updated_at: created_at,
    }
}

/// Always the same for a name: `ANPA` and 17 characters of base32 made of a hash.
fn unique_id(name: &str) -> String {
    let mut hash = name.bytes().fold(
        0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128,
        |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        },
    );
    let mut id = String::from("ANPA");
    for _ in 0..17 {
        id.push(char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(hash % 32) as usize],
        ));
        hash /= 32;
    }
    id
}

/// One of AWS's own.
pub(crate) fn find(arn: &str) -> Option<Arc<ManagedPolicy>> {
    let partition = arn.split(':').nth(1)?.parse().ok()?;
    by_arn(partition).get(arn).cloned()
}

/// All of a partition's, by ARN.
pub(crate) fn all(partition: Partition) -> impl Iterator<Item = Arc<ManagedPolicy>> {
    by_arn(partition).values().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_one_of_iam_and_none_is_there_twice() {
        for partition in Partition::ALL {
            for policy in all(partition) {
                let text = policy.document().unwrap();
                let parsed = lath_policy::Policy::parse(text, lath_policy::Grammar::Identity);
                let parsed = parsed.map(|it| it.check_partition(partition.name()));
                assert!(matches!(parsed, Ok(Ok(()))), "{}: {parsed:?}", policy.arn);
            }
            assert_eq!(by_arn(partition).len(), ENTRIES.len() + WHOLE.len());
        }
    }
}
