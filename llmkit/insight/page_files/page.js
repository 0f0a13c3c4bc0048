"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const MEAN = "mean";
  const MOST_LINES = 400, LEAST_DRAWN = 0.02, NAMED = 5, BARS = 15, ALL = 101, LABELLED = 64;
  const state = { kind: 0, layer: 0, head: MEAN, token: null, pinned: false };

  // Reading the weights

  const digits = new Uint8Array(128);
  [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"].forEach((each, number) => {
    digits[each.charCodeAt(0)] = number;
  });
  const code = (text, place) => (digits[text.charCodeAt(2 * place)] << 6) | digits[text.charCodeAt(2 * place + 1)];

  const read = (kind) => {
    const queries = kind.queries.labels.length, keys = kind.keys.labels.length;
    const count = kind.layers.length * kind.heads.length;
    const weights = new Float32Array(count * queries * keys);
    let place = 0;
    for (let matrix = 0; matrix < count; matrix++) {
      for (let query = 0; query < queries; query++) {
        const end = kind.isCausal ? query + 1 : keys;
        for (let key = 0; key < end; key++) {
          const root = code(kind.weights, place++) / 4095;
          weights[(matrix * queries + query) * keys + key] = root * root;
        }
      }
    }
    return { queries, keys, weights, means: new Map() };
  };
  const opened = new Map();
  const kindOf = () => data.kinds[state.kind];
  const numbers = () => {
    if (!opened.has(state.kind)) opened.set(state.kind, read(kindOf()));
    return opened.get(state.kind);
  };
  const matrixOf = (layer, head) => {
    const { queries, keys, weights, means } = numbers();
    const size = queries * keys, heads = kindOf().heads.length;
    if (head !== MEAN) return weights.subarray((layer * heads + head) * size, (layer * heads + head + 1) * size);
    if (!means.has(layer)) {
      const mean = new Float32Array(size);
      for (let each = 0; each < heads; each++) {
        const one = matrixOf(layer, each);
        for (let place = 0; place < size; place++) mean[place] += one[place] / heads;
      }
      means.set(layer, mean);
    }
    return means.get(layer);
  };
  const matrix = () => matrixOf(state.layer, state.head);

  // Colors

  const root = document.documentElement;
  const triple = (name) => getComputedStyle(root).getPropertyValue(name).trim().split(" ").map(Number);
  let shades = [];
  const mixColors = () => {
    const low = triple("--low"), high = triple("--high");
    shades = Array.from({ length: 256 }, (_, step) => {
      const share = Math.sqrt(step / 255);
      return low.map((from, part) => Math.round(from + (high[part] - from) * share));
    });
  };
  const shade = (weight) => shades[Math.max(0, Math.min(255, Math.round(weight * 255)))];
  const css = (weight) => `rgb(${shade(weight).join(" ")})`;
  // Black or white, whichever stands out more: they do so equally at a luminance of 0.179 (WCAG 2.2).
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const luminance = ([red, green, blue]) => 0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);
  const ink = (weight) => (luminance(shade(weight)) > 0.179 ? "#000" : "#fff");
  const paint = (canvas, values, columns, rows) => {
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
    for (let place = 0; place < columns * rows; place++) {
      const [red, green, blue] = shade(values[place]);
      image.data.set([red, green, blue, 255], place * 4);
    }
    context.putImageData(image, 0, 0);
  };

  // Words

  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const bdi = (text) => element("bdi", { textContent: text, dir: "auto" });
  const headName = (head) => (head === MEAN || kindOf().heads[head] === MEAN ? "mean over heads" : `head ${kindOf().heads[head]}`);
  const placeName = () => `layer ${kindOf().layers[state.layer]}, ${headName(state.head)}`;
  const weightText = (weight) => weight.toFixed(3);
  const say = () => {
    const kind = kindOf(), { queries, keys } = numbers(), values = matrix();
    const line = [`${kind.kind} attention, ${placeName()}. `];
    if (state.token) {
      const { side, index } = state.token, isQuery = side === "queries";
      const others = Array.from({ length: isQuery ? keys : queries }, (_, other) => ({
        other, weight: isQuery ? values[index * keys + other] : values[other * keys + index],
      })).filter((each) => each.weight > 0).sort((a, b) => b.weight - a.weight).slice(0, NAMED);
      line.push(bdi(kind[side].labels[index]), isQuery ? " attends most to " : " is attended to most by ");
      others.forEach(({ other, weight }, number) => {
        line.push(number ? ", " : "", bdi(kind[isQuery ? "keys" : "queries"].labels[other]), ` ${weightText(weight)}`);
      });
    } else {
      line.push("No token is chosen.");
    }
    $("said").replaceChildren(...line);
  };

  // Tokens and the lines between them

  const ROW = 28;
  const fillTokens = (side) => {
    const { labels, segments } = kindOf()[side];
    $(side).replaceChildren(...labels.map((label, index) => {
      const token = element("button", { type: "button", className: "token", tabIndex: index ? -1 : 0 },
        element("small", { textContent: index + 1 }), bdi(label), element("span", { className: "weight" }));
      token.dataset.segment = segments ? segments[index] : 0;
      token.addEventListener("mouseenter", () => { if (!state.pinned) choose(side, index); });
      token.addEventListener("mouseleave", () => { if (!state.pinned) choose(null); });
      token.addEventListener("focus", () => { if (token.matches(":focus-visible")) { state.pinned = true; choose(side, index); } });
      token.addEventListener("click", () => {
        const isSame = state.pinned && state.token && state.token.side === side && state.token.index === index;
        state.pinned = !isSame;
        choose(isSame ? null : side, index);
      });
      token.addEventListener("keydown", (event) => moveToken(event, side, index));
      return token;
    }));
  };
  const moveToken = (event, side, index) => {
    const last = $(side).children.length - 1;
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: last }[event.key];
    const over = { ArrowRight: "keys", ArrowLeft: "queries" }[event.key];
    if (event.key === "Escape") { state.pinned = false; choose(null); return; }
    if (to === undefined && over === undefined) return;
    event.preventDefault();
    const list = $(over || side).children;
    focusOn(list, list[Math.max(0, Math.min(list.length - 1, over ? index : to))]);
  };
  const focusOn = (list, target) => {
    for (const each of list) each.tabIndex = each === target ? 0 : -1;
    target.focus();
  };
  const choose = (side, index) => {
    state.token = side ? { side, index } : null;
    showTokens();
    say();
  };
  const showTokens = () => {
    const { queries, keys } = numbers(), values = matrix(), chosen = state.token;
    for (const side of ["queries", "keys"]) {
      [...$(side).children].forEach((token, index) => {
        const isChosen = chosen !== null && chosen.side === side && chosen.index === index;
        token.setAttribute("aria-pressed", isChosen);
        const weight = chosen === null || chosen.side === side ? null
          : side === "keys" ? values[chosen.index * keys + index] : values[index * keys + chosen.index];
        token.style.background = weight === null ? "" : css(weight);
        token.style.color = weight === null ? "" : ink(weight);
        token.lastChild.textContent = weight === null ? "" : weightText(weight);
      });
    }
    const found = [];
    for (let query = 0; query < queries; query++) {
      for (let key = 0; key < keys; key++) {
        const isShown = chosen === null || (chosen.side === "queries" ? chosen.index === query : chosen.index === key);
        if (isShown && values[query * keys + key] >= LEAST_DRAWN) found.push([values[query * keys + key], query, key]);
      }
    }
    found.sort((a, b) => b[0] - a[0]);
    $("lines").replaceChildren(...found.slice(0, MOST_LINES).map(([weight, query, key]) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
      const ends = { x1: "0%", y1: (query + 0.5) * ROW, x2: "100%", y2: (key + 0.5) * ROW };
      for (const [name, value] of Object.entries({ ...ends, "stroke-opacity": Math.sqrt(weight), "stroke-width": 1 + 3 * weight })) {
        line.setAttribute(name, value);
      }
      return line;
    }));
  };

  // The large heat map

  let cells = { size: 0, left: 0, top: 0 };
  const drawLarge = () => {
    const kind = kindOf(), { queries, keys } = numbers(), values = matrix(), canvas = $("large");
    const size = Math.max(4, Math.min(30, Math.floor(520 / Math.max(queries, keys))));
    const isLabelled = Math.max(queries, keys) <= LABELLED;
    const context = canvas.getContext("2d");
    const margin = isLabelled ? labelWidth(context, kind, size) + 14 : 4, scale = window.devicePixelRatio || 1;
    const width = margin + keys * size + 4, height = margin + queries * size + 4;
    Object.assign(canvas, { width: width * scale, height: height * scale });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    context.scale(scale, scale);
    for (let query = 0; query < queries; query++) {
      for (let key = 0; key < keys; key++) {
        context.fillStyle = css(values[query * keys + key]);
        context.fillRect(margin + key * size, margin + query * size, Math.max(1, size - (size > 8 ? 1 : 0)), Math.max(1, size - (size > 8 ? 1 : 0)));
      }
    }
    if (isLabelled) drawLabels(context, kind, size, margin);
    cells = { size, left: margin, top: margin };
    canvas.setAttribute("aria-label", `Heat map of ${kind.kind} attention, ${placeName()}, ${queries} by ${keys} tokens; the same numbers are in the table below.`);
    if ($("table").open) fillTable();
  };
  const labelFont = (size) => `${Math.max(8, Math.min(13, size - 2))}px ui-monospace, "DejaVu Sans Mono", monospace`;
  const labelWidth = (context, kind, size) => {
    context.font = labelFont(size);
    const widths = [...kind.queries.labels, ...kind.keys.labels].map((label) => context.measureText(label).width);
    return Math.min(110, Math.max(...widths));
  };
  const drawLabels = (context, kind, size, margin) => {
    context.fillStyle = getComputedStyle(root).getPropertyValue("--ink");
    context.font = labelFont(size);
    context.textBaseline = "middle";
    context.textAlign = "right";
    kind.queries.labels.forEach((label, query) => context.fillText(label, margin - 6, margin + (query + 0.5) * size, margin - 8));
    context.textAlign = "left";
    kind.keys.labels.forEach((label, key) => {
      context.save();
      context.translate(margin + (key + 0.5) * size, margin - 6);
      context.rotate(-Math.PI / 2);
      context.fillText(label, 0, 0, margin - 8);
      context.restore();
    });
  };
  $("large").addEventListener("mousemove", (event) => {
    const { queries, keys } = numbers(), kind = kindOf();
    const key = Math.floor((event.offsetX - cells.left) / cells.size), query = Math.floor((event.offsetY - cells.top) / cells.size);
    const isInside = key >= 0 && key < keys && query >= 0 && query < queries;
    $("cell").replaceChildren(...(isInside
      ? [bdi(kind.queries.labels[query]), " → ", bdi(kind.keys.labels[key]), `: ${weightText(matrix()[query * keys + key])}`]
      : ["\u00a0"]));
  });
  const fillTable = () => {
    const kind = kindOf(), { keys } = numbers(), values = matrix();
    const head = element("tr", {}, element("th", { textContent: "from \\ to" }),
      ...kind.keys.labels.map((label) => element("th", { scope: "col" }, bdi(label))));
    const rows = kind.queries.labels.map((label, query) => element("tr", {}, element("th", { scope: "row" }, bdi(label)),
      ...kind.keys.labels.map((_, key) => element("td", { textContent: weightText(values[query * keys + key]) }))));
    $("table").querySelector("div").replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  };
  $("table").addEventListener("toggle", () => { if ($("table").open) fillTable(); });

  // All heads

  const columns = () => (kindOf().heads.length > 1 ? [MEAN, ...kindOf().heads.keys()] : [0]);
  const fillGrid = () => {
    const kind = kindOf(), grid = $("grid"), { queries, keys } = numbers();
    grid.style.gridTemplateColumns = `auto repeat(${columns().length}, auto)`;
    const made = [element("span"), ...columns().map((head) => element("span", { ariaHidden: "true", textContent: head === MEAN ? "mean" : kind.heads[head] }))];
    kind.layers.forEach((number, layer) => {
      made.push(element("span", { ariaHidden: "true", textContent: `layer ${number}` }));
      columns().forEach((head, column) => {
        const canvas = element("canvas"), button = element("button", { type: "button", className: "head" }, canvas);
        button.setAttribute("role", "radio");
        button.setAttribute("aria-label", `layer ${number}, ${headName(head)}`);
        paint(canvas, matrixOf(layer, head), keys, queries);
        button.addEventListener("click", () => pick(layer, head));
        button.addEventListener("keydown", (event) => moveHead(event, layer, column));
        made.push(button);
      });
    });
    grid.replaceChildren(...made);
  };
  const buttons = () => [...$("grid").querySelectorAll("button")];
  const moveHead = (event, layer, column) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const within = (place, count) => Math.max(0, Math.min(count - 1, place));
    const row = within(layer + step[0], kindOf().layers.length), place = within(column + step[1], columns().length);
    pick(row, columns()[place]);
    buttons()[row * columns().length + place].focus();
  };
  const pick = (layer, head) => {
    Object.assign(state, { layer, head });
    show();
  };

  // Choosing

  const fillSelect = (select, names, value) => {
    select.replaceChildren(...names.map(([name, each]) => element("option", { textContent: name, value: each })));
    select.value = value;
  };
  const startKind = () => {
    const kind = kindOf(), { queries, keys } = numbers();
    Object.assign(state, { layer: kind.layers.length - 1, head: columns()[0], token: null, pinned: false });
    $("queries-title").textContent = kind.kind === "cross" ? "from (decoder)" : "from";
    $("keys-title").textContent = kind.kind === "cross" ? "to (encoder)" : "to";
    $("lines").setAttribute("height", Math.max(queries, keys) * ROW);
    fillTokens("queries");
    fillTokens("keys");
    fillSelect($("layer"), kind.layers.map((number, layer) => [number, layer]), state.layer);
    fillSelect($("head"), columns().map((head) => [headName(head), head]), state.head);
    fillGrid();
    show();
  };
  const show = () => {
    $("layer").value = state.layer;
    $("head").value = state.head;
    const own = state.layer * columns().length + columns().indexOf(state.head);
    buttons().forEach((button, place) => {
      button.setAttribute("aria-checked", place === own);
      button.tabIndex = place === own ? 0 : -1;
    });
    showTokens();
    drawLarge();
    say();
  };
  $("kind").addEventListener("change", () => { state.kind = Number($("kind").value); startKind(); });
  const picked = () => pick(Number($("layer").value), $("head").value === MEAN ? MEAN : Number($("head").value));
  $("layer").addEventListener("change", picked);
  $("head").addEventListener("change", picked);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.token) { state.pinned = false; choose(null); }
  });
  $("choice").addEventListener("submit", (event) => event.preventDefault());
  $("sampling").addEventListener("submit", (event) => event.preventDefault());

  // What comes next

  const rests = new Map();
  const restOf = (place) => {
    if (!rests.has(place)) {
      const { rest, low, high } = data.predictions[place];
      rests.set(place, Float64Array.from({ length: rest.length / 2 }, (_, each) => low + (high - low) * code(rest, each) / 4095));
    }
    return rests.get(place);
  };
  const showCandidates = () => {
    const place = Number($("place").value || 0), { labels, logits } = data.predictions[place];
    const temperature = Number($("temperature").value), count = Number($("top-k").value), isAll = count >= ALL;
    $("temperature-value").textContent = temperature.toFixed(1);
    $("top-k-value").textContent = isAll ? "all" : count;
    const spread = (logit) => Math.exp((logit - logits[0]) / temperature);
    const kept = isAll ? logits : logits.slice(0, count);
    let sum = kept.reduce((total, logit) => total + spread(logit), 0);
    if (isAll) for (const logit of restOf(place)) sum += spread(logit);
    $("candidates").replaceChildren(...kept.slice(0, BARS).map((logit, number) => {
      const probability = spread(logit) / sum, bar = element("div", { className: "bar" });
      bar.style.width = `${100 * probability}%`;
      return element("li", {}, bdi(labels[number]), element("div", {}, bar),
        element("span", { className: "number", textContent: `${(100 * probability).toFixed(2)} %` }));
    }));
  };
  const startPredictions = () => {
    if (!data.predictions.length) return;
    const isBlank = data.predictions[0].isBlank;
    $("predictions").hidden = false;
    $("next-title").textContent = isBlank ? "What the blank may be" : "What comes next";
    $("place-label").hidden = data.predictions.length < 2;
    fillSelect($("place"), data.predictions.map((each, place) => [`#${each.position + 1}`, place]), 0);
    for (const id of ["temperature", "top-k", "place"]) $(id).addEventListener("input", showCandidates);
    showCandidates();
  };

  // Light and dark

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (theme) => {
    root.dataset.theme = theme;
    $("theme").textContent = theme === "dark" ? "Light" : "Dark";
    mixColors();
    paint($("scale"), Float32Array.from({ length: 128 }, (_, step) => step / 127), 128, 1);
    if (opened.size) { fillGrid(); show(); }
  };
  $("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));

  const start = () => {
    $("text").replaceChildren(bdi(data.text), ...(data.pair === null ? [] : [" · ", bdi(data.pair)]));
    const first = data.kinds[0];
    $("facts").textContent = data.kinds.map((kind) =>
      `${kind.kind}: ${kind.layers.length} layers, ${kind.heads.length} heads, ${kind.queries.labels.length} × ${kind.keys.labels.length} tokens, `
      + (kind.kind === "cross" ? "from decoder to encoder" : kind.isCausal ? "causal" : "bidirectional")).join("; ");
    fillSelect($("kind"), data.kinds.map((kind, place) => [kind.kind, place]), 0);
    $("kind-label").hidden = data.kinds.length < 2 || !first;
    setTheme(dark.matches ? "dark" : "light");
    startKind();
    startPredictions();
  };
  start();
})();
