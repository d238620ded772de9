"use strict";
// The page works without this: tables and the newest pictures are HTML. Here are curves, the slider and the slice viewer.
const page = JSON.parse(document.getElementById("data").textContent);
const SVG = document.getElementById("shapes").namespaceURI;
const $ = (id) => document.getElementById(id);

function shape(kind, attributes, parent) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (parent) parent.appendChild(made);
  return made;
}

function element(kind, attributes, parent, text) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.appendChild(made);
  return made;
}

function format(value) {
  if (!Number.isFinite(value)) return "not finite";
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return value.toExponential(2).replace("+", "");
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const quantile = (sorted, share) => sorted[Math.round(share * (sorted.length - 1))];

// Centred moving mean over `share` of the points.
function smoothed(values, share) {
  const half = Math.floor((values.length * share) / 2);
  if (half < 1) return values;
  const sums = [0];
  for (const value of values) sums.push(sums[sums.length - 1] + value);
  return values.map((_, i) => {
    const first = Math.max(0, i - half), last = Math.min(values.length, i + half + 1);
    return (sums[last] - sums[first]) / (last - first);
  });
}

// About `count` round numbers from low to high.
function ticks(low, high, count) {
  const raw = (high - low) / count;
  if (!(raw > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) found.push(Math.abs(tick) < step * 1e-9 ? 0 : tick);
  return found;
}

// What all charts of a group share: abscissa, range, scale and smoothing.
class View {
  constructor(against) {
    Object.assign(this, { against, range: null, log: false, smooth: 0.04, charts: [] });
  }
  set(change) {
    Object.assign(this, change);
    for (const chart of this.charts) chart.draw();
  }
}

class Chart {
  // series: [{label, colour, dash, x: {name: [...]}, y: [...], mean: [...] of what each y stands for, raw}]
  constructor(parent, title, series, view, options = {}) {
    Object.assign(this, { title, series, view, options, cursor: null, drag: null });
    view.charts.push(this);
    const box = element("div", { class: "chart" }, parent);
    element("h3", {}, box, title);
    this.legend = element("div", { class: "legend" }, box);
    this.plot = element("div", { class: "plot", tabindex: "0", role: "application", "aria-roledescription": "chart" }, box);
    this.plot.setAttribute("aria-label", `${title}: curves of ${series.map((s) => s.label).join(", ")}. Arrow keys move the cursor.`);
    this.svg = shape("svg", { "aria-hidden": "true" }, this.plot);
    this.readout = element("output", { "aria-live": "polite" }, box, "");
    for (const one of series) {
      one.on = true;
      const button = element("button", { type: "button", "aria-pressed": "true" }, this.legend);
      const key = shape("svg", { viewBox: "0 0 32 12", "aria-hidden": "true" }, button);
      shape("line", { x1: 0, x2: 32, y1: 6, y2: 6, stroke: one.colour, "stroke-width": 3, "stroke-dasharray": one.dash }, key);
      button.append(one.label);
      button.addEventListener("click", () => {
        one.on = !one.on;
        button.setAttribute("aria-pressed", String(one.on));
        this.draw();
      });
    }
    this.plot.addEventListener("pointermove", (event) => this.moved(event));
    this.plot.addEventListener("pointerdown", (event) => {
      this.drag = { from: this.at(event), to: this.at(event) };
      try { this.plot.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone already */ }
    });
    this.plot.addEventListener("pointerup", () => this.zoomed());
    this.plot.addEventListener("pointercancel", () => { this.drag = null; this.draw(); });
    this.plot.addEventListener("pointerleave", () => { if (!this.drag) { this.cursor = null; this.draw(); } });
    this.plot.addEventListener("dblclick", () => this.view.set({ range: null }));
    this.plot.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  places(one) { return one.x[this.view.against] || one.x[Object.keys(one.x)[0]]; }

  extent() {
    let low = Infinity, high = -Infinity;
    for (const one of this.series) for (const x of this.places(one)) { low = Math.min(low, x); high = Math.max(high, x); }
    return high > low ? [low, high] : [low - 1, high + 1];
  }

  draw() {
    const width = this.plot.clientWidth, height = 240;
    if (!width) return;
    const [left, right, top, bottom] = [58, width - 8, 8, height - 24];
    const [low, high] = this.view.range || this.extent();
    this.x = (value) => left + ((value - low) / (high - low)) * (right - left);
    this.back = (pixel) => clamp(low + ((pixel - left) / (right - left)) * (high - low), low, high);
    const shown = this.series.filter((one) => one.on).map((one) => {
      const xs = this.places(one), soft = one.raw || !this.view.smooth ? one.y : smoothed(one.mean ?? one.y, this.view.smooth);
      const inside = xs.map((x, i) => i).filter((i) => xs[i] >= low && xs[i] <= high);
      return { one, xs, soft, inside };
    });
    const values = shown.flatMap(({ one, inside }) => inside.map((i) => one.y[i])).filter(Number.isFinite).sort((a, b) => a - b);
    let [bottomValue, topValue] = values.length ? [values[0], values[values.length - 1]] : [0, 1];
    let beyond = 0;
    if (values.length > 40 && !this.view.log && !this.options.log) {
      // A few spikes must not flatten the curve.
      const [p2, p98] = [quantile(values, 0.02), quantile(values, 0.98)];
      if (topValue - bottomValue > 4 * (p98 - p2) && p98 > p2) {
        [bottomValue, topValue] = [p2 - 0.5 * (p98 - p2), p98 + 0.5 * (p98 - p2)];
        beyond = values.filter((value) => value < bottomValue || value > topValue).length;
      }
    }
    // Logarithmic where all is above 0, else linear near 0 and logarithmic outside.
    const log = this.view.log || this.options.log;
    const sizes = values.map(Math.abs).filter((size) => size > 0).sort((a, b) => a - b);
    const positive = log && values.length > 0 && values[0] > 0;
    const knee = sizes.length ? Math.max(quantile(sizes, 0.05), sizes[sizes.length - 1] * 1e-6) : 1;
    const warp = !log ? (v) => v : positive ? (v) => Math.log10(Math.max(v, values[0])) : (v) => Math.asinh(v / knee);
    let [from, to] = [warp(bottomValue), warp(topValue)];
    if (!(to > from)) [from, to] = [from - 1, to + 1];
    const margin = 0.05 * (to - from);
    [from, to] = [from - margin, to + margin];
    this.y = (value) => clamp(bottom - ((warp(value) - from) / (to - from)) * (bottom - top), top, bottom);
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const tick of this.yTicks(log, positive, bottomValue, topValue, knee)) {
      const y = this.y(tick);
      shape("line", { x1: left, x2: right, y1: y, y2: y, class: tick === 0 ? "zero" : "grid" }, this.svg);
      shape("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, this.svg).textContent = format(tick);
    }
    for (const tick of ticks(low, high, Math.max(3, Math.floor(width / 110)))) {
      const text = shape("text", { x: clamp(this.x(tick), left, right - 10), y: height - 6, "text-anchor": "middle" }, this.svg);
      text.textContent = format(tick);
    }
    for (const { one, xs, soft, inside } of shown) {
      // One point more on either side, so that lines go on to the edge.
      const first = Math.max(0, (inside[0] ?? 0) - 1), last = Math.min(xs.length - 1, (inside[inside.length - 1] ?? -1) + 1);
      const path = (ys) => {
        let text = "", pen = "M";
        for (let i = first; i <= last; i++) {
          if (!Number.isFinite(ys[i])) { pen = "M"; continue; }
          text += `${pen}${this.x(xs[i]).toFixed(1)} ${this.y(ys[i]).toFixed(1)}`;
          pen = "L";
        }
        return text;
      };
      const clip = { fill: "none", stroke: one.colour, "stroke-linejoin": "round" };
      if (soft !== one.y) shape("path", { d: path(one.y), ...clip, "stroke-width": 1, opacity: 0.25 }, this.svg);
      shape("path", { d: path(soft), ...clip, "stroke-width": 2, "stroke-dasharray": one.dash, class: "curve" }, this.svg);
      if (inside.length <= 40) for (const i of inside) shape("circle", { cx: this.x(xs[i]), cy: this.y(one.y[i]), r: 2.5, fill: one.colour }, this.svg);
    }
    if (this.drag) {
      const [a, b] = [this.x(this.drag.from), this.x(this.drag.to)];
      shape("rect", { x: Math.min(a, b), y: top, width: Math.abs(a - b), height: bottom - top, class: "chosen" }, this.svg);
    }
    this.shown = shown;
    this.read(beyond, top, bottom);
  }

  yTicks(log, positive, low, high, knee) {
    if (!log) return ticks(low, high, 5);
    const found = positive ? [] : [0];
    const [first, last] = positive ? [low, high] : [knee, Math.max(Math.abs(low), Math.abs(high))];
    const decades = Math.log10(last / first), step = Math.max(1, Math.ceil(decades / 4));
    for (let power = Math.ceil(Math.log10(first) - 1e-9); power <= Math.log10(last) + 1e-9; power += step) {
      if (positive || high > 0) found.push(10 ** power);
      if (!positive && low < 0) found.push(-(10 ** power));
    }
    const inside = found.filter((tick) => tick >= low && tick <= high);
    return inside.length > 1 ? inside : ticks(low, high, 4).filter((tick) => !positive || tick > 0);
  }

  read(beyond, top, bottom) {
    if (this.cursor === null) {
      this.readout.textContent = beyond ? `${beyond} points lie beyond the axis` : "";
      return;
    }
    const parts = [];
    let place = this.cursor;
    for (const { one, xs, inside } of this.shown) {
      if (!inside.length) continue;
      const i = inside.reduce((best, k) => (Math.abs(xs[k] - this.cursor) < Math.abs(xs[best] - this.cursor) ? k : best));
      place = xs[i];
      parts.push(`${one.label} ${format(one.y[i])}`);
      if (Number.isFinite(one.y[i])) shape("circle", { cx: this.x(xs[i]), cy: this.y(one.y[i]), r: 4, fill: one.colour }, this.svg);
    }
    shape("line", { x1: this.x(place), x2: this.x(place), y1: top, y2: bottom, class: "cursor" }, this.svg);
    this.readout.textContent = parts.length ? `${this.options.name || this.view.against} ${format(place)}: ${parts.join(", ")}` : "";
  }

  at(event) { return this.back(event.clientX - this.plot.getBoundingClientRect().left); }

  moved(event) {
    this.cursor = this.at(event);
    if (this.drag) this.drag.to = this.cursor;
    this.draw();
  }

  zoomed() {
    const drag = this.drag;
    this.drag = null;
    if (drag && Math.abs(this.x(drag.from) - this.x(drag.to)) > 8) {
      this.view.set({ range: [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)] });
    } else this.draw();
  }

  key(event) {
    const [low, high] = this.view.range || this.extent();
    const middle = this.cursor ?? (low + high) / 2, span = high - low;
    const zoom = (factor) => {
      const [first, last] = this.extent(), half = (span * factor) / 2;
      const range = [Math.max(first, middle - half), Math.min(last, middle + half)];
      this.view.set({ range: range[0] <= first && range[1] >= last ? null : range });
    };
    const one = this.shown?.[0];
    const step = (direction) => {
      if (!one?.inside.length) return;
      const places = one.inside.map((i) => one.xs[i]);
      const next = this.cursor === null ? (direction > 0 ? places[0] : places[places.length - 1])
        : direction > 0 ? places.find((x) => x > this.cursor) : places.findLast((x) => x < this.cursor);
      if (next !== undefined) this.cursor = next;
      this.draw();
    };
    const actions = {
      ArrowRight: () => step(1), ArrowLeft: () => step(-1), "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2),
      0: () => this.view.set({ range: null }), Escape: () => { this.cursor = null; this.view.set({ range: null }); },
      l: () => toggleLog(), L: () => toggleLog(),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }
}

const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const colour = (i) => `var(--c${i % 8})`;
const view = new View("step");

function toggleLog() {
  view.set({ log: !view.log });
  $("log").setAttribute("aria-pressed", String(view.log));
}

function drawCurves() {
  const several = page.runs.length > 1;
  for (const panel of page.panels) {
    const series = [];
    page.runs.forEach((run, r) => panel.metrics.forEach((metric, m) => {
      const found = run.series[metric.name];
      if (!found) return;
      const label = several ? (panel.metrics.length > 1 ? `${run.name}: ${metric.title}` : run.name) : metric.title;
      const { y, mean, ...x } = found;
      series.push({ label, x, mean, y: y.map((v) => (v === null ? NaN : v)), colour: colour(several ? r : m), dash: DASHES[several ? m % 4 : 0] });
    }));
    if (series.length) new Chart($("charts"), panel.title, series, view);
  }
  $("against").addEventListener("change", (event) => view.set({ against: event.target.value, range: null }));
  $("log").addEventListener("click", toggleLog);
  $("reset").addEventListener("click", () => view.set({ range: null }));
  $("smooth").addEventListener("input", (event) => view.set({ smooth: event.target.value / 100 }));
}

function drawHistograms() {
  for (const one of page.histograms || []) {
    const series = one.curves.map((curve, i) => ({ label: curve.label, x: { value: one.x }, y: curve.y, colour: colour(i), dash: DASHES[i], raw: true }));
    new Chart($("histograms"), one.title, series, new View("value"), { log: true, name: one.unit });
  }
}

function startSlider() {
  const slider = $("slider");
  if (!slider) return;
  const images = page.runs.length > 1 ? [...document.querySelectorAll("img.frame")] : [$("frame")];
  const lists = page.frames;
  const longest = lists.reduce((a, b) => (b.length > a.length ? b : a));
  const show = () => {
    const step = longest[Number(slider.value)].step;
    slider.setAttribute("aria-valuetext", longest[Number(slider.value)].caption);
    images.forEach((image, i) => {
      const list = lists[i].length ? lists[i] : longest;
      const frame = list.reduce((a, b) => (Math.abs(b.step - step) < Math.abs(a.step - step) ? b : a));
      image.src = frame.src;
      image.alt = frame.alt;
      image.parentElement.querySelector("figcaption").textContent = frame.caption;
    });
  };
  slider.addEventListener("input", show);
  const play = $("play");
  if (!play) return;
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "play"; play.setAttribute("aria-pressed", "false"); };
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "stop";
    play.setAttribute("aria-pressed", "true");
    if (slider.value === slider.max) slider.value = 0;
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (slider.value === slider.max) stop();
    }, 350);
  });
}

// Each volume is a sheet of its slices across the third axis; the planes are cut from it here.
function startVolumes() {
  const volumes = page.volumes || [], chooser = $("volume");
  if (!chooser) return;
  volumes.forEach((volume, i) => element("option", { value: i }, chooser, volume.title));
  const planes = page.planes.map((plane) => {
    const box = element("div", {}, $("slices"));
    const holder = element("div", { class: "slice" }, box);
    const canvas = element("canvas", { role: "img" }, holder);
    for (const [place, letter] of Object.entries(plane.letters)) element("span", { class: place }, holder, letter);
    const slider = element("input", { type: "range", min: 0, "aria-label": `slice, ${plane.title}` }, box);
    const caption = element("div", { class: "soft" }, box);
    const made = { ...plane, holder, canvas, slider, caption };
    slider.addEventListener("input", () => paint(made));
    let from = null;
    holder.addEventListener("pointerdown", (event) => {
      from = { y: event.clientY, value: Number(slider.value) };
      try { holder.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone already */ }
    });
    holder.addEventListener("pointermove", (event) => {
      if (!from) return;
      const moved = ((from.y - event.clientY) / holder.clientHeight) * Number(slider.max);
      slider.value = Math.round(clamp(from.value + moved, 0, Number(slider.max)));
      paint(made);
    });
    for (const end of ["pointerup", "pointercancel"]) holder.addEventListener(end, () => { from = null; });
    return made;
  });
  let current = null;
  function paint(plane) {
    if (!current) return;
    const { data, size, width } = current, [a, b] = plane.axes, at = Number(plane.slider.value);
    const canvas = plane.canvas;
    canvas.width = size[a];
    canvas.height = size[b];
    const context = canvas.getContext("2d"), out = context.createImageData(size[a], size[b]);
    const across = current.columns, index = [0, 0, 0];
    index[plane.across] = at;
    for (let row = 0; row < size[b]; row++) {
      for (let column = 0; column < size[a]; column++) {
        index[a] = column;
        index[b] = plane.flip ? size[b] - 1 - row : row;
        const [x, y, z] = index;
        const source = 4 * (((Math.floor(z / across) * size[1] + y) * width) + (z % across) * size[0] + x);
        const target = 4 * (row * size[a] + column);
        for (let c = 0; c < 4; c++) out.data[target + c] = data[source + c];
      }
    }
    context.putImageData(out, 0, 0);
    const text = `${plane.title} ${at + 1} of ${size[plane.across]}`;
    plane.caption.textContent = text;
    canvas.setAttribute("aria-label", `${current.title}, ${text}`);
    plane.slider.setAttribute("aria-valuetext", text);
  }
  function choose() {
    const volume = volumes[Number(chooser.value)], sheet = new Image();
    sheet.onload = () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [sheet.width, sheet.height];
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(sheet, 0, 0);
      const first = !current;
      current = { ...volume, width: sheet.width, data: context.getImageData(0, 0, sheet.width, sheet.height).data };
      for (const plane of planes) {
        plane.slider.max = volume.size[plane.across] - 1;
        if (first) plane.slider.value = Math.floor(volume.size[plane.across] / 2);
        paint(plane);
      }
    };
    sheet.src = volume.src;
  }
  chooser.addEventListener("change", choose);
  choose();
}

drawCurves();
drawHistograms();
startSlider();
startVolumes();
document.documentElement.dataset.ready = "yes";
