//! Requests to others, each with an end.
//!
//! In: an address and what is sent there. Out: the status and the beginning of the answer, or why there is none. TLS trusts whom the
//! system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` count). `https_proxy` and its like are followed; other addresses that an answer
//! names are not.

use std::sync::Arc;
use std::time::Instant;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// The longest head of an answer that is read, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Whoever asks.
pub(crate) struct Client(Agent);

/// Whom the system trusts. What cannot be read of it is left out.
fn roots() -> Result<Vec<Certificate<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    let roots: Vec<_> = found.certs.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        let hint = "install the system's certificates, or set SSL_CERT_FILE";
        return Err(format!("this system trusts no certificate authority{why}; {hint}"));
    }
    Ok(roots)
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// What it says; bytes that are no text are replaced.
    pub(crate) body: String,
}

impl Client {
    /// One that asks at this address.
    ///
    /// # Errors
    /// When it needs TLS and nobody is trusted.
    pub(crate) fn new(url: &str) -> Result<Client, String> {
        let roots = if url.starts_with("http://") { Vec::new() } else { roots()? };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEAD)
            .max_idle_connections(1)
            .user_agent(concat!("waxseal/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Client(config.new_agent()))
    }

    /// Sends text, and takes at most `limit` bytes of the answer, all of it before `end`.
    ///
    /// # Errors
    /// When nobody answers in time, or says more.
    pub(crate) fn post(&self, url: &str, body: &str, limit: u64, end: Instant) -> Result<Answer, String> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("it takes too long".to_owned());
        }
        let request = self.0.post(url).config().timeout_global(Some(left)).build();
        let request = request.content_type("text/plain; charset=utf-8");
        let mut response = request.send(body).map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let read = response.body_mut().with_config().limit(limit).read_to_vec();
        let bytes = read.map_err(|error| error.to_string())?;
        Ok(Answer { status, body: String::from_utf8_lossy(&bytes).into_owned() })
    }
}
