//! AWS's own services that VPCs reach through endpoints
//! (<https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html>). Lath has an
//! endpoint for none of them, and says so in other words than of a name that nothing has.

/// What follows `com.amazonaws.REGION.` in the names of these services.
const NAMES: &str = "\
    access-analyzer account acm-pca airflow.api airflow.env airflow.ops analytics-omics app-integrations \
    appconfig appconfigdata application-autoscaling appmesh appmesh-envoy-management apprunner \
    apprunner.requests appstream.api appstream.streaming appsync-api aps aps-workspaces athena \
    auditmanager autoscaling autoscaling-plans awsconnector b2bi backup backup-gateway batch bedrock \
    bedrock-agent bedrock-agent-runtime bedrock-runtime billingconductor braket cases cassandra \
    cassandra-fips cleanrooms cloudcontrolapi cloudcontrolapi-fips clouddirectory cloudformation \
    cloudhsmv2 cloudtrail codeartifact.api codeartifact.repositories codebuild codebuild-fips codecommit \
    codecommit-fips codedeploy codedeploy-commands-secure codeguru-profiler codeguru-reviewer \
    codepipeline codestar-connections.api codewhisperer comprehend comprehendmedical config \
    connect-campaigns console control-storage-omics data-servicediscovery data-servicediscovery-fips \
    databrew dataexchange datasync datazone deviceadvisor.iot devops-guru dms dms-fips drs ds dynamodb \
    ebs ec2 ec2messages ecr.api ecr.dkr ecs ecs-agent ecs-telemetry eks eks-auth \
    elastic-inference.runtime elasticache elasticache-fips elasticbeanstalk elasticbeanstalk-health \
    elasticfilesystem elasticfilesystem-fips elasticloadbalancing elasticmapreduce email-smtp \
    emr-containers emr-serverless emrwal.prod entityresolution events evidently evidently-dataplane \
    execute-api finspace finspace-api fis forecast forecast-fips forecastquery forecastquery-fips \
    frauddetector fsx fsx-fips git-codecommit git-codecommit-fips glue grafana grafana-workspace \
    greengrass groundstation guardduty-data guardduty-data-fips healthlake identitystore imagebuilder \
    inspector2 iot.credentials iot.data iot.fleethub.api iotfleetwise iotroborunner iotsitewise.api \
    iotsitewise.data iottwinmaker.api iottwinmaker.data iotwireless.api kendra kinesis-firehose \
    kinesis-streams kms kms-fips lakeformation lambda license-manager license-manager-fips \
    license-manager-user-subscriptions logs lookoutequipment lookoutmetrics lookoutvision lorawan.cups \
    lorawan.lns m2 macie2 managedblockchain-query managedblockchain.bitcoin.mainnet \
    managedblockchain.bitcoin.testnet mediaconnect medical-imaging memory-db memorydb-fips mgn \
    migrationhub-orchestrator models-v2-lex monitoring neptune-graph networkmonitor nimble organizations \
    organizations-fips payment-cryptography.controlplane payment-cryptography.dataplane pca-connector-ad \
    personalize personalize-events personalize-runtime pinpoint pinpoint-sms-voice-v2 polly \
    private-networks profile proton rds rds-data redshift redshift-data redshift-fips refactor-spaces \
    rekognition rekognition-fips rolesanywhere rum rum-dataplane runtime-medical-imaging runtime-v2-lex \
    s3 s3-outposts s3express sagemaker.api sagemaker.featurestore-runtime sagemaker.metrics \
    sagemaker.runtime sagemaker.runtime-fips scn secretsmanager securityhub servicecatalog \
    servicecatalog-appregistry servicediscovery servicediscovery-fips signin simspaceweaver \
    snow-device-management sns sqs ssm ssm-contacts ssm-incidents ssmmessages states storage-omics \
    storagegateway streaming-rekognition streaming-rekognition-fips sts swf swf-fips sync-states \
    synthetics tags-omics textract textract-fips thinclient.api timestream-influxdb tnb transcribe \
    transcribestreaming transfer transfer.server translate trustedadvisor verifiedpermissions voiceid \
    vpc-lattice wisdom workflows-omics workspaces xray";

/// Whether AWS has an endpoint service of this name in the region.
pub(super) fn is_of_aws(region: &str, name: &str) -> bool {
    let short = name.strip_prefix("cn.").unwrap_or(name);
    let of_region = short
        .strip_prefix("com.amazonaws.")
        .and_then(|rest| rest.strip_prefix(region))
        .and_then(|rest| rest.strip_prefix('.'));
    of_region.is_some_and(|service| NAMES.split_ascii_whitespace().any(|it| it == service))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_a_region() {
        for (name, want) in [
            ("com.amazonaws.us-east-1.s3", true),
            ("com.amazonaws.us-east-1.ecr.dkr", true),
            ("com.amazonaws.us-west-2.s3", false),
            ("com.amazonaws.us-east-1.", false),
            ("com.amazonaws.us-east-1.unicorn", false),
            (
                "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0",
                false,
            ),
            ("s3", false),
        ] {
            assert_eq!(is_of_aws("us-east-1", name), want, "{name}");
        }
        assert!(is_of_aws("cn-north-1", "cn.com.amazonaws.cn-north-1.ec2"));
    }
}
