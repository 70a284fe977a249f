// Builds nodes and words. Everything that comes from a segment passes through here as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element; `attributes` may hold `text`, `class`, listeners as `onclick`, and custom properties as `--name`. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for drawings. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  set(node, attributes);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Writes attributes that differ from what is there. */
export function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") {
      say(node, value);
    } else if (typeof value === "function") {
      node.addEventListener(name.slice(2), value);
    } else if (name.startsWith("--")) {
      node.style.setProperty(name, value);
    } else if (value === null || value === undefined || value === false) {
      node.removeAttribute(name);
    } else if (node.getAttribute(name) !== String(value)) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  return node;
}

/** Writes text if it differs, so that selections and screen readers are left in peace. */
export function say(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

/**
 * Makes the children of `parent` those of `items`: known ones are updated where they are, new ones made, the rest
 * removed. Nothing that stays is taken out of the document, so focus and scroll stay too.
 */
export function keyed(parent, items, key, make, update) {
  const known = new Map();
  for (const child of parent.children) if (child.dataset.key !== undefined) known.set(child.dataset.key, child);
  let at = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = known.get(name);
    known.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    update(child, item);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const child of known.values()) child.remove();
}

const THIN = "\u202f";

/** `[value, unit]` of a duration in microseconds, three significant digits. */
export function split(micros) {
  if (micros === null || micros === undefined) return ["–", ""];
  const [value, unit] = micros < 1e3 ? [micros, "µs"] : micros < 999.5e3 ? [micros / 1e3, "ms"] : [micros / 1e6, "s"];
  if (unit === "µs" && value >= 100) return [String(Math.round(value)), unit];
  return [String(Number(value.toPrecision(3))), unit];
}

export function duration(micros) {
  return split(micros).filter(Boolean).join(THIN);
}

export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  const value = share * 100;
  if (value === 0 || value === 100) return `${value}${THIN}%`;
  if (value < 0.1) return `<0.1${THIN}%`;
  if (value > 99.9) return `>99.9${THIN}%`;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)}${THIN}%`;
}

export function count(n) {
  return Math.round(n).toLocaleString("en-US");
}

export function rate(perSecond) {
  if (perSecond >= 100) return `${count(perSecond)}/s`;
  return `${perSecond >= 10 ? perSecond.toFixed(0) : perSecond.toFixed(1)}/s`;
}

export function bytes(n) {
  if (n < 1024) return `${n}${THIN}B`;
  const [value, unit] = n < 1 << 20 ? [n / 1024, "KiB"] : [n / (1 << 20), "MiB"];
  return `${Number(value.toPrecision(3))}${THIN}${unit}`;
}

export function time(millis) {
  const date = new Date(millis);
  return Number.isNaN(date.getTime()) ? "–" : date.toLocaleTimeString("en-GB", { hour12: false });
}

export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** The path of a URL. */
export function path(url) {
  const after = url.replace(/^[a-z0-9+.-]+:\/\/[^/]*/i, "");
  return after || url || "/";
}

/** How a call may end, the worst first: key, words, and the words for many. */
export const CLASSES = [
  ["fault", "fault (5xx)", "faults"],
  ["throttle", "throttled (429)", "throttled"],
  ["error", "error (4xx)", "errors"],
  ["ok", "ok", "ok"],
];

/** The worst class that occurs, as `[key, words]`. */
export function worst(stats) {
  for (const [key, , words] of CLASSES) {
    if (key !== "ok" && stats[key] > 0) return [key, `${percent(stats[key] / stats.n)} ${words}`];
  }
  return ["ok", "all ok"];
}
