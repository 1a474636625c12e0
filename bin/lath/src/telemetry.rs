//! Lath's own log: to standard error, for people or as JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The libraries of DNS and TLS warn about malformed messages of clients, who could fill the log with them.
const USUAL: &str = "info,hickory_proto=error,rustls=error";

/// Sets up the log. `LATH_LOG` filters it, in the form `info,lath_proxy=debug`.
pub(crate) fn init(json: bool) {
    let filter = EnvFilter::try_from_env("LATH_LOG").unwrap_or_else(|_| EnvFilter::new(USUAL));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if json {
        builder.json().init();
    } else {
        builder.with_target(false).init();
    }
}
