// Completion in the editor of a study: the keys and values that the JSON Schema allows at the cursor, as buttons.
"use strict";
(() => {
  const text = document.getElementById("text");
  const box = document.getElementById("completions");
  if (!text || !box) return;
  const MOST = 12;
  let schema = null;
  let offered = [];

  const deref = (node) => {
    let found = node;
    for (let depth = 0; found && found.$ref && depth < 20; depth += 1) {
      found = found.$ref.split("/").slice(1).reduce((at, part) => at && at[part.replace(/~1/g, "/").replace(/~0/g, "~")], schema);
    }
    return found || {};
  };
  const variants = (node) => {
    const found = deref(node);
    const inner = [...(found.anyOf || []), ...(found.oneOf || [])].flatMap(variants);
    return [found, ...inner];
  };
  const under = (nodes, key) => nodes.flatMap((node) => variants(node)).flatMap((node) => {
    if (node.properties && node.properties[key]) return [node.properties[key]];
    return typeof node.additionalProperties === "object" ? [node.additionalProperties] : [];
  });

  // Lines of less indentation above the cursor are the keys around it; flow mappings ({a: 1}) on one line, too.
  function place() {
    const before = text.value.slice(0, text.selectionStart);
    const lines = before.split("\n");
    const current = lines.pop();
    const path = [];
    let indent = current.match(/^ */)[0].length;
    for (const line of lines.reverse()) {
      const found = line.match(/^( *)([\w.-]+):\s*(#.*)?$/);
      if (found && found[1].length < indent) {
        path.unshift(found[2]);
        indent = found[1].length;
      }
    }
    const open = current.match(/^ *([\w.-]+):\s*\{([^{}]*)$/);
    const word = (open ? open[2].split(",").pop() : current).trimStart();
    if (open) path.push(open[1]);
    const value = word.match(/^([\w.-]+):\s*([\w.-]*)$/);
    if (value) return { path, key: value[1], word: value[2] };
    return /^[\w.-]*$/.test(word) ? { path, key: null, word } : null;
  }

  function candidates(at) {
    let nodes = [schema];
    for (const key of at.path) nodes = under(nodes, key);
    if (at.key !== null) {
      const values = under(nodes, at.key).flatMap((node) => variants(node)).flatMap((node) => {
        if (node.enum) return node.enum;
        if (node.const !== undefined) return [node.const];
        return node.type === "boolean" ? [true, false] : [];
      });
      return [...new Set(values.filter((one) => one !== null).map(String))].map((name) => ({ name, insert: name, title: "" }));
    }
    const found = new Map();
    for (const node of nodes.flatMap((one) => variants(one))) {
      for (const [name, one] of Object.entries(node.properties || {})) {
        if (!found.has(name)) found.set(name, { name, insert: `${name}: `, title: one.description || deref(one).description || "" });
      }
    }
    return [...found.values()];
  }

  function insert(one) {
    const at = place();
    const start = text.selectionStart - (at ? at.word.length : 0);
    text.focus();
    text.setRangeText(one.insert, start, text.selectionStart, "end");
    text.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function show() {
    const at = schema && text.selectionStart === text.selectionEnd ? place() : null;
    const found = at ? candidates(at).filter((one) => one.name.startsWith(at.word) && one.name !== at.word) : [];
    offered = at && (at.word || at.key !== null || at.path.length || found.length) ? found.slice(0, MOST) : [];
    box.replaceChildren(...offered.map((one) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet";
      button.textContent = one.name;
      if (one.title) button.title = one.title;
      button.addEventListener("click", () => insert(one));
      return button;
    }));
    if (found.length > MOST) box.append(` and ${found.length - MOST} more`);
  }

  text.addEventListener("keydown", (event) => {
    if (event.ctrlKey && event.code === "Space" && offered.length) {
      event.preventDefault();
      insert(offered[0]);
    }
  });
  for (const event of ["input", "keyup", "click"]) text.addEventListener(event, show);
  fetch(text.dataset.schema).then((answer) => answer.ok ? answer.json() : null).then((found) => { schema = found; }).catch(() => {});
})();
