//! What a certificate says of itself, for people: whose it is, for which names, from when until when.
//!
//! TLS itself judges certificates; this reads only what it tells nobody. The bytes may be anything.

use std::net::IpAddr;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate, X509Name};

/// The most names shown of one certificate.
const MAX_NAMES: usize = 100;
/// The most characters shown of one name.
const MAX_NAME: usize = 256;

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// `CN=shop.internal, O=Shop`; may be empty.
    pub subject: String,
    /// The names and addresses it is good for; at most 100.
    pub names: Vec<String>,
    /// From when on it is good.
    pub not_before: Date,
    /// Until when.
    pub not_after: Date,
}

/// A second in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Date {
    /// `2026-12-01T00:00:00Z`
    pub text: String,
    /// Seconds since 1970, negative before.
    pub epoch: i64,
}

impl Certificate {
    /// Reads a certificate in DER; `None` if it is none.
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        // Names that cannot be read are not shown; whether they matter is for TLS to say.
        let names = certificate.subject_alternative_name().ok().flatten().into_iter();
        Some(Certificate {
            subject: subject(certificate.subject()),
            names: names
                .flat_map(|found| &found.value.general_names)
                .filter_map(name)
                .take(MAX_NAMES)
                .collect(),
            not_before: Date::from(certificate.validity().not_before),
            not_after: Date::from(certificate.validity().not_after),
        })
    }

    /// The subject, or the first name of a certificate without one.
    pub fn shown(&self) -> &str {
        match self.subject.as_str() {
            "" => self.names.first().map_or("without a name", String::as_str),
            subject => subject,
        }
    }
}

impl From<ASN1Time> for Date {
    fn from(time: ASN1Time) -> Date {
        let date = time.to_datetime();
        let (year, month, day) = date.to_calendar_date();
        let (hour, minute, second) = date.to_hms();
        Date {
            text: format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month)),
            epoch: time.timestamp(),
        }
    }
}

/// The parts that have a usual abbreviation.
fn subject(name: &X509Name<'_>) -> String {
    let shown = name.iter_attributes().filter_map(|part| {
        let label = oid2abbrev(part.attr_type(), oid_registry()).ok()?;
        Some(format!("{label}={}", text(part.as_slice())))
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(text(name.as_bytes())),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(v4), _) => Some(IpAddr::from(v4).to_string()),
            (_, Ok(v6)) => Some(IpAddr::from(v6).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Whatever stands in a certificate may be shown on a terminal and in a page.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(MAX_NAME).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
    use std::sync::LazyLock;

    fn der(adjust: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(["shop.internal".to_owned(), "10.0.0.7".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1999, 12, 31);
        params.not_after = date_time_ymd(2055, 2, 28);
        adjust(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn subject_names_and_dates_are_read() {
        let der = der(|params| {
            params.distinguished_name.push(DnType::CommonName, "shop");
            params.distinguished_name.push(DnType::OrganizationName, "Shop \u{1b}[2J");
        });
        let certificate = Certificate::read(&der).unwrap();
        assert!(certificate.subject.contains("CN=shop"), "{}", certificate.subject);
        assert!(certificate.subject.contains("O=Shop \u{fffd}[2J"), "{}", certificate.subject);
        assert_eq!(certificate.names, ["shop.internal", "10.0.0.7"]);
        // The one is written with two digits of the year, the other with four.
        assert_eq!(certificate.not_before.text, "1999-12-31T00:00:00Z");
        let not_after = Date { text: "2055-02-28T00:00:00Z".to_owned(), epoch: 2_687_385_600 };
        assert_eq!(certificate.not_after, not_after);
    }

    #[test]
    fn without_a_subject_the_first_name_is_shown() {
        let der = der(|params| params.distinguished_name = rcgen::DistinguishedName::new());
        let certificate = Certificate::read(&der).unwrap();
        assert_eq!((certificate.subject.as_str(), certificate.shown()), ("", "shop.internal"));
    }

    static DER: LazyLock<Vec<u8>> = LazyLock::new(|| der(|_| {}));

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Certificate::read(&bytes);
        }

        #[test]
        fn a_changed_certificate_does_not_panic(at in 0_usize..500, byte: u8) {
            let mut der = DER.clone();
            if let Some(changed) = der.get_mut(at) {
                *changed = byte;
            }
            let _ = Certificate::read(&der);
        }

        #[test]
        fn a_cut_certificate_is_none(cut in 0_usize..500) {
            prop_assert!(Certificate::read(&DER[..cut.min(DER.len() - 1)]).is_none());
        }
    }
}
