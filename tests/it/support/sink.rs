//! A UDP sink: keeps every datagram and reads header line and document out of it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::eventually;

/// The line that the X-Ray daemon wants before every document.
pub(crate) const HEADER_LINE: &str = "{\"format\":\"json\",\"version\":1}\n";

/// One datagram as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Datagram(pub(crate) Vec<u8>);

impl Datagram {
    /// The document's text, after the header line, whose exact bytes are asserted.
    #[track_caller]
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8(self.0.clone()).expect("a datagram is UTF-8");
        let document = text.strip_prefix(HEADER_LINE);
        document.unwrap_or_else(|| panic!("no header line: {text}")).to_owned()
    }

    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
    }
}

/// The sink. It stops listening when dropped.
pub(crate) struct Sink {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Datagram>>>,
    stopping: Arc<AtomicBool>,
    receiver: Option<std::thread::JoinHandle<()>>,
}

impl Sink {
    pub(crate) fn start() -> Sink {
        Sink::start_on("127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_on(address: SocketAddr) -> Sink {
        let socket = UdpSocket::bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        // A burst must not be lost in the kernel: the tests count.
        drop(socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20));
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let stopping = Arc::new(AtomicBool::new(false));
        let (to, stop) = (Arc::clone(&received), Arc::clone(&stopping));
        let receiver = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !stop.load(Ordering::Relaxed) {
                if let Ok(n) = socket.recv(&mut buffer) {
                    to.lock().unwrap().push(Datagram(buffer[..n].to_vec()));
                }
            }
        });
        Sink { address, received, stopping, receiver: Some(receiver) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `--sink` wants to hear.
    pub(crate) fn url(&self) -> String {
        format!("udp://{}", self.address)
    }

    pub(crate) fn datagrams(&self) -> Vec<Datagram> {
        self.received.lock().unwrap().clone()
    }

    pub(crate) fn documents(&self) -> Vec<Value> {
        self.datagrams().iter().map(Datagram::document).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Waits until so many datagrams have arrived, and gives all there are.
    #[track_caller]
    pub(crate) fn wait_for(&self, n_documents: usize) -> Vec<Value> {
        eventually(&format!("{n_documents} documents arrived"), || self.len() >= n_documents);
        self.documents()
    }

    /// Everything sent up to now, and nothing else: a datagram of our own queues up behind all of them.
    /// For use after the sidecar has stopped.
    #[track_caller]
    pub(crate) fn settle(&self) -> Vec<Datagram> {
        const MARK: &[u8] = b"the end";
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(MARK, self.address).unwrap();
        eventually("the mark arrived", || {
            self.received.lock().unwrap().last().is_some_and(|datagram| datagram.0 == MARK)
        });
        let mut received = self.received.lock().unwrap();
        received.pop();
        received.clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(receiver) = self.receiver.take() {
            drop(receiver.join());
        }
    }
}
