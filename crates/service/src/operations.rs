/// Declares operations, one after another: everything about them but what they do.
///
/// ```text
/// for App as "prefix";
/// WAY Operation as "Action": METHOD "/path/{label}" STATUS -> Output = function, WORD
///     => NEEDS
///     => refusing ["Place." Structure];
/// ```
///
/// - `App` is the service that handles them, `prefix` that of their actions in policies.
/// - `WAY` is `read` (the function is `fn(&App, &View, &Operation)`), `change` (`fn(&App, &mut Tx, Operation)`, in one
///   transaction) or `asynchronous` (`async fn(&App, &Caller, Operation)`). Each returns `Result<Output, ApiError>`.
/// - `as "Action"` stands where the action in policies has another name than the operation.
/// - The route stands for REST services only.
/// - Of the words, none is needed: `dry_run` (the request has a member `dry_run`), `caller` (the function of a `read` or
///   `change` takes the [`Caller`](crate::Caller) before the request), `checked` (the request is
///   [`Checked`](crate::Checked) before the function runs), `unsigned` (requests need no signature: the function
///   judges what they prove), `located` (the answer has headers:
///   [`Located`](crate::Located)), `carried` (a body is no structure: [`Carried`](crate::Carried)), `awaited` (waiters get the answer once it is of a settled state:
///   [`Awaited`](crate::Awaited)).
///   An `asynchronous` function does both itself, so that `dry_run` and `caller` do not compile there.
/// - `NEEDS` is what the caller must be allowed, in the methods of [`Access`](lath_authz::Access).
/// - `refusing` names the structures of the request that have members which Lath refuses, and where they are in it, for
///   the compatibility table ([`Refuses`](crate::Refuses)).
///
/// Makes `register`, which adds them to a [`Service`](crate::Service).
#[macro_export]
macro_rules! operations {
    (
        for $app:ty as $prefix:literal;
        $(
            $way:ident $op:ident $(as $action:literal)? $(: $method:ident $path:literal $status:literal)?
                -> $out:ty = $f:path $(, $word:ident)*
                => $($need:ident($($of_need:tt)*)).+
                $(=> refusing [$($place:literal $of:ty),* $(,)?])?;
        )*
    ) => {
        $(
            impl $crate::Authorized for $op {
                const SERVICE: &'static str = $prefix;
                $(const ACTION: &'static str = $action;)?

                fn access() -> $crate::Access<Self> {
                    $crate::Access::<Self>::new()$(.$need($($of_need)*))+
                }
            }

            impl $crate::Operation for $op {
                const NAME: &'static str = stringify!($op);
                $(const ROUTE: Option<$crate::Route> = Some($crate::Route::$method($path, $status));)?
                type Output = $out;

                fn refused() -> Vec<String> {
                    Vec::<Vec<String>>::from([
                        $($($crate::names_at::<$of>($place)),*)?
                    ])
                    .concat()
                }

                $($crate::_of_operation!($word);)*
            }

            impl $crate::Handle<$op> for $app {
                async fn handle(
                    &self,
                    caller: &$crate::Caller,
                    op: $op,
                ) -> Result<$out, $crate::ApiError> {
                    $crate::_handle!($way, $f, self, caller, op; $($word)*)
                }
            }
        )*

        /// Registers the operations of this module.
        pub(crate) fn register(
            service: $crate::Service,
            app: &std::sync::Arc<$app>,
        ) -> $crate::Service {
            service$(.on::<$op>(app))*
        }
    };
}

/// What a word adds to the operation itself.
#[doc(hidden)]
#[macro_export]
macro_rules! _of_operation {
    (checked) => {
        fn validate(&self, problems: &mut $crate::Problems) {
            $crate::Checked::check(self, problems);
        }
    };
    (located) => {
        fn headers(output: &Self::Output) -> Vec<(&'static str, String)> {
            $crate::Located::headers(output)
        }
    };
    (carried) => {
        const PAYLOAD: Option<&'static str> = <Self as $crate::Carried>::MEMBER;
        const FROM_HEADERS: &'static [&'static str] = <Self as $crate::Carried>::HEADERS;

        fn raw(output: &Self::Output) -> Option<$crate::Raw> {
            <Self as $crate::Carried>::raw_of(output)
        }
    };
    (awaited) => {
        fn is_unsettled(output: &Self::Output) -> bool {
            $crate::Awaited::is_unsettled(output)
        }
    };
    (unsigned) => {
        const UNSIGNED: bool = true;
    };
    (dry_run) => {};
    (caller) => {};
}

/// Runs the function in its way.
#[doc(hidden)]
#[macro_export]
macro_rules! _handle {
    (read, $f:path, $app:expr, $caller:expr, $op:expr; $($word:ident)*) => {
        $crate::run::read($app, $crate::_dry_run!($op; $($word)*), |view| {
            $crate::_call!($f, $app, view, $caller, &$op; $($word)*)
        })
    };
    (change, $f:path, $app:expr, $caller:expr, $op:expr; $($word:ident)*) => {{
        let dry_run: Option<bool> = $crate::_dry_run!($op; $($word)*);
        $crate::run::change($app, dry_run, |tx| {
            $crate::_call!($f, $app, tx, $caller, $op; $($word)*)
        })
        .await
    }};
    (asynchronous, $f:path, $app:expr, $caller:expr, $op:expr; $($word:ident)*) => {{
        $crate::_of_asynchronous!($($word)*);
        $crate::App::admit($app, $crate::Way::Asynchronous)?;
        $f($app, $caller, $op).await
    }};
}

/// Refuses the words that do nothing for an `asynchronous` operation, whose function reads the whole request itself.
///
/// ```
/// lath_service::_of_asynchronous!(checked located);
/// ```
///
/// ```compile_fail
/// lath_service::_of_asynchronous!(located dry_run);
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! _of_asynchronous {
    (dry_run $($word:ident)*) => {
        compile_error!("an asynchronous operation reads `dry_run` of its request itself: leave out the word")
    };
    (caller $($word:ident)*) => {
        compile_error!("an asynchronous operation takes the caller always: leave out the word")
    };
    ($other:ident $($word:ident)*) => { $crate::_of_asynchronous!($($word)*) };
    () => {};
}

/// The request's dry run, where it has one.
#[doc(hidden)]
#[macro_export]
macro_rules! _dry_run {
    ($op:expr; dry_run $($word:ident)*) => { $op.dry_run };
    ($op:expr; $other:ident $($word:ident)*) => { $crate::_dry_run!($op; $($word)*) };
    ($op:expr;) => { None };
}

/// Calls the function, with the caller where it takes it.
#[doc(hidden)]
#[macro_export]
macro_rules! _call {
    ($f:path, $app:expr, $state:expr, $caller:expr, $op:expr; caller $($word:ident)*) => {
        $f($app, $state, $caller, $op)
    };
    ($f:path, $app:expr, $state:expr, $caller:expr, $op:expr; $other:ident $($word:ident)*) => {
        $crate::_call!($f, $app, $state, $caller, $op; $($word)*)
    };
    ($f:path, $app:expr, $state:expr, $caller:expr, $op:expr;) => {
        $f($app, $state, $op)
    };
}
