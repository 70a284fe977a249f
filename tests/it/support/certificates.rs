//! Certificates and keys made on the spot: an authority, what it signs, and pairs that sign themselves.
//!
//! Also part of the unit tests of `tls`. On disk they are called `cert.pem`, `key.pem` and `ca.pem`.

#![allow(dead_code, reason = "each of the two test binaries uses its own part")]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SignatureAlgorithm,
};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub(crate) use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};

/// A certificate with what links it to a root, and its private key; both PEM.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// Writes a file as careful programs do: beside, then renamed over; a key only for its owner.
#[track_caller]
pub(crate) fn replace(directory: &Path, name: &str, text: impl AsRef<[u8]>) {
    let beside = directory.join(format!("{name}.new"));
    std::fs::write(&beside, text).unwrap();
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(beside, directory.join(name)).unwrap();
}

impl Pair {
    /// A pair for these names and addresses that nobody but itself vouches for.
    pub(crate) fn self_signed(names: &[&str]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let cert = params(names).self_signed(&key).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// Writes `cert.pem` and `key.pem`, each at once, the key last.
    #[track_caller]
    pub(crate) fn write(&self, directory: &Path) {
        replace(directory, "cert.pem", &self.cert);
        replace(directory, "key.pem", &self.key);
    }
}

/// Signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A pair for these names and addresses; the first is also the subject's common name.
    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        self.issue_with(names, &PKCS_ECDSA_P256_SHA256, |_| {})
    }

    /// The same with another kind of key, or whatever else is to differ.
    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> Pair {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = params(names);
        adjust(&mut params);
        let cert = params.signed_by(&key, &self.0).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let mut params =
        CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = names.first() {
        params.distinguished_name.push(DnType::CommonName, *name);
    }
    params
}
