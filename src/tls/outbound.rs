//! TLS towards the application.

use super::files::{Files, Parts, PemFile, doubtful_roots};
use super::live::{Live, Reloaded, Standing};
use super::{VERSIONS, protocols};
use crate::config::{Problem, Problems, Scheme, Target, UpstreamTlsSettings};
use crate::moment::Moment;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// Whom the sidecar believes to be the application, and what it shows it. Follows its files.
#[derive(Debug)]
pub struct Outbound {
    live: Live<ClientConfig>,
    server_name: ServerName<'static>,
}

impl Outbound {
    /// Reads the files for the first time; `None` if the application is not spoken to by TLS. The second value is what
    /// is doubtful.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn start(
        settings: &UpstreamTlsSettings,
        upstream: &Target,
        now: Moment,
    ) -> Result<Option<(Outbound, Problems)>, Problems> {
        if upstream.scheme != Scheme::Https {
            return Ok(None);
        }
        let server_name = match &settings.server_name.value {
            Some(name) => name.clone(),
            None => ServerName::try_from(upstream.host.clone()).map_err(|_| {
                let message = format!("the host `{}` is no name that a certificate can hold", upstream.host);
                Problems::from(
                    Problem::at_name("S003", "upstream", message).hint("set upstream_tls.server_name"),
                )
            })?,
        };
        let file = |setting, path: &std::path::PathBuf| PemFile { setting, path: path.clone() };
        let pair = settings.cert.value.as_ref().zip(settings.key.value.as_ref());
        let files = Files {
            pair: pair.map(|(cert, key)| (file("upstream_tls.cert", cert), file("upstream_tls.key", key))),
            ca: settings.ca.value.as_ref().map(|path| file("upstream_tls.ca", path)),
        };
        let (live, warnings) = Live::start(files, build, now)?;
        Ok(Some((Outbound { live, server_name }, warnings)))
    }

    /// What a new connection is to use.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.live.current()
    }

    /// The name asked for, which the application's certificate must hold.
    pub fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    /// Reads the files and takes over what changed. Blocks on files. The system's roots, which no setting names, are
    /// only read again with [`Outbound::reload`].
    pub fn poll(&self, now: Moment) -> Reloaded {
        self.live.look(now, false)
    }

    /// As [`Outbound::poll`], but everything is read and wrong files are told again.
    pub fn reload(&self, now: Moment) -> Reloaded {
        self.live.look(now, true)
    }

    /// The certificate shown to the application, if there is one, and how reloads went.
    pub fn standing(&self) -> Standing {
        self.live.standing()
    }

    pub(super) fn files(&self) -> usize {
        self.live.files()
    }
}

fn build(parts: &mut Parts, provider: &Arc<CryptoProvider>) -> Result<ClientConfig, Problems> {
    let roots = match &parts.ca {
        Some((file, certificates)) => roots(file, certificates)?,
        None => system_roots(&mut parts.warnings),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&VERSIONS)
        .map_err(|error| {
            let message = format!("no TLS can be spoken with the application: {error}");
            Problems::from(Problem::at_name("S010", "upstream", message))
        })?
        .with_root_certificates(roots);
    let mut config = match parts.identity.take() {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))),
    };
    config.alpn_protocols = protocols();
    Ok(config)
}

/// The authorities of a file, and no others.
pub(super) fn roots(
    file: &PemFile,
    certificates: &[CertificateDer<'static>],
) -> Result<RootCertStore, Problems> {
    let mut roots = RootCertStore::empty();
    for (n, certificate) in certificates.iter().enumerate() {
        roots.add(certificate.clone()).map_err(|error| {
            let message = format!("certificate {} in it cannot be an authority: {error}", n + 1);
            file.unusable(message, "name a file with the certificates of authorities only")
        })?;
    }
    Ok(roots)
}

/// The system's roots, as `SSL_CERT_FILE` and `SSL_CERT_DIR` say; Mozilla's where there are none, as in an image made
/// from nothing.
fn system_roots(warnings: &mut Problems) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        if let Some(error) = found.errors.first() {
            warnings.push(doubtful_roots(&error.to_string()));
        }
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}
