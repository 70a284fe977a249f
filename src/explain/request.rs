//! The request to be explained, from a method, an address and headers.

use crate::sampling::Attributes;
use http::{Method, Uri};

/// A request, as far as rules look at it. Names of headers are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As given.
    pub method: String,
    /// With its port, if it was given; empty is unknown, and matches any pattern.
    pub host: String,
    /// As received, without the query.
    pub path: String,
    /// In the order given.
    pub headers: Vec<(String, String)>,
}

/// Why this is no request; what to write instead is part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not a method.
    #[error(
        "`{0}` is not a method\n\nhint: write the method first, then the address: GET https://shop.example.com/cart"
    )]
    Method(String),
    /// Neither an address nor a path.
    #[error(
        "`{0}` is not an address\n\nhint: write https://shop.example.com/cart, or /cart if the host does not matter"
    )]
    Url(String),
    /// Not `name: value`.
    #[error("`{0}` is not a header\n\nhint: write 'x-tenant: acme'")]
    Header(String),
}

impl Request {
    /// `url` is an address or a path; a `Host` header is stronger than the address.
    ///
    /// # Errors
    /// What is wrong, and with a hint.
    pub fn new(
        method: &str,
        url: &str,
        headers: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Request, BadRequest> {
        let method: Method = method.parse().map_err(|_| BadRequest::Method(method.to_owned()))?;
        let bad = || BadRequest::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let is_address = matches!(uri.scheme_str(), Some("http" | "https"));
        if !(is_address || uri.scheme_str().is_none() && (url.starts_with('/') || url == "*")) {
            return Err(bad());
        }
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let mut request = Request {
            method: method.as_str().to_owned(),
            host: authority.rsplit('@').next().unwrap_or_default().to_owned(),
            path: uri.path().to_owned(),
            headers: Vec::new(),
        };
        for (name, value) in headers {
            let name = name.trim().to_ascii_lowercase();
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(BadRequest::Header(name));
            }
            let value = value.trim().to_owned();
            if name == "host" && !request.headers.iter().any(|(name, _)| name == "host") {
                request.host.clone_from(&value);
            }
            request.headers.push((name, value));
        }
        if request.attribute("host").is_none() && !request.host.is_empty() {
            request.headers.push(("host".to_owned(), request.host.clone()));
        }
        Ok(request)
    }

    /// `x-tenant: acme`.
    ///
    /// # Errors
    /// There is no colon.
    pub fn header(line: &str) -> Result<(String, String), BadRequest> {
        let (name, value) = line.split_once(':').ok_or_else(|| BadRequest::Header(line.to_owned()))?;
        Ok((name.to_owned(), value.to_owned()))
    }
}

impl Attributes for Request {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}
