//! HTTP/2 over the `h2` crate: heads in and out, and shared client connections.

mod client;
mod frames;
mod heads;
mod names;
mod pipe;
mod watched;

pub use client::{Client, ClientError, Reply};
pub use heads::{
    BadRequest, fields_from_map, map_from_fields, read_request, read_response, write_request,
    write_response,
};
pub use watched::{Hold, Watched};
