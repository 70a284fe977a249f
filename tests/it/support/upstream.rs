//! A recording application: a small threaded HTTP/1.1 server that keeps every request's bytes and answers by script.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::eventually;

/// One request as it arrived, bytes and all.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Request line and header fields, up to and without the empty line.
    pub(crate) head: Vec<u8>,
    /// The body with its framing removed.
    pub(crate) body: Vec<u8>,
    /// Which connection of the application carried it, counted from 0.
    pub(crate) connection: usize,
    /// Which request of that connection it was, counted from 0.
    pub(crate) turn: usize,
}

impl Seen {
    pub(crate) fn request_line(&self) -> String {
        let end = self.head.iter().position(|&b| b == b'\r').unwrap_or(self.head.len());
        String::from_utf8_lossy(&self.head[..end]).into_owned()
    }

    pub(crate) fn method(&self) -> String {
        self.request_line().split(' ').next().unwrap_or_default().to_owned()
    }

    pub(crate) fn target(&self) -> String {
        self.request_line().split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// Name and value of every header field, in order, the name's case as it came.
    pub(crate) fn fields(&self) -> Vec<(String, Vec<u8>)> {
        super::client::fields_of(&self.head)
    }

    /// Every value of a header, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        super::client::values_of(&self.head, name)
    }

    /// The one value of a header; `None` when it is absent.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values = self.values(name);
        assert!(values.len() <= 1, "{name} came {} times: {values:?}", values.len());
        values.into_iter().next()
    }
}

/// Holds an answer back until the test opens it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self, stopping: &AtomicBool) {
        let mut open = self.0.0.lock().unwrap();
        while !*open && !stopping.load(Ordering::Relaxed) {
            open = self.0.1.wait_timeout(open, Duration::from_millis(50)).unwrap().0;
        }
    }
}

#[derive(Clone)]
enum Step {
    Send(Vec<u8>),
    Hold(Gate),
}

#[derive(Clone, Copy)]
enum End {
    KeepAlive,
    Close,
    Reset,
}

/// What the application does with one request.
#[derive(Clone)]
pub(crate) struct Answer {
    steps: Vec<Step>,
    end: End,
}

impl Answer {
    /// These bytes as they are; the connection stays open unless told otherwise.
    pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Answer {
        Answer { steps: vec![Step::Send(bytes.as_ref().to_vec())], end: End::KeepAlive }
    }

    pub(crate) fn ok() -> Answer {
        Answer::with(200, &[], "ok")
    }

    pub(crate) fn status(status: u16) -> Answer {
        match status {
            204 | 304 => Answer::raw(format!("HTTP/1.1 {status} Scripted\r\n\r\n")),
            _ => Answer::with(status, &[], "scripted"),
        }
    }

    /// A complete answer with a `Content-Length`.
    pub(crate) fn with(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let mut bytes = head(status, headers, &format!("Content-Length: {}\r\n", body.len()));
        bytes.extend_from_slice(body);
        Answer::raw(bytes)
    }

    /// A complete answer in these chunks.
    pub(crate) fn chunked(headers: &[(&str, &str)], chunks: &[&str]) -> Answer {
        let mut bytes = head(200, headers, "Transfer-Encoding: chunked\r\n");
        for chunk in chunks {
            bytes.extend_from_slice(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes());
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        Answer::raw(bytes)
    }

    /// Closes the connection without a word.
    pub(crate) fn close_at_once() -> Answer {
        Answer { steps: Vec::new(), end: End::Close }
    }

    /// Resets the connection without a word.
    pub(crate) fn reset_at_once() -> Answer {
        Answer { steps: Vec::new(), end: End::Reset }
    }

    /// Waits for the gate, then says these bytes too.
    pub(crate) fn then_after(mut self, gate: &Gate, bytes: impl AsRef<[u8]>) -> Answer {
        self.steps.push(Step::Hold(gate.clone()));
        self.steps.push(Step::Send(bytes.as_ref().to_vec()));
        self
    }

    /// The whole answer waits for the gate.
    pub(crate) fn held_by(mut self, gate: &Gate) -> Answer {
        self.steps.insert(0, Step::Hold(gate.clone()));
        self
    }

    /// Closes after the answer, without having announced it.
    pub(crate) fn then_close(mut self) -> Answer {
        self.end = End::Close;
        self
    }

    pub(crate) fn then_reset(mut self) -> Answer {
        self.end = End::Reset;
        self
    }
}

fn head(status: u16, headers: &[(&str, &str)], framing: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(framing);
    text.push_str("\r\n");
    text.into_bytes()
}

type Script = dyn Fn(&Seen) -> Answer + Send + Sync;

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    streams: Mutex<HashMap<usize, TcpStream>>,
    stopping: AtomicBool,
    connections: AtomicUsize,
}

/// The recording application. It stops listening and breaks its connections when dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<std::thread::JoinHandle<()>>,
}

impl Upstream {
    /// Answers every request with a plain 200.
    pub(crate) fn plain() -> Upstream {
        Upstream::start(|_| Answer::ok())
    }

    pub(crate) fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Upstream {
        Upstream::start_on("127.0.0.1:0".parse().unwrap(), script)
    }

    /// Starts on a given address, for an application that comes up late or returns.
    pub(crate) fn start_on(
        address: SocketAddr,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Upstream {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen: Mutex::default(),
            streams: Mutex::default(),
            stopping: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept_all(&listener, &for_acceptor));
        Upstream { address, shared, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn n_seen(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// How many connections were ever accepted.
    pub(crate) fn n_connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The latest request.
    #[track_caller]
    pub(crate) fn last(&self) -> Seen {
        self.shared.seen.lock().unwrap().last().cloned().expect("the application saw no request")
    }

    /// Waits until so many requests have arrived.
    #[track_caller]
    pub(crate) fn wait_for(&self, n_requests: usize) {
        eventually(&format!("the application saw {n_requests} requests"), || self.n_seen() >= n_requests);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        // The acceptor sits in `accept`; one connection of our own wakes it up.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
        for stream in self.shared.streams.lock().unwrap().values() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopping.load(Ordering::Relaxed) {
            return;
        }
        let connection = shared.connections.fetch_add(1, Ordering::Relaxed);
        drop(stream.set_nodelay(true));
        if let Ok(copy) = stream.try_clone() {
            shared.streams.lock().unwrap().insert(connection, copy);
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let mut stream = stream;
            let reset = serve(&mut stream, connection, &shared);
            // The copy kept for the stop would hold the socket open.
            shared.streams.lock().unwrap().remove(&connection);
            if reset {
                // Only a lingering time of zero turns the coming close into a reset.
                drop(socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)));
            }
        });
    }
}

/// Serves one connection to its end; says whether it is to be reset rather than closed.
fn serve(stream: &mut TcpStream, connection: usize, shared: &Shared) -> bool {
    let mut buffer = Vec::new();
    let mut turn = 0;
    while let Some((head, body)) = read_request(stream, &mut buffer) {
        let seen = Seen { head, body, connection, turn };
        turn += 1;
        shared.seen.lock().unwrap().push(seen.clone());
        let answer = (shared.script)(&seen);
        for step in &answer.steps {
            match step {
                Step::Send(bytes) if stream.write_all(bytes).is_err() => return false,
                Step::Send(_) => {}
                Step::Hold(gate) => gate.pass(&shared.stopping),
            }
        }
        match answer.end {
            End::KeepAlive => {}
            End::Close => return false,
            End::Reset => return true,
        }
    }
    false
}

fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(Vec<u8>, Vec<u8>)> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        fill(stream, buffer)?;
    };
    let head = buffer[..end].to_vec();
    buffer.drain(..end + 4);
    let first = |name| super::client::values_of(&head, name).into_iter().next();
    let body = if first("transfer-encoding").is_some_and(|v| v.to_lowercase().contains("chunked")) {
        let mut body = Vec::new();
        loop {
            let line = take_line(stream, buffer)?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                while !take_line(stream, buffer)?.is_empty() {}
                break body;
            }
            body.extend(take(stream, buffer, size)?);
            take_line(stream, buffer)?;
        }
    } else {
        let length = first("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
        take(stream, buffer, length)?
    };
    Some((head, body))
}

fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 16 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return None,
            Ok(n) => {
                buffer.extend_from_slice(&chunk[..n]);
                return Some(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

fn take(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while buffer.len() < length {
        fill(stream, buffer)?;
    }
    Some(buffer.drain(..length).collect())
}

fn take_line(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    let end = loop {
        if let Some(end) = buffer.windows(2).position(|w| w == b"\r\n") {
            break end;
        }
        fill(stream, buffer)?;
    };
    let line = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 2);
    Some(line)
}
