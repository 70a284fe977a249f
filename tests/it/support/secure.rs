//! TLS in tests: a client that trusts one authority, and an application behind TLS.

use std::future::Future;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::PATIENCE;
use super::certificates::Pair;
use super::client::Request;

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("it takes too long") })
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn chain(pair: &Pair) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pair.cert.as_bytes()).collect::<std::result::Result<_, _>>().unwrap()
}

fn key(pair: &Pair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()
}

fn roots(authority: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    roots
}

/// A client that trusts this authority, shows this certificate, and offers these protocols; nothing is resumed.
pub(crate) fn trusting(authority: &str, shown: Option<&Pair>, protocols: &[&str]) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(authority));
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(pair) => builder.with_client_auth_cert(chain(pair), key(pair)).unwrap(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// One connection of HTTP/1.1 over TLS, to `localhost` by name.
pub(crate) struct SecureClient(StreamOwned<ClientConnection, TcpStream>);

impl SecureClient {
    /// Connects; the handshake takes place with the first request.
    pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Result<SecureClient> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        SecureClient::over(stream, config)
    }

    /// The same on a connection that is there.
    pub(crate) fn over(stream: TcpStream, config: &Arc<ClientConfig>) -> Result<SecureClient> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
        Ok(SecureClient(StreamOwned::new(connection, stream)))
    }

    /// One request on a connection of its own; the answer to its end, which must be announced.
    pub(crate) fn once(address: SocketAddr, config: &Arc<ClientConfig>, request: &Request) -> Result<String> {
        let mut client = SecureClient::connect(address, config)?;
        client.0.write_all(&request.clone().header("Connection", "close").to_bytes())?;
        let mut answer = Vec::new();
        client.0.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// One request, and an answer whose length is told; the connection stays.
    pub(crate) fn send(&mut self, request: &Request) -> Result<String> {
        self.0.write_all(&request.to_bytes())?;
        let mut answer = String::new();
        let mut chunk = [0; 4096];
        loop {
            if let Some((head, body)) = answer.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse::<usize>().unwrap())
                });
                if body.len() >= length.unwrap_or_default() {
                    return Ok(answer);
                }
            }
            match self.0.read(&mut chunk)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => answer.push_str(&String::from_utf8_lossy(&chunk[..n])),
            }
        }
    }

    /// What is carried, as it comes and as it is to go.
    pub(crate) fn stream(&mut self) -> &mut (impl Read + Write) {
        &mut self.0
    }

    /// The certificate the other side showed, DER.
    pub(crate) fn shown(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }
}

/// The application's side of one connection, by hand.
pub(crate) fn accept(stream: TcpStream, pair: &Pair) -> impl Read + Write + use<> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain(pair), key(pair))
        .unwrap();
    StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream)
}

/// An application behind TLS. It answers `secret` by the protocol that was agreed on, and closes.
pub(crate) struct SecureUpstream {
    pub(crate) port: u16,
}

impl SecureUpstream {
    /// With this pair, for these protocols; `clients` has signed who may come.
    pub(crate) fn start(pair: &Pair, protocols: &[&str], clients: Option<&str>) -> SecureUpstream {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(roots(authority));
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots, provider()).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain(pair), key(pair)).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        match stream.get_ref().1.alpn_protocol() {
                            Some(b"h2") => answer_http2(stream).await,
                            _ => answer_http1(stream).await,
                        }
                    });
                }
            });
        });
        SecureUpstream { port }
    }
}

type Stream = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;

async fn answer_http1(mut stream: Stream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Spoken: http/1.1\r\nConnection: close\r\n\r\nsecret";
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn answer_http2(stream: Stream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let head = http::Response::builder().header("x-spoken", "h2").body(()).unwrap();
        if let Ok(mut body) = respond.send_response(head, false) {
            let _ = body.send_data(Bytes::from_static(b"secret"), true);
        }
    }
}
