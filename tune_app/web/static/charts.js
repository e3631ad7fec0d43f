// Learning curves with uPlot: means with bands or single trials, arms on and off, logarithmic scale, smoothing.
"use strict";
(() => {
  const holder = document.querySelector("[data-curves]");
  if (!holder) return;
  const HUES = 7;
  const WHOLE = [0, 1, 2, 3, 4, 5].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));
  const DASHES = [[], [8, 4], [2, 3], [10, 4, 2, 4]];
  const byId = (id) => document.getElementById(id);
  const hidden = new Set();
  let chart = null;
  let found = null;
  let tag = null;

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const hue = (index) => color(`--hue-${index % HUES}`);
  const translucent = (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0");

  const address = () => {
    const url = new URL(holder.dataset.curves, location.href);
    url.searchParams.set("metric", byId("curve-metric").value);
    if (byId("curve-group")) url.searchParams.set("group", byId("curve-group").value);
    return url;
  };

  // Means over the last epochs, only when it is chosen; the band is left out then.
  const smoothed = (values, width) => values.map((value, at) => {
    const window = values.slice(Math.max(0, at - width + 1), at + 1).filter((one) => one !== null);
    return value === null || !window.length ? null : window.reduce((sum, one) => sum + one, 0) / window.length;
  });

  function legend(arms) {
    const box = byId("curve-legend");
    if (!box || box.dataset.arms === JSON.stringify(arms)) return;
    box.dataset.arms = JSON.stringify(arms);
    box.querySelectorAll("label").forEach((label) => label.remove());
    arms.forEach((arm, index) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      const swatch = document.createElement("span");
      label.className = "check";
      input.type = "checkbox";
      input.checked = !hidden.has(arm);
      input.addEventListener("change", () => {
        if (input.checked) hidden.delete(arm); else hidden.add(arm);
        draw();
      });
      swatch.className = `swatch hue-${index % HUES} dash-${Math.floor(index / HUES) % DASHES.length}`;
      label.append(input, swatch, document.createTextNode(` ${arm}`));
      box.append(label);
    });
  }

  // Epochs and columns; on a logarithmic axis a lower edge of 0 or below is drawn at the power of 10 below all values.
  function table(curves, width, wantsLog) {
    const epochs = [...new Set(curves.flatMap((curve) => curve.epochs))].sort((a, b) => a - b);
    const place = new Map(epochs.map((epoch, at) => [epoch, at]));
    const scale = found.metric.scale;
    const column = (curve, values) => {
      const filled = new Array(epochs.length).fill(null);
      values.forEach((value, at) => { filled[place.get(curve.epochs[at])] = value === null ? null : value * scale; });
      return filled;
    };
    const lines = curves.map((curve) => {
      const values = column(curve, curve.values);
      return width ? smoothed(values, width) : values;
    });
    const edges = curves.map((curve) => (curve.low && !width ? [column(curve, curve.low), column(curve, curve.high)] : []));
    const isLog = wantsLog && lines.flat().every((value) => value === null || value > 0);
    let isCut = false;
    if (isLog) {
      const least = [lines, edges].flat(3).filter((value) => value > 0).reduce((a, b) => Math.min(a, b), Infinity);
      const foot = 10 ** Math.floor(Math.log10(least));
      for (const [low] of edges.filter((pair) => pair.length)) {
        isCut = low.some((value) => value !== null && value <= 0) || isCut;
        low.forEach((value, at) => { if (value !== null && value <= 0) low[at] = foot; });
      }
    }
    return { data: [epochs, ...lines.flatMap((line, at) => [line, ...edges[at]])], isLog, isCut };
  }

  function draw() {
    if (!found) return;
    const arms = [...new Set(found.curves.map((curve) => curve.arm))];
    legend(arms);
    const curves = found.curves.filter((curve) => !hidden.has(curve.arm));
    const note = byId("curve-note");
    const parts = [];
    if (found.total > found.curves.length) parts.push(`${found.curves.length} of ${found.total} curves are shown.`);
    if (found.points_left_out) parts.push("Long curves are thinned to 300 epochs.");
    const isMeans = found.group === "arm";
    if (isMeans && found.curves.some((curve) => curve.seed === null)) parts.push("Bands are 95 % t intervals of the mean over completed trials.");
    if (isMeans && found.curves.some((curve) => curve.seed !== null)) parts.push("Thin lines are trials that run or did not complete.");
    if (chart) { chart.destroy(); chart = null; }
    holder.replaceChildren();
    if (note) note.textContent = parts.join(" ");
    if (!curves.length || !curves.some((curve) => curve.values.some((value) => value !== null))) {
      const empty = document.createElement("p");
      empty.className = "empty";
      empty.textContent = found.curves.length && !curves.length ? "No arm is chosen." : "No trial has values of this metric yet.";
      holder.append(empty);
      return;
    }
    const width = byId("curve-smooth") ? Number(byId("curve-smooth").value) : 0;
    const wantsLog = byId("curve-log").checked;
    const { data, isLog, isCut } = table(curves, width, wantsLog);
    if (wantsLog && !isLog) parts.push("The scale is linear: a value is 0 or below, which has no logarithm.");
    if (isCut) parts.push("Where the lower edge of a band is 0 or below, the band ends at the foot of the logarithmic scale.");
    if (note) note.textContent = parts.join(" ");
    const series = [{ label: "epoch" }];
    const bands = [];
    for (const curve of curves) {
      const index = arms.indexOf(curve.arm);
      const stroke = hue(index);
      const dash = DASHES[Math.floor(index / HUES) % DASHES.length];
      const single = curve.seed !== null && found.total > 1;
      series.push({ label: curve.name, stroke, dash, width: single ? 1 : 2, points: { show: data[0].length < 2 }, spanGaps: true });
      if (curve.low && !width) {
        const at = series.length;
        const edge = { stroke: "transparent", points: { show: false }, spanGaps: true };
        series.push({ label: `${curve.name}, low`, ...edge }, { label: `${curve.name}, high`, ...edge });
        bands.push({ series: [at + 1, at], fill: translucent(stroke, 0.16) });
      }
    }
    const axis = { stroke: color("--muted"), grid: { stroke: color("--grid"), width: 1 }, ticks: { stroke: color("--grid"), width: 1 }, font: "12px system-ui" };
    const unit = found.metric.unit ? ` (${found.metric.unit})` : "";
    chart = new uPlot({
      width: holder.clientWidth,
      height: 330,
      series,
      bands,
      legend: { show: false },
      cursor: { drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { distr: isLog ? 3 : 1 } },
      axes: [{ ...axis, incrs: WHOLE, label: "epoch", labelSize: 20, labelFont: "12px system-ui" }, { ...axis, label: found.metric.label + unit, labelSize: 20, size: 60, labelFont: "12px system-ui" }],
    }, data, holder);
  }

  async function load() {
    try {
      const answer = await fetch(address(), { headers: tag ? { "If-None-Match": tag } : {} });
      window.tuneAnswered(answer.status);
      if (!answer.ok) return;
      const next = answer.headers.get("etag");
      if (next === tag && found) return;
      tag = next;
      found = await answer.json();
      draw();
    } catch (error) {
      window.tuneAnswered(0);
    }
  }
  const again = () => { tag = null; load(); };

  byId("curve-metric").addEventListener("change", again);
  if (byId("curve-group")) byId("curve-group").addEventListener("change", again);
  if (byId("curve-smooth")) byId("curve-smooth").addEventListener("change", draw);
  byId("curve-log").addEventListener("change", draw);
  document.body.addEventListener("poll", load);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => { if (chart && holder.clientWidth) chart.setSize({ width: holder.clientWidth, height: 330 }); }).observe(holder);
  load();
})();
