//! The future that carries a connection until it ends or is told to.

use super::{ConnectionState, Order};
use crate::http1::server as http1;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::rt::{Read, Write};
use hyper::server::conn::http2;
use hyper::service::HttpService;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// A protocol's connection that can be asked to finish.
pub(in crate::proxy) trait Finish: Future {
    /// Close once the present request is answered.
    fn finish(self: Pin<&mut Self>);
}

impl<I, S, F, B> Finish for http1::Connection<I, S, F, B>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: FnMut(Request<http1::Body<I>>) -> F,
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: http1::Outgoing,
{
    fn finish(self: Pin<&mut Self>) {
        http1::Connection::finish(self);
    }
}

impl<I, B, S, E> Finish for http2::Connection<I, S, E>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: Read + Write + Unpin,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: Http2ServerConnExec<S::Future, B>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Something that has no good place to stop, but an end.
pub(in crate::proxy) struct ToItsEnd<F>(pub(in crate::proxy) Pin<Box<F>>);

impl<F: Future> Future for ToItsEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<F: Future> Finish for ToItsEnd<F> {
    fn finish(self: Pin<&mut Self>) {}
}

/// What comes before a protocol: it ends at once if the client has not sent a byte.
pub(in crate::proxy) struct Opening<F> {
    pub(in crate::proxy) future: Pin<Box<F>>,
    /// A byte has come.
    pub(in crate::proxy) has_come: Rc<Cell<bool>>,
    pub(in crate::proxy) finishes: bool,
}

impl<T, F: Future<Output = io::Result<T>>> Future for Opening<F> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match self.future.as_mut().poll(cx) {
            Poll::Pending if self.finishes && !self.has_come.get() => {
                Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
            }
            polled => polled,
        }
    }
}

impl<T, F: Future<Output = io::Result<T>>> Finish for Opening<F> {
    fn finish(mut self: Pin<&mut Self>) {
        self.finishes = true;
    }
}

/// Carries a connection until it ends or is told to.
pub(in crate::proxy) struct Carried<C> {
    connection: Pin<Box<C>>,
    state: Arc<ConnectionState>,
    heard: u8,
}

impl<C: Finish> Carried<C> {
    pub(in crate::proxy) fn new(connection: C, state: Arc<ConnectionState>) -> Carried<C> {
        Carried { connection: Box::pin(connection), state, heard: Order::Carry as u8 }
    }
}

impl<C: Finish> Future for Carried<C> {
    /// `None` if it was cut.
    type Output = Option<C::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.state.carrier.get_or_init(|| cx.waker().clone());
        let order = this.state.order.load(Ordering::Relaxed);
        if order != this.heard {
            this.heard = order;
            if order >= Order::Cut as u8 {
                return Poll::Ready(None);
            }
            // What has arrived is read first: a connection on which nothing was seen yet is closed.
            if let Poll::Ready(output) = this.connection.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            this.connection.as_mut().finish();
        }
        this.connection.as_mut().poll(cx).map(Some)
    }
}
