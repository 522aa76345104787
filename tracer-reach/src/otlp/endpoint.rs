//! Where the collector is.

use std::{fmt, net::IpAddr, str::FromStr};

use ureq::http::Uri;

/// The base URL of a collector, such as `http://127.0.0.1:4318`. The paths of the signals are appended to it, as to
/// `OTEL_EXPORTER_OTLP_ENDPOINT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    base: String,
    host: String,
}

/// Why a text is no URL of a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is no URL.
    #[error("this is no URL: name the collector as in http://127.0.0.1:4318")]
    NoUrl,
    /// It asks for TLS.
    #[error(
        "tracer has no TLS: name a collector on this machine as in http://127.0.0.1:4318, and have that one use TLS and tokens \
         on the way out"
    )]
    Tls,
    /// It has a user or a password.
    #[error(
        "a URL with a user or a password is not used: name a collector on this machine without, and have that one log in"
    )]
    Secret,
    /// It has the path of a signal.
    #[error("leave out /v1/logs and /v1/metrics at its end: tracer appends them")]
    Signal,
    /// It has a query.
    #[error("a URL with `?` or `#` is not used: name the collector as in http://127.0.0.1:4318")]
    Query,
}

impl Endpoint {
    /// URL of a signal, `logs` or `metrics`.
    pub(super) fn url(&self, signal: &str) -> String {
        format!("{}/v1/{signal}", self.base)
    }

    /// Whether what is sent stays on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.contains(['?', '#']) {
            return Err(EndpointError::Query);
        }
        let uri: Uri = text.parse().map_err(|_| EndpointError::NoUrl)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(EndpointError::Tls),
            _ => return Err(EndpointError::NoUrl),
        }
        let authority = uri.authority().ok_or(EndpointError::NoUrl)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Secret);
        }
        let path = uri.path().trim_end_matches('/');
        if path.ends_with("/v1/logs") || path.ends_with("/v1/metrics") {
            return Err(EndpointError::Signal);
        }
        let host = authority.host().to_owned();
        // `http` takes `http://:4318` and `http://host:`.
        let port = authority.as_str().strip_prefix(&host).unwrap_or_default();
        if host.is_empty() || port == ":" || !port.is_empty() && authority.port_u16().is_none() {
            return Err(EndpointError::NoUrl);
        }
        Ok(Self { base: format!("http://{authority}{path}"), host })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> Result<String, EndpointError> {
        text.parse::<Endpoint>().map(|endpoint| endpoint.url("logs"))
    }

    #[test]
    fn the_path_of_the_signal_is_appended() {
        for (text, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/logs"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/logs"),
            ("HTTP://[::1]:4318", "http://[::1]:4318/v1/logs"),
            ("http://node.example/otlp/", "http://node.example/otlp/v1/logs"),
        ] {
            assert_eq!(base(text).unwrap(), url, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        use EndpointError::{NoUrl, Query, Secret, Signal, Tls};
        for (text, error) in [
            ("", NoUrl),
            ("127.0.0.1:4318", NoUrl),
            ("/v1/logs", NoUrl),
            ("grpc://127.0.0.1:4317", NoUrl),
            ("http://", NoUrl),
            ("http://:4318", NoUrl),
            ("http://host:", NoUrl),
            ("http://host:99999", NoUrl),
            ("http://a b", NoUrl),
            ("https://collector.example:4318", Tls),
            ("http://me:secret@127.0.0.1:4318", Secret),
            ("http://127.0.0.1:4318/v1/logs", Signal),
            ("http://127.0.0.1:4318/v1/metrics/", Signal),
            ("http://127.0.0.1:4318?token=1", Query),
            ("http://127.0.0.1:4318/#a", Query),
        ] {
            assert_eq!(base(text), Err(error), "{text}");
        }
    }

    #[test]
    fn only_loopback_stays_on_this_machine() {
        let is_local = |text: &str| text.parse::<Endpoint>().unwrap().is_local();
        assert!(is_local("http://127.0.0.1:1") && is_local("http://[::1]:1"));
        assert!(is_local("http://localhost:1"));
        assert!(!is_local("http://10.0.0.1:1") && !is_local("http://localhost.example:1"));
    }
}
