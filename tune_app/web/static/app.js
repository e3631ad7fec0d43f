// Polling, times relative to now, the log, and the editor. Charts are in charts.js.
"use strict";
(() => {
  const EVERY = 2000;
  const connection = document.getElementById("connection");
  const shown = new WeakMap();
  let lost = null;

  // One event for everything that polls. A hidden tab asks for nothing.
  const poll = () => {
    if (document.visibilityState === "visible") document.body.dispatchEvent(new CustomEvent("poll"));
  };
  setInterval(poll, EVERY);
  document.addEventListener("visibilitychange", poll);

  const setLost = (isLost, reason) => {
    if (isLost && lost === null) {
      lost = new Date();
      connection.textContent = `Connection lost at ${lost.toLocaleTimeString()}${reason}. Trying again every 2 s; what you see may be old.`;
      connection.hidden = false;
    } else if (!isLost && lost !== null) {
      lost = null;
      connection.hidden = true;
    }
  };
  window.tuneConnection = setLost;

  document.addEventListener("htmx:sendError", () => setLost(true, ""));
  document.addEventListener("htmx:timeout", () => setLost(true, ""));
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status >= 500) setLost(true, ` (the server answers ${event.detail.xhr.status})`);
  });
  // What a swap would reset: open details, tables scrolled sideways, the keyboard's focus. A part is known by its name.
  const kept = new WeakMap();
  const partsOf = (target) =>
    [...target.querySelectorAll("details, .scroll")].map((part) => {
      const summary = part.querySelector(":scope > summary");
      return { part, summary, name: part.getAttribute("aria-label") || (summary ? summary.textContent : "") };
    });
  const keep = (target) => {
    const states = new Map();
    for (const { part, summary, name } of partsOf(target)) {
      const focus = document.activeElement;
      states.set(name, { open: part.open, left: part.scrollLeft, focused: focus === part || (summary !== null && focus === summary) });
    }
    kept.set(target, states);
  };
  const putBack = (target) => {
    for (const { part, summary, name } of partsOf(target)) {
      const state = (kept.get(target) || new Map()).get(name);
      if (!state) continue;
      if (summary) part.open = state.open;
      part.scrollLeft = state.left;
      if (state.focused) (summary || part).focus({ preventScroll: true });
    }
  };

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr } = event.detail;
    if (!target.hasAttribute("data-poll") || xhr.status !== 200) return;
    setLost(false, "");
    // Nothing new: keep focus, selection and scroll position.
    if (shown.get(target) === xhr.responseText) event.detail.shouldSwap = false;
    else keep(target);
    shown.set(target, xhr.responseText);
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    putBack(event.detail.target);
    ago();
  });

  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  function ago() {
    for (const element of document.querySelectorAll("time[data-ago]")) {
      const seconds = (Date.parse(element.dateTime) - Date.now()) / 1000;
      const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) || UNITS[3];
      if (!element.title) element.title = element.textContent;
      const text = Math.abs(seconds) > 7 * 86400 ? element.title : relative.format(Math.round(seconds / size), unit);
      if (element.textContent !== text) element.textContent = text;
    }
  }
  ago();
  setInterval(ago, 10000);

  // The log of a run, by byte offset.
  for (const log of document.querySelectorAll("[data-log]")) {
    let offset = 0;
    let complete = false;
    let busy = false;
    const more = async () => {
      if (busy || complete) return;
      busy = true;
      try {
        for (;;) {
          const answer = await fetch(`${log.dataset.log}?offset=${offset}`);
          if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
          const part = await answer.json();
          const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
          log.append(part.text);
          if (atEnd) log.scrollTop = log.scrollHeight;
          complete = part.complete;
          if (part.next === offset) break;
          offset = part.next;
        }
        setLost(false, "");
      } catch (error) {
        setLost(true, "");
      } finally {
        busy = false;
      }
    };
    document.body.addEventListener("poll", more);
    more();
  }

  // A mistake's line in the editor.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-line]");
    const text = document.getElementById("text");
    if (!link || !text) return;
    event.preventDefault();
    const lines = text.value.split("\n");
    const line = Number(link.dataset.line);
    const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    text.focus();
    text.setSelectionRange(start, start + (lines[line - 1] || "").length);
    text.scrollTop = (line - 4) * parseFloat(getComputedStyle(text).lineHeight);
  });
})();
