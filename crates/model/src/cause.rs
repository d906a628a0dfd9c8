//! Why a request did not get the answer that it wanted.
//!
//! One list for faults, access records and metrics. The names are the error
//! types of RFC 9209 (Proxy-Status) where one fits, and are the cause ids that
//! clients see. `docs/reference/causes.md` is generated from this table.

use serde::Serialize;

/// Whose side a fault is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The client sent something wrong, or went away.
    Client,
    /// The service behind did not do its part.
    Upstream,
    /// Portolan, by its configuration or by a defect.
    Gateway,
}

macro_rules! causes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $id:literal, $side:ident, $status:literal;)+) => {
        /// A cause code, stable for clients and dashboards.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Cause { $($(#[doc = $doc])+ $variant,)+ }

        impl Cause {
            /// Every cause, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The id that clients, logs and metrics show.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// Whose side it is on.
            #[must_use]
            pub const fn side(self) -> Side {
                match self { $(Self::$variant => Side::$side,)+ }
            }

            /// The HTTP status that stands for it; 0 where no answer can be sent.
            /// Only the gateway's answer writer may look.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// What it means, for the reference.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+),)+ }
            }
        }
    };
}

causes! {
    /// The request is not HTTP, or is ambiguous about where it ends.
    RequestMalformed = "http_request_malformed", Client, 400;
    /// The request has a transfer coding that is not implemented.
    CodingUnsupported = "http_request_coding_unsupported", Client, 501;
    /// The request has a version of HTTP that is not spoken here.
    VersionUnsupported = "http_version_unsupported", Client, 505;
    /// The request's head is larger than the limit.
    HeadTooLarge = "http_request_head_too_large", Client, 431;
    /// The request's target is longer than the limit.
    UriTooLong = "http_request_uri_too_long", Client, 414;
    /// The request's body is larger than the limit.
    BodyTooLarge = "http_request_body_too_large", Client, 413;
    /// The client took too long to send its request.
    RequestTimeout = "http_request_timeout", Client, 408;
    /// The request expects something other than 100-continue.
    ExpectationFailed = "http_expectation_failed", Client, 417;
    /// The method is not served, like CONNECT to a gateway.
    MethodUnsupported = "http_method_unsupported", Client, 405;
    /// The request is meant for a host that another connection must serve.
    Misdirected = "http_misdirected_request", Client, 421;
    /// The client went away before the answer was complete.
    ClientGone = "client_disconnected", Client, 0;
    /// A policy refused the request.
    Denied = "http_request_denied", Client, 403;
    /// No route matches the request's host, path, method, headers and query.
    RouteUnknown = "route_not_found", Client, 404;
    /// No service has that name.
    ServiceUnknown = "service_not_found", Client, 404;
    /// The service exists and none of its instances may get traffic.
    NoInstance = "destination_unavailable", Upstream, 503;
    /// The address of the destination could not be looked up.
    DnsFailed = "dns_error", Upstream, 502;
    /// The connection to the instance was refused.
    ConnectRefused = "connection_refused", Upstream, 502;
    /// The connection to the instance took too long.
    ConnectTimeout = "connection_timeout", Upstream, 504;
    /// The instance can't be reached over the network.
    ConnectFailed = "destination_ip_unroutable", Upstream, 502;
    /// The TLS handshake with the instance failed.
    TlsFailed = "tls_protocol_error", Upstream, 502;
    /// The instance's certificate is not acceptable.
    TlsCertificate = "tls_certificate_error", Upstream, 502;
    /// The instance closed the connection before it answered.
    ConnectionClosed = "connection_terminated", Upstream, 502;
    /// The instance did not begin its answer in time.
    FirstByteTimeout = "connection_read_timeout", Upstream, 504;
    /// The instance did not take the request in time.
    WriteTimeout = "connection_write_timeout", Upstream, 504;
    /// The request as a whole took too long.
    TotalTimeout = "http_response_timeout", Upstream, 504;
    /// Nothing moved between client and instance for too long.
    IdleTimeout = "http_idle_timeout", Upstream, 504;
    /// The instance's answer is not HTTP, or is ambiguous about where it ends.
    ResponseMalformed = "http_protocol_error", Upstream, 502;
    /// The head of the instance's answer is larger than the limit.
    ResponseHeadTooLarge = "http_response_header_section_size", Upstream, 502;
    /// The instance's answer ended before it was complete.
    ResponseIncomplete = "http_response_incomplete", Upstream, 502;
    /// The instance did not agree to the protocol upgrade as it must.
    UpgradeFailed = "http_upgrade_failed", Upstream, 502;
    /// Too many requests or connections are open for this instance or gateway.
    Overloaded = "connection_limit_reached", Gateway, 503;
    /// The gateway is shutting down.
    Draining = "proxy_draining", Gateway, 503;
    /// The request came back to the gateway that sent it.
    Loop = "proxy_loop_detected", Gateway, 508;
    /// The object that should serve this is quarantined by a configuration error.
    Misconfigured = "proxy_configuration_error", Gateway, 500;
    /// A defect in the gateway; the log has its details.
    Internal = "proxy_internal_error", Gateway, 500;
}

impl Serialize for Cause {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_ids_are_unique() {
        let mut ids: Vec<_> = Cause::ALL.iter().map(|cause| cause.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Cause::ALL.len());
    }
}
