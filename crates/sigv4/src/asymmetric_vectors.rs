//! The SigV4A vectors of the published test suite (github.com/awslabs/aws-c-auth, aws-signing-test-suite/v4a):
//! signatures of the requests of [`VECTORS`] in headers and queries, for the region set `us-east-1`.

use http::HeaderValue;

use crate::vectors::{DATE, Keys, SECRET, VECTORS, Vector, then};
use crate::{
    Algorithm, Claim, Request, Secret, SigError, SigningKey, asymmetric, sign_asymmetric, verify,
    verify_any,
};

/// The name, the signature in the header, and the signature in the query.
const SIGNATURES: &[(&str, &str, &str)] = &[
    (
        "get-header-key-duplicate",
        "30450220331da6dfebb0d19e5e161b1efa389ccb83cadb60bc71f6791ef71ac6054c44de0221008588b7d5c9f7a79ca9c02a02efbd0f540cda242a64ca1452aa914e050b517724",
        "3045022100b6fa5712e476c23f411995e85747f62e9a25bdd718aac8692b3744dba106e1720220331a1e84a25e69c1ef07e63b3b76e1e78100f2ee020a3e66f127240901468912",
    ),
    (
        "get-header-value-multiline",
        "3045022060b9f2f480a395bf34aa42074697f923c2355e26970987461ce904a6a2eeef52022100fc7ef73838bbfba208a8cf8f3edbe1c8879be7853b677f492db93c30df6fbe02",
        "3045022039c91f52792bd02ebcd8959326e022c60a8a7f4febed58dbea23cb295df8dc9e022100b95d4fcdd93090a54badb5ccb0ec5d38e7b20ff81204f48ceda327b9b155c14d",
    ),
    (
        "get-header-value-order",
        "304402203410301a4cfc805996d0ac5305374d7cdff4e2564fcbd6f6cfed73b227966046022046e36b2ede1f78d2b68ea4534ae59da3de089e58f67ae08490411dfabd77f36e",
        "304402200c9f3470f63b573d7c7b8838d3acd8c527e4e5c3b990050c786f074107b12cf70220021b788568d7947e6ad6044e7cc6488dcdb4ff08f15e162ebd2537cc292ed168",
    ),
    (
        "get-header-value-trim",
        "3046022100ce72c874a80cea45e3c5b7cbe76178f8577870e1f97ee1730f57cff45c3d398b022100e4ea7b870335abab5ca57fa740d20b3c5aba2739cf96dd7fa671fc11cf6c3341",
        "304502210085dc6b963562f7d443e0c35819c752a39ab744a6a8820ec4718a2aaf6d9acbae02202053d5ec6fcd892c09ce485b169b94590f805a05348ade664bbe3e06a7c62edb",
    ),
    (
        "get-relative-normalized",
        "304402206ccd591952cdb4a0a002217788234c80eac520f890b0a6ea07b98044f08ba10e0220733126caf0347f7df89773f79b9fae2648ca786e67a7d88ec296d66452da4bec",
        "3045022100be82e63cce1729590924a36bd6902036fe392d1b6196cffc2bf9620c8c5488b40220029a31d7cbb60816e40c0a00a53520db7d7928296b4236c2d0ada59c08b85bc4",
    ),
    (
        "get-relative-relative-normalized",
        "304402203edb747d59fe32db47529b2e5e02c9276759b7c43ad9e36ff62d52b8dbeb00e3022007f99e8601938b893fe6dcbac9259fec2f3797b0e3d74fd66d59b09e83b8c1d4",
        "304502202eec946a96e06beaaf22963e2051d0f9200ffdcbe9e179761a0c324142cd5291022100af3d0044ff5a67452342aa457aa7d5646f5f834a9458b147ba4152bb658f0727",
    ),
    (
        "get-slash-dot-slash-normalized",
        "304502207665172b8612dbbd2c1f3c722c52b7b8dac2cdc5203d86252e21d9610018b153022100c548f3f0c23beeb388f8c8138ce1e883e2cdf2be1d7c5d7c15d4e565bfd6b0dd",
        "3046022100d44a1214b0389964d48bf1ea73df6649f6dbd213421986ce9c2fae6397c9a866022100e54a0895ed71289a7b38282fbbf57ab4bdf6558bec6bff5b05c0d2b1a4f9b7e2",
    ),
    (
        "get-slash-normalized",
        "304502207c7fe2e91cdbe4529569d58fc3727507375cff81a56cfa26b387895ab6cdbb25022100d38e283efa5ff27d88f10e7367493b1dc49050ba9474531e4acb3ee30fac3739",
        "304402207e412e67f6164f6f3bdae2cc5af21bc5747106274a61a531b61275846a81a4f6022036260958080b0447f67df63ba3dbda6fe97dbffe54073491dc884ae4da43c83e",
    ),
    (
        "get-slash-pointless-dot-normalized",
        "30460221008cb5fa4d42bdd0c293d58ce748128be3a41693d25cfd701e281bf0c0bc28f41a022100b863217c8f05146ff1b4282706bc78781b1425c2d36a09127116e852e31fc974",
        "3045022100ae36c4ce9d4e0026419e57d4cac9d2d4fd487f2aa3e8520ef43d1d4b8b0e96f002202a4b135ab4cb49cc35dd756dd40f02ce96271d32f2f5ae2d671ccf535139a4b3",
    ),
    (
        "get-slashes-normalized",
        "304402203d34870fcc77b0f5a3f6d440cd1cecb75c7e534cfbcc68f60743d308ae92fef602200f9fbaacc5010b9a7e046b1b5ae58764bd32c24c47ef65b63ad9ff756c478e4d",
        "3045022100ec452ebb2ae12447edb19c7c1824c5b5921650498ed70c3366d9bce4875f0095022007c29a38626d79722aa8f8882ea96003eaf2a135c4bed3394f24a068fded99f1",
    ),
    (
        "get-space-normalized",
        "3046022100e8e0ec99a8d287073e078543fdbdeba108cdef097a52c7556874076072350200022100e59d9e0f48209bea00faa47d485d850eb72747db83927a2a43b5ebab5ca2b545",
        "304402200bc73964284c5a0367aec4bc4c3e80c7425388c8f5ac963a3e0cc9437549bd2b022077b25c48bed62c31f1cc4bf78d56089953806d8132ccebf23907c9b4445db86c",
    ),
    (
        "get-unreserved",
        "304402206a228bcbe26141c2c5065525b98ea00b793470e04e655006269f740e320215930220160015e35502fa89a96f5fed59981af0896b60ecea6a68606a0be368bca73f2c",
        "3046022100e9480cf54bfa566c6225af6986818e36a79525af244316551c55f902494d774f0221008f15178ec18c589b3704ccfc9cd7daa410f148407f75bc5777afcca28470cfbb",
    ),
    (
        "get-utf8",
        "304502210082c462efc22f340d7d20b19e0c9b38400e9395bedd9269e01e959ef915ca2846022050d38df1572786ef8befe01d888335c15b0f17fb1d795858fa3cb79e060ba375",
        "3045022100a6a54a9d29f463be9ee0822246866fdbf4d71ab2f0c1dd70da52bd3d4539ce6802204fb18b4ddab0e97af74ecb42e33d6d2f2ac2ae0cee9509f649506f1cd2954899",
    ),
    (
        "get-vanilla",
        "3046022100fddaaf816a31e30d04973875b13bc27b98da10907a3a1872fd5819a221334abc022100de2ee81d83b54f31efc82834de07e6cd4d5c6f25bfa08e0f29a15bb0977c343e",
        "3045022100a28466db6c76223d5aa6ed436a8451b30e21ba0a076e7f2f943dd1f3d2816249022049e4b3746929cd2a2cb7b7984dbe0f5d40a300e7d9a7a7f1307c196b6f96b61a",
    ),
    (
        "get-vanilla-empty-query-key",
        "304502210093d40fe05684ddadfadfafc4b8565d18ca94d590fc897577224bf09696bbde6102206f12bb5e2503781303cf6880c0a2136d4b820221eb9d6ac5ad61378b16b8ea5d",
        "3046022100d0e421c8dcfbc809d91211cb4588940f6567729d5f9542803c4121704ec85bf70221009bc7b39b796dc0b4436a08d0320e2e89a2a47724432a1060029a55ae05dc2e83",
    ),
    (
        "get-vanilla-query",
        "304502201f8540fba7741deef60d162a2cf5a8abece28db296174e82420ae6790d93b8af022100d3109ac9ec7995b9e976efa2c54b278d3fab0737e3c73483771773d2061d8f3f",
        "304502210081f33b59ccf8c4a729d3e3f6ac355cfb6bb0f9c507b180ed7eb2756202cfe220022074f44519d0f1da1d20737fec456ac86aa876379e4531633c14972b88bc268eb7",
    ),
    (
        "get-vanilla-query-order-encoded",
        "3045022100cef3137947f52af13fe5591d4ddcff0260176e7b2a668b43ac8f0cba2e489fe502203b4fe53c9fe3e8925643fe0e4c3ec0b3ea6262917bf7300d2e2abb399078e6de",
        "3046022100a1244805f7fd13f1c5f4824fe85052857f2c5b6820829562e3853715966a4f7102210091a4e9e79fd79fc7d4d580061730822d3228d15d584b7c5c16a4c490690740c5",
    ),
    (
        "get-vanilla-query-order-key-case",
        "30450220394fa0699225f403514cb4db03b7c479f64c5f9864bf520b871bb23a054d6517022100d4445c909fc62a43c6c485a8582621e0e14c6ef1e4218072bc2dcaffc1188f18",
        "304402202cbada4314f8da2b9dfa447db936428ad13f522f007110427e5c6c4dbf93762f02205ad19e24495835a7242c546eeec3dbdfcd538361fd9a67f99610a8adab3411e9",
    ),
    (
        "get-vanilla-query-unreserved",
        "30450220023b0ce37b4e3f7fe6b6e155dab72846b461d22ff4820f019a07afef476f61ee022100f985e993037270cc48ac905b360046d077770a2b28aa829ea909430b1b3ed8aa",
        "3046022100fa0918db3b6088ebabc41b614c1e60820cf46a58a5e939bf27ab43869e60133e022100f2b594597c9f6266cae0f17de30e2776827431f7cb63224530cf7718f38df0b0",
    ),
    (
        "get-vanilla-utf8-query",
        "304502206e0b9d70bb0413a557946314e04739d721c9f301d452c072590edfdcb9320572022100846f242fb0346c8c56c76a6f0e70c521d7ac02742f09c2e7b5253f1e9afe5a44",
        "3046022100d0001873de6d6746a050e3dff894b0fbccce0bbe7fad8e4c0960761d053a695b022100fb8f5d77ebb1854be7a8e1ea56428aba3a2f3bf23211e1049a2fa18b56784b63",
    ),
    (
        "get-vanilla-with-session-token",
        "30450221008f4516c8850ed9eb29502658d1f0e0f6cabc11a44963c558efd1dd8e9fb084a0022032e47df89ad1a5b4e2b82d3a68dbe31d6ef8e1ea8c3815b2097538c4695d184e",
        "304502207cdbb61908b9d4cf6c84e03ff7dac10a9a4637784d335a7d8bf1d1a6931bc3ba022100ee78b054e5441b71ab155632174df6b68bdaa00eabf939bf0c7299e1367e02a4",
    ),
    (
        "post-header-key-case",
        "304602210081bb2a93eae5cce843abe0e7cac2f0e4cecdd0a79cb8d60e5b9dc4c8e8906b61022100e18c8119f50b8218da995ada62080d88ff75d2f02309c3685a02dfb9a83b103f",
        "3044022100ebd5c442df864cd1fdd76e9d6e7548cac7ebaed57a93bcb3ac92af37ad5797fc021f1c4887de85feca28098f1dbab7fddaadb08a08564131881b0b5d151b4a2c77",
    ),
    (
        "post-header-key-sort",
        "3046022100a5dc03771b33997d8eeb15d639cb7bdef2aff78a4a59c7996070e5f94fe149780221009a732061539208209ba0ae6755bef956c258a0c0ac6a6916489486efde21cfeb",
        "30450220398bbd17824da156cc02e783348c16e8c04d46d1ae6b31dec9422d8054193380022100f05d3e4f7ed4eed55e950488ed7c53975cdbb4713ec4a2c0af9351ab8fdc9a48",
    ),
    (
        "post-header-value-case",
        "3045022100c72dd4d54c45d3eb30858c6227e9512f41b7379b7c685e39e0cd39a793d7ee3102205c900d330270e31d2f7b5138fb3d791b6743f6f3b9ffbc34a4adcc8307591b11",
        "304402205ed45a0daa4ef3d554ea401f8d2e4f434c77dd8dfd4a15d08786faf9d6fdedf50220501f847d3159358f7823190dfffebaa16ce5b3868921c06b255f7dc3c742d9ff",
    ),
    (
        "post-sts-header-after",
        "3045022100f7866e35aa214de4541aa33326aa9b5e9a409b72c9185c7a2e2d246ebb5a25a80220642e809f3d016fb3674364776c2ffadf7e7f8da94c36538a4715fa9425b52ed8",
        "304402204360bb65fe763c79526141ae439e4198190b7ffc048551a63c60b428bebc4c43022064a9d5c1f476566aea41fa60adfadc952164c53460553b2d1ae161d2f9b665f7",
    ),
    (
        "post-sts-header-before",
        "3045022035115ac58fb923b0894e63eabf5864858c27f504b34bd707b569b2d6ee6a9c2e02210080ed7d2f3b7d52b4243890c596379ecd2066e9a1ac183d546ba07955ed5db306",
        "304402207e41aee2d6ea2a3868b3dea7b04caeb14d23ee696a76b93467213cd18467cbf502202a05e108d8feb197a62b4ea4b8a9d11aa4dc92bcfaf6e5fe185efac4bafd0802",
    ),
    (
        "post-vanilla",
        "3044022020e04d83be1fc4c7669eb2530c48444ff2ef65e73ab6d4084ba89b886b70d01a0220570df05bd3ba39ccd96a3e831ed8757fbb516baa603d78eaed3ccc95d50a2abb",
        "3044022034768b9f03c61ee7f93b1e23198ff08923345e32f25e662afa5794997f00ebb102205813497325d50d374e486a3fce997e02ae9610a8eb81af01128103dd9d2d997d",
    ),
    (
        "post-vanilla-empty-query-value",
        "304402203129b52c7149bcf5761f83d023986576af5846b9e9f11050651639f9e24c9ebd02200f7e2f6c2aed2bbb76580e50d32e8aa09dc65f7544cdb169b4a690a2a248efd3",
        "3045022025fbe60840e867e12ed08dde14cb7b65da87de27afd012fd2bef96c7bc5b6bfe022100ab6eaea845c3d8b65b39d4506cdd36232f10dae092ddd4d54f887d2f979821d9",
    ),
    (
        "post-vanilla-query",
        "304402202785ef1eddce96aa4f4cb359f00fcb1155fa7f679b4af8949a8ea097381543fc02205a9719949fcc5452e690dcd2426318aa17d87aa67c68fdd66f815ae2d3591b49",
        "304402207a361da47ef99ca9b92f2a8d5f8f0214a9580491aa78413733200307498bae3d02207072a6f2a774fa336cc5fb84daf553f70ed1867f2e35563e3a24fdf4a329713d",
    ),
    (
        "post-x-www-form-urlencoded",
        "3045022100955bbc0f0b9d4284719808642167f7d5ea4a72f8c296b75b442898c8b81cd7e502202425fb97620fa9a20344d22b248dd00db07524fc39b5ad77533e00b277331241",
        "30450221008d8a6aa0bc3f651e6c14c52e9e24dbca58964641c9cb6e55169f9dc74766ae3d022016126756ce1523ac972f66f6bf6e981f44572d3c8916f1f43d428fb2caa0e1ea",
    ),
    (
        "post-x-www-form-urlencoded-parameters",
        "3045022100c016dc61cbd380cf8160711320957071f5c122ef69164d56d02f79daf51a0603022043e3313aa2f6b46285cc89dfe5616ccc74c810a3d7ea25b76ee1ca496f7facba",
        "30450220128d491ccca3f9a7988d00454d2210dd884d7990ca2cb844d4968c8fa9e937f8022100b3668dd440d8206074460567cee98691f66412fe5a83d8e32c601e1331f2ec2b",
    ),
];

fn vectors() -> impl Iterator<Item = (&'static Vector, &'static str, &'static str)> {
    SIGNATURES.iter().map(|(name, header, query)| {
        let mut named = VECTORS.iter().filter(|it| it.normalize);
        (named.find(|it| it.name == *name).unwrap(), *header, *query)
    })
}

#[test]
fn key_pairs_are_derived_from_secrets() {
    // aws-c-auth, tests/key_derivation_tests.c, and the suite's own key.
    let table = [
        (
            "AKISORANDOMAASORANDOM",
            "q+jcrXGc+0zWN6uzclKVhvMmUsIfRPa4rlRandom",
            "15d242ceebf8d8169fd6a8b5a746c41140414c3b07579038da06af89190fffcb",
            "0515242cedd82e94799482e4c0514b505afccf2c0c98d6a553bf539f424c5ec0",
        ),
        (
            "AKIDEXAMPLE",
            SECRET,
            "b6618f6a65740a99e650b33b6b4b5bd0d43b176d721a3edfea7e7d2d56d936b1",
            "865ed22a7eadc9c5cb9d2cbaca1b3699139fedc5043dc6661864218330c8e518",
        ),
    ];
    for (id, secret, x, y) in table {
        let key = asymmetric::signing_key(&Secret::new(secret), id).unwrap();
        let point = key.verifying_key().to_encoded_point(false);
        assert_eq!(hex::encode(point.x().unwrap()), x, "{id}");
        assert_eq!(hex::encode(point.y().unwrap()), y, "{id}");
    }
}

#[test]
fn published_header_signatures_are_believed() {
    for (vector, signature, _) in vectors() {
        let mut headers = vector.headers(true);
        headers.insert("x-amz-date", HeaderValue::from_static(DATE));
        headers.insert("x-amz-region-set", HeaderValue::from_static("us-east-1"));
        let token = HeaderValue::from_static(vector.token);
        if vector.token_signed {
            headers.insert("x-amz-security-token", token.clone());
        }
        let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        let authorization = format!(
            "AWS4-ECDSA-P256-SHA256 Credential=AKIDEXAMPLE/20150830/service/aws4_request, SignedHeaders={}, Signature={signature}",
            names.join(";")
        );
        headers.insert("authorization", authorization.parse().unwrap());
        if !vector.token.is_empty() {
            headers.insert("x-amz-security-token", token);
        }
        let request = vector.request(&headers);
        let verified = verify_any(&request, &Keys(vector.token), then());
        let claim = verified
            .unwrap_or_else(|error| panic!("{}: {error:?}", vector.name))
            .claim;
        assert!(claim.covers_region("us-east-1"), "{}", vector.name);
        assert!(!claim.covers_region("us-west-2"), "{}", vector.name);
        // Services without SigV4A refuse it with a message.
        let refused = verify(&request, &Keys(vector.token), then()).unwrap_err();
        assert!(matches!(refused, SigError::Incomplete(_)), "{refused:?}");
        headers.insert("x-amz-region-set", HeaderValue::from_static("*"));
        let refused = verify_any(&vector.request(&headers), &Keys(vector.token), then());
        assert_eq!(refused.unwrap_err(), SigError::Mismatch, "{}", vector.name);
    }
}

#[test]
fn published_query_signatures_are_believed() {
    for (vector, _, signature) in vectors().filter(|(vector, ..)| vector.token.is_empty()) {
        let headers = vector.headers(false);
        let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        let request = vector.request(&headers);
        let query = format!(
            "{}&X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fservice%2Faws4_request&X-Amz-Date={DATE}&X-Amz-SignedHeaders={}&X-Amz-Expires=3600&X-Amz-Region-Set=us-east-1&X-Amz-Signature={signature}",
            request.query,
            names.join("%3B")
        );
        let request = Request {
            query: query.trim_start_matches('&'),
            ..request
        };
        let verified = verify_any(&request, &Keys(""), then());
        assert!(verified.is_ok(), "{}: {verified:?}", vector.name);
        let longer = format!("{query}&more=1");
        let request = Request {
            query: longer.trim_start_matches('&'),
            ..request
        };
        let refused = verify_any(&request, &Keys(""), then()).unwrap_err();
        assert_eq!(refused, SigError::Mismatch, "{}", vector.name);
    }
}

#[test]
fn what_is_signed_here_is_believed() {
    let secret = Secret::new(SECRET);
    let by = SigningKey {
        access_key_id: "AKIDEXAMPLE",
        secret: &secret,
        session_token: None,
        region: "",
        service: "service",
    };
    let vector = VECTORS.iter().find(|it| it.name == "get-vanilla").unwrap();
    let mut headers = vector.headers(true);
    for (name, value) in sign_asymmetric(&vector.request(&headers), &by, "*", then()) {
        headers.insert(name, value.parse().unwrap());
    }
    let claim = Claim::read(&vector.request(&headers)).unwrap();
    assert_eq!(claim.algorithm, Algorithm::EcdsaP256Sha256);
    assert!(claim.covers_region("eu-west-1"));
    let good = verify_any(&vector.request(&headers), &Keys(""), then());
    assert!(good.is_ok(), "{good:?}");
    // A truncated signature, another number, not DER, too long, and not hexadecimal.
    let whole = claim.signature.clone();
    for bad in [&whole[..whole.len() - 2], "00", "zz", &whole.repeat(2), "x"] {
        let text = headers["authorization"].to_str().unwrap();
        let text = text.replace(&whole, bad);
        let mut spoilt = headers.clone();
        spoilt.insert("authorization", text.parse().unwrap());
        let refused = verify_any(&vector.request(&spoilt), &Keys(""), then());
        assert_eq!(refused.unwrap_err(), SigError::Mismatch, "{bad}");
    }
    // The region set must be signed.
    let text = headers["authorization"].to_str().unwrap();
    let text = text.replace(";x-amz-region-set", "");
    headers.insert("authorization", text.parse().unwrap());
    let refused = verify_any(&vector.request(&headers), &Keys(""), then());
    assert!(
        matches!(refused, Err(SigError::Incomplete(_))),
        "{refused:?}"
    );
}
