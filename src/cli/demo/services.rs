//! Three small HTTP services. All they know of tracing is to copy one header to the calls they make.

use super::client::Client;
use super::sidecars::Listens;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// What an application behind the sidecar has to copy to its own calls.
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// Numbers that look random and are the same in every demo.
#[derive(Debug)]
pub(super) struct Dice(AtomicU64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Dice {
        Dice(AtomicU64::new(seed))
    }

    /// From 0 to below `sides`.
    pub(super) fn roll(&self, sides: u64) -> u64 {
        // splitmix64
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }

    /// Works for `from` to `to` milliseconds; short ones are more likely.
    async fn work(&self, from: u64, to: u64) {
        let width = (to - from) * 1_000;
        let micros = from * 1_000 + self.roll(width).min(self.roll(width));
        sleep(Duration::from_micros(micros)).await;
    }
}

/// Where the services listen themselves, behind their sidecars.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) shop: SocketAddr,
    pub(super) payment: SocketAddr,
    pub(super) inventory: SocketAddr,
}

/// The three, running until the process ends.
#[derive(Debug)]
pub(super) struct Services {
    addresses: Addresses,
    neighbors: Arc<OnceLock<Neighbors>>,
}

/// Whom the services call, each through its sidecar.
#[derive(Debug)]
struct Neighbors {
    payment: Client,
    inventory: Client,
}

#[derive(Clone, Copy, Debug)]
enum Service {
    Shop,
    Payment,
    Inventory,
}

pub(super) async fn start() -> Result<Services, std::io::Error> {
    let neighbors = Arc::new(OnceLock::new());
    let addresses = Addresses {
        shop: serve(Service::Shop, neighbors.clone()).await?,
        payment: serve(Service::Payment, neighbors.clone()).await?,
        inventory: serve(Service::Inventory, neighbors.clone()).await?,
    };
    Ok(Services { addresses, neighbors })
}

impl Services {
    pub(super) fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Tells the services where the sidecars of the others are. Before that they answer 503.
    pub(super) fn meet(&mut self, listens: Listens) {
        let (payment, inventory) = (Client::new(listens.payment), Client::new(listens.inventory));
        // Met once; a second meeting changes nothing.
        let _ = self.neighbors.set(Neighbors { payment, inventory });
    }
}

async fn serve(service: Service, neighbors: Arc<OnceLock<Neighbors>>) -> Result<SocketAddr, std::io::Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let dice = Arc::new(Dice::new(service as u64 + 1));
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors, most likely; some will be free in a moment.
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            let (neighbors, dice) = (neighbors.clone(), dice.clone());
            let answer = service_fn(move |request: Request<Incoming>| {
                let (neighbors, dice) = (neighbors.clone(), dice.clone());
                async move {
                    let status = match neighbors.get() {
                        Some(neighbors) => answer(service, neighbors, &dice, &request).await,
                        None => StatusCode::SERVICE_UNAVAILABLE,
                    };
                    let text = format!("{service:?}: {status}\n");
                    let mut response = Response::new(Full::new(Bytes::from(text)));
                    *response.status_mut() = status;
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    Ok(address)
}

async fn answer(
    service: Service,
    neighbors: &Neighbors,
    dice: &Dice,
    request: &Request<Incoming>,
) -> StatusCode {
    let call = Call { neighbors, trace: request.headers().get(TRACE).cloned() };
    let (method, path) = (request.method().as_str(), request.uri().path());
    match service {
        Service::Shop => shop(method, path, &call, dice).await,
        Service::Payment => payment(method, path, &call, dice).await,
        Service::Inventory => inventory(path, dice).await,
    }
}

/// Calls on behalf of one request: with its trace header.
struct Call<'a> {
    neighbors: &'a Neighbors,
    trace: Option<http::HeaderValue>,
}

impl Call<'_> {
    async fn send(&self, client: &Client, method: Method, path: &str) -> StatusCode {
        let headers: HeaderMap = self.trace.iter().map(|trace| (TRACE, trace.clone())).collect();
        client.send(method, path, headers).await.unwrap_or(StatusCode::BAD_GATEWAY)
    }

    async fn inventory(&self, method: Method, path: &str) -> StatusCode {
        self.send(&self.neighbors.inventory, method, path).await
    }

    async fn payment(&self, path: &str) -> StatusCode {
        self.send(&self.neighbors.payment, Method::POST, path).await
    }
}

async fn shop(method: &str, path: &str, call: &Call<'_>, dice: &Dice) -> StatusCode {
    match (method, path) {
        ("GET", "/healthz") => StatusCode::OK,
        ("GET", "/") => {
            dice.work(1, 6).await;
            StatusCode::OK
        }
        ("GET", "/search") => {
            // Slow now and then: one in nine misses the index.
            if dice.roll(9) == 0 {
                dice.work(180, 620).await
            } else {
                dice.work(6, 24).await
            }
            StatusCode::OK
        }
        ("POST", "/checkout") => {
            dice.work(2, 7).await;
            match call.inventory(Method::POST, "/reserve").await {
                StatusCode::OK => {}
                StatusCode::TOO_MANY_REQUESTS => return StatusCode::TOO_MANY_REQUESTS,
                _ => return StatusCode::BAD_GATEWAY,
            }
            let paid = call.payment("/charge").await;
            dice.work(1, 4).await;
            if paid.is_success() { StatusCode::OK } else { StatusCode::BAD_GATEWAY }
        }
        ("GET", path) if path.starts_with("/products/") => {
            dice.work(1, 5).await;
            let id = path.rsplit('/').next().unwrap_or_default();
            if !id.bytes().all(|byte| byte.is_ascii_digit()) {
                return StatusCode::NOT_FOUND;
            }
            // A page without its stock is still a page.
            call.inventory(Method::GET, &format!("/stock/{id}")).await;
            dice.work(1, 3).await;
            StatusCode::OK
        }
        _ => StatusCode::NOT_FOUND,
    }
}

async fn payment(method: &str, path: &str, call: &Call<'_>, dice: &Dice) -> StatusCode {
    if (method, path) != ("POST", "/charge") {
        return StatusCode::NOT_FOUND;
    }
    dice.work(14, 46).await;
    // Fails now and then: the bank does not answer.
    if dice.roll(14) == 0 {
        dice.work(40, 90).await;
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    call.inventory(Method::POST, "/commit").await;
    StatusCode::OK
}

async fn inventory(path: &str, dice: &Dice) -> StatusCode {
    // Throttles now and then.
    if dice.roll(22) == 0 {
        return StatusCode::TOO_MANY_REQUESTS;
    }
    match path {
        "/reserve" => dice.work(3, 12).await,
        "/commit" => dice.work(2, 6).await,
        _ => dice.work(1, 5).await,
    }
    StatusCode::OK
}
