use crate::api::Api;

#[tokio::test]
async fn lattices_list_is_awss_and_cannot_be_changed() {
    let api = Api::new();
    let describe = "Action=DescribeManagedPrefixLists&Filter.1.Name=prefix-list-name&Filter.1.Value.1=com.amazonaws.us-east-1.vpc-lattice";
    let body = api.ok(describe).await;
    for text in [
        "<ownerId>AWS<",
        "<state>create-complete<",
        "<addressFamily>IPv4<",
        ":aws:prefix-list/pl-",
    ] {
        assert!(body.contains(text), "{text} in {body}");
    }
    assert!(!body.contains("<version>"));
    let id = api.get("prefixListId", describe).await;
    let entries = format!("Action=GetManagedPrefixListEntries&PrefixListId={id}");
    assert_eq!(api.all("cidr", &entries).await, ["169.254.171.0/24"]);
    assert!(
        api.ok("Action=DescribePrefixLists")
            .await
            .contains("169.254.171.0/24")
    );
    api.refuses(&[
        (
            &format!("Action=DeleteManagedPrefixList&PrefixListId={id}"),
            "UnauthorizedOperation",
        ),
        (
            &format!("Action=CreateTags&ResourceId.1={id}&Tag.1.Key=a"),
            "UnauthorizedOperation",
        ),
    ])
    .await;
}

#[tokio::test]
async fn own_lists_have_versions() {
    let api = Api::new();
    let create = "Action=CreateManagedPrefixList&PrefixListName=offices&AddressFamily=IPv4&MaxEntries=2&ClientToken=t&Entry.1.Cidr=10.0.0.0/8&Entry.1.Description=x";
    let id = api.get("prefixListId", create).await;
    assert_eq!(api.get("prefixListId", create).await, id);
    let modify = format!("Action=ModifyManagedPrefixList&PrefixListId={id}");
    let change = format!(
        "{modify}&CurrentVersion=1&AddEntry.1.Cidr=10.1.0.9/16&RemoveEntry.1.Cidr=10.0.0.0/8"
    );
    assert_eq!(api.get("version", &change).await, "2");
    let entries = format!("Action=GetManagedPrefixListEntries&PrefixListId={id}");
    assert_eq!(api.all("cidr", &entries).await, ["10.1.0.0/16"]);
    assert_eq!(
        api.all("cidr", &format!("{entries}&TargetVersion=1")).await,
        ["10.0.0.0/8"]
    );
    for (form, code) in [
        (change, "PrefixListVersionMismatch"),
        (format!("{modify}&AddEntry.1.Cidr=10.2.0.0/16"), "MissingParameter"),
        (format!("{modify}&CurrentVersion=2&AddEntry.1.Cidr=10.2.0.0/16&AddEntry.2.Cidr=10.3.0.0/16"), "PrefixListMaxEntriesExceeded"),
        (format!("{modify}&CurrentVersion=2&RemoveEntry.1.Cidr=10.2.0.0/16"), "InvalidParameterValue"),
        (format!("{modify}&CurrentVersion=2&AddEntry.1.Cidr=fd00::/8"), "InvalidParameterValue"),
        (format!("{modify}&MaxEntries=0"), "InvalidParameterValue"),
        (format!("{entries}&TargetVersion=9"), "InvalidPrefixListVersion"),
        ("Action=DeleteManagedPrefixList&PrefixListId=x".into(), "InvalidPrefixListId.Malformed"),
        ("Action=CreateManagedPrefixList&PrefixListName=com.amazonaws.x&AddressFamily=IPv4&MaxEntries=2".into(), "InvalidParameterValue"),
        ("Action=CreateManagedPrefixList&PrefixListName=x&AddressFamily=IPv5&MaxEntries=2".into(), "InvalidParameterValue"),
        ("Action=DescribeManagedPrefixLists&MaxResults=101".into(), "InvalidParameterValue"),
        ("Action=DescribePrefixLists&PrefixListId.1=pl-0123456789abcdef0".into(), "InvalidPrefixListID.NotFound"),
    ] {
        api.refuses(&[(&form, code)]).await;
    }
    let vpc = api.vpc("10.0.0.0/16").await;
    let group = api.group(&vpc, "web").await;
    let rule = format!(
        "GroupId={group}&IpPermissions.1.IpProtocol=-1&IpPermissions.1.PrefixListIds.1.PrefixListId={id}"
    );
    api.ok(&format!("Action=AuthorizeSecurityGroupIngress&{rule}"))
        .await;
    let delete = format!("Action=DeleteManagedPrefixList&PrefixListId={id}");
    // The call succeeds, and the deletion fails.
    api.ok(&delete).await;
    let left = api
        .ok(&format!(
            "Action=DescribeManagedPrefixLists&PrefixListId.1={id}"
        ))
        .await;
    assert!(left.contains("<state>delete-failed<"), "{left}");
    api.ok(&format!("Action=RevokeSecurityGroupIngress&{rule}"))
        .await;
    api.ok(&delete).await;
}
