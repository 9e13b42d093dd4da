// The page of a served model: sends dropped files to /predict and shows what comes back. Texts of the server and of
// files are only ever set as text, never as HTML.
const $ = (id) => document.getElementById(id);
let token = null;
let model = {};
let latest = 0;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") for (const [key, setting] of Object.entries(value)) element.style.setProperty(key, setting);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

class Problem extends Error {
  constructor(body, status) {
    super(body.problem || `the server replied with ${status}`);
    this.cure = body.cure || "";
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Problem({ problem: "The server cannot be reached", cure: "See whether it still runs." }, 0);
  }
  if (response.status === 401) $("token-form").hidden = false;
  if (!response.ok) throw new Problem(await response.json().catch(() => ({})), response.status);
  return response;
}

const percent = (value) => (value > 0.9995 && value < 1 ? "> 99.9 %" : value > 0 && value < 0.0005 ? "< 0.1 %" : `${(100 * value).toFixed(1)} %`);
const short = (value) => (Math.abs(value) >= 1000 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toPrecision(4) : value.toFixed(3));
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

// The model card

const METRICS = [
  ["auroc", "AUROC"], ["average_precision", "Average precision"], ["balanced_accuracy", "Balanced accuracy"], ["recall", "Recall"],
  ["specificity", "Specificity"], ["ece", "Calibration error"], ["brier", "Brier score"], ["mae", "Mean abs. error"],
  ["rmse", "RMSE"], ["r2", "R²"], ["mse", "MSE"], ["ssim", "SSIM"], ["psnr", "PSNR"],
];

function metricsTable(names, values) {
  const rows = names.filter(([key]) => values[key] && values[key].value != null).map(([key, label]) => {
    const { value, ci95, no_skill } = values[key];
    const interval = ci95 ? `${short(ci95[0])} to ${short(ci95[1])}` : "";
    return make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, make("b", {}, short(value))), make("td", {}, interval),
      make("td", {}, no_skill == null ? "" : short(no_skill)));
  });
  if (!rows.length) return null;
  const head = ["Metric", "Value", "95 % interval", "No skill"].map((text) => make("th", { scope: "col" }, text));
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

function operatingPoint() {
  const point = model.operating_point;
  if (!point || !point.test) return [];
  const at = `, prevalence ${percent(point.prevalence)}`;
  const names = [["sensitivity", "Sensitivity"], ["specificity", "Specificity"], ["ppv", `PPV${at}`], ["npv", `NPV${at}`]];
  const table = metricsTable(names, point.test);
  return table ? [make("h3", {}, "At the operating point"), table] : [];
}

function inputWords({ channels, image_size: [height, width], resizes, series, type }) {
  const colour = { 1: "grey", 3: "RGB" }[channels] || `${channels}-channel`;
  const size = resizes ? `any size (resized to ${width} × ${height})` : `${width} × ${height} pixels`;
  return `${series ? "Series of images" : "Images"}, ${colour}, ${{ uint8: "8 bits", uint16: "16 bits" }[type] || "floating point"}, ${size}`;
}

function decisionWords() {
  const threshold = model.decision && model.decision.threshold;
  if (!model.decision) return null;
  if (typeof threshold !== "number") return "The most probable class";
  const rule = model.decision.rule ? `, chosen by ${model.decision.rule} on validation` : "";
  if (model.task === "binary") return `${model.classes[1]}, where its probability before calibration is above ${short(threshold)}${rule}`;
  return `Each label whose probability before calibration is above ${short(threshold)}${rule}`;
}

function showModel() {
  document.title = `${model.name}: Vesalius`;
  $("name").textContent = model.name;
  const kind = { regression: "Predicts continuous targets", multilabel: "Finds labels", unlabelled: "Scores anomalies" }[model.task] || "Classifies";
  $("summary").textContent = model.classes.length ? `${kind}: ${model.classes.join(", ")}` : kind;
  const list = make("dl");
  const entries = [[model.task === "regression" ? "Targets" : "Classes", model.classes.join(", ")], ["Input", inputWords(model.input)],
    ["Decision", decisionWords()], ["Trained on", model.train_size ? model.input.series ? `${model.train_size} series` : count(model.train_size, "image") : null]];
  for (const [term, text] of entries) if (text) list.append(make("dt", {}, term), make("dd", {}, text));
  const table = metricsTable(METRICS, model.test || {});
  const groups = Object.values(model.test || {}).find((metric) => metric && metric.groups);
  const heading = table && make("h3", {}, `On test data${groups ? ` (${count(groups.groups, "patient")})` : ""}`);
  const link = model.card && make("p", { class: "more" }, make("a", { href: model.card, id: "open-card" }, "The whole model card"));
  $("model").replaceChildren(...[list, heading, table, ...operatingPoint(), link].filter(Boolean));
  if (link) $("open-card").addEventListener("click", openCard);
}

// The card comes with the bundle, from whoever wrote that: its text and tables are copied, and nothing else of it.
const COPIED = new Set("H1 H2 H3 H4 P UL OL LI TABLE CAPTION THEAD TBODY TR TH TD STRONG B EM I CODE PRE BLOCKQUOTE DL DT DD DIV SECTION".split(" "));
const LEFT_OUT = new Set(["TITLE", "SCRIPT", "STYLE", "TEMPLATE", "NOSCRIPT", "IFRAME", "SVG", "svg"]);

function copied(node) {
  return [...node.childNodes].flatMap((child) => {
    if (child.nodeType === Node.TEXT_NODE) return [child.textContent];
    if (child.nodeType !== Node.ELEMENT_NODE || LEFT_OUT.has(child.tagName)) return [];
    return COPIED.has(child.tagName) ? [make(child.tagName.toLowerCase(), {}, ...copied(child))] : copied(child);
  });
}

async function openCard(event) {
  event.preventDefault();
  try {
    const inert = document.createElement("template");
    inert.innerHTML = await (await ask(model.card)).text();
    $("card-body").replaceChildren(...copied(inert.content));
  } catch (error) {
    $("card-body").replaceChildren(`${error.message}. ${error.cure}`);
  }
  $("card").showModal();
}

$("close-card").addEventListener("click", () => $("card").close());

async function loadModel() {
  try {
    model = await (await ask("/model")).json();
    showModel();
  } catch (error) {
    $("model").replaceChildren(make("p", { class: "dim" }, error.status === 401 ? "Shown once the token is given." : `${error.message}. ${error.cure}`));
    if (error.status === 401) $("token").focus();
  }
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value;
  $("token-form").hidden = true;
  loadModel();
});

// Predictions

function pictures(prediction) {
  const { frames, preview, explanation, input } = prediction;
  if (!preview) return null;
  const heat = model.task === "unlabelled" ? "Where its reconstruction differs" : "What the prediction rests on";
  const films = [];
  const film = (source, caption, alt) => {
    const image = make("img", { src: source, alt });
    const box = make("div", { class: "film" }, image);
    image.addEventListener("load", () => {
      box.style.setProperty("--ratio", image.naturalWidth / frames / image.naturalHeight);
      image.style.width = `${100 * frames}%`;
    });
    films.push(image);
    return make("figure", {}, box, make("figcaption", {}, caption));
  };
  const box = make("div", { class: explanation ? "pictures" : "pictures single" }, film(preview, "As the model takes it", `${input}, as the model takes it`));
  if (explanation) box.append(film(explanation, heat, `${input} with a heat map: ${heat.toLowerCase()}`));
  if (frames > 1) {
    const shown = make("output", {}, `Frame 1 of ${frames}`);
    const slider = make("input", { type: "range", min: 1, max: frames, value: 1, "aria-label": `Frame of ${input}` });
    slider.addEventListener("input", () => {
      shown.textContent = `Frame ${slider.value} of ${frames}`;
      for (const image of films) image.style.left = `${-100 * (slider.value - 1)}%`;
    });
    box.append(make("div", { class: "slide" }, slider, shown));
  }
  return box;
}

const MOST_BARS = 12;

function bars(prediction) {
  const chosen = new Set((prediction.prediction || "").split("|"));
  const sorted = Object.entries(prediction.probabilities).sort((a, b) => b[1] - a[1]);
  const list = make("ul", { class: "bars", "aria-label": "Probabilities" });
  for (const [name, value] of sorted.slice(0, MOST_BARS)) {
    const mine = chosen.has(name) ? " chosen" : "";
    list.append(make("li", {}, make("span", { class: `label${mine}` }, name),
      make("span", { class: `track${mine}`, "aria-hidden": "true" }, make("div", { class: "fill", style: { width: `${100 * value}%` } })),
      make("span", { class: `number${mine}` }, percent(value))));
  }
  return list;
}

function outcome(prediction) {
  const box = make("div", { class: "outcome" });
  if (prediction.prediction != null) {
    const name = prediction.prediction.split("|").filter(Boolean).join(", ") || "None of the labels";
    box.append(make("p", { class: "decision" }, name), make("p", { class: "why dim" }, decisionAt()));
  }
  if (prediction.probabilities) box.append(bars(prediction));
  if (prediction.values) {
    const list = make("dl", { class: "values" });
    for (const [name, value] of Object.entries(prediction.values)) list.append(make("dt", {}, name), make("dd", {}, short(value)));
    box.append(list);
  }
  if (prediction.score != null) box.append(make("p", {}, "Anomaly score ", make("b", {}, short(prediction.score))));
  if (prediction.prediction_set) {
    const chips = prediction.prediction_set.map((name) => make("span", { class: "chip" }, name));
    const coverage = model.conformal && model.conformal.coverage;
    const words = `Prediction set${coverage ? ` (${percent(coverage).replace(".0", "")} coverage)` : ""}:`;
    box.append(make("p", { class: "facts" }, make("span", { class: "dim" }, words), ...(chips.length ? chips : ["no class"])));
  }
  if (prediction.out_of_distribution) {
    box.append(make("p", { class: "alarm" }, make("strong", {}, "Unlike what the model learned from. "), "It does not know such images: do not rely on the prediction."));
  }
  return box;
}

function decisionAt() {
  const threshold = model.decision && model.decision.threshold;
  return typeof threshold === "number" ? `Decision at the operating point (threshold ${short(threshold)})` : "Decision: the most probable class";
}

function show(prediction) {
  if (prediction.problem) return refused(prediction.input, prediction.problem, prediction.cure);
  return make("article", {}, make("h3", {}, prediction.input), pictures(prediction), outcome(prediction));
}

function refused(title, problem, cure) {
  return make("article", { class: "refused" }, title && make("h3", {}, title), make("p", { class: "problem" }, problem), cure && make("p", {}, cure));
}

function words({ predictions }) {
  const first = predictions[0];
  const wrong = predictions.filter((one) => one.problem).length;
  const failed = wrong ? `, ${wrong} refused` : "";
  if (predictions.length > 1) return `${predictions.length - wrong} predicted${failed}.`;
  return first.prediction == null ? `${first.input}: predicted.` : `${first.input}: ${first.prediction.replaceAll("|", ", ") || "none of the labels"}.`;
}

async function predict(files) {
  if (!files.length) return;
  const mine = ++latest;
  const form = new FormData();
  for (const { file, path } of files) form.append("files", file, path);
  const query = new URLSearchParams({ preview: "true", explain: String($("explain").checked) });
  $("status").className = "busy";
  $("status").textContent = `Predicting ${files.length === 1 ? files[0].file.name : `${files.length} files`}`;
  let parts, status;
  try {
    const reply = await (await ask(`/predict?${query}`, { method: "POST", body: form })).json();
    parts = [...reply.predictions.map(show), ...reply.notes.map((note) => make("p", { class: "dim" }, note))];
    status = words(reply);
  } catch (error) {
    parts = [refused("", error.message, error.cure)];
    status = `Refused: ${error.message}`;
  }
  if (mine !== latest) return;
  $("predictions").replaceChildren(...parts);
  $("status").className = "";
  $("status").textContent = status;
  $("results").scrollIntoView({ block: "nearest" });
}

// Choosing and dropping

const plain = (list) => [...list].map((file) => ({ file, path: file.name }));
for (const id of ["files", "folder"]) {
  $(id).addEventListener("change", (event) => {
    predict(plain(event.target.files));
    event.target.value = "";
  });
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader(), found = [];
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) return found;
    for (const inner of batch) found.push(...await filesOf(inner));
  }
}

let depth = 0;
const over = (change) => {
  depth = change === 0 ? 0 : Math.max(0, depth + change);
  $("drop").classList.toggle("over", depth > 0);
};
addEventListener("dragenter", (event) => { event.preventDefault(); over(1); });
addEventListener("dragleave", () => over(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", async (event) => {
  event.preventDefault();
  over(0);
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  const loose = [...event.dataTransfer.files];
  const files = entries.some((entry) => entry.isDirectory) ? (await Promise.all(entries.map(filesOf))).flat() : loose;
  predict(plain(files));
});

loadModel();
