//! The proxy with real sockets on loopback: scripted targets, clients that send exact bytes.

mod flow;
mod lab;
mod routing;
mod telemetry;
mod wire;
