// The service map. Ranks come from the server; here they become pixels.

import { CLASSES, count, duration, h, percent, plural, rate, s, say, set, split, worst, keyed } from "./dom.js";

const RADIUS = 34;
const KIND = { client: "client", service: "service", aws: "AWS resource", remote: "remote host", database: "database" };

/** Outlines around (0, 0) that start at the top and run clockwise. */
const OUTLINE = {
  service: circle(RADIUS),
  client: circle(24),
  aws: polygon(RADIUS + 3, 6),
  remote: `M0-32H22Q32-32 32-22V22Q32 32 22 32H-22Q-32 32-32 22V-22Q-32-32-22-32Z`,
  database: `M0-34C20-34 32-28 32-20V20C32 28 20 34 0 34S-32 28-32 20V-20C-32-28-20-34 0-34Z`,
};

function circle(r) {
  return `M0-${r}A${r} ${r} 0 0 1 0 ${r}A${r} ${r} 0 0 1 0-${r}Z`;
}

function polygon(r, n) {
  const corner = (i) => [r * Math.sin((2 * Math.PI * i) / n), -r * Math.cos((2 * Math.PI * i) / n)];
  return `M${Array.from({ length: n }, (_, i) => corner(i).map((x) => x.toFixed(2)).join(" ")).join("L")}Z`;
}

export const keyOf = (node) => (node.type ? `${node.name} · ${node.type}` : node.name);

export class ServiceMap {
  constructor(box, select) {
    this.box = box;
    this.select = select;
    this.graph = null;
    this.shape = "";
    this.under = false;
    this.chosen = null;
    box.addEventListener("pointerenter", () => (this.under = true));
    box.addEventListener("pointerleave", () => {
      this.under = false;
      if (this.graph) this.draw();
    });
    box.addEventListener("keydown", (event) => this.move(event));
    new ResizeObserver(() => this.graph && this.draw()).observe(box);
  }

  show(graph, rates) {
    this.graph = graph;
    this.rates = rates;
    this.draw();
  }

  choose(key) {
    this.chosen = key;
    if (this.graph) this.draw();
  }

  /** Numbers are written where they stand; things move only when the shape changed and nobody points at them. */
  draw() {
    const { nodes } = this.graph;
    const edges = this.graph.edges.filter((edge) => !edge.internal);
    const width = Math.max(this.box.clientWidth, 280);
    const places = nodes.map((n) => `${keyOf(n)} ${n.kind} ${n.layer} ${n.order}`);
    const lines = edges.map((e) => `${e.from}>${e.to} ${e.via}`);
    const shape = JSON.stringify([width, places, lines]);
    if (shape !== this.shape && !(this.under && this.svg && this.drawn === nodes.length)) {
      this.shape = shape;
      this.drawn = nodes.length;
      this.lay(nodes, edges, width);
    }
    if (nodes.length === this.nodeParts.length && edges.length === this.edgeParts.length) this.update(nodes, edges);
  }

  lay(nodes, edges, width) {
    const layers = Math.max(0, ...nodes.map((n) => n.layer)) + 1;
    const slots = Array(layers).fill(0);
    const points = [...nodes.map((n) => [n.layer, n.order]), ...edges.flatMap((e) => e.via)];
    for (const [layer, order] of points) slots[layer] = Math.max(slots[layer] ?? 0, order + 1);
    const most = Math.max(...slots, 1);
    const across = (layers - 1) * 150 + 190 <= width;
    const size = across
      ? { along: Math.min(260, (width - 190) / Math.max(1, layers - 1)), beside: most > 2 ? 150 : 168 }
      : { along: 212, beside: Math.max(112, Math.min(190, (width - 8) / most)) };
    const length = (layers - 1) * size.along;
    const breadth = most * size.beside;
    const [w, hgt] = across ? [Math.max(width, length + 190), breadth + 8] : [Math.max(width - 2, breadth + 40), length + 150];
    const start = across ? (w - length) / 2 : 52;
    const middle = across ? breadth / 2 - 18 : w / 2;
    const at = (layer, order) => {
      const along = start + layer * size.along;
      const beside = middle + (order - (slots[layer] - 1) / 2) * size.beside;
      return across ? [along, beside] : [beside, along];
    };
    this.across = across;
    this.letters = Math.max(10, Math.min(18, Math.floor((across ? size.along : size.beside) / 9)));
    this.at = nodes.map((n) => at(n.layer, n.order));
    const line = (edge) => this.line(edge, nodes, [...edge.via].map(([layer, order]) => at(layer, order)));
    this.edgeParts = edges.map((edge) => {
      const [d, middlePoint] = line(edge);
      const way = s("path", { d, class: "edge", "marker-end": "url(#arrow)" });
      const label = s("text", { class: "edge-label", x: middlePoint[0], y: middlePoint[1] + 4 });
      return { way, label };
    });
    this.nodeParts = nodes.map((node, index) => this.node(node, this.at[index]));
    this.svg = s(
      "svg",
      { width: w, height: hgt, viewBox: `0 0 ${w} ${hgt}`, role: "group", "aria-label": "Service map, callers before callees" },
      defs(),
      s("g", { "aria-hidden": "true" }, this.edgeParts.map((part) => part.way)),
      s("g", { "aria-hidden": "true" }, this.edgeParts.map((part) => part.label)),
      s("g", {}, nodes.map((node, index) => [node.layer, node.order, index]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((entry) => this.nodeParts[entry[2]].link)),
    );
    const focused = document.activeElement?.dataset?.key;
    this.box.replaceChildren(this.svg);
    if (focused) this.nodeParts.find((part) => part.link.dataset.key === focused)?.link.focus({ preventScroll: true });
  }

  node(node, [x, y]) {
    const outline = OUTLINE[node.kind] ?? OUTLINE.service;
    const arcs = ["error", "throttle", "fault"].map((key) => {
      return [key, s("path", { d: outline, pathLength: 100, class: `arc ${key}` })];
    });
    const value = s("text", { class: "value", y: 3 });
    const unit = s("text", { class: "unit", y: 17 });
    const name = s("text", { class: "name", y: RADIUS + 22, text: node.kind === "client" ? "clients" : short(node.name, this.letters) });
    const flow = s("text", { class: "flow", y: RADIUS + 38 });
    const state = s("text", { class: "state", y: RADIUS + 53 });
    const person = node.kind === "client" && s("path", { class: "person", d: "M0-11a5.5 5.5 0 1 1-.01 0ZM-11 13c0-8 5-11.5 11-11.5S11 5 11 13Z" });
    const link = s(
      "a",
      { class: `node ${node.kind}`, transform: `translate(${x} ${y})`, href: "#map", onclick: (event) => this.click(event, link) },
      s("circle", { class: "halo", r: RADIUS + 11 }),
      s("path", { d: outline, class: "body" }),
      s("path", { d: outline, class: "ring" }),
      arcs.map(([, arc]) => arc),
      person || null,
      value,
      unit,
      name,
      flow,
      state,
      s("title", {}),
    );
    link.dataset.key = keyOf(node);
    return { link, arcs, value, unit, flow, state, title: link.lastChild };
  }

  update(nodes, edges) {
    nodes.forEach((node, index) => {
      const part = this.nodeParts[index];
      const { stats } = node;
      const [value, unit] = node.kind === "client" ? ["", ""] : split(stats.p50);
      say(part.value, value);
      say(part.unit, unit);
      let start = 0;
      for (const [key, arc] of [...part.arcs].reverse()) {
        // A share too small to see is drawn as a sliver: it happened.
        const share = stats.n && stats[key] ? Math.max(2, (stats[key] / stats.n) * 100) : 0;
        set(arc, { "stroke-dasharray": `${share} ${100 - share}`, "stroke-dashoffset": -start, visibility: share ? null : "hidden" });
        start += share;
      }
      const perSecond = this.rates.get(keyOf(node)) ?? 0;
      const traced = node.seen && node.seen.n ? ` · ${percent(node.seen.sampled / node.seen.n)} traced` : "";
      const calls = edges.filter((edge) => edge.from === index).reduce((sum, edge) => sum + edge.stats.n, 0);
      const clientNote = node.waiting ? "caller not captured" : `${plural(calls, "trace")}`;
      say(part.flow, node.kind === "client" ? clientNote : node.seen ? `${rate(perSecond)}${traced}` : `${rate(perSecond)} traced`);
      const [state, words] = node.kind === "client" || !stats.n ? ["ok", ""] : worst(stats);
      say(part.state, node.waiting && node.kind !== "client" ? `${words} · waiting` : words);
      set(part.state, { class: `state ${state}` });
      const callers = edges.filter((edge) => edge.to === index).map((edge) => nodes[edge.from].kind === "client" ? "clients" : nodes[edge.from].name);
      const spoken = [node.kind === "client" ? `clients of ${node.name}` : `${node.name}, ${KIND[node.kind]}`, value && `p50 ${value} ${unit}`, words, callers.length && `called by ${callers.join(", ")}`];
      set(part.link, { "aria-label": spoken.filter(Boolean).join(", "), "aria-current": this.chosen === keyOf(node) ? "true" : null });
      say(part.title, node.kind === "client" ? "Callers that record nothing themselves" : `${node.name}${node.type ? ` · ${node.type}` : ""}`);
    });
    const most = Math.max(1, ...edges.map((edge) => edge.stats.n));
    edges.forEach((edge, index) => {
      const { way, label } = this.edgeParts[index];
      const weight = Math.log1p(edge.stats.n) / Math.log1p(most);
      const near = this.chosen !== null && [edge.from, edge.to].some((end) => keyOf(nodes[end]) === this.chosen);
      set(way, { "stroke-width": ((edge.view === "server" ? 1.2 : 1.8) + 2.4 * weight).toFixed(2), class: `edge${edge.async ? " async" : ""}${near ? " near" : ""}` });
      say(label, nodes[edge.from].kind === "client" ? "" : duration(edge.stats.p50));
    });
  }

  /** A smooth line through the places given, from border to border. */
  line(edge, nodes, via) {
    const pad = (node) => (node.kind === "client" ? 30 : RADIUS + 7);
    const [from, to] = [this.at[edge.from], this.at[edge.to]];
    const axis = this.across ? 0 : 1;
    const shift = (point, by) => point.map((x, i) => (i === axis ? x + by : x));
    // Below a node stand its words, so downward lines start beneath them.
    const room = this.across ? 0 : nodes[edge.from].kind === "client" ? 38 : 60;
    const back = to[axis] <= from[axis];
    if (back) {
      const [a, b] = [from, to].map(([x, y]) => (this.across ? [x, y - RADIUS - 6] : [x + RADIUS + 6, y]));
      const bow = this.across ? [(a[0] + b[0]) / 2, Math.min(a[1], b[1]) - 54] : [Math.max(a[0], b[0]) + 54, (a[1] + b[1]) / 2];
      return [`M${a}Q${bow} ${b}`, [(a[0] + b[0] + 2 * bow[0]) / 4, (a[1] + b[1] + 2 * bow[1]) / 4]];
    }
    const points = [shift(from, pad(nodes[edge.from]) + room), ...via, shift(to, -pad(nodes[edge.to]) - 6)];
    let d = `M${points[0]}`;
    for (let i = 1; i < points.length; i++) {
      const reach = (points[i][axis] - points[i - 1][axis]) * 0.5;
      d += `C${shift(points[i - 1], reach)} ${shift(points[i], -reach)} ${points[i]}`;
    }
    const half = points.length / 2;
    const [a, b] = [points[Math.ceil(half) - 1], points[Math.floor(half)]];
    return [d, a === b ? a : [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]];
  }

  click(event, link) {
    event.preventDefault();
    this.select(this.chosen === link.dataset.key ? null : link.dataset.key);
  }

  /** Arrows follow edges: ← callers, → callees, ↑ ↓ within the column. */
  move(event) {
    const index = this.nodeParts?.findIndex((part) => part.link === document.activeElement) ?? -1;
    if (index < 0 || !this.graph || !event.key.startsWith("Arrow")) return;
    const { nodes, edges } = this.graph;
    const beside = (by) => nodes.findIndex((n) => n.layer === nodes[index].layer && n.order === nodes[index].order + by);
    const target = {
      ArrowRight: () => edges.find((edge) => edge.from === index && !edge.internal)?.to,
      ArrowLeft: () => edges.find((edge) => edge.to === index && !edge.internal)?.from,
      ArrowUp: () => beside(-1),
      ArrowDown: () => beside(1),
    }[event.key]?.();
    if (target === undefined) return;
    event.preventDefault();
    this.nodeParts[target]?.link.focus();
  }
}

function short(name, most = 18) {
  return [...name].length > most ? `${[...name].slice(0, most - 1).join("")}…` : name;
}

/** Textures: outcome is never color alone. */
function defs() {
  const hatch = s("pattern", { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("rect", { width: 5, height: 5, class: "under-error" }), s("rect", { width: 3, height: 5, class: "over-error" }));
  const dots = s("pattern", { id: "dots", width: 5, height: 5, patternUnits: "userSpaceOnUse" },
    s("rect", { width: 5, height: 5, class: "under-throttle" }), s("circle", { cx: 2.5, cy: 2.5, r: 1.7, class: "over-throttle" }));
  const arrow = s("marker", { id: "arrow", viewBox: "0 0 10 10", refX: 3, refY: 5, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" },
    s("path", { d: "M0 .8 9 5 0 9.2Z", class: "arrow" }));
  return s("defs", {}, hatch, dots, arrow);
}

/** What stands beside the map: the chosen node, or how to read the map. */
export function showSide(box, graph, key, rates, actions) {
  const node = graph.nodes.find((one) => keyOf(one) === key);
  const shape = node ? `${key} ${graph.edges.length}` : "legend";
  if (!node) {
    if (box.dataset.shape !== shape) box.replaceChildren(...legend());
    box.dataset.shape = shape;
    return;
  }
  const index = graph.nodes.indexOf(node);
  const list = (title, edges, other) => {
    const rows = edges.map((edge) => {
      const end = graph.nodes[edge[other]];
      return h("li", {}, h("span", { text: end.kind === "client" ? "clients" : end.name }), h("span", { class: "num", text: `${count(edge.stats.n)} × ${duration(edge.stats.p50)}${edge.gap_us !== null ? ` · gap ${duration(edge.gap_us)}` : ""}` }));
    });
    return rows.length ? [h("h4", { text: title }), h("ul", { class: "ends" }, rows)] : [];
  };
  const outside = graph.edges.filter((edge) => !edge.internal);
  const { stats } = node;
  const parts = [
    h("div", { class: "side-head" }, h("h3", { text: node.kind === "client" ? `Clients of ${node.name}` : node.name }), h("button", { type: "button", class: "quiet", text: "close", onclick: actions.close })),
    h("p", { class: "muted", text: [KIND[node.kind], node.type && node.kind !== "client" ? node.type : "", node.seen ? `seen ${count(node.seen.n)}, traced ${count(node.seen.sampled)}` : ""].filter(Boolean).join(" · ") }),
  ];
  if (node.kind !== "client") {
    parts.push(outcomes(stats), quantiles(stats), histogram(node));
    if (stats.in_progress) parts.push(h("p", { class: "muted", text: `${count(stats.in_progress)} in progress, in no other number` }));
  }
  parts.push(...list("Called by", outside.filter((edge) => edge.to === index), "from"));
  parts.push(...list("Calls", outside.filter((edge) => edge.from === index), "to"));
  if (node.kind !== "client") parts.push(h("button", { type: "button", class: "action", text: `Traces through ${short(node.name)}`, onclick: () => actions.filter(node.name) }));
  const focused = document.activeElement && box.contains(document.activeElement) ? document.activeElement.textContent : null;
  box.replaceChildren(...parts);
  box.dataset.shape = shape;
  if (focused) [...box.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
}

function outcomes(stats) {
  const shares = CLASSES.filter(([key]) => stats[key] > 0);
  return h("div", {},
    h("div", { class: "stack", "aria-hidden": "true" }, shares.map(([key]) => h("span", { class: `fill ${key}`, "--share": stats[key] / Math.max(1, stats.n) }))),
    h("ul", { class: "shares" }, shares.map(([key, words]) => h("li", {}, h("i", { class: `mark ${key}` }), `${words} ${percent(stats[key] / Math.max(1, stats.n))}`))));
}

function quantiles(stats) {
  return h("dl", { class: "quantiles" }, [["p50", stats.p50], ["p90", stats.p90], ["p99", stats.p99]].map(([name, value]) => h("div", {}, h("dt", { text: name }), h("dd", { text: duration(value) }))));
}

/** Durations on a logarithmic axis, in 36 columns between the fastest and the slowest. */
function histogram(node) {
  if (!node.hist.length) return h("p", { class: "muted", text: "no complete calls yet" });
  const low = Math.log(Math.max(1, node.hist[0][0]));
  const high = Math.max(low + 0.5, Math.log(Math.max(2, node.hist[node.hist.length - 1][1])));
  const columns = Array(36).fill(0);
  for (const [from, to, n] of node.hist) {
    const middle = (Math.log(Math.max(1, (from + to) / 2)) - low) / (high - low);
    columns[Math.min(35, Math.max(0, Math.floor(middle * 36)))] += n;
  }
  const most = Math.max(...columns);
  const bars = columns.map((n, i) => n && s("rect", { x: i * 7, y: 48 - Math.max(2, (n / most) * 46), width: 5.6, height: Math.max(2, (n / most) * 46), rx: 1 }));
  return h("figure", { class: "hist" },
    s("svg", { viewBox: "0 0 252 48", preserveAspectRatio: "none", role: "img", "aria-label": `Durations from ${duration(node.hist[0][0])} to ${duration(node.hist[node.hist.length - 1][1])}` }, bars.filter(Boolean)),
    h("figcaption", {}, h("span", { text: duration(Math.exp(low)) }), h("span", { class: "muted", text: "duration, log" }), h("span", { text: duration(Math.exp(high)) })));
}

function legend() {
  const mark = (key, words) => h("li", {}, h("i", { class: `mark ${key}` }), words);
  const sketch = (kind) => s("svg", { viewBox: "-40 -40 80 80", class: "sketch", "aria-hidden": "true" }, s("path", { d: OUTLINE[kind] }));
  return [
    h("h3", { text: "How to read it" }),
    h("p", { class: "muted", text: "In a ring: the median response time. The ring shows how calls ended; an arrow's label is the median as the caller or, on thin arrows, the callee measured it. Choose a node for its numbers." }),
    h("ul", { class: "legend" }, mark("ok", "ok"), mark("error", "error, 4xx (hatched)"), mark("throttle", "throttled, 429 (dotted)"), mark("fault", "fault, 5xx (solid)")),
    h("ul", { class: "legend" }, [["service", "records itself"], ["remote", "remote host"], ["aws", "AWS resource"], ["database", "database"]].map(([kind, words]) => h("li", {}, sketch(kind), words))),
  ];
}

/** The same numbers as rows. */
export function showTable(box, graph) {
  const name = (node) => (node.kind === "client" ? "clients" : node.name);
  const rows = graph.edges.map((edge) => ({ edge, from: graph.nodes[edge.from], to: graph.nodes[edge.to] }));
  if (!box.firstChild) {
    const titles = ["from", "to", "view", "calls", "p50", "p90", "p99", "ok", "4xx", "429", "5xx"];
    box.append(h("table", {}, h("thead", {}, h("tr", {}, titles.map((title, i) => h("th", { scope: "col", class: i > 2 ? "num" : null, text: title })))), h("tbody")));
  }
  keyed(box.querySelector("tbody"), rows, ({ from, to }) => `${keyOf(from)}>${keyOf(to)}`,
    () => h("tr", {}, Array.from({ length: 11 }, (_, i) => h("td", { class: i > 2 ? "num" : null }))),
    (row, { edge, from, to }) => {
      const { stats } = edge;
      const cells = [name(from), name(to), edge.view === "server" ? "callee's" : "caller's", count(stats.n), duration(stats.p50), duration(stats.p90), duration(stats.p99), count(stats.ok), count(stats.error), count(stats.throttle), count(stats.fault)];
      cells.forEach((text, i) => say(row.children[i], text));
    });
}
