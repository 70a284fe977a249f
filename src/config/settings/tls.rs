//! The settings of TLS, on both sides: which files, and whom to expect.

use super::super::gather::{Gather, Sourced};
use super::super::problem::{Problem, Severity};
use super::super::table::{self, Setting};
use super::super::values::{self, Scheme, Target};
use super::{Entry, UNUSED, contradiction, entry, path_text};
use rustls::pki_types::ServerName;
use std::path::PathBuf;

/// TLS towards clients. Certificate and key are both there or neither; a client CA only beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate and what links it to a root, PEM, the certificate first.
    pub cert: Sourced<Option<PathBuf>>,
    /// Its private key, PEM.
    pub key: Sourced<Option<PathBuf>>,
    /// Who must have signed the clients' certificates, PEM; without it clients need none.
    pub client_ca: Sourced<Option<PathBuf>>,
}

/// TLS towards the application. Certificate and key are both there or neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTlsSettings {
    /// Who must have signed the application's certificate, PEM, instead of the system's roots.
    pub ca: Sourced<Option<PathBuf>>,
    /// The certificate shown to the application, PEM.
    pub cert: Sourced<Option<PathBuf>>,
    /// Its private key, PEM.
    pub key: Sourced<Option<PathBuf>>,
    /// The name asked for and checked, if not the host of `upstream`.
    pub server_name: Sourced<Option<ServerName<'static>>>,
}

impl TlsSettings {
    pub(super) fn read(gather: &mut Gather<'_>) -> TlsSettings {
        TlsSettings {
            cert: file(gather, &table::TLS_CERT),
            key: file(gather, &table::TLS_KEY),
            client_ca: file(gather, &table::TLS_CLIENT_CA),
        }
    }

    pub(super) fn agree(&self, gather: &mut Gather<'_>) {
        pair(gather, (&table::TLS_CERT, &self.cert), (&table::TLS_KEY, &self.key));
        if self.client_ca.value.is_some() && self.cert.value.is_none() && self.key.value.is_none() {
            let message = "`tls.client_ca` stands without `tls.cert` and `tls.key`: there is no TLS to ask for clients' certificates";
            let hint = "set tls.cert (--tls-cert) and tls.key (--tls-key), or remove it";
            gather.error_at(&self.client_ca.source, contradiction(message.to_owned(), hint));
        }
    }

    pub(super) fn entries(&self) -> [Entry; 3] {
        [
            entry(&table::TLS_CERT, &self.cert, path_text),
            entry(&table::TLS_KEY, &self.key, path_text),
            entry(&table::TLS_CLIENT_CA, &self.client_ca, path_text),
        ]
    }
}

impl UpstreamTlsSettings {
    pub(super) fn read(gather: &mut Gather<'_>) -> UpstreamTlsSettings {
        let name = |text: &str| values::server_name(text).map(Some);
        UpstreamTlsSettings {
            ca: file(gather, &table::UPSTREAM_CA),
            cert: file(gather, &table::UPSTREAM_CERT),
            key: file(gather, &table::UPSTREAM_KEY),
            server_name: gather.one(&table::UPSTREAM_SERVER_NAME, name, || None),
        }
    }

    pub(super) fn agree(&self, upstream: &Sourced<Target>, gather: &mut Gather<'_>) {
        pair(gather, (&table::UPSTREAM_CERT, &self.cert), (&table::UPSTREAM_KEY, &self.key));
        let target = &upstream.value;
        if target.scheme != Scheme::Https {
            let said = [
                (&table::UPSTREAM_CA, self.ca.value.is_some(), &self.ca.source),
                (&table::UPSTREAM_CERT, self.cert.value.is_some(), &self.cert.source),
                (&table::UPSTREAM_KEY, self.key.value.is_some(), &self.key.source),
                (&table::UPSTREAM_SERVER_NAME, self.server_name.value.is_some(), &self.server_name.source),
            ];
            for (setting, _, source) in said.into_iter().filter(|(_, is_set, _)| *is_set) {
                let message =
                    format!("`{}` has no effect: `upstream` {target} is spoken to without TLS", setting.key);
                let hint =
                    format!("write https://{} for the upstream, or remove the setting", target.authority());
                let problem = Problem::at_name(UNUSED, &source.to_string(), message).hint(hint);
                gather.warnings.push(problem.severity(Severity::Warning));
            }
        } else if self.server_name.value.is_none() && values::server_name(&target.host).is_err() {
            let message = format!("the host `{}` is no name that a certificate can hold", target.host);
            let hint = "set upstream_tls.server_name (--upstream-server-name) to the name in the application's certificate";
            gather.error_at(&upstream.source, contradiction(message, hint));
        }
    }

    pub(super) fn entries(&self) -> [Entry; 4] {
        [
            entry(&table::UPSTREAM_CA, &self.ca, path_text),
            entry(&table::UPSTREAM_CERT, &self.cert, path_text),
            entry(&table::UPSTREAM_KEY, &self.key, path_text),
            entry(&table::UPSTREAM_SERVER_NAME, &self.server_name, |name| {
                name.as_ref()
                    .map_or_else(|| "the upstream's host".to_owned(), |name| name.to_str().into_owned())
            }),
        ]
    }
}

fn file(gather: &mut Gather<'_>, setting: &'static Setting) -> Sourced<Option<PathBuf>> {
    gather.one(setting, |text| values::path(text).map(Some), || None)
}

/// A certificate is of no use without its key, and the reverse.
fn pair(
    gather: &mut Gather<'_>,
    (cert_setting, cert): (&Setting, &Sourced<Option<PathBuf>>),
    (key_setting, key): (&Setting, &Sourced<Option<PathBuf>>),
) {
    let (there, missing, source, holds) = match (&cert.value, &key.value) {
        (Some(_), None) => (cert_setting, key_setting, &cert.source, "the certificate's private key"),
        (None, Some(_)) => (key_setting, cert_setting, &key.source, "the key's certificate"),
        _ => return,
    };
    let message = format!("`{}` stands without `{}`", there.key, missing.key);
    let hint = format!("set {} (--{}) to the file of {holds}, or remove both", missing.key, missing.flag);
    gather.error_at(source, contradiction(message, &hint));
}
