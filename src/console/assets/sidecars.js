// Decisions by rule, and what the sidecars themselves cost.

import { count, duration, h, keyed, percent, plural, say, set } from "./dom.js";

function table(box, titles) {
  if (box.querySelector("table")) return box.querySelector("tbody");
  const head = titles.map(([title, numeric, hint]) => h("th", { scope: "col", class: numeric ? "num" : null, text: title, title: hint }));
  box.replaceChildren(h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody"))));
  return box.querySelector("tbody");
}

/** One table: sidecars with the same rules decide alike, so their counts are added. */
export function showRules(box, note, sidecars) {
  const rules = new Map();
  const totals = { inherited_sampled: 0, inherited_dropped: 0, ignored: 0 };
  const sets = new Map();
  for (const { rules: set_, decisions } of sidecars) {
    sets.set(set_.hash, set_);
    for (const key of Object.keys(totals)) totals[key] += decisions[key];
    for (const rule of set_.list) {
      const key = `${set_.hash} ${rule.priority} ${rule.name}`;
      const sum = rules.get(key) ?? { ...rule, key, by_reservoir: 0, by_rate: 0, dropped: 0 };
      for (const field of ["by_reservoir", "by_rate", "dropped"]) sum[field] += rule[field];
      rules.set(key, sum);
    }
  }
  const words = [...sets.values()].map((set_) => `${set_.hash.slice(0, 8)} · ${set_.source} · ${plural(set_.count, "rule")}`);
  say(note, words.slice(0, 2).join("   "));
  if (!rules.size) {
    say(box, "No sidecar has told its rules yet.");
    return;
  }
  const body = table(box, [
    ["rule"], ["asks for"], ["matched", true, "requests this rule decided"], ["kept", true, "requests that became traces"],
    ["share kept"], ["by reservoir", true], ["by rate", true],
  ]);
  const rows = [...rules.values()].sort((a, b) => a.priority - b.priority || (a.name < b.name ? -1 : 1));
  keyed(body, rows, (rule) => rule.key, () => h("tr", {}, h("th", { scope: "row" }, h("span"), h("small", { class: "muted" })), h("td"), h("td", { class: "num" }), h("td", { class: "num" }),
    h("td", {}, h("span", { class: "gauge" }, h("span", { class: "meter", "aria-hidden": "true" }, h("span", { class: "fill" }), h("span", { class: "want" })), h("span", { class: "num" }))),
    h("td", { class: "num" }), h("td", { class: "num" })),
  (row, rule) => {
    const kept = rule.by_reservoir + rule.by_rate;
    const matched = kept + rule.dropped;
    const share = matched ? kept / matched : 0;
    const [name, asks, matchedCell, keptCell, gauge, reservoir, byRate] = row.children;
    say(name.firstChild, rule.name);
    say(name.lastChild, rule.priority === 10000 ? "catch-all" : rule.priority);
    set(name, { title: rule.place });
    say(asks, rule.reservoir ? `${rule.reservoir}/s, then ${percent(rule.rate)}` : rule.rate ? percent(rule.rate) : "nothing");
    say(matchedCell, count(matched));
    say(keptCell, count(kept));
    const [meter, words_] = gauge.firstChild.children;
    set(meter.firstChild, { "--share": share });
    set(meter.lastChild, { "--share": rule.rate });
    say(words_, matched ? percent(share) : "never matched");
    set(words_, { class: matched ? "num" : "muted" });
    say(reservoir, count(rule.by_reservoir));
    say(byRate, count(rule.by_rate));
  });
  let foot = box.querySelector("p");
  if (!foot) box.append((foot = h("p", { class: "muted small" })));
  say(foot, `Decided elsewhere and obeyed here: ${count(totals.inherited_sampled)} kept, ${count(totals.inherited_dropped)} not. Probes left out: ${count(totals.ignored)}. The mark on a bar is the rule's rate; a reservoir may keep more.`);
}

/** Overhead and delivery, a row for each sidecar. */
export function showSidecars(box, note, sidecars) {
  const measured = sidecars.filter((one) => one.overhead.request.count > 0);
  const worst = Math.max(0, ...measured.map((one) => one.overhead.request.p99_us + one.overhead.response.p99_us));
  say(note, measured.length ? `at most ${duration(Math.round(worst))} added to a request at p99` : "");
  if (!sidecars.length) {
    say(box, "No sidecar has reported yet.");
    return;
  }
  const body = table(box, [
    ["sidecar"], ["requests", true], ["traced", true], ["in flight", true], ["request p50", true, "time in the sidecar's own hands before the request leaves"], ["p99", true],
    ["response p50", true, "time in the sidecar's own hands before the response leaves"], ["p99", true], ["sinks"],
  ]);
  keyed(body, sidecars, (one) => `${one.service} ${one.listen}`, () => h("tr", {}, h("th", { scope: "row" }, h("span"), h("small", { class: "muted" })), Array.from({ length: 7 }, () => h("td", { class: "num" })), h("td", {}, h("ul", { class: "sinks" }))),
    (row, one) => {
      const { request, response } = one.overhead;
      const micros = (quantiles, key) => (quantiles.count ? duration(Number(quantiles[key].toPrecision(3))) : "–");
      say(row.firstChild.firstChild, one.service);
      say(row.firstChild.lastChild, one.draining ? "draining" : `${one.listen} → ${one.upstream.replace(/^[a-z0-9]+:\/\//, "")}`);
      const cells = [count(one.requests.total), one.requests.total ? percent(one.requests.sampled / one.requests.total) : "–", count(one.requests.in_flight),
        micros(request, "p50_us"), micros(request, "p99_us"), micros(response, "p50_us"), micros(response, "p99_us")];
      cells.forEach((text, i) => say(row.children[i + 1], text));
      keyed(row.lastChild.firstChild, one.sinks, (sink) => sink.name, () => h("li", {}, h("span"), h("small", { class: "muted" })), (item, sink) => {
        const lost = sink.dropped + sink.rejected;
        set(item, { class: lost ? "lossy" : null, title: sink.last_error });
        say(item.firstChild, sink.name);
        say(item.lastChild, ` ${count(sink.emitted)} sent, ${lost ? `${count(lost)} lost` : "none lost"}${sink.queued ? `, ${count(sink.queued)} of ${count(sink.capacity)} waiting` : ""}`);
      });
    });
}

/** What is wrong, in one line each; empty if nothing is. */
export function troubles(sidecars) {
  const lines = [];
  for (const one of sidecars) {
    if (one.rules.last_error) lines.push(`${one.service}: the last reload of rules was refused, the rules before it stay in force: ${one.rules.last_error}`);
    for (const sink of one.sinks) {
      const lost = sink.dropped + sink.rejected;
      if (lost) lines.push(`${one.service}: ${sink.name} lost ${plural(lost, "segment")}${sink.last_error ? `: ${sink.last_error}` : ""}; requests are not affected`);
    }
  }
  return lines;
}
