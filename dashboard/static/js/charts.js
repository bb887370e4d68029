// Charts of the archived lines: uPlot for the minutes, tables with bars for the rest. Without uPlot: tables only.

import { getJson, shown, single, waiting } from "./api.js";
import { attribute, byId, el, keyed, text } from "./dom.js";
import * as show from "./format.js";
import { t } from "./i18n.js";

const CLASSES = ["2xx", "3xx", "4xx", "5xx", "other"];
const HEIGHT = 220; // CSS pixels
const LIBRARY = "vendor/uPlot.iife.min.js";
// Charts of what only lines with FIELDS have. `names`: a colour and a name for each number that `of` a minute there is.
const MEASURES = [
  { id: "bytes", title: () => t("bytes_field"), names: [["3", ""]], of: (minute) => [minute.bytes], unit: show.bytes },
  { id: "seconds", title: () => t("seconds_field"), names: [["2", "50%"], ["4", "95%"], ["5", "99%"]],
    of: (minute) => minute.seconds ?? [], unit: show.milliseconds },
];

let library; // see loadLibrary
let wanted = [["script", { src: LIBRARY }], ["link", { rel: "stylesheet", href: "vendor/uPlot.min.css" }]];
const plots = new Map(); // by the id of their chart
let data = null;
let problem = null;
let pointed = null; // the minute under the mouse

/** Put an element that fetches a file into the page; whether the file came. */
function fetched(node) {
  return new Promise((resolve) => {
    node.addEventListener("load", () => resolve(true));
    node.addEventListener("error", () => {
      node.remove();
      resolve(false);
    });
    document.head.append(node);
  });
}

/** Fetch the vendored library; null when the build could not get it, undefined when it was cut off. */
async function loadLibrary() {
  const came = await Promise.all(wanted.map(([name, attributes]) => fetched(el(name, attributes))));
  wanted = wanted.filter((_, at) => !came[at]);
  if (wanted.length === 0) return globalThis.uPlot;
  const answer = await fetch(LIBRARY, { method: "HEAD" }).catch(() => null);
  return answer?.status === 404 ? null : undefined;
}

/** A colour of the stylesheet as the canvas understands it, in the theme of now. */
function colour(name) {
  const probe = el("span", { class: `paint paint-${name}` });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** uPlot's columns: the minutes, then the stacks from the whole down to the first class, so that each covers the last. */
function columns(minutes) {
  const sums = minutes.map((minute) => {
    let sum = 0;
    return CLASSES.map((name) => (sum += minute[name] ?? 0));
  });
  const stacks = CLASSES.map((_, at) => sums.map((each) => each[at])).reverse();
  return [minutes.map((minute) => Date.parse(minute.t) / 1000), ...stacks];
}

const bars = () => library.paths.bars({ size: [0.72, 28] });

/** `drawn`: for each line of it, its colour, and the paths it is drawn by. */
function options(width, drawn, least, marks) {
  const grid = { stroke: colour("grid"), width: 1 };
  const axis = { stroke: colour("axis"), font: "11px system-ui, sans-serif", ticks: { show: false } };
  return {
    width,
    height: HEIGHT,
    padding: [8, 12, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: { x: { range: (_, from, to) => [from - 30, to + 30] }, y: { range: (_, __, most) => [0, Math.max(least, most * 1.08)] } },
    axes: [
      { ...axis, grid: { show: false }, space: 70, size: 26, values: (_, marks) => marks.map((mark) => show.minute(mark * 1000)) },
      { ...axis, grid, size: 60, space: 36, ...marks },
    ],
    series: [{}, ...drawn.map(([name, paths]) => ({
      fill: paths && colour(`class-${name}`),
      stroke: colour(`class-${name}`),
      width: paths ? 0 : 2,
      points: { show: !paths, size: 6 },
      paths,
    }))],
    hooks: {
      setCursor: [(chart) => {
        pointed = chart.cursor.idx ?? null;
        renderLegends();
      }],
    },
  };
}

function drop(id) {
  plots.get(id)?.destroy();
  plots.delete(id);
}

function draw(id, content, ...how) {
  const place = byId(`${id}-plot`);
  if (plots.has(id)) plots.get(id).setData(content);
  else plots.set(id, new library(options(place.clientWidth, ...how), content, place));
}

function drawMinutes() {
  const nothing = !library || !data || data.lines === 0;
  byId("minutes-plot").hidden = nothing;
  if (nothing) {
    drop("minutes");
    return;
  }
  const incrs = [1, 2, 5].flatMap((n) => [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].map((m) => n * m)).sort((a, b) => a - b);
  draw("minutes", columns(data.minutes), CLASSES.toReversed().map((name) => [name[0], bars()]), 4,
    { incrs, values: (_, marks) => marks.map(show.compact) });
}

const has = ({ of }) => (of(data ?? {})[0] ?? null) !== null;

function drawMeasure(measure) {
  const { id, names, of, unit } = measure;
  const nothing = !library || !has(measure);
  byId(`${id}-chart`).hidden = nothing;
  if (nothing) {
    drop(id);
    return;
  }
  const content = [columns(data.minutes)[0], ...names.map((_, at) => data.minutes.map((minute) => of(minute)[at] ?? null))];
  draw(id, content, names.map(([name]) => [name, names.length === 1 ? bars() : undefined]), 0.01,
    { values: (_, marks) => marks.map(unit) });
}

/** In another theme or language the canvas must be painted anew. */
export function repaint() {
  [...plots.keys()].forEach(drop);
  renderCharts();
}

function totals() {
  return CLASSES.map((name) => [name, data.minutes.reduce((sum, minute) => sum + (minute[name] ?? 0), 0)]);
}

/** Of the minute under the mouse, or of all. `items`: a colour, a name, and what is shown. */
function renderLegend(id, minute, items) {
  const heading = minute ? [["t", "", show.minute(minute.t)]] : [];
  keyed(byId(`${id}-legend`), [...heading, ...items], ([name]) => name,
    ([name]) => el("li", { "data-class": name }, el("span", {}), el("b", {})),
    (item, [, label, value]) => {
      text(item.firstChild, label);
      text(item.lastChild, value);
    });
}

function renderLegends() {
  const minute = pointed === null ? null : data.minutes[pointed];
  const items = minute ? CLASSES.map((name) => [name, minute[name] ?? 0]) : totals();
  renderLegend("minutes", minute, items.filter(([name, n]) => name !== "other" || n > 0)
    .map(([name, n]) => [name[0], name === "other" ? t("other") : name, show.count(n)]));
  for (const { id, names, of, unit } of MEASURES) {
    renderLegend(id, minute, names.map(([name, label], at) => [name, label, unit(of(minute ?? data)[at])]));
  }
}

function table(headings, rows, label) {
  return el("table", { class: "plain", "aria-label": label },
    el("thead", {}, el("tr", {}, ...headings.map((heading) => el("th", { scope: "col" }, heading)))),
    el("tbody", {}, ...rows.map(([head, ...cells]) =>
      el("tr", {}, el("th", { scope: "row" }, head), ...cells.map((cell) => el("td", {}, cell))))));
}

function renderMinutesTable() {
  const details = byId("minutes-details");
  details.hidden = !data || data.lines === 0;
  if (library === null) details.open = true;
  if (!details.open || !data) return;
  const measures = MEASURES.filter(has);
  const rows = data.minutes.toReversed().map((minute) => {
    const counts = CLASSES.map((name) => minute[name] ?? 0);
    const measured = measures.flatMap(({ names, of, unit }) => names.map((_, at) => unit(of(minute)[at])));
    return [show.minute(minute.t), show.count(counts.reduce((a, b) => a + b, 0)), ...counts.map(show.count), ...measured];
  });
  const headings = [t("minute_utc"), t("total"), "2xx", "3xx", "4xx", "5xx", t("other"),
    ...measures.flatMap(({ title, names }) => names.map(([, label]) => `${title()} ${label}`.trim()))];
  byId("minutes-table").replaceChildren(table(headings, rows, t("requests_per_minute")));
}

/** A table whose rows have a bar behind the number: the chart and its table in one. */
function ranking(place, heading, items, colours = false) {
  if (!place.firstChild) {
    place.append(
      el("table", { class: "bars" },
        el("thead", {}, el("tr", {}, ...[0, 1, 2].map(() => el("th", { scope: "col" }, el("span", { class: "quiet" }))))),
        el("tbody", {})));
  }
  const grid = place.firstChild;
  [heading, t("requests"), t("share")].forEach((word, at) => text(grid.tHead.rows[0].cells[at].firstChild, word));
  const most = Math.max(1, ...items.map((item) => item.count));
  keyed(grid.tBodies[0], items, (item) => item.name,
    () => el("tr", {}, el("th", { scope: "row" }, el("span", { class: "label" }), el("span", { class: "bar" })), el("td", {}),
      el("td", { class: "muted" })),
    (row, item) => {
      const [head, number, share] = row.cells;
      const name = item.name === "other" && colours ? t("other") : item.name || t("none");
      text(head.firstChild, name);
      attribute(head, "title", name);
      attribute(head, "data-class", colours ? item.name[0] : null);
      head.lastChild.style.setProperty("--part", String(item.count / most));
      text(number, show.count(item.count));
      text(share, data.lines ? show.percent(item.count / data.lines) : "");
    });
}

export function renderCharts() {
  const note = [];
  if (library === null) note.push(t("no_library"));
  if (data && !data.complete) note.push(t("incomplete"));
  if (shown(problem)) note.push(problem);
  text(byId("traffic-note"), note.join(" "));
  const empty = byId("minutes-empty");
  const nothing = !data || data.lines === 0;
  empty.hidden = !nothing;
  text(empty, data && !problem ? t("no_requests") : shown(problem) ?? waiting());
  byId("minutes-legend").hidden = nothing;
  if (!nothing) renderLegends();
  drawMinutes();
  MEASURES.forEach(drawMeasure);
  renderMinutesTable();
  for (const name of ["classes", "paths", "agents"]) byId(name).parentElement.hidden = nothing;
  if (nothing) return;
  const classes = totals().filter(([, n]) => n > 0).map(([name, n]) => ({ name, count: n }));
  ranking(byId("classes"), t("status_classes"), classes, true);
  ranking(byId("paths"), t("path"), data.paths);
  ranking(byId("agents"), t("agent"), data.agents);
}

/** Read the charts again; whether that succeeded. */
export const refreshCharts = single(async () => {
  if (library === undefined) library = await loadLibrary();
  try {
    data = await getJson("charts", { minutes: byId("period").value });
    problem = null;
  } catch (error) {
    problem = error.message;
  }
  renderCharts();
  return problem === null && library !== undefined;
});

export function startCharts() {
  byId("period").addEventListener("change", refreshCharts);
  byId("minutes-details").addEventListener("toggle", renderMinutesTable);
  new ResizeObserver(() => plots.forEach((plot, id) => plot.setSize({ width: byId(`${id}-plot`).clientWidth, height: HEIGHT })))
    .observe(byId("minutes-plot"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
}
