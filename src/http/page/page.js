// The page: fetches status.json once a second and draws the differences. All data from the server
// is inserted as text, never as markup.
"use strict";

const PERIOD_MS = 1000;
const PATIENCE_MS = 5000;
const SPANS_S = [30, 60, 120, 180];   // of the charts: the shortest that covers the known points
const HISTORY_S = SPANS_S[SPANS_S.length - 1];
const WINDOW_S = 10;         // time window of the heat map
const OCTAVE_FIRST = 8;      // the first column: up to 256 ns
const OCTAVE_LAST = 31;      // the last column: 1 s and more
const ROW_PX = 16, LABEL_PX = 24, P99_PX = 112, AXIS_PX = 16;
const TICKS_NS = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const TICK_NAMES = ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"];
const TICK_PX = 56;          // least space of two ticks with labels
const SHARES = [0, 1e-9, 0.001, 0.01, 0.05, 0.15, 0.35];   // lower bounds of the colours
const SHARE_NAMES = ["none", "> 0", "0.1 %", "1 %", "5 %", "15 %", "35 %"];
const STAGE_NOTES = {
  parse: "from the last bytes to the batch that it is in",
  inbox: "in a shard's inbox, on the way there and back",
  execute: "the command runs",
  batch: "in between: behind others, for other parts",
  send: "until the kernel has the reply",
};

const byId = (id) => document.getElementById(id);
const put = (id, text) => { const at = byId(id); if (at.textContent !== text) at.textContent = text; };

// ---- numbers with units ----

function count(n) {
  for (const [unit, letter] of [[1e9, " G"], [1e6, " M"], [1e4, " k"]]) {
    if (n >= unit) return digits(n / (letter === " k" ? 1e3 : unit)) + letter;
  }
  return String(Math.round(n));
}
function digits(n) { return n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2); }
function bytes(n) {
  for (const [unit, name] of [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [1024, "KiB"]]) {
    if (n >= unit) return digits(n / unit) + " " + name;
  }
  return Math.round(n) + " B";
}
function time(ns) {
  for (const [unit, name] of [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]]) {
    if (ns >= unit) return digits(ns / unit) + " " + name;
  }
  return Math.round(ns) + " ns";
}
function share(part) { return (part * 100).toFixed(part >= 0.0995 || part === 0 ? 0 : part >= 0.00995 ? 1 : 2) + " %"; }
function age(s) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = Math.max(0, parts.findIndex(([unit]) => s >= unit));
  const [unit, name] = s < 1 ? [1, "s"] : parts[at];
  const next = s >= 60 ? parts[at + 1] : null;
  const rest = next ? Math.floor((s % unit) / next[0]) : 0;
  return Math.floor(s / unit) + " " + name + (rest ? " " + rest + " " + next[1] : "");
}

// ---- drawing ----

function draw(parent, name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}

// Returns the smallest of 1, 2, 5 times a power of ten (for bytes: power of two) that is not below
// n.
function roof(n, isBytes) {
  if (isBytes) return 2 ** Math.ceil(Math.log2(Math.max(n, 1024)));
  const power = 10 ** Math.floor(Math.log10(Math.max(n, 10)));
  return [1, 2, 5, 10].map((step) => step * power).find((bound) => bound >= n);
}

// Lines over the last minutes. A point is [second, value, value ...].
function chart(svg, format, isBytes) {
  let points = [], scale = null;
  const left = 62, bottom = 16, top = 6;
  function show(fresh) {
    points = fresh;
    svg.replaceChildren();
    const width = svg.clientWidth, height = svg.clientHeight;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const max = roof(Math.max(1, ...points.flatMap((point) => point.slice(1))), isBytes);
    const now = points.length ? points[points.length - 1][0] : 0;
    const known = points.length ? now - points[0][0] : 0;
    const span = SPANS_S.find((span) => known <= span) || HISTORY_S;
    const x = (s) => left + (width - left - 4) * (1 - (now - s) / span);
    const y = (v) => top + (height - top - bottom) * (1 - v / max);
    scale = { x, y, now };
    for (const v of [0, max / 2, max]) {
      draw(svg, "line", { class: "grid", x1: left, x2: width - 4, y1: y(v), y2: y(v) });
      draw(svg, "text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, v ? format(v) : "0");
    }
    for (const part of [3, 2, 1, 0]) {
      const label = part ? `-${(part * span) / 3} s` : "now";
      const anchor = part === 3 ? "start" : part ? "middle" : "end";
      draw(svg, "text", { x: x(now - (part * span) / 3), y: height - 3, "text-anchor": anchor }, label);
    }
    if (points.length < 2) return;
    const line = (at) => points.map((p) => `${x(p[0]).toFixed(1)},${y(p[at]).toFixed(1)}`).join("L");
    const ends = [points[0], points[points.length - 1]].map((p) => x(p[0]).toFixed(1));
    draw(svg, "path", { class: "area", d: `M${ends[0]},${y(0)}L${line(1)}L${ends[1]},${y(0)}Z` });
    draw(svg, "path", { class: "first", d: "M" + line(1) });
    if (points[0].length > 2) draw(svg, "path", { class: "second", d: "M" + line(2) });
  }
  svg.addEventListener("pointermove", (event) => {
    const at = event.clientX - svg.getBoundingClientRect().left;
    const near = points.reduce((best, p) =>
      !best || Math.abs(scale.x(p[0]) - at) < Math.abs(scale.x(best[0]) - at) ? p : best, null);
    svg.querySelectorAll(".cross").forEach((line) => line.remove());
    if (!near) return;
    const x = scale.x(near[0]);
    draw(svg, "line", { class: "cross", x1: x, x2: x, y1: top, y2: svg.clientHeight - bottom });
    tip(event, `${near.slice(1).map(format).join(" / ")}, ${Math.round(scale.now - near[0])} s ago`);
  });
  svg.addEventListener("pointerleave", () => {
    svg.querySelectorAll(".cross").forEach((line) => line.remove());
    tip(null);
  });
  return show;
}

function tip(event, text) {
  const box = byId("tip");
  box.hidden = !event;
  if (!event) return;
  box.textContent = text;
  const { width, height } = box.getBoundingClientRect();
  box.style.left = Math.min(event.clientX + 12, innerWidth - width - 8) + "px";
  box.style.top = Math.min(event.clientY + 14, innerHeight - height - 8) + "px";
}

// ---- the heat map: shards by latency, for each stage ----

const COLUMNS = OCTAVE_LAST - OCTAVE_FIRST + 1;
let heat = null;   // { key, stages: [{ rows: [{ cells, p99 }] }] }

function columnOf(bound) {
  return Math.min(Math.max(Math.ceil(Math.log2(bound)), OCTAVE_FIRST), OCTAVE_LAST) - OCTAVE_FIRST;
}
function colour(part) {
  let step = 0;
  SHARES.forEach((bound, at) => { if (part >= bound && part > 0) step = at; });
  return step;
}
// Returns the latency below which `part` of the counted durations lie, interpolated by logarithm.
function percentile(counts, bounds, part) {
  const total = counts.reduce((a, b) => a + b, 0);
  let left = total * part;
  for (let at = 0; at < counts.length; at++) {
    if (counts[at] > 0 && left <= counts[at]) {
      const low = at > 0 ? bounds[at - 1] : bounds[at] / 2;
      return low * (bounds[at] / low) ** (left / counts[at]);
    }
    left -= counts[at];
  }
  return 0;
}

function buildHeat(names, shards) {
  const at = byId("heat");
  at.replaceChildren();
  const stages = names.map((name) => {
    const box = document.createElement("div");
    box.className = "stage";
    const title = document.createElement("h3");
    title.append(name + " ");
    const note = document.createElement("small");
    note.textContent = STAGE_NOTES[name] || "";
    title.append(note);
    box.append(title);
    at.append(box);
    const svg = draw(box, "svg", { role: "img" });
    return { name, svg, rows: [] };
  });
  for (const stage of stages) {
    const width = stage.svg.clientWidth, height = shards * ROW_PX + AXIS_PX;
    stage.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    stage.svg.style.height = height + "px";
    const cell = (width - LABEL_PX - P99_PX) / COLUMNS;
    const x = (ns) => LABEL_PX + cell * (Math.log2(ns) - OCTAVE_FIRST + 1);
    for (let shard = 0; shard < shards; shard++) {
      const y = shard * ROW_PX;
      draw(stage.svg, "text", { x: LABEL_PX - 6, y: y + 12, "text-anchor": "end" }, shard);
      const cells = [];
      for (let column = 0; column < COLUMNS; column++) {
        cells.push(draw(stage.svg, "rect", {
          class: "cell h0", x: LABEL_PX + column * cell, y, width: cell - 1, height: ROW_PX - 1,
        }));
      }
      const p99 = draw(stage.svg, "text", { x: width, y: y + 12, "text-anchor": "end" }, "");
      stage.rows.push({ cells, p99 });
    }
    const bottom = shards * ROW_PX;
    TICKS_NS.forEach((ns, at) => {
      draw(stage.svg, "line", { class: "tick", x1: x(ns), x2: x(ns), y1: bottom, y2: bottom + 4 });
      if (at % 2 && x(10) - x(1) < TICK_PX) return;
      draw(stage.svg, "text", { x: x(ns), y: height - 2, "text-anchor": "middle" }, TICK_NAMES[at]);
    });
    stage.svg.addEventListener("pointermove", (event) => {
      const words = event.target.dataset && event.target.dataset.words;
      tip(words ? event : null, words);
    });
    stage.svg.addEventListener("pointerleave", () => tip(null));
  }
  return stages;
}

function showHeat(stages, before) {
  const { names, bounds_ns: bounds, counts } = stages;
  put("heat-note", stages.interval === 0 ? "off: latency-profile-interval is 0"
    : stages.interval === 1 ? "all requests of the last 10 s" : `one request in ${stages.interval}, last 10 s`);
  const key = names.join() + counts.length + "/" + byId("heat").clientWidth;
  if (!heat || heat.key !== key) heat = { key, stages: buildHeat(names, counts.length) };
  heat.stages.forEach((stage, which) => {
    const spoken = [];
    stage.rows.forEach((row, shard) => {
      const then = before ? before.counts[shard][which] : null;
      const recent = counts[shard][which].map((n, at) => n - (then ? then[at] : 0));
      const total = recent.reduce((a, b) => a + b, 0);
      const columns = new Array(COLUMNS).fill(0);
      recent.forEach((n, at) => { columns[columnOf(bounds[at])] += n; });
      columns.forEach((n, column) => {
        const part = total ? n / total : 0, cell = row.cells[column];
        cell.setAttribute("class", "cell h" + colour(part));
        const low = 2 ** (OCTAVE_FIRST + column - 1);
        const range = column ? `${time(low)} to ${time(2 * low)}` : `up to ${time(2 * low)}`;
        cell.dataset.count = n;
        cell.dataset.words =
          `shard ${shard}, ${stage.name}, ${range}: ${n.toLocaleString("en")} requests, ${share(part)}`;
      });
      const [p50, p99] = [0.5, 0.99].map((part) => percentile(recent, bounds, part));
      const words = total ? `${time(p50)} / ${time(p99)}` : "idle";
      row.p99.textContent = words;
      spoken.push(`shard ${shard} ${total ? `half below ${time(p50)}, 99 % below ${time(p99)}` : "idle"}`);
    });
    stage.svg.setAttribute("aria-label", `${stage.name}: ${spoken.join("; ")}`);
  });
}

function showLegend() {
  const legend = byId("legend");
  SHARES.forEach((_, step) => {
    const swatch = document.createElement("i");
    swatch.className = "h" + step;
    legend.append(swatch, SHARE_NAMES[step]);
  });
  legend.append(" \u00a0of a row; p50 / p99");
}

// ---- tables ----

// Rows of cells. Rows are reused, so that a text selection stays.
function fill(id, lines) {
  const body = byId(id).tBodies[0];
  while (body.rows.length > lines.length) body.deleteRow(-1);
  lines.forEach((line, at) => {
    const row = body.rows[at] || body.insertRow();
    line.forEach((text, column) => {
      const cell = row.cells[column] || row.insertCell();
      if (cell.textContent !== text) cell.textContent = text;
    });
  });
}

function showShards(now, before, seconds) {
  const slots = byId("slots");
  if (slots.childElementCount !== now.shards.length) {
    slots.replaceChildren(...now.shards.map((shard, number) => {
      const part = document.createElement("div");
      part.style.flexGrow = shard.slots;
      part.style.flexBasis = "0";
      part.textContent = now.shards.length <= 12 ? `shard ${number}: ${shard.ranges}` : String(number);
      part.title = `shard ${number}: slots ${shard.ranges}`;
      return part;
    }));
  }
  fill("shards", now.shards.map((shard, number) => {
    const then = before ? before.shards[number] : null;
    const since = (name) => (then ? shard[name] - then[name] : 0);
    const rate = (name) => (then ? count(since(name) / seconds) : "–");
    const batches = since("batches_local") + since("batches_remote");
    return [
      String(number),
      shard.ranges,
      shard.keys.toLocaleString("en"),
      shard.clients.toLocaleString("en"),
      rate("commands"),
      batches ? share(since("batches_remote") / batches) : "–",
      rate("turns"),
      since("turns") ? share(Math.min(1, since("parks") / since("turns"))) : "–",
      String(shard.inbox_depth),
      time(shard.longest_turn_ns),
    ];
  }));
}

function showCommands(now, before, seconds) {
  fill("commands", now.commands.map((command) => {
    const then = before && before.commands.find((one) => one.name === command.name);
    const calls = then ? command.calls - then.calls : 0;
    const mean = calls ? (command.ns - then.ns) / calls : command.ns / command.calls;
    return [
      command.name, then ? count(calls / seconds) : "–", time(mean),
      command.calls.toLocaleString("en"), (command.failed + command.rejected).toLocaleString("en"),
    ];
  }));
}

function showSlowLog(now) {
  byId("slow").hidden = !now.slowlog;
  if (!now.slowlog) return;
  byId("slow-none").hidden = now.slowlog.length > 0;
  fill("slowlog", now.slowlog.map((entry) => [
    age(Math.max(0, now.now_ms / 1000 - entry.at_s)) + " ago", time(entry.us * 1000), entry.words,
  ]));
}

// ---- the figures at the top ----

function showTiles(now, before, seconds) {
  const since = (name) => now.totals[name] - before.totals[name];
  const { clients, memory } = now;
  put("clients", clients.connected.toLocaleString("en"));
  put("clients-note", `of ${clients.max.toLocaleString("en")}` + (clients.blocked ? `, ${clients.blocked} blocked` : ""));
  put("memory", bytes(memory.used_bytes));
  put("memory-note", memory.max_bytes ? `of ${bytes(memory.max_bytes)}` : "no limit");
  const sum = (name) => now.databases.reduce((all, database) => all + database[name], 0);
  put("keys", count(sum("keys")));
  put("keys-note", sum("expiring") ? `${count(sum("expiring"))} with a time to live` : "");
  if (!before) return;
  put("rate", count(since("commands") / seconds));
  const reads = since("hits") + since("misses");
  put("hits", reads ? share(since("hits") / reads) : "–");
  put("cpu", share(since("cpu_us") / 1e6 / seconds));
}

function showFacts(now) {
  put("version", now.version);
  const shards = now.shards.length === 1 ? "1 shard" : `${now.shards.length} shards`;
  put("facts", `port ${now.port} · ${shards} · ${now.driver || "no driver yet"} · pid ${now.pid} · up ${age(now.uptime_s)}`);
  showState(now.state);
  document.title = `Annulet :${now.port}`;
}
function showState(state) {
  put("state", state);
  byId("state").dataset.state = state;
  document.body.classList.toggle("stale", state === "unreachable");
}

// ---- once a second ----

const rateChart = chart(byId("rate-chart"), count, false);
const memoryChart = chart(byId("memory-chart"), bytes, true);
let past = [];   // statuses of the last seconds, oldest first
let rates = [];
let memories = [];

function show(now) {
  const last = past[past.length - 1];
  // Another process, or CONFIG RESETSTAT: the differences have no meaning.
  if (last && (last.run_id !== now.run_id || last.generation !== now.generation ||
               last.shards.length !== now.shards.length)) {
    past = [];
    rates = [];
  }
  const before = past[past.length - 1];
  const second = now.monotonic_us / 1e6;
  const seconds = before ? second - before.monotonic_us / 1e6 : 0;
  if (before && seconds <= 0) return;
  past.push(now);
  while (past.length > 2 && second - past[1].monotonic_us / 1e6 >= WINDOW_S) past.shift();
  if (before) rates.push([second, (now.totals.commands - before.totals.commands) / seconds]);
  memories.push([second, now.memory.used_bytes, now.memory.resident_bytes]);
  for (const points of [rates, memories]) {
    while (points.length && second - points[0][0] > HISTORY_S) points.shift();
  }
  showFacts(now);
  showTiles(now, before, seconds);
  rateChart(rates);
  memoryChart(memories);
  showHeat(now.stages, past[0] === now ? null : past[0].stages);
  showShards(now, before, seconds);
  showCommands(now, before, seconds);
  showSlowLog(now);
}

async function ask() {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), PATIENCE_MS);
  try {
    const response = await fetch("status.json", { signal: abort.signal, cache: "no-store" });
    if (!response.ok) throw new Error(String(response.status));
    show(await response.json());
  } catch (error) {
    // The server is restarting; the page shows only that.
    if (!(error instanceof TypeError) && error.name !== "AbortError") console.error(error);
    showState("unreachable");
  } finally {
    clearTimeout(timer);
  }
}

async function live() {
  for (;;) {
    // A hidden page need not be refreshed.
    if (!document.hidden) await ask();
    await new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
  }
}

showLegend();
live();
