//! TLS towards clients.

use super::files::{Files, Parts, PemFile};
use super::live::{Live, Reloaded, Standing};
use super::{VERSIONS, protocols};
use crate::config::{Problems, TlsSettings};
use crate::moment::Moment;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use std::sync::Arc;

/// The certificate shown to clients, and what is asked of them. Follows its files.
#[derive(Debug)]
pub struct Inbound(Live<ServerConfig>);

impl Inbound {
    /// Reads the files for the first time; `None` if the settings name none. The second value is what is doubtful.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn start(settings: &TlsSettings, now: Moment) -> Result<Option<(Inbound, Problems)>, Problems> {
        let (Some(cert), Some(key)) = (&settings.cert.value, &settings.key.value) else { return Ok(None) };
        let file = |setting, path: &std::path::PathBuf| PemFile { setting, path: path.clone() };
        let files = Files {
            pair: Some((file("tls.cert", cert), file("tls.key", key))),
            ca: settings.client_ca.value.as_ref().map(|path| file("tls.client_ca", path)),
        };
        let (live, warnings) = Live::start(files, build, now)?;
        Ok(Some((Inbound(live), warnings)))
    }

    /// What a new connection is to use.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.0.current()
    }

    /// Reads the files and takes over what changed. Blocks on files.
    pub fn poll(&self, now: Moment) -> Reloaded {
        self.0.look(now, false)
    }

    /// As [`Inbound::poll`], but wrong files are told again, as whoever asked wants to know.
    pub fn reload(&self, now: Moment) -> Reloaded {
        self.0.look(now, true)
    }

    /// The certificate in force, and how reloads went.
    pub fn standing(&self) -> Standing {
        self.0.standing()
    }

    pub(super) fn files(&self) -> usize {
        self.0.files()
    }
}

fn build(parts: &mut Parts, provider: &Arc<CryptoProvider>) -> Result<ServerConfig, Problems> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&VERSIONS)
        .map_err(|error| unexpected(&error))?;
    let identity = parts.identity.take().ok_or_else(|| unexpected(&"there is no certificate"))?;
    let resolver = Arc::new(SingleCertAndKey::from(identity));
    let mut config = match &parts.ca {
        None => builder.with_no_client_auth().with_cert_resolver(resolver),
        Some((file, certificates)) => {
            let roots = super::outbound::roots(file, certificates)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| {
                    file.unusable(
                        format!("no client can be checked by it: {error}"),
                        "name the file of a certificate authority",
                    )
                })?;
            builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver)
        }
    };
    config.alpn_protocols = protocols();
    config.max_early_data_size = 0;
    // Sessions are in the clients' hands, sealed, so that they cost no memory here and any worker resumes them. Where
    // clients show certificates nothing is resumed: each handshake checks them anew.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match (&parts.ca, Ticketer::new()) {
        (None, Ok(ticketer)) => config.ticketer = ticketer,
        _ => config.send_tls13_tickets = 0,
    }
    Ok(config)
}

/// What cannot happen with the files read and the provider at hand, and must not end the process if it does.
fn unexpected(error: &dyn std::fmt::Display) -> Problems {
    crate::config::Problem::at_name("S010", "tls.cert", format!("no TLS can be made of it: {error}"))
        .hint("use a certificate for an ECDSA P-256 or RSA key")
        .into()
}
