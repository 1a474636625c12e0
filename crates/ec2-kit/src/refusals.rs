//! What requests ask for that Lath cannot honour.

use lath_wire::ApiError;

/// `Structure { member, other as "Name" }`: what AWS knows of a request's structure and Lath cannot honour.
/// Makes [`Refuses`](lath_service::Refuses); a name stands where the wire's is not the member's.
#[macro_export]
macro_rules! refused {
    ($($structure:ident { $($member:ident $(as $name:literal)?),* $(,)? })*) => {$(
        impl lath_service::Refuses for $structure {
            fn names() -> Vec<String> {
                vec![$(lath_service::wire_name(
                    stringify!($member),
                    None::<&str>$(.or(Some($name)))?,
                )),*]
            }

            fn refuse(&self) -> Result<(), lath_wire::ApiError> {
                use lath_service::Asks as _;
                let asked = [$(self.$member.asks()),*];
                $crate::refusals::refuse_first(&Self::names(), &asked)
            }
        }
    )*};
}

pub use refused;

/// See `refused!`.
pub fn refuse_first(names: &[String], asked: &[bool]) -> Result<(), ApiError> {
    let mut set = names.iter().zip(asked).filter(|(_, asked)| **asked);
    match set.next() {
        None => Ok(()),
        Some((name, _)) => Err(lath_ec2_records::errors::unsupported(format!(
            "The parameter {name} is not supported."
        ))),
    }
}
