//! Who is asked for the addresses of names.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;

use lath_model::id::VpcId;

/// What a look-up comes to.
pub type Looking<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<Ipv4Addr>>> + Send + 'a>>;

/// Knows the addresses of names.
pub trait NameLookup: Send + Sync + 'static {
    /// The addresses of a name: as the resolver of a VPC answers, or without one as the public DNS does.
    fn addresses<'a>(&'a self, vpc: Option<&'a VpcId>, name: &'a str) -> Looking<'a>;
}

/// The one who knows.
#[derive(Clone)]
pub struct Names(pub Arc<dyn NameLookup>);

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}
