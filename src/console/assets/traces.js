// Recent traces as a list, and one of them as a waterfall.

import { count, duration, h, keyed, path, percent, plural, s, say, set, time } from "./dom.js";

const SHOWN = 60;
const ROWS = 400;

export class TraceList {
  constructor(box, note, open) {
    this.box = box;
    this.note = note;
    this.open = open;
    this.items = [];
    this.matched = 0;
    this.held = null;
    this.filter = { only: "all", service: null };
    this.list = h("ol", { class: "rows" });
    this.fresh = h("button", { type: "button", class: "fresh", hidden: true, onclick: () => this.release() });
    this.empty = h("div", { class: "empty", hidden: true });
    box.append(this.fresh, this.empty, this.list);
    const busy = () => this.box.matches(":hover") || this.box.contains(document.activeElement);
    this.busy = busy;
    box.addEventListener("pointerleave", () => setTimeout(() => !busy() && this.release(), 0));
    box.addEventListener("focusout", () => setTimeout(() => !busy() && this.release(), 0));
    box.addEventListener("keydown", (event) => this.step(event));
  }

  /** Nothing moves under the pointer or the focus: newer traces wait and are announced. */
  show(answer) {
    if (this.items.length && this.busy()) {
      const known = new Set(this.items.map((item) => item.id));
      const more = answer.items.filter((item) => !known.has(item.id)).length;
      this.held = answer;
      set(this.fresh, { hidden: more === 0 });
      say(this.fresh, `${more === 200 ? "200 or more" : more} new`);
      return;
    }
    this.held = null;
    this.matched = answer.matched;
    this.items = answer.items;
    set(this.fresh, { hidden: true });
    this.draw();
  }

  release() {
    if (!this.held) return;
    this.items = this.held.items;
    this.matched = this.held.matched;
    this.held = null;
    set(this.fresh, { hidden: true });
    this.draw();
  }

  choose(id) {
    this.chosen = id;
    for (const row of this.list.children) set(row.firstChild, { "aria-current": row.dataset.key === id ? "true" : null });
  }

  draw() {
    const { only, service } = this.filter;
    let shown = this.items.filter((item) => (only !== "failed" || item.class !== "ok") && (!service || item.services.includes(service)));
    if (only === "slow") shown = [...shown].sort((a, b) => (b.rt ?? b.dur) - (a.rt ?? a.dur));
    const matched = shown.length;
    shown = shown.slice(0, SHOWN);
    const newest = `the newest ${count(this.items.length)} of ${count(this.matched)} kept`;
    const words = { all: "", failed: " failed", slow: ", slowest first" }[only];
    const narrowed = only === "failed" || service;
    say(this.note, !this.items.length ? "" : narrowed ? `${count(matched)} of ${newest}${words}${service ? `, through ${service}` : ""}` : `${newest}${words}`);
    set(this.empty, { hidden: matched > 0 });
    say(this.empty, this.items.length ? `None of the newest ${count(this.items.length)} traces ${only === "failed" ? "failed" : "is one"}${service ? ` through ${service}` : ""}. Choose “all” to see the rest.` : "Traces appear here as soon as a request was kept.");
    const most = Math.max(1, ...shown.map((item) => item.rt ?? item.dur));
    keyed(this.list, shown, (item) => item.id, (item) => this.row(item), (row, item) => this.fill(row.firstChild, item, most));
  }

  row(item) {
    const cell = (name) => h("span", { class: name });
    return h("li", {}, h("a", { class: "trace", href: `#trace=${item.id}`, onclick: (event) => this.click(event, item.id) },
      cell("when"), cell("badge"), h("span", { class: "what" }, cell("method"), " ", cell("path")), cell("took"),
      h("span", { class: "length", "aria-hidden": "true" }, h("span", { class: "bar" })), cell("via"), cell("rule")));
  }

  fill(link, item, most) {
    const [when, badge, what, took, length, via, rule] = link.children;
    set(link, { "aria-current": this.chosen === item.id ? "true" : null });
    say(when, time(item.start));
    say(badge, item.status ?? (item.partial ? "open" : "–"));
    set(badge, { class: `badge ${item.class}`, title: item.class });
    say(what.children[0], item.method || "");
    say(what.children[1], item.url ? path(item.url) : item.entry);
    say(took, item.rt === null ? "open" : duration(item.rt));
    set(length.firstChild, { "--share": Math.max(0.02, Math.log1p((item.rt ?? item.dur) / 500) / Math.log1p(most / 500)), class: `bar ${item.class}` });
    set(length, { title: "duration, logarithmic" });
    say(via, `${item.partial ? "… " : ""}${item.services.join(" › ")}`);
    set(via, { title: item.partial ? "not all of it is here yet" : null });
    say(rule, item.rule ?? "");
    set(rule, { title: item.rule ? `sampled by rule ${item.rule}` : null });
  }

  /** A plain click keeps the rest of the address; other clicks are the browser's. */
  click(event, id) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    this.open(id);
  }

  step(event) {
    const by = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    const links = [...this.list.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (at < 0) return;
    event.preventDefault();
    links[Math.min(links.length - 1, Math.max(0, at + by))]?.focus();
  }
}

/** One trace, drawn whole. */
export function showTrace(box, note, trace) {
  const { summary, rows } = trace;
  const shown = rows.slice(0, ROWS);
  const parts = new Map();
  for (const part of trace.path) parts.set(part.row, [...(parts.get(part.row) ?? []), part]);
  const whole = Math.max(1, ...shown.map((row) => row.start + (row.dur ?? 0)));
  say(note, `${time(summary.start)} · ${summary.id}`);
  const facts = [
    h("span", { class: `badge ${summary.class}`, text: summary.status ?? summary.class }),
    h("strong", { class: "title", text: `${summary.method} ${summary.url ? path(summary.url) : summary.entry}`.trim() }),
    h("span", { text: summary.rt === null ? "in progress" : `in ${duration(summary.rt)}` }),
    h("span", { class: "muted", text: [plural(summary.segments, "segment"), summary.rule ? `rule ${summary.rule}` : "", summary.partial ? "not all of it is here" : ""].filter(Boolean).join(" · ") }),
  ];
  box.replaceChildren(
    h("p", { class: "facts" }, facts),
    critical(trace),
    h("div", { class: "falls", role: "table", "aria-label": "Waterfall" },
      h("div", { class: "fall axis", "aria-hidden": "true" }, h("span"), h("span", { class: "ticks" }, [0, 0.25, 0.5, 0.75, 1].map((share) => h("i", { "--at": share, text: duration(Math.round(whole * share)) }))), h("span")),
      shown.map((row, index) => fall(row, parts.get(index) ?? [], whole))),
    rows.length > ROWS || trace.truncated ? h("p", { class: "muted", text: `${plural(rows.length - shown.length + trace.truncated, "row")} more in the JSON of this trace` }) : "",
    h("p", { class: "muted small" }, "Solid stretches are the critical path: at each instant the row that the response waited for, by timing; siblings may still depend on each other. Hatched rows are not on it. ", h("a", { href: `/api/v1/traces/${encodeURIComponent(summary.id)}`, text: "This trace as JSON" })),
  );
}

/** The parts of the response time by row name; they sum to it. */
function critical({ summary, rows }) {
  const parts = new Map();
  for (const row of rows) {
    if (!row.cp) continue;
    const name = row.kind === "internal" ? owner(rows, row) : row.name;
    parts.set(name, (parts.get(name) ?? 0) + row.cp);
  }
  const total = Math.max(1, summary.rt ?? 0);
  const sorted = [...parts].sort((a, b) => b[1] - a[1]).slice(0, 6);
  if (!sorted.length) return "";
  return h("div", { class: "critical" },
    h("div", { class: "stack path", "aria-hidden": "true" }, sorted.map(([, micros], i) => h("span", { class: `part p${i}`, "--share": micros / total }))),
    h("ul", { class: "shares" }, h("li", { class: "muted", text: "where the time went" }), sorted.map(([name, micros], i) => h("li", {}, h("i", { class: `mark p${i}` }), `${name} ${duration(micros)}`, h("span", { class: "muted", text: ` ${percent(micros / total)}` })))));
}

/** What happens inside a service counts as that service. */
function owner(rows, row) {
  let at = row;
  while (at.kind === "internal" && at.parent !== null && rows[at.parent]) at = rows[at.parent];
  return at.name;
}

function fall(row, parts, whole) {
  const more = h("div", { class: "more", hidden: true });
  const bar = h("span", { class: `bar ${row.class}${row.cp ? "" : " off"}${row.dur === null ? " open" : ""}`, "--from": row.start / whole, "--share": Math.max(0.003, (row.dur ?? whole - row.start) / whole) });
  const on = parts.map((part) => h("span", { class: `bar on ${row.class}`, "--from": part.from / whole, "--share": (part.to - part.from) / whole }));
  const name = h("span", { class: "fall-name", "--depth": Math.min(row.depth, 12) },
    row.class === "ok" ? null : h("i", { class: `mark ${row.class}`, title: row.class }),
    h("span", { class: `label ${row.kind}`, text: row.kind === "call" ? `${row.name} (call)` : row.name }),
    row.flags.map((flag) => h("span", { class: "flag", text: flag })));
  const button = h("button", {
    type: "button", class: "fall", "aria-expanded": "false",
    "aria-label": `${row.name}, ${row.kind}, ${duration(row.dur)}, self ${duration(row.self)}${row.cp ? ", on the critical path" : ""}${row.class === "ok" ? "" : `, ${row.class}`}`,
    onclick: () => {
      const open = button.getAttribute("aria-expanded") === "true";
      set(button, { "aria-expanded": String(!open) });
      set(more, { hidden: open });
      if (!open && !more.firstChild) more.append(details(row));
    },
  }, name, h("span", { class: "track" }, bar, on), h("span", { class: "num", text: row.dur === null ? "open" : duration(row.dur) }));
  return h("div", { class: "fall-row" }, button, more);
}

function details(row) {
  const facts = [
    ["request", [row.method, row.url].filter(Boolean).join(" ")],
    ["status", row.status],
    ["cause", row.cause],
    ["rule", row.rule],
    ["self time", duration(row.self)],
    ["on the critical path", duration(row.cp)],
    ...row.annotations.map(([key, value]) => [key, value]),
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", {}, facts.map(([key, value]) => h("div", {}, h("dt", { text: key }), h("dd", { text: value }))));
}

/** What to do when there is nothing yet. */
export function emptyDetail() {
  return h("div", { class: "empty" }, s("svg", { viewBox: "0 0 120 40", class: "ghost", "aria-hidden": "true" }, s("rect", { x: 0, y: 2, width: 118, height: 7, rx: 2 }), s("rect", { x: 14, y: 16, width: 60, height: 7, rx: 2 }), s("rect", { x: 34, y: 30, width: 36, height: 7, rx: 2 })), h("p", { text: "Choose a trace to see where its time went." }));
}
