
"use strict";
// Text from the scan is only ever put into text nodes and attributes of images made here.

const CHUNK = 100; // rows that are added at once, when the end comes near
const BINS = 50;
const RANK = { fake: 0, uncertain: 1, error: 2, real: 3 };
const HIDDEN = new Set([
  ...["path_b64", "error", "height", "detector", "thumbnail", "logit", "sha256", "figure"],
  ...["provenance_detail", "generator_score", "known_generators"],
]);
const KNOWN = ["path", "verdict", "score", "width", "format"];
const TITLES = { width: "size" };

const $ = (id) => document.getElementById(id);
const read = (id) => JSON.parse($(id).textContent);
const scan = read("scan");
const findings = read("findings");
const summary = read("summary");

const columns = [
  ...KNOWN,
  ...new Set(findings.flatMap((f) => Object.keys(f).filter((key) => f[key] !== null))),
].filter((key, i, all) => !HIDDEN.has(key) && all.indexOf(key) === i);
const hasThumbnails = findings.some((f) => f.thumbnail);

const state = {
  real: scan.detector.t_real,
  fake: scan.detector.t_fake,
  verdict: "all",
  words: "",
  sort: "score",
  isDescending: true,
  shown: [], // findings that match, in order
  rendered: 0, // of them, rows that exist
};

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function drawing(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const count = (n) => n.toLocaleString("en");
const digits = (score) => score.toFixed(3);

function judge() {
  for (const f of findings) {
    if (f.score === null) f.now = "error";
    else if (f.score >= state.fake) f.now = "fake";
    else f.now = f.score < state.real ? "real" : "uncertain";
  }
}

// --- table

const collator = new Intl.Collator("en", { numeric: true });
const SORT_BY = {
  verdict: (f) => RANK[f.now],
  width: (f) => (f.width === null ? null : f.width * f.height),
};

function compare(a, b) {
  const by = SORT_BY[state.sort] || ((f) => f[state.sort] ?? null);
  const [x, y] = [by(a), by(b)];
  if (x === null || y === null) return (x === null) - (y === null); // what is missing comes last
  const order = typeof x === "number" && typeof y === "number" ? x - y : collator.compare(x, y);
  return state.isDescending ? -order : order;
}

function select() {
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  state.shown = findings.filter(
    (f) =>
      (state.verdict === "all" || f.now === state.verdict) &&
      words.every((word) => f.path.toLowerCase().includes(word)),
  );
  state.shown.sort(compare);
}

const CELLS = {
  path(f) {
    const cell = make("td", "path");
    const cut = f.path.lastIndexOf("/") + 1;
    if (cut) cell.append(make("span", "folder", f.path.slice(0, cut)));
    cell.append(make("span", "name", f.path.slice(cut)));
    if (f.error) cell.append(make("span", "reason", f.error));
    if (f.figure) cell.append(linked(f, "explanation"));
    return cell;
  },
  verdict(f) {
    const cell = make("td");
    cell.append(make("span", `badge ${f.now}`, f.now));
    return cell;
  },
  score(f) {
    const cell = make("td");
    if (f.score === null) return cell;
    const box = make("div", `gauge ${f.now}`);
    const bar = drawing("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": true });
    bar.append(drawing("rect", { width: 100 * f.score, height: 6 }));
    box.append(bar, digits(f.score));
    box.title = `logit ${f.logit}`;
    cell.append(box);
    return cell;
  },
  provenance(f) {
    const cell = make("td", "text", f.provenance ?? "");
    if (f.provenance_detail) cell.append(make("div", "detail", f.provenance_detail));
    return cell;
  },
  generator(f) {
    const cell = make("td", "text", f.generator ?? "");
    if (f.generator) {
      const isKnown = f.known_generators.includes(f.generator);
      const said = `${isKnown ? "probability" : "none above"} ${digits(f.generator_score)}`;
      cell.append(make("div", "detail", said));
      cell.title = `known: ${f.known_generators.join(", ")}`;
    }
    return cell;
  },
  width: (f) => make("td", "plain", f.width === null ? "" : `${f.width} × ${f.height}`),
  format: (f) => make("td", "plain", f.format ?? ""),
};

function linked(f, content) {
  const link = make("a");
  link.href = f.figure; // a file beside this page
  link.target = "_blank";
  link.rel = "noopener";
  link.append(content);
  return link;
}

/** The same link a second time: for the mouse only. */
function skipped(link) {
  link.tabIndex = -1;
  link.ariaHidden = "true";
  return link;
}

function plain(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function row(f) {
  const line = make("tr");
  if (hasThumbnails) {
    const cell = make("td", "thumbnail");
    const picture = make(f.thumbnail ? "img" : "i");
    if (f.thumbnail) {
      picture.alt = "";
      picture.decoding = "async";
      picture.src = `data:image/webp;base64,${f.thumbnail}`;
    }
    cell.append(f.figure ? skipped(linked(f, picture)) : picture);
    line.append(cell);
  }
  for (const key of columns) {
    const cell = CELLS[key];
    line.append(cell ? cell(f) : make("td", "text", plain(f[key])));
  }
  return line;
}

function grow(rows) {
  const next = state.shown.slice(state.rendered, state.rendered + rows);
  $("rows").append(...next.map(row));
  state.rendered += next.length;
}

function showRows(rows) {
  $("rows").replaceChildren();
  state.rendered = 0;
  grow(rows);
  $("empty").hidden = state.shown.length > 0;
  $("shown").textContent = `${count(state.shown.length)} of ${count(findings.length)} shown`;
}

function showHeadings() {
  const cells = columns.map((key) => {
    const cell = make("th", key);
    cell.scope = "col";
    if (key === state.sort) cell.ariaSort = state.isDescending ? "descending" : "ascending";
    const button = make("button", "", (TITLES[key] ?? key).replaceAll("_", " "));
    button.type = "button";
    button.dataset.key = key;
    cell.append(button);
    return cell;
  });
  const corner = make("td"); // no heading: pictures do not sort
  $("headings").replaceChildren(...(hasThumbnails ? [corner] : []), ...cells);
}

// --- thresholds

function showBars() {
  const bins = new Array(BINS).fill(0);
  const scored = findings.filter((f) => f.score !== null);
  for (const f of scored) bins[Math.min(BINS - 1, Math.floor(f.score * BINS))] += 1;
  const highest = Math.sqrt(Math.max(1, ...bins));
  bins.forEach((n, i) => {
    const height = n ? Math.max(3, (116 * Math.sqrt(n)) / highest) : 0;
    const width = 1000 / BINS;
    const bar = drawing("rect", { x: i * width + 1, y: 120 - height, width: width - 2, height, rx: 2 });
    const title = drawing("title", {});
    title.textContent = `${(i / BINS).toFixed(2)} to ${((i + 1) / BINS).toFixed(2)}: ${count(n)}`;
    bar.append(title);
    $("bars").append(bar);
  });
}

function showThresholds() {
  for (const name of ["real", "fake"]) {
    $(`t-${name}`).value = state[name];
    $(`${name}-value`).value = digits(state[name]);
  }
  for (const [id, name] of [["a", "real"], ["b", "real"], ["c", "fake"], ["d", "fake"]]) {
    $(`stop-${id}`).setAttribute("offset", state[name]);
  }
  $("between").hidden = state.real === state.fake;
  const { t_real: real, t_fake: fake } = scan.detector;
  $("reset").disabled = state.real === real && state.fake === fake;
}

function showCounts() {
  const counts = { all: findings.length, fake: 0, uncertain: 0, real: 0, error: 0 };
  for (const f of findings) counts[f.now] += 1;
  for (const input of $("filters").querySelectorAll("input")) {
    input.nextElementSibling.querySelector("b").textContent = count(counts[input.value]);
  }
  const verb = counts.fake === 1 ? "looks" : "look";
  const images = findings.length + summary.left_out;
  $("headline").textContent = summary.is_worst_only
    ? `The ${count(findings.length)} highest scores of ${count(images)} images`
    : images
    ? `${count(counts.fake)} of ${count(images)} images ${verb} AI-generated`
    : "No images";
  document.title = `fakescan: ${$("headline").textContent}`;
}

function showFacts() {
  const { detector } = scan;
  const skipped = Object.entries(summary.skipped).map(([reason, n]) => `${count(n)} ${reason}`);
  const facts = [
    `detector ${detector.name}`,
    detector.precision,
    ...(detector.arithmetic ? [`arithmetic ${detector.arithmetic}`] : []),
    `sha256 ${detector.sha256.slice(0, 12)}`,
    `fakescan ${scan.version}`,
    `scanned in ${summary.elapsed_s.toFixed(1)} s`,
  ];
  const left = summary.is_worst_only ? "with lower scores, or none," : "that are not flagged";
  if (summary.left_out) facts.push(`${count(summary.left_out)} images ${left} left out`);
  if (skipped.length) facts.push(`skipped: ${skipped.join(", ")}`);
  $("facts").textContent = facts.join("  ·  ");
  $("partial").hidden = summary.is_complete;
}

// --- what people do

let isDue = false;

function rejudge() {
  showThresholds();
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    judge();
    showCounts();
    select();
    showRows(Math.max(CHUNK, state.rendered));
  });
}

function refilter() {
  select();
  showRows(CHUNK);
}

$("t-real").addEventListener("input", (event) => {
  state.real = event.target.valueAsNumber;
  state.fake = Math.max(state.fake, state.real);
  rejudge();
});
$("t-fake").addEventListener("input", (event) => {
  state.fake = event.target.valueAsNumber;
  state.real = Math.min(state.real, state.fake);
  rejudge();
});
$("reset").addEventListener("click", () => {
  ({ t_real: state.real, t_fake: state.fake } = scan.detector);
  rejudge();
});
$("filters").addEventListener("change", (event) => {
  state.verdict = event.target.value;
  refilter();
});
$("search").addEventListener("input", (event) => {
  state.words = event.target.value;
  refilter();
});
$("headings").addEventListener("click", (event) => {
  const key = event.target.dataset.key;
  if (!key) return;
  state.isDescending = key === state.sort ? !state.isDescending : key === "score";
  state.sort = key;
  showHeadings();
  refilter();
  $("headings").querySelector(`[data-key="${CSS.escape(key)}"]`).focus();
});
addEventListener("beforeprint", () => grow(state.shown.length));
new IntersectionObserver((entries) => entries.some((e) => e.isIntersecting) && grow(CHUNK), {
  rootMargin: "1200px",
}).observe($("more"));

judge();
showFacts();
showBars();
showThresholds();
showHeadings();
showCounts();
refilter();
