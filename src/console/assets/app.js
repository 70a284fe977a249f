// Asks every two seconds for what changed, and shows it. Stops when nobody looks.

import { bytes, count, h, plural, say, set } from "./dom.js";
import { ServiceMap, keyOf, showSide, showTable } from "./map.js";
import { TraceList, emptyDetail, showTrace } from "./traces.js";
import { showRules, showSidecars, troubles } from "./sidecars.js";

const EVERY = 2000;
const byId = (id) => document.getElementById(id);

const state = { live: true, timer: 0, node: null, trace: null, picked: false, partial: false, shownTrace: "", status: null, graph: null, before: null, rates: new Map(), spokenAt: 0 };
const known = new Map();

/** The answer of `url`, or null if it is the same as last time. */
async function ask(url) {
  const before = known.get(url);
  const response = await fetch(url, { cache: "no-store", headers: before ? { "If-None-Match": before.etag } : {} });
  if (response.status === 304) return null;
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  const answer = await response.json();
  known.set(url, { etag: response.headers.get("etag") ?? "" });
  return answer;
}

const map = new ServiceMap(byId("map"), (key) => chooseNode(key));
const list = new TraceList(byId("traces"), byId("traces-note"), (id) => go({ trace: id }));

function chooseNode(key) {
  go({ node: key });
}

/** The address holds what is shown, so a link shows the same to someone else. */
function go(change) {
  const { node, trace } = { ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))), ...change };
  const words = new URLSearchParams();
  if (node) words.set("node", node);
  if (trace) words.set("trace", trace);
  history.replaceState(null, "", `#${words}`);
  route(change.trace !== undefined);
}

function side() {
  showSide(byId("side"), state.graph, state.node, state.rates, {
    close: () => chooseNode(null),
    filter: (service) => {
      list.filter.service = service;
      list.draw();
      filters();
      byId("traces-title").scrollIntoView({ block: "nearest" });
    },
  });
}

function filters() {
  const { only, service } = list.filter;
  const choose = (change) => () => {
    Object.assign(list.filter, change);
    list.draw();
    filters();
  };
  const focused = document.activeElement?.textContent;
  const chips = [["all", "all"], ["failed", "failed"], ["slow", "slowest"]].map(([key, words]) =>
    h("button", { type: "button", class: "chip", "aria-pressed": String(only === key), text: words, onclick: choose({ only: key }) }));
  if (service) chips.unshift(h("button", { type: "button", class: "chip on", "aria-label": `Not only through ${service}`, text: `through ${service} ×`, onclick: choose({ service: null }) }));
  const box = byId("filters");
  const inside = box.contains(document.activeElement);
  box.replaceChildren(...chips);
  if (inside) [...box.children].find((chip) => chip.textContent === focused)?.focus();
}

/** Requests per second of each node: from two answers in a row if there is traffic to be seen, else from the traces. */
function rates(graph) {
  const now = performance.now();
  const seconds = state.before ? (now - state.before.at) / 1000 : 0;
  const span = Math.max(1, ((graph.to ?? 0) - (graph.from ?? 0)) / 1000);
  const seen = new Map();
  for (const node of graph.nodes) {
    const key = keyOf(node);
    if (!node.seen) {
      state.rates.set(key, node.stats.n / span);
      continue;
    }
    seen.set(key, node.seen.n);
    const last = state.before?.seen.get(key);
    if (last === undefined) {
      state.rates.set(key, node.seen.rps);
    } else if (seconds > 0.5) {
      const fresh = Math.max(0, node.seen.n - last) / seconds;
      // Calm: a third of the way to the new value each time.
      state.rates.set(key, (state.rates.get(key) ?? fresh) * 0.67 + fresh * 0.33);
    }
  }
  state.before = { at: now, seen };
}

function showGraph(graph) {
  state.graph = graph;
  rates(graph);
  const seconds = ((graph.to ?? 0) - (graph.from ?? 0)) / 1000;
  const span = seconds >= 120 ? `${Math.round(seconds / 60)} minutes` : `${Math.max(1, Math.round(seconds))} seconds`;
  say(byId("map-note"), graph.traces ? `from ${plural(graph.traces, "trace")} of ${span}` : "");
  if (!graph.nodes.length) {
    byId("map").replaceChildren(nothingYet());
    map.shape = "";
    side();
    return;
  }
  map.show(graph, state.rates);
  side();
  showTable(byId("map-table"), graph);
}

/** Nothing was traced: say what to do, with what is known. */
function nothingYet() {
  const sidecars = state.status?.sidecars ?? [];
  const total = sidecars.reduce((sum, one) => sum + one.requests.total, 0);
  if (total > 0) {
    const rules = sidecars.flatMap((one) => one.rules.list).sort((a, b) => b.dropped - a.dropped);
    return h("div", { class: "empty" }, h("h3", { text: `${plural(total, "request")} passed, none was traced yet` }),
      h("p", { text: rules[0] ? `Rule ${rules[0].name} took most of them. Raise its rate, or send more: the reservoir keeps the first of each second.` : "Look at the decisions by rule below." }));
  }
  const first = sidecars[0];
  return h("div", { class: "empty" }, h("h3", { text: "No segments yet" }),
    h("p", { text: first ? "Send a request through a sidecar:" : "Start a sidecar that reports here, or see a small world with:" }),
    h("pre", { text: first ? `curl -i http://${first.listen.replace(/^0\.0\.0\.0/, "127.0.0.1")}/` : "collimator demo" }));
}

function showStatus(status) {
  state.status = status;
  const { store } = status;
  const parts = [`${count(store.traces)} of ${count(store.max_traces)} traces`, `${bytes(store.bytes)} of ${bytes(store.max_bytes)}`];
  if (store.evicted) parts.push(`${count(store.evicted)} older ones evicted`);
  if (store.refused) parts.push(`${plural(store.refused, "document")} refused`);
  say(byId("store-line"), parts.join(" · "));
  showRules(byId("rules"), byId("rules-note"), status.sidecars);
  showSidecars(byId("sidecars"), byId("sidecars-note"), status.sidecars);
  trouble(troubles(status.sidecars));
}

function trouble(lines) {
  const strip = byId("strip");
  set(strip, { hidden: lines.length === 0 });
  say(strip, lines.slice(0, 3).join("  ·  ") + (lines.length > 3 ? `  ·  and ${lines.length - 3} more` : ""));
}

function showTraces(answer) {
  list.show(answer);
  // The first impression: the trace that tells most, once; then it is the reader's choice.
  if (!state.trace && !state.picked && answer.items.length) {
    const rank = (item) => item.segments * 4 + (item.class === "ok" ? 0 : 3) + (item.partial ? -6 : 0);
    const best = [...answer.items].sort((a, b) => rank(b) - rank(a))[0];
    if (best.segments > 1 || answer.items.length > 20) {
      state.picked = true;
      openTrace(best.id);
    }
  }
}

async function openTrace(id) {
  state.trace = id;
  list.choose(id);
  try {
    const response = await fetch(`/api/v1/traces/${encodeURIComponent(id)}`, { cache: "no-store" });
    if (state.trace !== id) return;
    if (!response.ok) throw new Error("gone");
    const text = await response.text();
    if (text === state.shownTrace) return;
    state.shownTrace = text;
    const trace = JSON.parse(text);
    state.partial = trace.summary.partial;
    showTrace(byId("detail"), byId("detail-note"), trace);
  } catch {
    state.shownTrace = "";
    state.partial = false;
    say(byId("detail-note"), "");
    byId("detail").replaceChildren(h("div", { class: "empty" }, h("p", { text: "This trace is not kept any more. Choose a newer one." })));
  }
}

async function round() {
  clearTimeout(state.timer);
  if (document.hidden || !state.live) return;
  try {
    const [status, graph, traces] = await Promise.all([ask("/api/v1/status"), ask("/api/v1/graph"), ask("/api/v1/traces?limit=200")]);
    if (status) showStatus(status);
    if (graph) showGraph(graph);
    if (traces) showTraces(traces);
    if (traces && state.trace && state.partial) openTrace(state.trace);
    set(byId("live"), { class: "live" });
    speak();
  } catch {
    set(byId("live"), { class: "live lost" });
    trouble(["The sidecar does not answer. What you see is the last it said; trying again every two seconds."]);
    known.clear();
  }
  state.timer = setTimeout(round, EVERY);
}

/** For ears: at most one sentence in ten seconds, and only about what is wrong. */
function speak() {
  const strip = byId("strip");
  if (strip.hidden || performance.now() - state.spokenAt < 10000) return;
  state.spokenAt = performance.now();
  say(byId("spoken"), `${strip.textContent}`);
}

function pause(live) {
  state.live = live;
  set(byId("live"), { "aria-pressed": String(live) });
  say(byId("live").querySelector(".word"), live ? "live" : "paused");
  if (live) round();
  else clearTimeout(state.timer);
}

function route(byHand) {
  const address = new URLSearchParams(location.hash.slice(1));
  const [node, trace] = [address.get("node"), address.get("trace")];
  if (node !== state.node) {
    state.node = node;
    map.choose(node);
    if (state.graph) side();
  }
  if (trace && trace !== state.trace) openTrace(trace);
  if (trace && byHand && matchMedia("(max-width: 1080px)").matches) byId("detail-title").scrollIntoView({ block: "start" });
}

byId("live").addEventListener("click", () => pause(!state.live));
document.addEventListener("visibilitychange", () => !document.hidden && round());
addEventListener("hashchange", () => route(true));
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea")) return;
  if (event.key === "p") pause(!state.live);
  else if (event.key === "Escape") chooseNode(null);
  else if (event.key === "." && list.items.length) {
    const newest = list.items.reduce((best, item) => (item.start > best.start ? item : best));
    go({ trace: newest.id });
  }
});

byId("detail").append(emptyDetail());
filters();
list.draw();
route(false);
round();
