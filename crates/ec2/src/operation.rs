//! How operations are declared: `change` ones run in a transaction that a dry run does not keep, `read`
//! ones on a view.

use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::Ec2;
use crate::errors::dry_run;

impl Ec2 {
    /// Runs `f` in a transaction; a dry run does all of it, keeps nothing and answers `DryRunOperation`.
    pub(crate) async fn change<T: Send>(
        &self,
        dry: Option<bool>,
        f: impl FnOnce(&mut Tx) -> Result<T, ApiError> + Send,
    ) -> Result<T, ApiError> {
        self.cell
            .db
            .write(|tx| {
                let answer = f(tx)?;
                rehearsed(dry).map(|()| answer)
            })
            .await
    }

    /// Runs `f` on the newest state; a dry run answers `DryRunOperation`.
    pub(crate) fn read<T>(
        &self,
        dry: Option<bool>,
        f: impl FnOnce(&View) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let answer = f(&self.cell.db.view())?;
        rehearsed(dry).map(|()| answer)
    }
}

fn rehearsed(dry: Option<bool>) -> Result<(), ApiError> {
    if dry == Some(true) {
        return Err(dry_run());
    }
    Ok(())
}

/// `change Op -> Output = function, dry_run => on(&VPC, |op, _| ...);` or `read ...`, one line per operation. The
/// function takes the service, the transaction or view, and the request. After the arrow stands what the operation
/// needs permission for, in the methods of [`lath_authz::Access`]. `=> refusing ["Place." Structure]` names the
/// structures of the request that refuse members, for the compatibility table. Makes `register`.
macro_rules! operations {
    ($(
        $kind:ident $op:ident -> $out:ty = $f:path $(, $dry:ident)?
        => $($need:ident($($of_need:tt)*)).+
        $(=> refusing [$($place:literal $of:ty),*])?;
    )*) => {
        $(
            impl lath_authz::Authorized for $op {
                const SERVICE: &'static str = "ec2";

                fn access() -> lath_authz::Access<Self> {
                    lath_authz::Access::<Self>::new()$(.$need($($of_need)*))+
                }
            }
            impl lath_wire::Operation for $op {
                const NAME: &'static str = stringify!($op);
                type Output = $out;

                fn refused() -> Vec<String> {
                    Vec::<Vec<String>>::from([
                        $($($crate::operation::names_at::<$of>($place)),*)?
                    ])
                    .concat()
                }
            }
            $crate::operation::$kind!($op -> $out = $f $(, $dry)?);
        )*

        /// Registers the operations of this module.
        pub(crate) fn register(
            service: lath_wire::Service,
            app: &std::sync::Arc<$crate::Ec2>,
        ) -> lath_wire::Service {
            service$(.on::<$op>(app))*
        }
    };
}

macro_rules! change {
    ($op:ident -> $out:ty = $f:path $(, $dry:ident)?) => {
        impl lath_wire::Handle<$op> for $crate::Ec2 {
            async fn handle(
                &self,
                _caller: &lath_wire::Caller,
                op: $op,
            ) -> Result<$out, lath_wire::ApiError> {
                let dry: Option<bool> = None$(.or(op.$dry))?;
                self.change(dry, |tx| $f(self, tx, op)).await
            }
        }
    };
}

macro_rules! read {
    ($op:ident -> $out:ty = $f:path $(, $dry:ident)?) => {
        impl lath_wire::Handle<$op> for $crate::Ec2 {
            async fn handle(
                &self,
                _caller: &lath_wire::Caller,
                op: $op,
            ) -> Result<$out, lath_wire::ApiError> {
                let dry: Option<bool> = None$(.or(op.$dry))?;
                self.read(dry, |view| $f(self, view, &op))
            }
        }
    };
}

/// `Structure { member, other as "Name" }`: what AWS knows of a request's structure and Lath cannot honour.
/// Makes [`Refuses`]; a name stands where the wire's is not the member's.
macro_rules! refused {
    ($($structure:ident { $($member:ident $(as $name:literal)?),* $(,)? })*) => {$(
        impl $crate::operation::Refuses for $structure {
            fn names() -> Vec<String> {
                vec![$($crate::operation::wire_name(
                    stringify!($member),
                    None::<&str>$(.or(Some($name)))?,
                )),*]
            }

            fn refuse(&self) -> Result<(), lath_wire::ApiError> {
                use $crate::operation::Asks as _;
                let asked = [$(self.$member.asks()),*];
                $crate::operation::refuse_first(&Self::names(), &asked)
            }
        }
    )*};
}

pub(crate) use {change, operations, read, refused};

/// A structure of a request with members that AWS knows and Lath refuses when they are set.
pub(crate) trait Refuses {
    /// What the wire calls them.
    fn names() -> Vec<String>;
    /// Refuses the first that is set.
    ///
    /// # Errors
    /// `UnsupportedOperation`.
    fn refuse(&self) -> Result<(), ApiError>;
}

/// See `operations!`.
pub(crate) fn names_at<T: Refuses>(place: &str) -> Vec<String> {
    let names = T::names().into_iter();
    names.map(|name| format!("{place}{name}")).collect()
}

/// The given name, or the member's own: `ipv6_pool` is `Ipv6Pool`.
pub(crate) fn wire_name(member: &str, given: Option<&str>) -> String {
    if let Some(given) = given {
        return given.to_owned();
    }
    let words = member.split('_').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect()
}

/// See `refused!`.
pub(crate) fn refuse_first(names: &[String], asked: &[bool]) -> Result<(), ApiError> {
    let mut set = names.iter().zip(asked).filter(|(_, asked)| **asked);
    match set.next() {
        None => Ok(()),
        Some((name, _)) => Err(crate::errors::unsupported(format!(
            "The parameter {name} is not supported."
        ))),
    }
}

/// Whether a member asks for something.
pub(crate) trait Asks {
    /// Absent members, `false`, empty texts and empty lists ask for nothing.
    fn asks(&self) -> bool;
}

impl Asks for bool {
    fn asks(&self) -> bool {
        *self
    }
}

impl Asks for String {
    fn asks(&self) -> bool {
        !self.is_empty()
    }
}

impl Asks for i32 {
    fn asks(&self) -> bool {
        true
    }
}

impl<T> Asks for Vec<T> {
    fn asks(&self) -> bool {
        !self.is_empty()
    }
}

impl<T: Asks> Asks for Option<T> {
    fn asks(&self) -> bool {
        self.as_ref().is_some_and(Asks::asks)
    }
}
