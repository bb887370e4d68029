// The pipeline as a row of nodes with arrows between them.

import { attribute, byId, el, keyed, svg, text } from "./dom.js";
import * as show from "./format.js";
import { by, maybe, t } from "./i18n.js";

const SHARDS = 8; // more than these are counted, not drawn

const ICONS = {
  nginx: ["M4 5h16v6H4zM4 13h16v6H4z", "M8 8h.01M8 16h.01"],
  log: ["M6 3h9l4 4v14H6zM15 3v4h4", "M9 12h7M9 16h7"],
  producer: ["M12 20V8M7 12l5-5 5 5", "M5 3h14"],
  stream: ["M3 8c3-3 6-3 9 0s6 3 9 0", "M3 15c3-3 6-3 9 0s6 3 9 0"],
  function: ["M6 20 13.5 8.5M10 4c4 0 4 16 8 16"],
  bucket: ["M4 6c0-4 16-4 16 0s-16 4-16 0", "M4 6l2 13c1 2.500 11 2.500 12 0l2-13"],
};

function icon(id) {
  const lines = (ICONS[id] ?? ["M4 4h16v16H4z"]).map((d) => svg("path", { d }));
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, ...lines);
}

export function factValue(fact) {
  const { value, unit } = fact;
  if (value === null || value === undefined) return "–";
  switch (unit) {
    case "bytes": return show.bytes(value);
    case "seconds": return show.duration(value);
    case "per_second": return t("per_second", { n: show.rate(value) });
    case "time": return show.shortMoment(String(value));
    case "lines": case "records": case "count": return show.count(value);
    default: return maybe(`value_${value}`) ?? String(value);
  }
}

function createNode(node) {
  return el("li", { class: "node", "data-id": node.id },
    el("div", { class: "node-head" }, icon(node.id), el("h3", {}), el("p", { class: "state" })),
    el("p", { class: "name" }),
    el("ul", { class: "shards" }),
    el("dl", { class: "facts" }),
    el("p", { class: "error", hidden: true }, el("strong", {}), el("span", { lang: "en" })));
}

function createFact() {
  return el("div", {}, el("dt", {}), el("dd", {}));
}

function updateFact(row, fact) {
  const value = factValue(fact);
  text(row.firstChild, maybe(`fact_${fact.key}`) ?? fact.key.replaceAll("_", " "));
  text(row.lastChild, value);
  attribute(row.lastChild, "title", fact.unit === "time" ? show.local(fact.value) : value.length > 20 ? value : null);
}

function updateShards(list, shards) {
  const drawn = shards.slice(0, SHARDS);
  const most = Math.max(1, ...shards.map((shard) => shard.records ?? 0));
  attribute(list, "aria-label", t("shards"));
  const items = drawn.map((shard) => ({ key: shard.id, ...shard }));
  if (shards.length > SHARDS) items.push({ key: "more", more: shards.length - SHARDS });
  keyed(list, items, (item) => item.key, () => el("li", {}, el("span", { class: "shard-bar" }), el("span", {})),
    (row, item) => {
      const [bar, words] = row.children;
      attribute(row, "title", item.id);
      bar.hidden = item.more !== undefined;
      bar.style.setProperty("--part", String((item.records ?? 0) / most));
      const name = item.id?.replace(/^shardId-0*(?=\d)/, "");
      text(words, item.more !== undefined ? t("shards_more", { n: show.count(item.more) })
        : item.records === null ? t("shard", { id: name })
          : t("shard_records", { id: name, n: show.count(item.records) }));
    });
}

function updateNode(item, node, delivery) {
  const [head, name, shards, facts, error] = item.children;
  attribute(item, "data-state", node.state);
  text(head.children[1], by(delivery, `node_${node.id}`));
  text(head.children[2], t(`state_${node.state}`));
  text(name, node.name);
  name.hidden = [node.id, t(`node_${node.id}`)].includes(node.name);
  attribute(name, "title", node.name);
  shards.hidden = !node.shards?.length;
  if (node.shards) updateShards(shards, node.shards);
  keyed(facts, node.facts, (fact) => fact.key, createFact, updateFact);
  error.hidden = !node.error;
  if (node.error) {
    text(error.firstChild, node.error_at ? t("error_at", { time: show.moment(node.error_at) }) : t("error"));
    text(error.lastChild, node.error);
  }
}

function updateEdge(item, edge, end) {
  // a rate covers a while, but nothing arrives where there is no answer
  const flowing = end.state !== "failing" && ((edge.lines_per_second ?? 0) > 0 || (edge.bytes_per_second ?? 0) > 0);
  attribute(item, "data-flowing", flowing);
  const known = edge.lines_per_second !== null || edge.bytes_per_second !== null;
  const rate = edge.lines_per_second !== null ? show.rate(edge.lines_per_second) : show.bytes(edge.bytes_per_second);
  const unit = edge.lines_per_second !== null ? "lines_a_second" : "a_second";
  text(item.querySelector(".rate"), known ? rate : "–");
  text(item.querySelector(".unit"), known ? t(unit) : "");
  attribute(item, "title", edge.bytes_per_second ? t("per_second", { n: show.bytes(edge.bytes_per_second) }) : null);
}

function createEdge() {
  return el("li", { class: "edge" },
    el("p", { class: "edge-text" }, el("span", { class: "rate" }), " ", el("span", { class: "unit" })),
    el("span", { class: "wire", "aria-hidden": "true" }));
}

export function renderPipeline(state) {
  const items = state.nodes.flatMap((node) => {
    const edge = state.edges.find((each) => each.to === node.id);
    return edge ? [{ key: `edge ${edge.from} ${edge.to}`, edge, node }, { key: node.id, node }] : [{ key: node.id, node }];
  });
  keyed(byId("pipeline"), items, (item) => item.key,
    (item) => (item.edge ? createEdge() : createNode(item.node)),
    (element, item) => (item.edge ? updateEdge(element, item.edge, item.node) : updateNode(element, item.node, state.delivery)));
}
