//! A raw HTTP/1.1 client: says exactly the bytes it is given and reads exactly one answer.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// The header fields of a head (first line included), names as written.
pub(crate) fn fields_of(head: &[u8]) -> Vec<(String, Vec<u8>)> {
    head.split(|&b| b == b'\n')
        .skip(1)
        .filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = line.iter().position(|&b| b == b':')?;
            let name = String::from_utf8_lossy(&line[..colon]).into_owned();
            Some((name, line[colon + 1..].trim_ascii().to_vec()))
        })
        .collect()
}

/// Every value of one header in a head, in order.
pub(crate) fn values_of(head: &[u8], name: &str) -> Vec<String> {
    let fields = fields_of(head);
    let wanted = fields.into_iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    wanted.map(|(_, value)| String::from_utf8_lossy(&value).into_owned()).collect()
}

/// A request to be said; `Host: app.test` unless another one is given.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Request {
        Request { method: method.into(), target: target.into(), fields: Vec::new(), body: None }
    }

    pub(crate) fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    pub(crate) fn post(target: &str, body: impl AsRef<[u8]>) -> Request {
        Request { body: Some(body.as_ref().to_vec()), ..Request::new("POST", target) }
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.fields.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// The trace header, since nearly every test sets it.
    pub(crate) fn trace(self, value: impl AsRef<[u8]>) -> Request {
        self.header("X-Amzn-Trace-Id", value)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if !self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            bytes.extend_from_slice(b"Host: app.test\r\n");
        }
        for (name, value) in &self.fields {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// How the end of an answer's body was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Bodyless,
    Length,
    Chunked,
    Close,
}

/// One answer, read to its end and no further.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) framing: Framing,
}

impl Response {
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        values_of(&self.head, name)
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values = self.values(name);
        assert!(values.len() <= 1, "{name} came {} times: {values:?}", values.len());
        values.into_iter().next()
    }

    pub(crate) fn fields(&self) -> Vec<(String, Vec<u8>)> {
        fields_of(&self.head)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
    }

    /// Whether the other side announced that this was the connection's last answer.
    pub(crate) fn closes(&self) -> bool {
        self.values("connection").iter().any(|v| v.to_lowercase().contains("close"))
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn try_connect(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream, buffer: Vec::new() })
    }

    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub(crate) fn once(address: SocketAddr, request: &Request) -> Response {
        Client::connect(address).send(request)
    }

    /// Says a request and reads its answer; the connection can be used again.
    #[track_caller]
    pub(crate) fn send(&mut self, request: &Request) -> Response {
        self.try_send(request).unwrap_or_else(|error| {
            panic!("no complete answer to {} {}: {error}", request.method, request.target)
        })
    }

    pub(crate) fn try_send(&mut self, request: &Request) -> Result<Response> {
        self.say(&request.to_bytes())?;
        self.read(&request.method)
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads one answer to a request of this method. An end before the body's end is an error.
    pub(crate) fn read(&mut self, method: &str) -> Result<Response> {
        loop {
            let (status, head) = self.read_head()?;
            if (100..200).contains(&status) {
                continue;
            }
            let (framing, body) = self.read_body(method, status, &head)?;
            return Ok(Response { status, head, body, framing });
        }
    }

    /// Reads a head only; what follows stays for later.
    pub(crate) fn read_head(&mut self) -> Result<(u16, Vec<u8>)> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            self.fill()?;
        };
        let head = self.buffer[..end].to_vec();
        self.buffer.drain(..end + 4);
        let text = String::from_utf8_lossy(&head);
        let status = text.split(' ').nth(1).and_then(|s| s.trim().get(..3)?.parse().ok());
        Ok((status.ok_or_else(|| broken(&format!("not an answer: {text}")))?, head))
    }

    /// Reads the body that a head announced.
    pub(crate) fn read_body(&mut self, method: &str, status: u16, head: &[u8]) -> Result<(Framing, Vec<u8>)> {
        if method == "HEAD" || status == 204 || status == 304 {
            return Ok((Framing::Bodyless, Vec::new()));
        }
        let first = |name| values_of(head, name).into_iter().next();
        if first("transfer-encoding").is_some_and(|v| v.to_lowercase().contains("chunked")) {
            let mut body = Vec::new();
            loop {
                let line = self.line()?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).map_err(|_| broken("not a chunk size"))?;
                if size == 0 {
                    while !self.line()?.is_empty() {}
                    return Ok((Framing::Chunked, body));
                }
                body.extend(self.exactly(size)?);
                self.line()?;
            }
        }
        if let Some(length) = first("content-length") {
            let length = length.parse().map_err(|_| broken("not a length"))?;
            return Ok((Framing::Length, self.exactly(length)?));
        }
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok((Framing::Close, std::mem::take(&mut self.buffer)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the other side to end the connection; `true` when nothing more came before that.
    pub(crate) fn ends_silently(&mut self) -> bool {
        self.buffer.is_empty()
            && match self.fill() {
                Ok(()) => false,
                Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
    }

    fn fill(&mut self) -> Result<()> {
        let mut chunk = [0; 16 * 1024];
        let n = self.stream.read(&mut chunk)?;
        if n == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the connection ended"));
        }
        self.buffer.extend_from_slice(&chunk[..n]);
        Ok(())
    }

    /// Reads so many bytes, whatever they are.
    pub(crate) fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn line(&mut self) -> Result<String> {
        let end = loop {
            if let Some(end) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                break end;
            }
            self.fill()?;
        };
        let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 2);
        Ok(line)
    }
}

fn broken(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}
