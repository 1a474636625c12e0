use lath_policy::*;
#[test]
fn time() {
    let mut policies = Vec::new();
    for p in 0..10 {
        let st: Vec<String> = (0..20).map(|i| format!(r#"{{"Effect":"Deny","Action":"ec2:*","Resource":"arn:aws:ec2:*:*:*/x-{p}-{i}-*","Condition":{{"StringLike":{{"aws:ResourceTag/env":"p*"}}}}}}"#)).collect();
        policies.push(Policy::parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, st.join(",")), Grammar::Identity).unwrap());
    }
    let attached: Vec<Attached<'_>> = policies.iter().map(|policy| Attached{name:"p",kind:Kind::Identity,policy}).collect();
    let who = Principal::user("1","arn:aws:iam::1:user/a");
    let facts = Context::default();
    for n in [100, 1000, 4000] {
        let t = std::time::Instant::now();
        for i in 0..n {
            let resource = format!("arn:aws:ec2:us-east-1:123456789012:instance/i-{i:017x}");
            let r = Request{principal:&who,action:"ec2:StopInstances",resource:&resource,facts:&facts};
            assert!(!evaluate(&r,&attached,Rule::SameAccount).is_allow());
        }
        println!("{n}: {:?}", t.elapsed());
    }
}
