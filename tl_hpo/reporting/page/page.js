"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const print = matchMedia("print");
  const touch = matchMedia("(pointer: coarse)");
  const PRINT_PIXELS = 660; // what is left of A4 and Letter between their margins
  let chosen = null; // "light" or "dark" once the button was pressed

  // Colour scheme

  const scheme = (printing) => (printing ? "light" : chosen || (dark.matches ? "dark" : "light"));
  const button = document.getElementById("scheme");

  function applyScheme(printing = print.matches) {
    const now = scheme(printing);
    root.dataset.scheme = now;
    button.textContent = now === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Show in ${button.textContent.toLowerCase()} colours`);
    button.setAttribute("aria-pressed", String(chosen !== null));
    charts.forEach((chart) => draw(chart, printing));
  }

  // Charts

  const charts = [...document.querySelectorAll("figure.chart")].map((figure) => ({
    place: figure.querySelector(".plot"),
    ...JSON.parse(figure.querySelector("script").textContent),
  }));
  const settings = {
    responsive: true,
    displaylogo: false,
    displayModeBar: touch.matches ? false : "hover", // it lies over the legend
    modeBarButtonsToRemove: ["lasso2d", "select2d"],
    toImageButtonOptions: { format: "svg" },
  };

  function draw({ place, data, layout }, printing) {
    const style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(name).trim();
    const ink = colour("--ink");
    layout.font = { color: ink, family: colour("--text"), size: 13 };
    layout.hoverlabel = { bgcolor: colour("--surface"), bordercolor: colour("--line"), font: { color: ink } };
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      Object.assign(layout[name], { gridcolor: colour("--grid"), linecolor: colour("--line"), automargin: true, zeroline: false });
      layout[name].title = { ...layout[name].title, font: { size: 13 } };
    }
    data.filter((trace) => trace.meta === "ink").forEach((trace) => { trace.line.color = ink; });
    for (const each of layout.annotations || []) each.font = { size: 13.5 };
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: colour("--quiet"), activecolor: ink };
    if (touch.matches) layout.dragmode = false; // a finger scrolls the page
    layout.autosize = !printing;
    if (printing) layout.width = Math.min(PRINT_PIXELS, place.closest(".beside") ? PRINT_PIXELS / 2 - 10 : PRINT_PIXELS);
    else delete layout.width;
    Plotly.react(place, data, layout, settings);
  }

  button.addEventListener("click", () => {
    chosen = scheme(false) === "dark" ? "light" : "dark";
    applyScheme();
  });
  dark.addEventListener("change", () => applyScheme());
  print.addEventListener("change", () => applyScheme());
  addEventListener("beforeprint", () => applyScheme(true));
  addEventListener("afterprint", () => applyScheme(false));
  applyScheme();

  // Copying the command

  async function copy(element) {
    const text = element.textContent;
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { // not allowed: select it, as one would by hand
      const range = document.createRange();
      range.selectNodeContents(element);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      return document.execCommand("copy");
    }
  }

  document.querySelectorAll("[data-copy]").forEach((own) => {
    own.addEventListener("click", async () => {
      const done = await copy(own.parentElement.querySelector("code"));
      own.textContent = done ? "Copied" : "Selected";
      setTimeout(() => { own.textContent = "Copy"; }, 2500);
    });
  });

  // The images of a cell of the confusion matrix

  const dialog = document.getElementById("images");
  const grid = dialog.querySelector(".grid");

  function element(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function shown({ path, confidence, image, missing }) {
    const picture = image
      ? element("img", { src: image, alt: path })
      : element("span", { className: "missing", textContent: missing });
    const told = `${path}, confidence ${confidence.toFixed(2)}`;
    return element("figure", { className: "image" }, picture, element("figcaption", { textContent: told }));
  }

  document.querySelectorAll(".matrix").forEach((matrix) => {
    const images = JSON.parse(matrix.querySelector("script").textContent);
    matrix.addEventListener("click", (event) => {
      const cell = event.target.closest("button[data-cell]");
      if (!cell) return;
      const own = images[cell.dataset.cell];
      const count = Number(cell.dataset.count);
      document.getElementById("images-title").textContent = cell.getAttribute("aria-label");
      const all = own.length === count ? "" : `, of which the ${own.length} that the model is surest of`;
      document.getElementById("images-count").textContent =
        `${count} ${count === 1 ? "image" : "images"} of the ${matrix.dataset.side} side${all}`;
      grid.replaceChildren(...own.map(shown));
      dialog.showModal();
    });
  });
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // The table of trials

  const compare = new Intl.Collator("en", { numeric: true }).compare;

  function key(row, column) {
    const cell = row.cells[column];
    if (!cell.classList.contains("number")) return cell.textContent;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  }

  function order(a, b) { // what has no value comes last, whichever way
    if (a === null || b === null) return null;
    return typeof a === "number" ? a - b : compare(a, b);
  }

  function sort(table, column, sign) {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, key: key(row, column) }));
    rows.sort((a, b) => {
      const found = order(a.key, b.key);
      return found === null ? (a.key === null) - (b.key === null) : sign * found;
    });
    body.append(...rows.map(({ row }) => row));
  }

  document.querySelectorAll("table.sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const numbers = head.classList.contains("number");
        const now = head.getAttribute("aria-sort");
        const next = now === null ? (numbers ? "descending" : "ascending")
          : now === "ascending" ? "descending" : "ascending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", next);
        sort(table, column, next === "ascending" ? 1 : -1);
      });
    });
  });

  document.querySelectorAll(".trials").forEach((part) => {
    const text = part.querySelector("[data-filter=text]");
    const state = part.querySelector("[data-filter=state]");
    const output = part.querySelector("output");
    const rows = [...part.querySelectorAll("tbody tr")].map((row) => ({ row, text: row.textContent.toLowerCase() }));
    const total = output.textContent.replace(/^\d+/, "");
    const filter = () => {
      const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const { row, text: own } of rows) {
        const kept = (!state.value || row.dataset.state === state.value) && words.every((word) => own.includes(word));
        row.hidden = !kept;
        count += kept;
      }
      output.textContent = `${count}${total}`;
    };
    text.addEventListener("input", filter);
    state.addEventListener("change", filter);
  });
})();
