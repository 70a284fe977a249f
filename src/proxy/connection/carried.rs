//! The future that carries a connection until it ends or is told to.

use super::{ConnectionState, Order};
use hyper::body::{Body, Incoming};
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

/// A protocol's connection that can be asked to finish.
pub(in crate::proxy) trait Finish: Future {
    /// Close once the present request is answered.
    fn finish(self: Pin<&mut Self>);
}

impl<I, B, S> Finish for http1::UpgradeableConnection<I, S>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: Read + Write + Unpin + Send + 'static,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
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

/// Carries a connection until it ends or is told to.
pub(in crate::proxy) struct Carried<C> {
    connection: Pin<Box<C>>,
    state: Arc<ConnectionState>,
    heard: u8,
    /// The state's bell.
    waker: Waker,
}

impl<C: Finish> Carried<C> {
    pub(in crate::proxy) fn new(connection: C, state: Arc<ConnectionState>) -> Carried<C> {
        let waker = Waker::from(Arc::clone(&state));
        Carried { connection: Box::pin(connection), state, heard: Order::Carry as u8, waker }
    }
}

impl<C: Finish> Future for Carried<C> {
    /// `None` if it was cut.
    type Output = Option<C::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.state.bell.belongs_to(cx.waker());
        let cx = &mut Context::from_waker(&this.waker);
        let order = this.state.order.load(Ordering::Relaxed);
        if order != this.heard {
            this.heard = order;
            if order == Order::Cut as u8 {
                return Poll::Ready(None);
            }
            // What has arrived is read first: hyper closes a connection on which it has seen nothing yet.
            if let Poll::Ready(output) = this.connection.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            this.connection.as_mut().finish();
        }
        this.connection.as_mut().poll(cx).map(Some)
    }
}
