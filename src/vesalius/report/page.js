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

// Tables: a click on a column sorts by it, numbers by value; missing values come last in either order.
for (const table of document.querySelectorAll("table.board")) {
  for (const head of table.tHead.rows[0].cells) {
    if ("fixed" in head.dataset) continue;
    const button = document.createElement("button"); // reacts to Enter and Space by itself
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(table, head));
    head.append(button);
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

// Texts of elements, shown under the pointer or when reached by Tab.
for (const element of document.querySelectorAll("[data-tip]")) element.tabIndex = 0;
function elementWithTip(event) {
  return event.target instanceof Element ? event.target.closest("[data-tip]") : null;
}
document.addEventListener("pointermove", (event) => {
  const element = elementWithTip(event);
  if (element) showTip(element.dataset.tip, event.clientX, event.clientY);
  else if (!(event.target instanceof Element && event.target.closest("svg.chart"))) tip.hidden = true;
});
document.addEventListener("focusin", (event) => {
  const element = elementWithTip(event);
  if (element) { const box = element.getBoundingClientRect(); showTip(element.dataset.tip, box.right, box.top); }
});
document.addEventListener("focusout", () => { tip.hidden = true; });

// Charts: shows the point nearest to the pointer, or the one selected with the arrow keys.
for (const svg of document.querySelectorAll("svg.chart")) {
  const chart = report.charts[svg.dataset.chart], cursor = svg.querySelector(".cursor");
  const [x0, x1, y0, y1, left, right, top, bottom] = svg.dataset.frame.split(" ").map(Number);
  const lines = [...svg.querySelectorAll(".series")];
  let at = null;

  function pointsOf(line) {
    const series = chart.series[line.dataset.series], points = [];
    series.x.forEach((x, i) => {
      const y = series.y[i];
      if (x === null || y === null) return;
      const px = left + (x - x0) / (x1 - x0) * (right - left), py = bottom - (y - y0) / (y1 - y0) * (bottom - top);
      if (py > top - 8 && py < bottom + 8) points.push({ px, py, x, y, note: series.notes[i], name: series.name, line });
    });
    return points;
  }
  const shown = () => lines.filter((line) => !line.classList.contains("off"));

  function show(point, clientX, clientY) {
    at = point;
    svg.classList.toggle("some", Boolean(point));
    for (const line of lines) line.classList.toggle("on", point?.line === line);
    if (!point) return;
    cursor.setAttribute("cx", point.px);
    cursor.setAttribute("cy", point.py);
    const { name, x, y, note } = point;
    showTip(`${name}\n${chart.x} ${x}, ${chart.y} ${y}${note ? "\n" + note : ""}`, clientX, clientY);
  }
  function nearest(points, x, y) {
    const far = (point) => Math.hypot(point.px - x, point.py - y);
    return points.reduce((best, point) => (best && far(best) <= far(point) ? best : point), null);
  }
  function leave() {
    tip.hidden = true;
    svg.classList.remove("some");
    cursor.setAttribute("cx", -20);
  }
  svg.addEventListener("pointermove", (event) => {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    show(nearest(shown().flatMap(pointsOf), x, y), event.clientX, event.clientY);
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  // Left and right move along a line, up and down from one line to the next.
  svg.addEventListener("keydown", (event) => {
    const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0, over = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
    const known = shown().filter((line) => pointsOf(line).length);
    if (!(along || over) || !known.length) return;
    event.preventDefault();
    const line = known[(Math.max(0, known.indexOf(at?.line)) + (at ? over : 0) + known.length) % known.length];
    const points = pointsOf(line), here = nearest(points, at?.px ?? left, at?.py ?? bottom);
    const point = points[Math.min(points.length - 1, Math.max(0, points.indexOf(here) + (at ? along : 0)))];
    const place = new DOMPoint(point.px, point.py).matrixTransform(svg.getScreenCTM());
    show(point, place.x, place.y);
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
