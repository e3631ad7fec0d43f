// Polling, times relative to now, the log, and the editor. Charts are in charts.js.
"use strict";
(() => {
  const EVERY = 2000;
  const connection = document.getElementById("connection");
  const shown = new WeakMap();
  let lost = null;
  let leaving = false;

  // One event for everything that polls. A hidden tab asks for nothing.
  const poll = () => {
    if (document.visibilityState === "visible") document.body.dispatchEvent(new CustomEvent("poll"));
  };
  setInterval(poll, EVERY);
  document.addEventListener("visibilitychange", poll);

  const signIn = () => {
    if (leaving) return;
    leaving = true;
    location.assign(`/login?target=${encodeURIComponent(location.pathname + location.search)}`);
  };

  // Says what the status of an answer means for the page; 0 where there was none.
  const answered = (status) => {
    if (status === 401) {
      signIn();
    } else if (status >= 200 && status < 400) {
      lost = null;
      connection.hidden = true;
    } else {
      lost = lost || new Date();
      const time = lost.toLocaleTimeString();
      const reason = status ? ` (the server answers ${status})` : "";
      const text = status >= 400 && status < 500
        ? `Not brought up to date since ${time}: the server answers ${status}. Load the page again to see why.`
        : `Connection lost at ${time}${reason}. Trying again every 2 s; what you see may be old.`;
      if (connection.textContent !== text) connection.textContent = text;
      connection.hidden = false;
    }
  };
  window.tuneAnswered = answered;

  // The editor is never left: its text would be lost. What could not be checked is checked again.
  const editor = document.getElementById("editor");
  const panel = document.getElementById("check");
  let unchecked = false;
  const failed = (event) => {
    const { target, xhr } = event.detail;
    if (target !== panel || xhr.status === 0 || xhr.status >= 500) {
      unchecked = target === panel;
      answered(xhr.status);
      return;
    }
    unchecked = xhr.status === 401;
    const reason = unchecked
      ? "the session has ended. Sign in in another tab; the text here is kept."
      : `the server answers ${xhr.status}.`;
    const message = document.createElement("p");
    message.className = "error";
    message.textContent = `Not checked: ${reason}`;
    if (panel.textContent !== message.textContent) panel.replaceChildren(message);
  };
  for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) document.addEventListener(name, failed);
  const check = () => editor.dispatchEvent(new Event("check"));
  document.body.addEventListener("poll", () => {
    if (unchecked) check();
  });
  // Going back to the editor puts its text back after the page is loaded.
  window.addEventListener("pageshow", () => {
    leaving = false;
    if (editor) check();
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
    if (xhr.status !== 200) return;
    answered(200);
    if (target === panel) unchecked = false;
    if (!target.hasAttribute("data-poll")) return;
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
          answered(answer.status);
          if (!answer.ok) return;
          const part = await answer.json();
          const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
          log.append(part.text);
          if (atEnd) log.scrollTop = log.scrollHeight;
          complete = part.complete;
          if (part.next === offset) break;
          offset = part.next;
        }
      } catch (error) {
        answered(0);
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
