// The newest archived lines: as a table with filters, and raw.

import { getJson, getText, shown, single, waiting } from "./api.js";
import { attribute, byId, el, keyed, text } from "./dom.js";
import * as show from "./format.js";
import { plural, t } from "./i18n.js";

const LIMIT = 100; // lines in the table
const TAIL = 65_536; // bytes shown raw
// of a line, besides its fields: the keys that each has, and its object's
const KNOWN = ["host", "time", "method", "path", "httpVersion", "status", "userAgent", "key"];
const TYPING = 250; // ms after the last key before a filter is used

let view = "table";
let chosen = null; // the object picked in the tree; else the newest one
let answer = null;
let problem = null;
let raw = { key: null, text: "", error: null };

const field = (name) => byId(`filter-${name}`);

function filters() {
  const status = field("status");
  return {
    status: status.validity.valid ? status.value.trim().toLowerCase() : "",
    path: field("path").value.trim(),
    host: field("host").value.trim(),
  };
}

const fieldsOf = (lines) => [...new Set(lines.flatMap(Object.keys))].filter((name) => !KNOWN.includes(name));

/** Each line's own key: the same line keeps its row when newer ones come in above it. */
function rows(lines, fields) {
  const seen = new Map();
  return lines.toReversed().map((line) => {
    const name = JSON.stringify([line, fields]);
    seen.set(name, (seen.get(name) ?? 0) + 1);
    return { line, fields, key: `${name} ${seen.get(name)}` };
  }).reverse();
}

function createRow({ line, fields }) {
  const cell = (name, value) => el("td", { class: name, title: value ?? "" }, value ?? "–");
  const code = String(line.status ?? "–");
  const time = line.time ?? "";
  return el("tr", {},
    el("td", { class: "time" }, el("time", { datetime: time })),
    el("td", {}, el("span", { class: "status", "data-class": code[0] }, code)),
    cell("method", line.method), cell("path", line.path), cell("host", line.host), cell("agent", line.userAgent),
    ...fields.map((name) => cell("field", line[name]?.toString())));
}

/** A heading for each field, behind those of every table. */
function renderHead(fields) {
  const head = byId("lines-head");
  const names = JSON.stringify(fields);
  if ((head.dataset.fields ?? "[]") === names) return;
  head.dataset.fields = names;
  head.querySelectorAll(".field").forEach((each) => each.remove());
  head.append(...fields.map((name) => el("th", { scope: "col", class: "field" }, name)));
}

function updateRow(row, { line }) {
  const time = row.querySelector("time");
  const known = line.time && !Number.isNaN(Date.parse(line.time));
  text(time, known ? (line.time.slice(0, 10) === new Date().toISOString().slice(0, 10)
    ? show.clock(line.time) : `${show.day(line.time)} ${show.clock(line.time)}`) : "–");
  attribute(time, "title", known ? show.local(line.time) : null);
}

export function renderLines() {
  byId("table-view").hidden = view !== "table";
  byId("raw-view").hidden = view !== "raw";
  attribute(byId("view-table"), "aria-pressed", String(view === "table"));
  attribute(byId("view-raw"), "aria-pressed", String(view === "raw"));
  if (view === "table") renderTable();
  else renderRaw();
}

function renderTable() {
  const lines = answer?.lines ?? [];
  const fields = fieldsOf(lines);
  renderHead(fields);
  keyed(byId("lines-body"), rows(lines, fields), (row) => row.key, createRow, updateRow);
  const filtered = Object.values(filters()).some(Boolean);
  const empty = byId("lines-empty");
  empty.hidden = lines.length > 0;
  text(empty, !answer ? shown(problem) ?? waiting() : filtered ? t("no_lines_match") : t("no_lines"));
  text(byId("lines-note"), shown(problem) && answer ? problem : lines.length
    ? t("lines_note", { lines: plural("lines", lines.length, show.count(lines.length)), size: show.bytes(answer.scanned_bytes) })
    : "");
}

function renderRaw() {
  const key = raw.key ?? chosen;
  text(byId("raw-key"), key ?? "");
  text(byId("raw-note"), shown(raw.error) ?? (raw.key ? t("raw_note", { size: show.bytes(TAIL) }) : ""));
  text(byId("raw"), raw.text || (raw.key ? "" : t("no_lines")));
}

const refreshTable = single(async () => {
  try {
    answer = await getJson("lines", { limit: LIMIT, ...filters() });
    problem = null;
  } catch (error) {
    problem = error.message;
  }
  renderLines();
  return problem === null;
});

const refreshRaw = single(async () => {
  const key = chosen ?? answer?.from?.[0] ?? null;
  if (key === null) {
    raw = { key, text: "", error: null };
  } else {
    try {
      const content = await getText("raw", { key, tail: TAIL });
      const moved = raw.key !== key;
      raw = { key, text: content, error: null };
      renderLines();
      if (moved) byId("raw").scrollTop = byId("raw").scrollHeight;
    } catch (error) {
      raw = { key, text: raw.key === key ? raw.text : "", error: error.message };
    }
  }
  renderLines();
  return raw.error === null;
});

/** Read again what is shown; whether that succeeded. */
export async function refreshLines() {
  const read = await refreshTable();
  return view === "raw" ? (await refreshRaw()) && read : read;
}

export function showObject(key) {
  chosen = key;
  setView("raw");
}

function setView(wanted) {
  view = wanted;
  renderLines();
  if (view === "raw") refreshRaw();
}

export function startLines() {
  let timer = 0;
  byId("filters").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refreshTable, TYPING);
  });
  byId("filters").addEventListener("reset", () => setTimeout(refreshTable));
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    refreshTable();
  });
  byId("view-table").addEventListener("click", () => {
    chosen = null;
    setView("table");
  });
  byId("view-raw").addEventListener("click", () => setView("raw"));
}
