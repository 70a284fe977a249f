//! Reads certificates and keys from files, and says what is wrong with them.
//!
//! Nothing here trusts a file: a pair caught between two writes, a key of another certificate or a section without
//! its end is refused with the file's name and what to do.

use super::certificate::Certificate;
use crate::config::regular::{self, Unread};
use crate::config::{Problem, Problems, Severity};
use crate::moment::Moment;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest file, in bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// How long before its end a certificate is worth a warning.
const WARN_BEFORE_SECONDS: i64 = 14 * 86_400;
/// Who may do more with a key than its owner, and its group by reading, is warned of.
const TOO_WIDE: u32 = 0o027;

/// A file that cannot be read.
const UNREADABLE: &str = "S009";
/// A file that does not hold what it should.
const UNUSABLE: &str = "S010";
/// A key and a certificate that are none of each other's.
const MISMATCH: &str = "S011";
/// A certificate that is over, will be soon, or is not good yet.
const DATES: &str = "S104";
/// A key that others may read.
const EXPOSED: &str = "S105";
/// Roots that are not those that were meant.
const ROOTS: &str = "S106";

/// A file and the setting that names it.
#[derive(Clone, Debug)]
pub(super) struct PemFile {
    pub(super) setting: &'static str,
    pub(super) path: PathBuf,
}

/// The files of one side.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// Certificate and key.
    pub(super) pair: Option<(PemFile, PemFile)>,
    pub(super) ca: Option<PemFile>,
}

/// What they held when read; not printable, as there are keys in it.
pub(super) struct Contents {
    pair: Option<(Loaded, Loaded)>,
    ca: Option<Loaded>,
}

struct Loaded {
    file: PemFile,
    bytes: Result<Vec<u8>, Problem>,
    mode: u32,
}

/// What they are good for.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) identity: Option<Arc<CertifiedKey>>,
    /// The certificates of the pair, the own one first.
    pub(super) own: Vec<Certificate>,
    pub(super) ca: Option<(PemFile, Vec<CertificateDer<'static>>)>,
    pub(super) warnings: Problems,
}

impl Files {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.pair.iter().len() * 2 + self.ca.iter().len()
    }

    /// Reads them all; what cannot be read is part of what was found. Blocks.
    pub(super) fn read(&self) -> Contents {
        Contents {
            pair: self.pair.as_ref().map(|(cert, key)| (Loaded::read(cert), Loaded::read(key))),
            ca: self.ca.as_ref().map(Loaded::read),
        }
    }
}

impl Contents {
    /// Tells one content from another, within one process.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let pair = self.pair.iter().flat_map(|(cert, key)| [cert, key]);
        for loaded in pair.chain(&self.ca) {
            match &loaded.bytes {
                Ok(bytes) => bytes.hash(&mut hasher),
                Err(problem) => problem.one_line().hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    /// Makes certificates and a key of bytes.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub(super) fn parts(&self, provider: &CryptoProvider, now: Moment) -> Result<Parts, Problems> {
        let mut warnings = Problems::new();
        let mut problems = Problems::new();
        let mut keep = |found: Result<_, Problems>| found.map_err(|found| problems.append(found)).ok();
        let pair = self.pair.as_ref().map(|(cert, key)| (keep(cert.certificates()), key, cert));
        let ca = self.ca.as_ref().and_then(|ca| Some((ca, keep(ca.certificates())?)));
        let mut parts = Parts { identity: None, own: Vec::new(), ca: None, warnings: Problems::new() };
        if let Some((chain, key, cert)) = pair {
            key.warn_of_mode(&mut warnings);
            match (chain, key.key()) {
                (Some((ders, read)), Ok(private)) => match pair_up(cert, key, ders, private, &read, provider)
                {
                    Ok(identity) => {
                        cert.warn_of_dates(&read, now, &mut warnings);
                        parts.identity = Some(identity);
                        parts.own = read;
                    }
                    Err(found) => problems.append(found),
                },
                (_, Err(found)) => problems.append(found),
                (None, Ok(_)) => {}
            }
        }
        if let Some((file, (ders, read))) = ca {
            file.warn_of_dates(&read, now, &mut warnings);
            parts.ca = Some((file.file.clone(), ders));
        }
        parts.warnings = warnings;
        if problems.is_empty() { Ok(parts) } else { Err(problems) }
    }
}

impl PemFile {
    fn problem(&self, code: &'static str, message: impl Into<String>) -> Problem {
        Problem::at_name(code, &self.path.display().to_string(), message)
    }

    /// The file does not hold what it should.
    pub(super) fn unusable(&self, message: impl Into<String>, hint: impl Into<String>) -> Problem {
        self.problem(UNUSABLE, message).hint(hint)
    }

    fn cut_off(&self, what: &str) -> Problem {
        let hint = format!(
            "it was perhaps caught half-written: write a new file beside it and rename it over `{}` of `{}`",
            self.path.display(),
            self.setting
        );
        self.unusable(what, hint)
    }
}

impl Loaded {
    fn read(file: &PemFile) -> Loaded {
        match read(&file.path) {
            Ok((bytes, mode)) => Loaded { file: file.clone(), bytes: Ok(bytes), mode },
            Err((message, hint)) => {
                let problem =
                    file.problem(UNREADABLE, message).hint(format!("{hint} (setting `{}`)", file.setting));
                Loaded { file: file.clone(), bytes: Err(problem), mode: 0 }
            }
        }
    }

    fn bytes(&self) -> Result<&[u8], Problems> {
        self.bytes.as_deref().map_err(|problem| problem.clone().into())
    }

    /// Every certificate in the file, at least one, in order.
    fn certificates(&self) -> Result<(Vec<CertificateDer<'static>>, Vec<Certificate>), Problems> {
        let bytes = self.bytes()?;
        let (mut ders, mut read, mut has_key) = (Vec::new(), Vec::new(), false);
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            let (kind, der) = section.map_err(|error| self.broken(&error))?;
            has_key |= is_key(kind);
            if kind == SectionKind::Certificate {
                read.push(Certificate::read(&der).ok_or_else(|| {
                    let message = format!("its section {} is no X.509 certificate", ders.len() + 1);
                    self.file.unusable(message, "export the certificate anew")
                })?);
                ders.push(CertificateDer::from(der));
            }
        }
        if !ders.is_empty() {
            return Ok((ders, read));
        }
        if has_key {
            let hint =
                format!("`{}` names the certificate; are certificate and key swapped?", self.file.setting);
            return Err(self.file.unusable("it holds a private key and no certificate", hint).into());
        }
        Err(self.nothing("certificate", "-----BEGIN CERTIFICATE-----").into())
    }

    /// The one private key in the file.
    fn key(&self) -> Result<PrivateKeyDer<'static>, Problems> {
        let bytes = self.bytes()?;
        let mut has_certificate = false;
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            let (kind, der) = section.map_err(|error| self.broken(&error))?;
            has_certificate |= kind == SectionKind::Certificate;
            match kind {
                SectionKind::PrivateKey => return Ok(PrivateKeyDer::Pkcs8(der.into())),
                SectionKind::EcPrivateKey => return Ok(PrivateKeyDer::Sec1(der.into())),
                SectionKind::RsaPrivateKey => return Ok(PrivateKeyDer::Pkcs1(der.into())),
                _ => {}
            }
        }
        let contains = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        if contains(b"ENCRYPTED") {
            let hint =
                format!("decrypt it once: openssl pkey -in {0} -out {0}.plain", self.file.path.display());
            return Err(self.file.unusable("the private key in it is encrypted", hint).into());
        }
        if has_certificate {
            let hint =
                format!("`{}` names the private key; are certificate and key swapped?", self.file.setting);
            return Err(self.file.unusable("it holds a certificate and no private key", hint).into());
        }
        Err(self.nothing("private key", "-----BEGIN PRIVATE KEY-----").into())
    }

    fn broken(&self, error: &pem::Error) -> Problem {
        match error {
            pem::Error::MissingSectionEnd { .. } => self.file.cut_off("its last section has no end"),
            pem::Error::Base64Decode(_) => self.file.cut_off("a section of it is no base64"),
            other => self.file.cut_off(&format!("it is no PEM: {other}")),
        }
    }

    fn nothing(&self, what: &str, begin: &str) -> Problem {
        let bytes = self.bytes.as_deref().unwrap_or_default();
        let message = format!("there is no {what} in it");
        match bytes.first() {
            None => self.file.cut_off("it is empty"),
            Some(0x30) => self.file.unusable(message, "it looks like DER: convert it to PEM with openssl"),
            Some(_) => {
                self.file.unusable(message, format!("`{}` names a PEM file with {begin}", self.file.setting))
            }
        }
    }

    fn warn_of_mode(&self, warnings: &mut Problems) {
        if self.mode & TOO_WIDE != 0 {
            let message = format!("others may read the private key: its mode is {:04o}", self.mode & 0o7777);
            let problem = self
                .file
                .problem(EXPOSED, message)
                .hint("make it 0640 or narrower: chmod 0600, or defaultMode in a volume of secrets");
            warnings.push(problem.severity(Severity::Warning));
        }
    }

    fn warn_of_dates(&self, certificates: &[Certificate], now: Moment, warnings: &mut Problems) {
        let now = i64::from(now.epoch_seconds());
        for certificate in certificates {
            let (from, to) = (&certificate.not_before, &certificate.not_after);
            let what = if to.epoch < now {
                format!("has expired at {}", to.text)
            } else if to.epoch < now + WARN_BEFORE_SECONDS {
                format!("expires at {}, within 14 days", to.text)
            } else if from.epoch > now {
                format!("is not valid before {}", from.text)
            } else {
                continue;
            };
            let hint = format!(
                "put a renewed one into the file of `{}`; it is taken over without a restart",
                self.file.setting
            );
            let problem =
                self.file.problem(DATES, format!("the certificate `{}` {what}", certificate.shown()));
            warnings.push(problem.hint(hint).severity(Severity::Warning));
        }
    }
}

/// Roots other than those that were meant.
pub(super) fn doubtful_roots(error: &str) -> Problem {
    let message =
        format!("the system's root certificates cannot be read ({error}); Mozilla's are used instead");
    let hint =
        "mend SSL_CERT_FILE or SSL_CERT_DIR, or name the authorities with upstream_tls.ca (--upstream-ca)";
    Problem::at_name(ROOTS, "upstream_tls.ca", message).hint(hint).severity(Severity::Warning)
}

fn is_key(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::PrivateKey | SectionKind::EcPrivateKey | SectionKind::RsaPrivateKey)
}

/// At most [`MAX_BYTES`] and the file's mode, or why not and what to do.
fn read(path: &Path) -> Result<(Vec<u8>, u32), (String, &'static str)> {
    let (bytes, metadata) = regular::read(path, MAX_BYTES).map_err(|unread| match unread {
        Unread::NoFile => ("this is no file".to_owned(), "name a PEM file"),
        Unread::Failed(error) => match error.kind() {
            ErrorKind::NotFound => ("there is no such file".to_owned(), "check the path and the mount"),
            ErrorKind::PermissionDenied => ("permission denied".to_owned(), "let the sidecar's user read it"),
            _ => (format!("it cannot be read: {error}"), "check the path and the mount"),
        },
    })?;
    match bytes.len() {
        0..=MAX_BYTES => Ok((bytes, metadata.permissions().mode())),
        _ => Err(("it is larger than 1 MiB".to_owned(), "name a PEM file with only what is needed")),
    }
}

fn pair_up(
    cert: &Loaded,
    key: &Loaded,
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
    read: &[Certificate],
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, Problems> {
    let signing = provider.key_provider.load_private_key(private).map_err(|error| {
        let hint = "use RSA of 2048 bits or more, ECDSA on P-256, P-384 or P-521, or Ed25519";
        key.file.unusable(format!("the private key in it cannot be used: {error}"), hint)
    })?;
    let matches = |chain: Vec<CertificateDer<'static>>| {
        let certified = CertifiedKey::new(chain, Arc::clone(&signing));
        certified.keys_match().map(|()| certified)
    };
    match matches(chain.clone()) {
        Ok(certified) => Ok(Arc::new(certified)),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let later = chain.iter().skip(1).position(|other| matches(vec![other.clone()]).is_ok());
            let own = read.first().map(Certificate::shown).unwrap_or_default();
            let message = format!(
                "this is not the private key of the certificate `{own}` in `{}`",
                cert.file.path.display()
            );
            let hint = match later {
                Some(n) => {
                    format!("it is that of certificate {} in that file; that one must come first", n + 2)
                }
                None => format!(
                    "write certificate and key of one pair into the files of `{}` and `{}`",
                    cert.file.setting, key.file.setting
                ),
            };
            Err(key.file.problem(MISMATCH, message).hint(hint).into())
        }
        Err(Error::InconsistentKeys(_)) => {
            let message = "whether the private key in it belongs to the certificate cannot be told";
            Err(key.file.unusable(message, "use another kind of key, such as ECDSA on P-256").into())
        }
        Err(error) => Err(cert
            .file
            .unusable(
                format!("the certificate in it cannot be used: {error}"),
                "issue an X.509 certificate of version 3",
            )
            .into()),
    }
}
