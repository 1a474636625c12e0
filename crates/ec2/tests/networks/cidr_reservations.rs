use crate::api::Api;

#[tokio::test]
async fn reserved_addresses_are_given_to_those_only_who_name_them() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/28").await;
    let create = format!("Action=CreateSubnetCidrReservation&SubnetId={subnet}");
    let explicit = format!("{create}&Cidr=10.0.1.4/30&ReservationType=explicit&Description=mine");
    let body = api.ok(&explicit).await;
    for text in [
        "<cidr>10.0.1.4/30</cidr>",
        "<reservationType>explicit</reservationType>",
        "<ownerId>123456789012</ownerId>",
        "<description>mine</description>",
    ] {
        assert!(body.contains(text), "{text} in {body}");
    }
    let interface = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
    assert_eq!(api.get("privateIpAddress", &interface).await, "10.0.1.8");
    let named = format!("{interface}&PrivateIpAddress=10.0.1.5");
    assert_eq!(api.get("privateIpAddress", &named).await, "10.0.1.5");

    let get = format!("Action=GetSubnetCidrReservations&SubnetId={subnet}");
    let id = api.get("subnetCidrReservationId", &get).await;
    let delete = format!("Action=DeleteSubnetCidrReservation&SubnetCidrReservationId={id}");
    assert_eq!(api.get("cidr", &delete).await, "10.0.1.4/30");
    assert_eq!(api.get("privateIpAddress", &interface).await, "10.0.1.4");
    api.refuses(&[(&delete, "InvalidSubnetCidrReservationID.NotFound")])
        .await;
}

#[tokio::test]
async fn a_subnet_whose_free_addresses_are_all_reserved_is_full() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/28").await;
    api.ok(&format!(
        "Action=CreateSubnetCidrReservation&SubnetId={subnet}&Cidr=10.0.1.0/28&ReservationType=prefix"
    ))
    .await;
    let interface = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
    api.refuses(&[(&interface, "InsufficientFreeAddressesInSubnet")])
        .await;
}

#[tokio::test]
async fn reserved_addresses_are_not_available_and_are_counted_once() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/27").await;
    let describe = format!("Action=DescribeSubnets&SubnetId.1={subnet}");
    let reserve =
        format!("Action=CreateSubnetCidrReservation&SubnetId={subnet}&ReservationType=explicit");
    let interface = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
    assert_eq!(api.get("availableIpAddressCount", &describe).await, "27");
    // The first four of these eight are AWS's.
    api.ok(&format!("{reserve}&Cidr=10.0.1.0/29")).await;
    assert_eq!(api.get("availableIpAddressCount", &describe).await, "23");
    api.ok(&format!("{interface}&PrivateIpAddress=10.0.1.5"))
        .await;
    assert_eq!(api.get("availableIpAddressCount", &describe).await, "23");
    api.ok(&interface).await;
    assert_eq!(api.get("availableIpAddressCount", &describe).await, "22");
}

#[tokio::test]
async fn reservations_are_checked_tagged_filtered_and_go_with_their_subnet() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let create = format!("Action=CreateSubnetCidrReservation&SubnetId={subnet}");
    let tagged = format!(
        "{create}&Cidr=10.0.1.16/28&ReservationType=prefix&TagSpecification.1.ResourceType=subnet-cidr-reservation&TagSpecification.1.Tag.1.Key=for&TagSpecification.1.Tag.1.Value=pods"
    );
    let id = api.get("subnetCidrReservationId", &tagged).await;
    api.ok(&format!(
        "{create}&Cidr=10.0.1.32/28&ReservationType=explicit"
    ))
    .await;
    api.ok(&format!(
        "Action=CreateTags&ResourceId.1={id}&Tag.1.Key=env&Tag.1.Value=test"
    ))
    .await;
    let kinds =
        "Action=DescribeTags&Filter.1.Name=resource-type&Filter.1.Value.1=subnet-cidr-reservation";
    assert_eq!(api.all("key", kinds).await, ["env", "for"]);
    let get = format!("Action=GetSubnetCidrReservations&SubnetId={subnet}");
    assert_eq!(api.all("cidr", &get).await.len(), 2);
    for (filter, value) in [("reservationType", "prefix"), ("tag:for", "p*")] {
        let some = format!("{get}&Filter.1.Name={filter}&Filter.1.Value.1={value}");
        assert_eq!(api.all("cidr", &some).await, ["10.0.1.16/28"], "{filter}");
    }
    let of = "Action=GetSubnetCidrReservations&SubnetId=subnet-0123456789abcdef0";
    api.refuses(&[
        (of, "InvalidSubnetID.NotFound"),
        (
            &format!("{create}&Cidr=10.0.2.0/28&ReservationType=prefix"),
            "InvalidParameterValue",
        ),
        (
            &format!("{create}&Cidr=10.0.1.0/27&ReservationType=prefix"),
            "InvalidParameterValue",
        ),
        (
            &format!("{create}&Cidr=x&ReservationType=prefix"),
            "InvalidParameterValue",
        ),
        (
            &format!("{create}&Cidr=10.0.1.64/28&ReservationType=other"),
            "InvalidParameterValue",
        ),
        (
            &format!("{create}&ReservationType=prefix"),
            "MissingParameter",
        ),
        (
            "Action=DeleteSubnetCidrReservation&SubnetCidrReservationId=x",
            "InvalidSubnetCidrReservationID.Malformed",
        ),
        (
            "Action=CreateTags&ResourceId.1=scr-0123456789abcdef0&Tag.1.Key=a",
            "InvalidSubnetCidrReservationID.NotFound",
        ),
    ])
    .await;
    api.ok(&format!("Action=DeleteSubnet&SubnetId={subnet}"))
        .await;
    assert!(api.all("key", kinds).await.is_empty());
}
