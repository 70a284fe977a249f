//! The usual world: an application, a sink, and a sidecar between them.

use serde_json::Value;

use super::client::{Client, Request, Response};
use super::scrape::Scrape;
use super::sidecar::{Options, Sidecar};
use super::sink::{Datagram, Sink};
use super::trace::Carried;
use super::upstream::{Answer, Seen, Upstream};

/// Rules that record nothing by themselves: only an inherited decision can.
pub(crate) const NEVER: &str = "rules_version: 1\ndefault: { reservoir: 0, rate: 0 }\nrules: []\n";
/// Rules that record everything nobody has decided yet.
pub(crate) const ALWAYS: &str = "rules_version: 1\ndefault: { reservoir: 0, rate: 1 }\nrules: []\n";

pub(crate) struct World {
    pub(crate) sidecar: Sidecar,
    pub(crate) upstream: Upstream,
    pub(crate) sink: Sink,
}

impl World {
    /// A plain application; the sidecar as these options say.
    #[track_caller]
    pub(crate) fn start(configure: impl FnOnce(Options) -> Options) -> World {
        World::with(Upstream::plain(), configure)
    }

    /// A plain application and these rules.
    #[track_caller]
    pub(crate) fn ruled(rules: &str) -> World {
        World::start(|options| options.rules(rules))
    }

    /// An application that answers by this script, and rules that record everything.
    #[track_caller]
    pub(crate) fn scripted(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> World {
        World::with(Upstream::start(script), |options| options.rules(ALWAYS))
    }

    #[track_caller]
    pub(crate) fn with(upstream: Upstream, configure: impl FnOnce(Options) -> Options) -> World {
        let sink = Sink::start();
        let options = configure(Options::run()).upstream(upstream.address()).args(&["--sink", &sink.url()]);
        World { sidecar: options.start(), upstream, sink }
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Response {
        self.sidecar.send(request)
    }

    /// One request, answered 200, and what the application saw of it.
    #[track_caller]
    pub(crate) fn forward(&self, request: &Request) -> Seen {
        let response = self.send(request);
        assert_eq!(response.status, 200, "{}", response.text());
        self.upstream.last()
    }

    /// One request, answered 200, and the trace context that the application saw.
    #[track_caller]
    pub(crate) fn carry(&self, request: &Request) -> Carried {
        Carried::by(&self.forward(request))
    }

    /// One request that must be recorded, and its document.
    #[track_caller]
    pub(crate) fn record(&self, request: &Request) -> Value {
        let before = self.sink.len();
        self.send(request);
        self.sink.wait_for(before + 1).swap_remove(before)
    }

    /// Many requests over one connection, all answered 200.
    #[track_caller]
    pub(crate) fn burst(&self, n_requests: usize, request: &Request) {
        let mut client = Client::connect(self.sidecar.listen);
        for _ in 0..n_requests {
            assert_eq!(client.send(request).status, 200);
        }
    }

    /// Many requests over one connection, whatever the answers say.
    #[track_caller]
    pub(crate) fn burst_any(&self, n_requests: usize, request: &Request) {
        let mut client = Client::connect(self.sidecar.listen);
        for _ in 0..n_requests {
            client.send(request);
        }
    }

    #[track_caller]
    pub(crate) fn scrape(&self) -> Scrape {
        self.sidecar.scrape()
    }

    /// Drains the sidecar and gives every datagram it ever sent.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> Vec<Datagram> {
        self.sidecar.stop().check(0);
        self.sink.settle()
    }

    /// Drains the sidecar and gives every document it ever sent.
    #[track_caller]
    pub(crate) fn stop_and_read(&mut self) -> Vec<Value> {
        self.stop().iter().map(Datagram::document).collect()
    }
}
