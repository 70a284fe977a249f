//! What a certificate says of itself, for people: whose it is, for which names, from when until when.
//!
//! TLS itself judges certificates; this reads only what it tells nobody. The bytes may be anything.

use crate::config::rules::time;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The most names shown of one certificate.
const MAX_NAMES: usize = 100;
/// The most characters shown of one name.
const MAX_NAME: usize = 256;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// The parts of a subject that are shown, all of them below 2.5.4.
const PARTS: [(u8, &str); 6] = [(3, "CN"), (11, "OU"), (10, "O"), (7, "L"), (8, "ST"), (6, "C")];

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
        let mut certificate = Der(Der(der).take(SEQUENCE)?);
        let mut fields = Der(certificate.take(SEQUENCE)?);
        let _version = fields.take(VERSION);
        let _serial = fields.take(INTEGER)?;
        let _algorithm = fields.take(SEQUENCE)?;
        let _issuer = fields.take(SEQUENCE)?;
        let mut validity = Der(fields.take(SEQUENCE)?);
        let (not_before, not_after) = (date(&mut validity)?, date(&mut validity)?);
        let subject = subject(Der(fields.take(SEQUENCE)?))?;
        let _key = fields.take(SEQUENCE)?;
        let mut names = Vec::new();
        while let Some((tag, content)) = fields.next() {
            if tag == EXTENSIONS {
                names = alternative_names(Der(Der(content).take(SEQUENCE)?))?;
            }
        }
        Some(Certificate { subject, names, not_before, not_after })
    }

    /// The subject, or the first name of a certificate without one.
    pub fn shown(&self) -> &str {
        match self.subject.as_str() {
            "" => self.names.first().map_or("without a name", String::as_str),
            subject => subject,
        }
    }
}

fn subject(mut parts: Der<'_>) -> Option<String> {
    let mut shown = Vec::new();
    while let Some(content) = parts.take(SET) {
        let mut part = Der(Der(content).take(SEQUENCE)?);
        let name = part.take(OBJECT_IDENTIFIER)?;
        let (_, value) = part.next()?;
        if let [0x55, 0x04, number] = name
            && let Some((_, label)) = PARTS.iter().find(|(known, _)| known == number)
        {
            shown.push(format!("{label}={}", text(value)));
        }
    }
    Some(shown.join(", "))
}

fn alternative_names(mut extensions: Der<'_>) -> Option<Vec<String>> {
    let mut found = Vec::new();
    while let Some(content) = extensions.take(SEQUENCE) {
        let mut extension = Der(content);
        if extension.take(OBJECT_IDENTIFIER)? != ALTERNATIVE_NAMES {
            continue;
        }
        while let Some((tag, content)) = extension.next() {
            let mut names = Der(if tag == OCTET_STRING { Der(content).take(SEQUENCE)? } else { &[] });
            while let Some((tag, name)) = names.next() {
                let address = || match (<[u8; 4]>::try_from(name), <[u8; 16]>::try_from(name)) {
                    (Ok(v4), _) => Some(Ipv4Addr::from(v4).to_string()),
                    (_, Ok(v6)) => Some(Ipv6Addr::from(v6).to_string()),
                    _ => None,
                };
                match tag {
                    DNS_NAME => found.push(text(name)),
                    IP_ADDRESS => found.extend(address()),
                    _ => {}
                }
            }
        }
    }
    found.truncate(MAX_NAMES);
    Some(found)
}

/// Whatever stands in a certificate may be shown on a terminal and in a page.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(MAX_NAME).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `YYMMDDhhmmssZ`, where 50 to 99 are years of the last century, or `YYYYMMDDhhmmssZ`.
fn date(der: &mut Der<'_>) -> Option<Date> {
    let (tag, digits) = der.next()?;
    let digits = std::str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    let digits = match tag {
        UTC_TIME if digits >= "50" => format!("19{digits}"),
        UTC_TIME => format!("20{digits}"),
        GENERALIZED_TIME => digits.to_owned(),
        _ => return None,
    };
    if digits.len() != 14 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14)
    );
    let epoch = time::parse(&text).ok()?.seconds;
    Some(Date { text, epoch })
}

/// Elements one after another, each a tag, a length and so many bytes.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element; `None` at the end, and from anything broken on.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            _ if (0x81..=0x84).contains(&first) => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The next element if it has this tag; else it stays.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = self.0;
        match self.next() {
            Some((found, content)) if found == tag => Some(content),
            _ => {
                self.0 = before;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

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

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Certificate::read(&bytes);
        }

        #[test]
        fn a_changed_or_cut_certificate_does_not_panic(at in 0_usize..500, byte: u8, cut in 0_usize..500) {
            static DER: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| der(|_| {}));
            let mut der = DER.clone();
            if let Some(changed) = der.get_mut(at) {
                *changed = byte;
            }
            let _ = Certificate::read(&der);
            prop_assert!(Certificate::read(&der[..cut.min(der.len() - 1)]).is_none());
        }
    }
}
