//! The gateway of a region: other cells' way into its targets and services.
//!
//! HTTP/1.1 `CONNECT` on the link address, then raw bytes both ways. It takes only what the newest snapshot
//! names, so that a cell reaches no more of this region's VPCs than Lattice would carry there:
//!
//! | Authority | Leads to |
//! |---|---|
//! | `10.0.1.10.vpc-0123456789abcdef0.target.lath:8080` | a target of a group of this region, at its own port or at its group's health check port, from the VPC's router |
//! | `web-0123….vpc-lattice-svcs.us-east-1.on.aws:80`, or a custom domain name | a listener of the service, from the router of a VPC whose service network has the service |

mod authority;
mod client;
mod head;
mod pump;
mod serve;

pub use authority::{service_authority, target_authority};
pub use client::connect;
pub use serve::serve;

pub(crate) use authority::{Destination, resolve};
pub(crate) use head::{LARGEST_HEAD, authority as authority_of};
