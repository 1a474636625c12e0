use crate::api::Api;

#[tokio::test]
async fn tags_are_set_at_once_and_later_shown_filtered_and_removed() {
    let api = Api::new();
    let vpc = api
        .get(
            "vpcId",
            "Action=CreateVpc&CidrBlock=10.0.0.0/16&TagSpecification.1.ResourceType=vpc&TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=one",
        )
        .await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    api.ok(&format!(
        "Action=CreateTags&ResourceId.1={vpc}&ResourceId.2={subnet}&Tag.1.Key=env&Tag.1.Value=test&Tag.2.Key=Name&Tag.2.Value=two"
    ))
    .await;
    let by_tag =
        |name: &str| format!("Action=DescribeVpcs&Filter.1.Name=tag:Name&Filter.1.Value.1={name}");
    assert_eq!(api.get("vpcId", &by_tag("t*")).await, vpc);
    assert!(api.all("vpcId", &by_tag("one")).await.is_empty());
    let all = api.all("resourceType", "Action=DescribeTags").await;
    assert_eq!(all.len(), 4);
    let filtered = "Action=DescribeTags&Filter.1.Name=resource-type&Filter.1.Value.1=subnet";
    assert_eq!(
        api.all("resourceId", filtered).await,
        [subnet.clone(), subnet]
    );
    let delete = format!("Action=DeleteTags&ResourceId.1={vpc}&Tag.1.Key=");
    api.ok(&format!("{delete}env&Tag.1.Value=other")).await;
    let keys = format!("Action=DescribeTags&Filter.1.Name=resource-id&Filter.1.Value.1={vpc}");
    assert_eq!(api.all("key", &keys).await, ["Name", "env"]);
    api.ok(&format!("{delete}env")).await;
    assert_eq!(api.all("key", &keys).await, ["Name"]);
    api.ok(&format!("Action=DeleteTags&ResourceId.1={vpc}"))
        .await;
    assert!(api.all("key", &keys).await.is_empty());
}

#[tokio::test]
async fn bad_tags_get_awss_errors_and_change_nothing() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let create = format!("Action=CreateTags&ResourceId.1={vpc}");
    let long = "k".repeat(129);
    let mut many = create.clone();
    for n in 1..=51 {
        many += &format!("&Tag.{n}.Key=k{n}");
    }
    for (form, code) in [
        (create.clone(), "MissingParameter"),
        (format!("{create}&Tag.1.Key=aws:x"), "InvalidParameterValue"),
        (
            format!("{create}&Tag.1.Key={long}"),
            "InvalidParameterValue",
        ),
        (format!("{create}&Tag.1.Value=x"), "InvalidParameterValue"),
        (many, "TagLimitExceeded"),
        (
            format!("{create}&ResourceId.2=subnet-0123456789abcdef0&Tag.1.Key=a"),
            "InvalidSubnetID.NotFound",
        ),
        (
            "Action=CreateTags&ResourceId.1=x&Tag.1.Key=a".into(),
            "InvalidID",
        ),
        (
            "Action=DeleteTags&ResourceId.1=vpc-0123456789abcdef0".into(),
            "InvalidVpcID.NotFound",
        ),
        (
            "Action=DescribeTags&Filter.1.Name=x&Filter.1.Value.1=y".into(),
            "InvalidParameterValue",
        ),
    ] {
        api.refuses(&[(&form, code)]).await;
    }
    assert!(api.all("key", "Action=DescribeTags").await.is_empty());
}
