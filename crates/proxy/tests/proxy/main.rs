//! The proxy with real sockets on loopback: scripted targets, clients that send exact bytes.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod balancing;
mod endpoints;
mod flow;
mod gateways;
mod grpc;
mod keep_alive;
mod lab;
mod limits;
mod messages;
mod modules;
mod mutual;
mod policies;
mod regions;
mod resources;
mod routing;
mod sessions;
mod target_tls;
mod telemetry;
mod tls;
mod traffic;
mod wire;
mod workloads;
