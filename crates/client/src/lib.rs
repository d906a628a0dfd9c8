//! Portolan in the client: a program finds services and calls them by itself, and tells
//! where it is.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use portolan_client::{Discovery, Registration};
//!
//! let discovery = Discovery::builder().registry("http://127.0.0.1:9070").start()?;
//! discovery.ready(Duration::from_secs(5)).await?;
//! let picked = discovery.service("orders")?.pick()?;
//! println!("orders are at {}", picked.address());
//!
//! let keeper = Registration::new("shop").port(8081).zone("eu-1").keep_alive()?;
//! // ... serve requests until told to stop:
//! keeper.leave_on_signal(Duration::from_secs(30)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Discovery`] follows a registry, or a Consul, a Eureka server, DNS or a file, and keeps
//! what it knows when they are gone. A [`Service`] is a live handle: its instances, a watch
//! of them, and picks with the balancing that Portolan's gateway has. What is reported of a
//! call, [`Picked::succeeded`] or [`Picked::failed`], decides who gets the next ones.
//!
//! A [`Registration`] says what an instance is, a [`Keeper`] keeps it registered: it renews
//! at a third of the TTL, registers again when the registry has lost it, goes to another
//! registry when one is away, and never gives up. The program never waits for any of this.
//!
//! Calls with retries on another instance are features, none of which is on by default:
//! `tower` (a service over any client, and over hyper-util's), `reqwest`, `tonic` (a channel
//! for generated clients). So are the sources that weigh much: `orchestrators` (Docker,
//! Kubernetes) and `clouds` (AWS Cloud Map, Google's Service Directory). `full` is all of them.
//!
//! Everything runs on the tokio runtime that it is started in.

#![deny(missing_docs)]

mod api;
#[cfg(any(feature = "tower", feature = "reqwest"))]
mod calls;
mod discovery;
mod keep;
mod keeper;
mod pace;
mod registration;
mod standing;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod tests;

#[cfg(feature = "tonic")]
pub use calls::GrpcChannel;
#[cfg(feature = "reqwest")]
pub use calls::Reqwest;
#[cfg(any(feature = "tower", feature = "reqwest"))]
pub use calls::{CallError, Counted};
#[cfg(feature = "tower")]
pub use calls::{Calls, Changes, HttpClient, Replay};
pub use discovery::{
    Attempts, BadDiscovery, Balancing, Discovery, DiscoveryBuilder, Failure, NotReady, PickError,
    Picked, Ready, Retries, Safety, Service, Source, Watch,
};
pub use keeper::{Keeper, LeaveError, Left};
pub use portolan_dialects::native::{
    AliasShape, AnswerShape, CheckShape, DockerShape, Drained, GrpcShape, H2PingShape, HttpShape,
    Misfit, PortShape, ScriptShape, Span, StatusShape, TcpShape, TlsShape, UdpShape,
};
pub use portolan_model::{
    BadName, Guard, Health, Instance, InstanceId, Metadata, Name, NamedPort, Override, Revision,
    Ruling, ServiceKey, SourceId, State, Timestamp, Traffic, Weight,
};
pub use portolan_runtime::Env;
pub use portolan_wire::{call::BadUrl, tls::TlsFileError};
pub use registration::{BadRegistration, Registration};
pub use serde_json::Value;
pub use standing::{Registered, Standing};
