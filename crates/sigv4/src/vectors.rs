//! The published SigV4 test vectors (github.com/awslabs/aws-c-auth, aws-signing-test-suite/v4): requests of
//! 2015-08-30T12:36:00Z to example.amazonaws.com for us-east-1/service.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    Algorithm, Claim, Credential, Credentials, LookupError, Payload, Request, Scope, Secret,
    SigError, SigningKey, canonical, key, presign, sign, verify,
};

pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) normalize: bool,
    method: &'static str,
    path: &'static str,
    query: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    pub(crate) token: &'static str,
    pub(crate) token_signed: bool,
    by_header: &'static str,
    by_query: &'static str,
}

pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(crate) const DATE: &str = "20150830T123600Z";

pub(crate) fn then() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_440_938_160)
}

impl Vector {
    pub(crate) fn headers(&self, by_header: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("example.amazonaws.com"));
        for (name, value) in self.headers {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        if by_header && !self.body.is_empty() {
            let hash = key::sha256_hex(self.body.as_bytes());
            headers.insert("x-amz-content-sha256", hash.parse().unwrap());
        }
        headers
    }

    pub(crate) fn request<'a>(&'a self, headers: &'a HeaderMap) -> Request<'a> {
        Request {
            method: self.method,
            path: self.path,
            query: self.query,
            headers,
            body: Payload::Bytes(self.body.as_bytes()),
        }
    }

    /// Signs without normalization step by step, because only S3 is signed this way and the vectors are for
    /// `service`.
    fn unnormalized_signature(&self) -> String {
        let mut headers = self.headers(true);
        headers.insert("x-amz-date", HeaderValue::from_static(DATE));
        let names = ["host".to_owned(), "x-amz-date".to_owned()];
        let hash = key::sha256_hex(self.body.as_bytes());
        let canonical = canonical::request(&self.request(&headers), &names, &hash, false).unwrap();
        let scope = Scope {
            date: "20150830".into(),
            region: "us-east-1".into(),
            service: "service".into(),
        };
        let text = canonical::string_to_sign(Algorithm::HmacSha256, DATE, &scope, &canonical);
        key::signature(&Secret::new(SECRET), &scope, &text)
    }

    fn signing_key<'a>(&self, secret: &'a Secret) -> SigningKey<'a> {
        SigningKey {
            access_key_id: "AKIDEXAMPLE",
            secret,
            session_token: self.token_signed.then_some(self.token),
            region: "us-east-1",
            service: "service",
        }
    }
}

pub(crate) struct Keys(pub(crate) &'static str);

impl Credentials for Keys {
    type Owner = ();
    fn lookup(&self, id: &str, token: Option<&str>) -> Result<Credential<()>, LookupError> {
        let token = token.unwrap_or_default();
        match id {
            "AKIDEXAMPLE" if token == self.0 => Ok(Credential {
                secret: Secret::new(SECRET),
                owner: (),
            }),
            "AKIDEXAMPLE" => Err(LookupError::BadToken),
            "ASIAOLD" => Err(LookupError::ExpiredToken),
            _ => Err(LookupError::UnknownKey),
        }
    }
}

#[test]
fn header_signatures_are_made_and_believed() {
    let secret = Secret::new(SECRET);
    for vector in VECTORS {
        if !vector.normalize {
            assert_eq!(
                vector.unnormalized_signature(),
                vector.by_header,
                "{}",
                vector.name
            );
            continue;
        }
        let mut headers = vector.headers(true);
        let added = sign(
            &vector.request(&headers),
            &vector.signing_key(&secret),
            then(),
        );
        for (name, value) in added {
            headers.insert(name, value.parse().unwrap());
        }
        if !vector.token.is_empty() {
            headers.insert(
                "x-amz-security-token",
                HeaderValue::from_static(vector.token),
            );
        }
        let request = vector.request(&headers);
        let claim = Claim::read(&request).unwrap();
        assert_eq!(claim.signature, vector.by_header, "{}", vector.name);
        let verified = verify(&request, &Keys(vector.token), then());
        assert!(verified.is_ok(), "{}: {verified:?}", vector.name);
    }
}

#[test]
fn query_signatures_are_made_and_believed() {
    let secret = Secret::new(SECRET);
    for vector in VECTORS.iter().filter(|vector| vector.normalize) {
        let headers = vector.headers(false);
        let hour = Duration::from_secs(3600);
        let request = vector.request(&headers);
        let query = presign(&request, &vector.signing_key(&secret), then(), Some(hour));
        if !vector.token.is_empty() && !vector.token_signed {
            // Not part of the signature, so it cannot be verified.
            continue;
        }
        let signature = query.rsplit('=').next().unwrap().to_owned();
        assert_eq!(signature, vector.by_query, "{}", vector.name);
        let request = Request {
            query: &query,
            ..request
        };
        let late = then() + hour;
        let verified = verify(&request, &Keys(vector.token), late);
        assert!(verified.is_ok(), "{}: {verified:?}", vector.name);
        let too_late = late + Duration::from_secs(1);
        let refused = verify(&request, &Keys(vector.token), too_late).unwrap_err();
        assert_eq!(refused, SigError::PresignExpired, "{}", vector.name);
        let longer = format!("{query}&more=1");
        let refused = verify(&vector_with(&request, &longer), &Keys(vector.token), then());
        assert_eq!(refused.unwrap_err(), SigError::Mismatch, "{}", vector.name);
    }
}

fn vector_with<'a>(request: &Request<'a>, query: &'a str) -> Request<'a> {
    Request { query, ..*request }
}

/// Verifies a signed GET of `/` after `change` has modified its headers.
fn spoilt(change: impl FnOnce(&mut HeaderMap)) -> Result<(), SigError> {
    let secret = Secret::new(SECRET);
    let vector = &VECTORS
        .iter()
        .find(|vector| vector.name == "get-vanilla")
        .unwrap();
    let mut headers = vector.headers(true);
    for (name, value) in sign(
        &vector.request(&headers),
        &vector.signing_key(&secret),
        then(),
    ) {
        headers.insert(name, value.parse().unwrap());
    }
    change(&mut headers);
    verify(&vector.request(&headers), &Keys(""), then()).map(|_| ())
}

fn authorization(headers: &mut HeaderMap, from: &str, to: &str) {
    let text = headers["authorization"].to_str().unwrap().replace(from, to);
    headers.insert("authorization", text.parse().unwrap());
}

#[test]
fn whatever_is_wrong_is_named() {
    type Change = fn(&mut HeaderMap);
    type Wanted = fn(&SigError) -> bool;
    let cases: &[(&str, Change, Wanted)] = &[
        (
            "unsigned",
            |h| drop(h.remove("authorization")),
            |e| *e == SigError::Missing,
        ),
        (
            "other host",
            |h| drop(h.insert("host", HeaderValue::from_static("evil"))),
            |e| *e == SigError::Mismatch,
        ),
        (
            "no date",
            |h| drop(h.remove("x-amz-date")),
            |e| matches!(e, SigError::Incomplete(_)),
        ),
        (
            "host unsigned",
            |h| authorization(h, "host;", ""),
            |e| matches!(e, SigError::Incomplete(_)),
        ),
        (
            "date unsigned",
            |h| authorization(h, ";x-amz-date", ""),
            |e| matches!(e, SigError::Incomplete(_)),
        ),
        (
            "other algorithm",
            |h| authorization(h, "HMAC", "ECDSA"),
            |e| matches!(e, SigError::Incomplete(_)),
        ),
        (
            "short scope",
            |h| authorization(h, "/aws4_request", ""),
            |e| matches!(e, SigError::Incomplete(_)),
        ),
        (
            "other day",
            |h| authorization(h, "/20150830/", "/20150831/"),
            |e| matches!(e, SigError::Incomplete(_)),
        ),
        (
            "other region",
            |h| authorization(h, "us-east-1", "us-east-2"),
            |e| *e == SigError::Mismatch,
        ),
        (
            "other key",
            |h| authorization(h, "AKIDEXAMPLE", "AKIDOTHER"),
            |e| *e == SigError::UnknownKey,
        ),
        (
            "old session",
            |h| authorization(h, "AKIDEXAMPLE", "ASIAOLD"),
            |e| *e == SigError::ExpiredToken,
        ),
        (
            "token of another",
            |h| drop(h.insert("x-amz-security-token", HeaderValue::from_static("t"))),
            |e| *e == SigError::BadToken,
        ),
        (
            "twice",
            |h| authorization(h, "Signature=", "Signature=0, Signature="),
            |e| matches!(e, SigError::Incomplete(_)),
        ),
        (
            "missing header",
            |h| authorization(h, "host;", "host;x-more;"),
            |e| matches!(e, SigError::Incomplete(_)),
        ),
        (
            "false body hash",
            |h| drop(h.insert("x-amz-content-sha256", HeaderValue::from_static("00"))),
            |e| *e == SigError::Mismatch,
        ),
        (
            "unsigned payload",
            |h| {
                drop(h.insert(
                    "x-amz-content-sha256",
                    HeaderValue::from_static("UNSIGNED-PAYLOAD"),
                ))
            },
            |e| *e == SigError::Mismatch,
        ),
        (
            "chunks",
            |h| {
                drop(h.insert(
                    "x-amz-content-sha256",
                    HeaderValue::from_static("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
                ))
            },
            |e| matches!(e, SigError::Incomplete(_)),
        ),
        (
            "unsigned target",
            |h| drop(h.insert("x-amz-target", HeaderValue::from_static("A.B"))),
            |e| matches!(e, SigError::Incomplete(_)),
        ),
    ];
    assert_eq!(spoilt(|_| ()), Ok(()));
    for (name, change, wanted) in cases {
        let error = spoilt(change).unwrap_err();
        assert!(wanted(&error), "{name}: {error:?}");
    }
}

#[test]
fn clocks_may_differ_by_five_minutes() {
    let secret = Secret::new(SECRET);
    let vector = &VECTORS[0];
    for (offset, fits) in [
        (-301, false),
        (-300, true),
        (0, true),
        (300, true),
        (301, false),
    ] {
        let mut headers = vector.headers(true);
        for (name, value) in sign(
            &vector.request(&headers),
            &vector.signing_key(&secret),
            then(),
        ) {
            headers.insert(name, value.parse().unwrap());
        }
        let by = Duration::from_secs(i64::unsigned_abs(offset));
        let now = if offset < 0 { then() - by } else { then() + by };
        let verified = verify(&vector.request(&headers), &Keys(""), now);
        assert_eq!(verified.is_ok(), fits, "{offset}: {verified:?}");
    }
}

pub(crate) const VECTORS: &[Vector] = &[
    Vector {
        name: "get-header-key-duplicate",
        normalize: true,
        method: "GET",
        path: "/",
        query: "",
        headers: &[
            ("my-header1", "value2"),
            ("my-header1", "value2"),
            ("my-header1", "value1"),
        ],
        body: "",
        token: "",
        token_signed: false,
        by_header: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        by_query: "3349ee0b81b4b589da0ff28a395c3591e04de515651dd74f298fa992d1507a97",
    },
    Vector {
        name: "get-header-value-multiline",
        normalize: true,
        method: "GET",
        path: "/",
        query: "",
        headers: &[("my-header1", "value1 value2 value3")],
        body: "",
        token: "",
        token_signed: false,
        by_header: "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
        by_query: "e6f5def831211aca02987a44b96826706278c7bc078112ae0263659c5b2f2d56",
    },
    Vector {
        name: "get-header-value-order",
        normalize: true,
        method: "GET",
        path: "/",
        query: "",
        headers: &[
            ("my-header1", "value4"),
            ("my-header1", "value1"),
            ("my-header1", "value3"),
            ("my-header1", "value2"),
        ],
        body: "",
        token: "",
        token_signed: false,
        by_header: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        by_query: "313720e71ca6202fdcfa9b20f88de01a4eb0638a83c833b1c184359a4eda864e",
    },
    Vector {
        name: "get-header-value-trim",
        normalize: true,
        method: "GET",
        path: "/",
        query: "",
        headers: &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
        body: "",
        token: "",
        token_signed: false,
        by_header: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        by_query: "e7bb0fd515e125e1aec2ecc4c0c17484fb06f6846b927c35e46005dd3df3acd4",
    },
    Vector {
        name: "get-relative-normalized",
        normalize: true,
        method: "GET",
        path: "/example/..",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        by_query: "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d",
    },
    Vector {
        name: "get-relative-relative-normalized",
        normalize: true,
        method: "GET",
        path: "/example1/example2/../..",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        by_query: "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d",
    },
    Vector {
        name: "get-relative-relative-unnormalized",
        normalize: false,
        method: "GET",
        path: "/example1/example2/../..",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "dc33e0856fd4baca4d7aa2146c38958283844764f38c74252a333df5e613003b",
        by_query: "b45db0bfd1cf15003493b733e33aa208dd981bd0e63037a6ed953f71d2118a16",
    },
    Vector {
        name: "get-relative-unnormalized",
        normalize: false,
        method: "GET",
        path: "/example/..",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "eca7ead57bb5aa5c8e28007acd4ff04e1ff9a0ff3b237ec1554a184887ff9282",
        by_query: "cbcb213b928a077e43275df47b500f1dfaa864ab3f5a18f6b95f4ff0938167ee",
    },
    Vector {
        name: "get-slash-dot-slash-normalized",
        normalize: true,
        method: "GET",
        path: "/./",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        by_query: "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d",
    },
    Vector {
        name: "get-slash-dot-slash-unnormalized",
        normalize: false,
        method: "GET",
        path: "/./",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "68714168e6557f8f2de0ef956fc24dc2593a4bd2961f8df51898d8a134695145",
        by_query: "a9b13e8f3484d9505bf1a6f347219f8f35b0fe8f128ceea597efc146a3dfe90c",
    },
    Vector {
        name: "get-slash-normalized",
        normalize: true,
        method: "GET",
        path: "//",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        by_query: "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d",
    },
    Vector {
        name: "get-slash-pointless-dot-normalized",
        normalize: true,
        method: "GET",
        path: "/./example",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
        by_query: "35034b1a0bdd969f346975386daf8aedfd4976573b8348cf4f67eaa41c5857de",
    },
    Vector {
        name: "get-slash-pointless-dot-unnormalized",
        normalize: false,
        method: "GET",
        path: "/./example",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "beb03f223f7deae4146464f06e29eebbee9c8afbe15c290cf07aa8b119e14cff",
        by_query: "72b11f16d9530b18204bfb71f2d6ab085894c0ed8d352730a6e76234c58b5e10",
    },
    Vector {
        name: "get-slash-unnormalized",
        normalize: false,
        method: "GET",
        path: "//",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "c88bcd3d312d75078c0cd961d6deae3f4c754924b01669efcfcb439fd5e5b76e",
        by_query: "b2a9542809db687769200f56a844a03f2bd0291d6eb90232d5101c6a579446cd",
    },
    Vector {
        name: "get-slashes-normalized",
        normalize: true,
        method: "GET",
        path: "//example//",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        by_query: "c1834e8fb0307243711f0f907f6ab7311ed300d87f13792d7ee4da89ab93e082",
    },
    Vector {
        name: "get-slashes-unnormalized",
        normalize: false,
        method: "GET",
        path: "//example//",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5",
        by_query: "822a5a9ba28072c5ab2bb4a6307d0c88276d40e49fec6b724c03fb4d4ba60fc2",
    },
    Vector {
        name: "get-space-normalized",
        normalize: true,
        method: "GET",
        path: "/example space/",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        by_query: "7a1f416954786484c9824d93c1f26ef64acb9b1b6c9154d08c9f07d0e394abf6",
    },
    Vector {
        name: "get-space-unnormalized",
        normalize: false,
        method: "GET",
        path: "/example space/",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        by_query: "7a1f416954786484c9824d93c1f26ef64acb9b1b6c9154d08c9f07d0e394abf6",
    },
    Vector {
        name: "get-unreserved",
        normalize: true,
        method: "GET",
        path: "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        by_query: "95968482db1b9e0fadef6efc1bd24689f77c77d9ef56919c96a28cc92e0d6005",
    },
    Vector {
        name: "get-utf8",
        normalize: true,
        method: "GET",
        path: "/ሴ",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        by_query: "10eae3f14a260bd3911cc6d008d3c576d143b05b62f09782a7a4b37f52178e44",
    },
    Vector {
        name: "get-vanilla-empty-query-key",
        normalize: true,
        method: "GET",
        path: "/",
        query: "Param1=value1",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        by_query: "49096700cbbaa5753443850f40df10f904fc2fdb544dc9512203cc77c471a9de",
    },
    Vector {
        name: "get-vanilla-query-order-encoded",
        normalize: true,
        method: "GET",
        path: "/",
        query: "Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        by_query: "c5f1848ceec943ac2ca68ee720460c23aaae30a2300586597ada94c4a65e4787",
    },
    Vector {
        name: "get-vanilla-query-order-key-case",
        normalize: true,
        method: "GET",
        path: "/",
        query: "Param2=value2&Param1=value1",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        by_query: "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5",
    },
    Vector {
        name: "get-vanilla-query-unreserved",
        normalize: true,
        method: "GET",
        path: "/",
        query: "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        by_query: "8e76a88a7433637b12778d5592799b29ad21ecd6cf6325051c21d86f0acda2bf",
    },
    Vector {
        name: "get-vanilla-query",
        normalize: true,
        method: "GET",
        path: "/",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        by_query: "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d",
    },
    Vector {
        name: "get-vanilla-utf8-query",
        normalize: true,
        method: "GET",
        path: "/",
        query: "ሴ=bar",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        by_query: "0bdd809b1519ac4f0c1dc3540e2cc46bd0c7f778eda408b2ebf3b913d21ff600",
    },
    Vector {
        name: "get-vanilla-with-session-token",
        normalize: true,
        method: "GET",
        path: "/",
        query: "",
        headers: &[],
        body: "",
        token: "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
        token_signed: true,
        by_header: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        by_query: "7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c",
    },
    Vector {
        name: "get-vanilla",
        normalize: true,
        method: "GET",
        path: "/",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        by_query: "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d",
    },
    Vector {
        name: "post-header-key-case",
        normalize: true,
        method: "POST",
        path: "/",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        by_query: "2ce6e6d2e0cf2f9d1b55fafec88cd20574c31dc2e7631979f71ba2310083e95b",
    },
    Vector {
        name: "post-header-key-sort",
        normalize: true,
        method: "POST",
        path: "/",
        query: "",
        headers: &[("my-header1", "value1")],
        body: "",
        token: "",
        token_signed: false,
        by_header: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        by_query: "c09d07e0d55871f10f2a6d350d994acf6825a3cae70673d7def55616e6119dd7",
    },
    Vector {
        name: "post-header-value-case",
        normalize: true,
        method: "POST",
        path: "/",
        query: "",
        headers: &[("my-header1", "VALUE1")],
        body: "",
        token: "",
        token_signed: false,
        by_header: "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        by_query: "0698bc9e4f7f9139065ba2909c0e99da257e8e2a42492a097bcd46d792391fed",
    },
    Vector {
        name: "post-sts-header-after",
        normalize: true,
        method: "POST",
        path: "/",
        query: "",
        headers: &[],
        body: "",
        token: "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
        token_signed: false,
        by_header: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        by_query: "2ce6e6d2e0cf2f9d1b55fafec88cd20574c31dc2e7631979f71ba2310083e95b",
    },
    Vector {
        name: "post-sts-header-before",
        normalize: true,
        method: "POST",
        path: "/",
        query: "",
        headers: &[],
        body: "",
        token: "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
        token_signed: true,
        by_header: "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        by_query: "46c2e3c63c1dbe7d39f8ada16fe7f001c1f56c5791441565323677f96308871c",
    },
    Vector {
        name: "post-vanilla-empty-query-value",
        normalize: true,
        method: "POST",
        path: "/",
        query: "Param1=value1",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        by_query: "a9ef26247f293bffe40eeff86a0480ba8c14d31503b2e0c3399e3a16bf1a3682",
    },
    Vector {
        name: "post-vanilla-query",
        normalize: true,
        method: "POST",
        path: "/",
        query: "Param1=value1",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        by_query: "a9ef26247f293bffe40eeff86a0480ba8c14d31503b2e0c3399e3a16bf1a3682",
    },
    Vector {
        name: "post-vanilla",
        normalize: true,
        method: "POST",
        path: "/",
        query: "",
        headers: &[],
        body: "",
        token: "",
        token_signed: false,
        by_header: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        by_query: "2ce6e6d2e0cf2f9d1b55fafec88cd20574c31dc2e7631979f71ba2310083e95b",
    },
    Vector {
        name: "post-x-www-form-urlencoded-parameters",
        normalize: true,
        method: "POST",
        path: "/",
        query: "",
        headers: &[
            (
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            ),
            ("content-length", "13"),
        ],
        body: "Param1=value1",
        token: "",
        token_signed: false,
        by_header: "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
        by_query: "0dbeb9b026c7b6675f266b8427efec9b4fa8b1f6ef1477d717aea231106eab4d",
    },
    Vector {
        name: "post-x-www-form-urlencoded",
        normalize: true,
        method: "POST",
        path: "/",
        query: "",
        headers: &[
            ("content-type", "application/x-www-form-urlencoded"),
            ("content-length", "13"),
        ],
        body: "Param1=value1",
        token: "",
        token_signed: false,
        by_header: "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
        by_query: "89a40deed0f26f9461242825a082d2222717248abc7ab41f552ad84a94ad46e9",
    },
];
