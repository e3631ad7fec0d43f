"use strict";
// Sortable and filterable trial table, arms to show and hide, values under the pointer. No library, no network.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // A table's heads sort its rows; numbers by value, also inside of words, and empty cells last.
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    const heads = all("thead th", table);
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const keyed = [...body.rows].map((row) => [row.cells[column].dataset.sort, row]);
      const numeric = keyed.every(([key]) => key === "" || Number.isFinite(Number(key)));
      keyed.sort(([a], [b]) => {
        if (a === "" || b === "") return (a === "") - (b === "");
        return sign * (numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true }));
      });
      body.append(...keyed.map(([, row]) => row));
    }));
  }

  // The filter looks for all its words in a row, and for one status.
  const table = document.getElementById("trials-table");
  const words = document.getElementById("filter-words");
  const status = document.getElementById("filter-status");
  const count = document.getElementById("filter-count");
  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(wanted.every((word) => text.includes(word)) && (!status.value || row.dataset.status === status.value));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${table.tBodies[0].rows.length} rows shown`;
  };
  if (table && words) {
    words.addEventListener("input", filter);
    status.addEventListener("change", filter);
  }

  // Arms are shown and hidden in every figure at once.
  const boxes = all("fieldset.arms input");
  const hidden = new Set();
  const show = (box) => {
    if (box.checked) hidden.delete(box.value); else hidden.add(box.value);
    for (const part of all(`svg [data-arm="${box.value}"]`)) part.style.display = box.checked ? "" : "none";
  };
  for (const box of boxes) { box.addEventListener("change", () => show(box)); show(box); }
  document.getElementById("arms-all")?.addEventListener("click", () => {
    const on = boxes.some((box) => !box.checked);
    for (const box of boxes) { box.checked = on; show(box); }
  });

  // The values under the pointer, or under the arrow keys, on the learning curves.
  for (const canvas of all("[data-hover]")) {
    const data = JSON.parse(document.getElementById(canvas.dataset.hover).textContent);
    const svg = canvas.querySelector("svg");
    const tip = document.createElement("div");
    const cross = document.createElementNS("http://www.w3.org/2000/svg", "line");
    let place = null;
    tip.className = "tip"; tip.hidden = true; tip.setAttribute("role", "status");
    cross.setAttribute("class", "cross");
    canvas.append(tip);

    const clear = () => { tip.hidden = true; cross.remove(); };
    const line = (hue, name, value) => {
      const p = document.createElement("p");
      const [swatch, label, shown] = [0, 1, 2].map(() => document.createElement("span"));
      swatch.className = "swatch"; swatch.style.background = `var(--${hue})`;
      label.textContent = name; shown.textContent = value;
      p.append(swatch, label, shown);
      return p;
    };
    const draw = (panel, epoch) => {
      const [x, y, w, h] = panel.box;
      const at = x + w * (epoch - panel.x[0]) / (panel.x[1] - panel.x[0]);
      const lines = [];
      for (const [arm, rows] of Object.entries(panel.arms)) {
        const row = hidden.has(arm) ? null : rows.find((one) => one[0] === epoch);
        if (!row) continue;
        const interval = row[2] === null ? "" : ` [${row[2]}, ${row[3]}]`;
        lines.push([row[1], line(data.hues[arm], data.names[arm], `${row[1]}${interval}`)]);
      }
      if (!lines.length) return clear();
      lines.sort((a, b) => b[0] - a[0]);
      const head = document.createElement("p");
      const strong = document.createElement("strong");
      strong.textContent = `Epoch ${epoch}: ${panel.name}${panel.sign ? ` (${panel.sign})` : ""}`;
      head.append(strong);
      tip.replaceChildren(head, ...lines.map(([, node]) => node));
      tip.hidden = false;
      for (const [key, value] of Object.entries({ x1: at, x2: at, y1: y, y2: y + h })) cross.setAttribute(key, value);
      svg.append(cross);
      const scale = svg.clientWidth / data.width;
      const left = at * scale + 14;
      const room = canvas.scrollLeft + canvas.clientWidth;
      tip.style.left = `${left + tip.offsetWidth > room ? Math.max(canvas.scrollLeft, at * scale - tip.offsetWidth - 14) : left}px`;
      tip.style.top = `${Math.max(0, Math.min(y * scale, canvas.clientHeight - tip.offsetHeight))}px`;
      place = { panel, epoch };
    };
    const nearest = (panel, epoch) => {
      const epochs = Object.values(panel.arms).flat().map((row) => row[0]);
      return epochs.reduce((best, one) => (Math.abs(one - epoch) < Math.abs(best - epoch) ? one : best), epochs[0]);
    };

    canvas.addEventListener("pointermove", (event) => {
      const frame = svg.getBoundingClientRect();
      const x = (event.clientX - frame.left) * data.width / frame.width;
      const y = (event.clientY - frame.top) * data.height / frame.height;
      const panel = data.panels.find(({ box: [a, b, w, h] }) => x >= a && x <= a + w && y >= b && y <= b + h);
      if (!panel) return clear();
      draw(panel, nearest(panel, panel.x[0] + (x - panel.box[0]) / panel.box[2] * (panel.x[1] - panel.x[0])));
    });
    canvas.addEventListener("pointerleave", clear);
    canvas.addEventListener("blur", clear);
    canvas.addEventListener("keydown", (event) => {
      const index = place ? data.panels.indexOf(place.panel) : 0;
      const panel = data.panels[index];
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const turn = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (event.key === "Escape") clear();
      if (step === undefined && turn === undefined) return;
      event.preventDefault();
      if (turn) {
        const next = data.panels[(index + turn + data.panels.length) % data.panels.length];
        draw(next, nearest(next, place ? place.epoch : next.x[1]));
      } else draw(panel, nearest(panel, place ? place.epoch + step : panel.x[step > 0 ? 0 : 1]));
    });
  }

  // On paper nothing can be opened: print every detail, and put back what was closed.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
})();
