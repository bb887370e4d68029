// The hourly objects as folders of years, months, days and hours. Each folder is read when it is opened.

import { getJson, shown, single, waiting } from "./api.js";
import { attribute, byId, el, keyed, text } from "./dom.js";
import * as show from "./format.js";
import { plural, t } from "./i18n.js";

const open = new Set([""]); // prefixes
const loaded = new Map(); // prefix -> {entries, more, newest} or {entries, error}
let chosen = null;
let onChoose = () => {};
let first = true;

function facts(entry) {
  const parts = [];
  if (entry.kind === "folder" && entry.objects !== null && entry.objects !== undefined) {
    parts.push(plural("objects", entry.objects, show.count(entry.objects)));
  }
  if (entry.lines !== null && entry.lines !== undefined) parts.push(plural("lines", entry.lines, show.count(entry.lines)));
  if (entry.bytes !== null && entry.bytes !== undefined) parts.push(show.bytes(entry.bytes));
  return parts.join(" · ");
}

function createEntry(entry) {
  const name = el("span", { class: "entry-name" });
  const words = el("span", { class: "entry-facts muted" });
  if (entry.kind !== "folder") {
    const button = el("button", { type: "button", class: "entry" }, name, words);
    button.addEventListener("click", () => {
      chosen = entry.key;
      renderTree();
      onChoose(entry.key);
    });
    return el("li", { class: "object" }, button);
  }
  const inside = el("ul", {});
  const folder = el("details", {}, el("summary", { class: "entry" }, name, words), inside,
    el("p", { class: "empty", hidden: true }));
  folder.open = open.has(entry.key);
  folder.addEventListener("toggle", () => {
    if (folder.open === open.has(entry.key)) return;
    if (folder.open) {
      open.add(entry.key);
      refreshTree();
    } else open.delete(entry.key);
  });
  return el("li", { class: "folder" }, folder);
}

function updateEntry(item, entry) {
  const control = item.querySelector(".entry");
  text(control.children[0], entry.name);
  text(control.children[1], facts(entry));
  if (entry.kind !== "folder") {
    attribute(control, "aria-current", entry.key === chosen ? "true" : null);
    attribute(control, "title", entry.modified ? t("modified", { time: show.moment(entry.modified) }) : null);
    return;
  }
  const [, inside, note] = item.firstChild.children;
  if (item.firstChild.open !== open.has(entry.key)) item.firstChild.open = open.has(entry.key);
  renderFolder(entry.key, inside, note);
}

function renderFolder(prefix, list, note) {
  const content = loaded.get(prefix);
  const entries = content?.entries ?? [];
  keyed(list, entries, (entry) => entry.key, createEntry, updateEntry);
  const sentence = shown(content?.error) ?? (!content || content.error ? waiting() : content.more ? t("more_entries")
    : !entries.length ? t("no_objects")
    : content.newest && prefix === "" ? t("newest_only", { n: show.count(content.newest) }) : "");
  text(note, sentence);
  note.hidden = !sentence;
}

export function renderTree() {
  renderFolder("", byId("tree"), byId("tree-note"));
}

async function load(prefix) {
  try {
    loaded.set(prefix, await getJson("tree", { prefix }));
  } catch (error) {
    loaded.set(prefix, { entries: loaded.get(prefix)?.entries ?? [], error: error.message });
  }
}

const newest = (entries) => entries.find((entry) => entry.kind === "folder" && /^\d+\/$/.test(entry.name))
  ?? entries.find((entry) => entry.kind === "folder" && !entry.name.startsWith("rejected"));

/** Read again every folder that is open; the first time also open the way to the newest hour. Whether all were read. */
export const refreshTree = single(async () => {
  await Promise.all([...open].map(load));
  for (const prefix of loaded.keys()) if (!open.has(prefix)) loaded.delete(prefix);
  let way = first ? newest(loaded.get("")?.entries ?? []) : null;
  if (way) first = false;
  while (way) {
    renderTree();
    open.add(way.key);
    await load(way.key);
    way = newest(loaded.get(way.key).entries);
  }
  renderTree();
  return ![...loaded.values()].some((content) => content.error);
});

export function startTree(choose) {
  onChoose = choose;
}
