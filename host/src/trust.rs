//! Clients for everything that the host itself calls over HTTP: model endpoints, the issuer of logins, MCP servers. This is the
//! one place that makes them, so that all of them trust the same.
//!
//! A certificate is always checked, against the machine's own roots and those of `ca_file`; nothing turns that off. Redirects are
//! not followed: a credential goes where it was meant to go.

use std::net::IpAddr;
use std::sync::Arc;

use reqwest::{Certificate, ClientBuilder, Url};

/// Which certificates are trusted. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// In addition to the machine's.
    roots: Option<Arc<[Certificate]>>,
}

/// Why a file's certificates cannot be trusted. Nothing of its content is shown: it may be a key.
#[derive(Debug, thiserror::Error)]
pub enum BadCa {
    /// There is no certificate in it.
    #[error("it has no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)")]
    None,
    /// One of them is none.
    #[error("a certificate in it cannot be read")]
    Unreadable(#[source] reqwest::Error),
}

impl Trust {
    /// Trusts what the machine does.
    pub const MACHINE: Self = Self { roots: None };

    /// Trusts the certificate authorities of this PEM text too.
    pub fn with_ca(pem: &[u8]) -> Result<Self, BadCa> {
        let roots = Certificate::from_pem_bundle(pem).map_err(BadCa::Unreadable)?;
        if roots.is_empty() {
            return Err(BadCa::None);
        }
        let trust = Self { roots: Some(roots.into()) };
        // Certificates are looked into when a client is made.
        trust.builder().build().map_err(BadCa::Unreadable)?;
        Ok(trust)
    }

    /// How many certificates are trusted besides the machine's.
    pub fn authorities(&self) -> usize {
        self.roots.as_ref().map_or(0, |roots| roots.len())
    }

    /// A client for an address; one on this machine is reached without a proxy.
    pub fn client(&self, url: &Url) -> ClientBuilder {
        if is_loopback(url) { self.builder().no_proxy() } else { self.builder() }
    }

    fn builder(&self) -> ClientBuilder {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).referer(false);
        match &self.roots {
            Some(roots) => client.tls_certs_merge(roots.iter().cloned()),
            None => client,
        }
    }
}

/// Whether an address is this machine's own.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_in_every_spelling() {
        for (url, local) in [
            ("http://localhost:1/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:80/v1", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example.com/", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), local, "{url}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused_without_being_shown() {
        let pem = |kind: &str, body: &str| format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n");
        for text in [String::new(), "hush".to_owned(), pem("PRIVATE KEY", "aHVzaA==")] {
            assert!(matches!(Trust::with_ca(text.as_bytes()), Err(BadCa::None)), "{text}");
        }
        for text in [
            pem("CERTIFICATE", "aHVzaA=="),
            pem("CERTIFICATE", "hush!"),
            "-----BEGIN CERTIFICATE-----\nhush".into(),
        ] {
            let error = Trust::with_ca(text.as_bytes()).unwrap_err();
            assert!(!crate::error_chain(&error).contains("hush"), "{error:?}");
        }
    }
}
