//! Order and pages of lists.

use super::*;

#[tokio::test]
async fn record_sets_are_listed_by_reversed_name_type_and_identifier() {
    let world = World::new();
    let zone = world.zone("example.com").await;
    let weighted = |id: &str| set(id, "<Weight>1</Weight>");
    let ip = ["192.0.2.1"];
    let batch = [
        values("CREATE", "www.example.com", "TXT", "", &["\"t\""]),
        values("CREATE", "www.example.com", "A", &weighted("z"), &ip),
        values("CREATE", "www.example.com", "A", &weighted("a"), &ip),
        values("CREATE", "a.b.example.com", "A", "", &ip),
        values("CREATE", "b.example.com", "A", "", &ip),
        values("CREATE", "*.example.com", "A", "", &ip),
    ];
    world.change(&zone, &batch).await.succeeds();
    let want = [
        "example.com. NS",
        "example.com. SOA",
        "\\052.example.com. A",
        "b.example.com. A",
        "a.b.example.com. A",
        "www.example.com. A a",
        "www.example.com. A z",
        "www.example.com. TXT",
    ];
    assert_eq!(world.listed(&zone).await, want);

    let mut seen = Vec::new();
    let mut from = String::new();
    loop {
        let page = world
            .get(&format!("hostedzone/{zone}/rrset?maxitems=3{from}"))
            .await;
        let list = "ResourceRecordSets/ResourceRecordSet";
        seen.extend(page.all(list, "Name"));
        assert_eq!(page.text("MaxItems"), "3");
        if page.text("IsTruncated") == "false" {
            break;
        }
        let name = page.text("NextRecordName").replace('\\', "%5C");
        from = format!("&name={name}&type={}", page.text("NextRecordType"));
        let identifier = page.text("NextRecordIdentifier");
        if !identifier.is_empty() {
            from.push_str(&format!("&identifier={identifier}"));
        }
    }
    let names: Vec<&str> = want
        .iter()
        .filter_map(|row| row.split(' ').next())
        .collect();
    assert_eq!(seen, names);

    for (query, first) in [
        ("name=c.example.com", "www.example.com. A"),
        ("name=WWW.example.com.&type=TXT", "www.example.com. TXT"),
        (
            "name=www.example.com&type=A&identifier=b",
            "www.example.com. A",
        ),
        ("name=aaa.example.aaa", "example.com. NS"),
    ] {
        let page = world
            .get(&format!("hostedzone/{zone}/rrset?maxitems=1&{query}"))
            .await;
        let list = "ResourceRecordSets/ResourceRecordSet";
        let got = format!(
            "{} {}",
            page.all(list, "Name")[0],
            page.all(list, "Type")[0]
        );
        assert_eq!(got, first, "{query}");
    }
    for query in [
        "type=A",
        "name=a&identifier=x",
        "maxitems=0",
        "maxitems=x",
        "name=a..b",
    ] {
        let page = world.get(&format!("hostedzone/{zone}/rrset?{query}")).await;
        page.fails(400, "InvalidInput", "");
    }
}

#[tokio::test]
async fn zones_are_listed_by_id_and_by_name() {
    let world = World::new();
    let mut ids = Vec::new();
    for name in ["b.example.com", "example.org", "example.com", "a.com"] {
        ids.push(world.zone(name).await);
    }
    let mut seen = Vec::new();
    let mut marker = String::new();
    loop {
        let page = world.get(&format!("hostedzone?maxitems=3{marker}")).await;
        seen.extend(page.all("HostedZones/HostedZone", "Id"));
        if page.text("IsTruncated") == "false" {
            break;
        }
        marker = format!("&marker={}", page.text("NextMarker"));
    }
    ids.sort();
    let seen: Vec<&str> = seen
        .iter()
        .map(|id| id.trim_start_matches("/hostedzone/"))
        .collect();
    assert_eq!(seen, ids);
    let page = world.get("hostedzonesbyname?maxitems=3").await;
    let names = page.all("HostedZones/HostedZone", "Name");
    assert_eq!(names, ["a.com.", "example.com.", "b.example.com."]);
    assert_eq!(page.text("NextDNSName"), "example.org.");
    let page = world.get("hostedzonesbyname?dnsname=b.example.com").await;
    assert_eq!(
        page.all("HostedZones/HostedZone", "Name"),
        ["b.example.com.", "example.org."]
    );
    world
        .get("hostedzonesbyname?hostedzoneid=Z1")
        .await
        .fails(400, "InvalidInput", "DNSName");
    assert_eq!(
        world.get("hostedzonecount").await.text("HostedZoneCount"),
        "4"
    );
}

#[tokio::test]
async fn places_of_the_world_are_listed() {
    let world = World::new();
    let mut count = 0;
    let mut from = String::new();
    loop {
        let page = world.get(&format!("geolocations?{from}")).await;
        count += page.raw.matches("<GeoLocationDetails>").count();
        if page.text("IsTruncated") == "false" {
            break;
        }
        from = format!("startcountrycode={}", page.text("NextCountryCode"));
        let part = page.text("NextSubdivisionCode");
        if !part.is_empty() {
            from.push_str(&format!("&startsubdivisioncode={part}"));
        }
    }
    assert_eq!(count, 7 + 1 + 246 + 51 + 27);
    let got = world
        .get("geolocation?countrycode=US&subdivisioncode=WA")
        .await;
    assert_eq!(got.text("GeoLocationDetails/SubdivisionName"), "Washington");
    assert_eq!(
        world
            .get("geolocation")
            .await
            .text("GeoLocationDetails/CountryCode"),
        "*"
    );
    world
        .get("geolocation?countrycode=XX")
        .await
        .fails(404, "NoSuchGeoLocation", "support");
    world
        .get("geolocation?subdivisioncode=WA")
        .await
        .fails(400, "InvalidInput", "CountryCode");
}

#[tokio::test]
async fn cidr_collections_are_changed_and_paged() {
    let world = World::new();
    let body = "<Name>c</Name><CallerReference>r</CallerReference>";
    let made = world
        .post("cidrcollection", "CreateCidrCollection", body)
        .await;
    let id = made.succeeds().text("Collection/Id");
    assert!(made.location.ends_with(&id));
    let twice = world
        .post("cidrcollection", "CreateCidrCollection", body)
        .await;
    twice.fails(400, "CidrCollectionAlreadyExistsException", "");
    let path = format!("cidrcollection/{id}");
    let change = |location: &str, action: &str, blocks: &[&str]| {
        let blocks: String = blocks.iter().map(|b| format!("<Cidr>{b}</Cidr>")).collect();
        format!(
            "<Changes><member><LocationName>{location}</LocationName><Action>{action}</Action><CidrList>{blocks}</CidrList></member></Changes>"
        )
    };
    let post = |body: String| {
        let (world, path) = (&world, path.clone());
        async move { world.post(&path, "ChangeCidrCollection", &body).await }
    };
    post(change("here", "PUT", &["192.0.2.0/24", "2001:db8::/32"]))
        .await
        .succeeds();
    post(change("there", "PUT", &["192.0.2.0/24"])).await.fails(
        400,
        "CidrBlockInUseException",
        "here",
    );
    post(change("there", "PUT", &["192.0.2.1/24"]))
        .await
        .fails(400, "InvalidInput", "not valid");
    post(change("there", "PUT", &["192.0.2.0/25"]))
        .await
        .fails(400, "InvalidInput", "not valid");
    let stale = format!(
        "<CollectionVersion>1</CollectionVersion>{}",
        change("x", "PUT", &["10.0.0.0/8"])
    );
    post(stale)
        .await
        .fails(409, "CidrCollectionVersionMismatchException", "");
    let listed = world.get(&format!("{path}/cidrblocks?maxresults=1")).await;
    assert_eq!(listed.all("CidrBlocks/member", "LocationName"), ["here"]);
    let token = listed.text("NextToken");
    let listed = world
        .get(&format!("{path}/cidrblocks?nexttoken={token}"))
        .await;
    assert_eq!(
        listed.all("CidrBlocks/member", "CidrBlock"),
        ["2001:db8::/32"]
    );
    let zone = world.zone("example.com").await;
    let more = format!(
        "<SetIdentifier>s</SetIdentifier><CidrRoutingConfig><CollectionId>{id}</CollectionId><LocationName>here</LocationName></CidrRoutingConfig>"
    );
    world
        .change(
            &zone,
            &[values(
                "CREATE",
                "a.example.com",
                "A",
                &more,
                &["192.0.2.1"],
            )],
        )
        .await
        .succeeds();
    let gone = change(
        "here",
        "DELETE_IF_EXISTS",
        &["192.0.2.0/24", "2001:db8::/32"],
    );
    post(gone)
        .await
        .fails(400, "CidrBlockInUseException", "here");
    world
        .call("DELETE", &path, "")
        .await
        .fails(400, "CidrCollectionInUseException", "");
    world
        .get("cidrcollection/00000000-0000-4000-8000-000000000000")
        .await
        .fails(404, "NoSuchCidrCollectionException", "00000000-0000");
}
