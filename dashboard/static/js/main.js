// Ties the parts together: the state comes in by itself, the archive is read again when it has grown.

import { setReachable } from "./api.js";
import { refreshCharts, renderCharts, repaint, startCharts } from "./charts.js";
import { attribute, byId, el, keyed, text } from "./dom.js";
import * as show from "./format.js";
import { language, maybe, setLanguage, t, translatePage } from "./i18n.js";
import { refreshLines, renderLines, showObject, startLines } from "./lines.js";
import { connect } from "./live.js";
import { renderOverview, retitle, setStale, startOverview } from "./overview.js";
import { renderPipeline } from "./pipeline.js";
import { remember, remembered } from "./store.js";
import { refreshTree, renderTree, startTree } from "./tree.js";

const AGAIN = 2_000; // ms between two looks at a growing archive
const CHARTS_AGAIN = 4_000; // the same of the charts
const QUIET = 30_000; // ms after which an archive that seems not to grow is looked at all the same

let state = null;
let connection = "connecting";

function renderConnection() {
  attribute(byId("connection"), "data-state", connection);
  text(byId("connection-text"), t(connection === "connected" ? "live" : connection));
}

function renderNotices() {
  const notices = [];
  if (connection === "lost") {
    notices.push({ key: "lost", kind: "warning", words: state ? t("lost_since", { time: show.moment(state.now) }) : t("lost_first") });
  }
  if (state && !state.endpoint.reachable) {
    const kind = maybe(`endpoint_${state.endpoint.kind}`) ?? state.endpoint.kind;
    notices.push({ key: "endpoint", kind: "error", words: t("unreachable", { kind, url: state.endpoint.url }), detail: state.endpoint.error });
  }
  keyed(byId("notices"), notices, (notice) => notice.key,
    (notice) => el("div", { class: "notice", role: "alert", "data-kind": notice.kind }, el("p", {}), el("p", { class: "detail", lang: "en" })),
    (item, notice) => {
      text(item.firstChild, notice.words);
      text(item.lastChild, notice.detail);
    });
}

function renderWhere() {
  const kind = maybe(`endpoint_${state.endpoint.kind}`) ?? state.endpoint.kind;
  const way = maybe(`delivery_${state.delivery}`) ?? state.delivery;
  text(byId("where"), [kind, state.endpoint.url, way, `v${state.version}`].filter(Boolean).join(" · "));
}

/** What changes when the archive grows: what the server last saw in the bucket, which is where it reads lines from. */
const mark = () => JSON.stringify([state.nodes.find((node) => node.id === "bucket")?.facts, state.endpoint.reachable]);

/** Reads a part of the page when the archive has grown, at most each `again` ms, and at least each QUIET. */
function reading(refreshPart, again) {
  let seen = null;
  let looked = 0;
  return async () => {
    const now = Date.now();
    const latest = mark();
    if (now - looked < (latest === seen ? QUIET : again)) return;
    seen = latest;
    looked = now;
    // a question whose answer was cut off is asked again soon: the archive may not grow for a long time
    if (!(await refreshPart())) seen = null;
  };
}

const parts = [reading(refreshTree, AGAIN), reading(refreshLines, AGAIN), reading(refreshCharts, CHARTS_AGAIN)];

function refresh() {
  // while the endpoint is down there is nothing to read, and what is shown stays
  if (state.endpoint.reachable) parts.forEach((read) => read());
}

function renderState() {
  byId("main").hidden = false;
  renderWhere();
  renderOverview(state);
  renderPipeline(state);
}

function renderArchive() {
  renderTree();
  renderLines();
  renderCharts();
}

function onState(latest) {
  state = latest;
  renderState();
  if (setReachable(state.endpoint.reachable)) renderArchive();
  renderNotices();
  if (!document.hidden) refresh();
}

function onConnection(now) {
  if (now === connection) return;
  connection = now;
  byId("main").hidden = false;
  attribute(byId("main"), "data-stale", now === "lost");
  setStale(now === "lost");
  renderConnection();
  renderNotices();
}

function renderAll() {
  retitle();
  renderConnection();
  renderNotices();
  if (state) renderState();
  renderTree();
  renderLines();
  repaint();
}

function startChoices() {
  const languages = byId("language");
  languages.value = language;
  languages.addEventListener("change", () => {
    setLanguage(languages.value);
    renderAll();
  });
  const themes = byId("theme");
  themes.value = remembered("theme") ?? "auto";
  themes.addEventListener("change", () => {
    const theme = themes.value === "auto" ? null : themes.value;
    remember("theme", theme);
    attribute(document.documentElement, "data-theme", theme);
    repaint();
  });
}

translatePage();
startChoices();
startOverview();
startTree(showObject);
startLines();
startCharts();
renderArchive();
connect(onState, onConnection);
