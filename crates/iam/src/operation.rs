//! How operations are declared: `change` ones run in a transaction, `read` ones on a view.

/// `change Op -> Output = function => on(&USER, |op, _| ...);` or `read ...`, one line per operation. The function
/// takes the service, the transaction or view, the caller and the request. After the arrow stands what the operation
/// needs permission for, in the methods of [`lath_authz::Access`]. Makes `register`.
macro_rules! operations {
    ($($kind:ident $op:ident -> $out:ty = $f:path => $($need:ident($($of_need:tt)*)).+;)*) => {
        $(
            impl lath_authz::Authorized for $op {
                const SERVICE: &'static str = "iam";

                fn access() -> lath_authz::Access<Self> {
                    lath_authz::Access::<Self>::new()$(.$need($($of_need)*))+
                }
            }
            impl lath_wire::Operation for $op {
                const NAME: &'static str = stringify!($op);
                type Output = $out;
            }
            $crate::operation::$kind!($op -> $out = $f);
        )*

        /// Registers the operations of this module.
        pub(crate) fn register(
            service: lath_wire::Service,
            app: &std::sync::Arc<$crate::Iam>,
        ) -> lath_wire::Service {
            service$(.on::<$op>(app))*
        }
    };
}

macro_rules! change {
    ($op:ident -> $out:ty = $f:path) => {
        impl lath_wire::Handle<$op> for $crate::Iam {
            async fn handle(
                &self,
                caller: &lath_wire::Caller,
                op: $op,
            ) -> Result<$out, lath_wire::ApiError> {
                self.check_home()?;
                self.cell.db.write(|tx| $f(self, tx, caller, &op)).await
            }
        }
    };
}

macro_rules! read {
    ($op:ident -> $out:ty = $f:path) => {
        impl lath_wire::Handle<$op> for $crate::Iam {
            async fn handle(
                &self,
                caller: &lath_wire::Caller,
                op: $op,
            ) -> Result<$out, lath_wire::ApiError> {
                $f(self, &self.cell.db.view(), caller, &op)
            }
        }
    };
}

pub(crate) use {change, operations, read};
