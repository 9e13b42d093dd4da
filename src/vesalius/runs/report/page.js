"use strict";
const report = JSON.parse(document.getElementById("report-data").textContent);
const tip = document.getElementById("tip");

function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
  tip.style.left = Math.max(4, Math.min(x + 14, room)) + window.scrollX + "px";
  const below = y + 18 + tip.offsetHeight > window.innerHeight;
  tip.style.top = (below ? y - tip.offsetHeight - 10 : y + 16) + window.scrollY + "px";
}

// Tables: a click on a column sorts by it, numbers as numbers; what is missing comes last either way.
for (const table of document.querySelectorAll("table.board")) {
  for (const head of table.tHead.rows[0].cells) {
    if ("fixed" in head.dataset) continue;
    head.tabIndex = 0;
    head.addEventListener("click", () => sortBy(table, head));
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sortBy(table, head); });
  }
}

function sortBy(table, head) {
  const numeric = head.classList.contains("num"), known = head.getAttribute("aria-sort");
  const descending = known ? known === "ascending" : numeric;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const keyed = [...table.tBodies[0].rows].map((row) => {
    const cell = row.cells[head.cellIndex], text = cell.dataset.sort ?? cell.textContent.trim();
    return { row, text, empty: text === "" || text === "–" };
  });
  const plain = keyed.every((entry) => entry.empty || Number.isFinite(Number(entry.text)));
  keyed.sort((a, b) => {
    if (a.empty || b.empty) return a.empty - b.empty;
    const order = plain ? Number(a.text) - Number(b.text) : a.text.localeCompare(b.text, undefined, { numeric: true });
    return descending ? -order : order;
  });
  for (const entry of keyed) table.tBodies[0].append(entry.row);
}

for (const input of document.querySelectorAll("[data-filter]")) {
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    const rows = document.getElementById(input.dataset.filter).tBodies[0].rows;
    for (const row of rows) {
      row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
      shown += !row.hidden;
    }
    const count = document.querySelector(`[data-count="${input.dataset.filter}"]`);
    count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  });
}

// Whatever carries a text of its own.
function tipped(event) {
  return event.target instanceof Element ? event.target.closest("[data-tip]") : null;
}
document.addEventListener("pointermove", (event) => {
  const element = tipped(event);
  if (element) showTip(element.dataset.tip, event.clientX, event.clientY);
  else if (!(event.target instanceof Element && event.target.closest("svg.chart"))) tip.hidden = true;
});
document.addEventListener("focusin", (event) => {
  const element = tipped(event);
  if (element) { const box = element.getBoundingClientRect(); showTip(element.dataset.tip, box.right, box.top); }
});
document.addEventListener("focusout", () => { tip.hidden = true; });

// Charts: the nearest point of what is shown.
for (const svg of document.querySelectorAll("svg.chart")) {
  const chart = report.charts[svg.dataset.chart], cursor = svg.querySelector(".cursor");
  const [x0, x1, y0, y1, left, right, top, bottom] = svg.dataset.frame.split(" ").map(Number);
  const lines = [...svg.querySelectorAll(".series")];
  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = null;
    for (const line of lines) {
      if (line.classList.contains("off")) continue;
      const series = chart.series[line.dataset.series];
      series.x.forEach((x, i) => {
        const y = series.y[i];
        if (x === null || y === null) return;
        const px = left + (x - x0) / (x1 - x0) * (right - left), py = bottom - (y - y0) / (y1 - y0) * (bottom - top);
        const far = Math.hypot(px - at.x, py - at.y);
        if (py > top - 8 && py < bottom + 8 && (!best || far < best.far)) best = { far, px, py, x, y, i, series, line };
      });
    }
    svg.classList.toggle("some", Boolean(best));
    for (const line of lines) line.classList.toggle("on", best?.line === line);
    if (!best) return;
    cursor.setAttribute("cx", best.px);
    cursor.setAttribute("cy", best.py);
    const note = best.series.notes[best.i];
    showTip(`${best.series.name}\n${chart.x} ${best.x}, ${chart.y} ${best.y}${note ? "\n" + note : ""}`, event.clientX, event.clientY);
  });
  svg.addEventListener("pointerleave", () => {
    tip.hidden = true;
    svg.classList.remove("some");
    cursor.setAttribute("cx", -20);
  });
}

for (const button of document.querySelectorAll("[data-legend]")) {
  button.addEventListener("click", () => {
    const off = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!off));
    const chart = document.querySelector(`svg[data-chart="${button.dataset.legend}"]`);
    for (const line of chart.querySelectorAll(`[data-group="${button.dataset.group}"]`)) line.classList.toggle("off", off);
  });
}

// A link to a run opens it; on paper everything is open.
function openTarget() {
  const run = location.hash && document.getElementById(location.hash.slice(1));
  if (run instanceof HTMLDetailsElement) { run.open = true; run.scrollIntoView(); }
}
window.addEventListener("hashchange", openTarget);
window.addEventListener("beforeprint", () => { for (const run of document.querySelectorAll("details")) run.open = true; });
openTarget();
