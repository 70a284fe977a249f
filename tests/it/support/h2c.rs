//! An application that speaks nothing but HTTP/2, without TLS.

use std::future::Future;
use std::net::{SocketAddr, TcpListener as StdListener};

use bytes::Bytes;
use h2::server::SendResponse;
use http::Request;
use tokio::net::{TcpListener, TcpStream};

/// An application's side of a connection.
pub(crate) type Connection = h2::server::Connection<TcpStream, Bytes>;

/// Starts one that answers each request so, and says this at each connection.
pub(crate) fn start<A, F>(answer: A, accepted: impl Fn() + Send + 'static) -> SocketAddr
where
    A: Fn(Request<h2::RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    serve(move |_, mut connection| {
        accepted();
        let answer = answer.clone();
        async move {
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(answer(request, respond));
            }
        }
    })
}

/// Starts one that serves each connection so, which is told how many there were before it.
pub(crate) fn serve<F>(serve: impl Fn(usize, Connection) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                if let Ok(connection) = h2::server::handshake(stream).await {
                    tokio::spawn(serve(number, connection));
                }
            }
        });
    });
    address
}
