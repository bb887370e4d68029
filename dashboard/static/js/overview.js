// The verdict, what is behind, and the next poll.

import { shipNow } from "./api.js";
import { attribute, byId, el, keyed, text } from "./dom.js";
import * as show from "./format.js";
import { by, plural, t } from "./i18n.js";

const RESULT_SHOWN = 8_000; // ms
const ANSWER_WITHIN = 60_000; // ms after which a "ship now" without an answer is given up

let state = null;
let ahead = 0; // ms the server's clock is ahead of this one
let stale = false; // the connection is lost: it is not known when the next poll is
let said = null;
let asked = null; // {id, at, before, result: "sent" | "done" | "left" | "failed" | "late", error}

let news = []; // sentences to announce

const now = () => Date.now() + ahead;

/** For screen readers. What is told within one task is told together: the last would take the others' place. */
function announce(sentence) {
  if (news.length === 0) {
    setTimeout(() => {
      text(byId("announcer"), news.join(" "));
      news = [];
    });
  }
  news.push(sentence);
}

function verdict() {
  const audit = state.audit;
  const kind = audit?.verdict ?? (state.delivery === "firehose" ? "firehose" : "unknown");
  const tile = byId("verdict");
  attribute(tile, "data-state", kind);
  const inBytes = audit?.unit === "bytes";
  const shown = (n) => (inBytes ? show.bytes(n) : show.count(n));
  // an audit that never succeeded has no numbers worth showing
  const whole = audit && (kind !== "unknown" || audit.written > 0);
  const title = t(`verdict_${kind === "unknown" && whole ? "stale" : kind === "complete" && audit.written === 0 ? "empty" : kind}`);
  text(byId("verdict-title"), title);
  const line = whole
    ? t("verdict_line", { written: shown(audit.written), archived: shown(audit.archived), missing: shown(audit.missing) })
    : t(kind === "firehose" ? "verdict_firehose_line" : "verdict_none");
  text(byId("verdict-line"), line);
  attribute(byId("verdict-line"), "data-long", line.length > 52);
  const part = whole && audit.written > 0 ? Math.min(1, audit.archived / audit.written) : 0;
  byId("verdict-bar").style.setProperty("--part", String(part));
  byId("verdict-bar").parentElement.hidden = !whole;
  const more = [];
  if (whole && audit.pending > 0) more.push(t("verdict_pending_more", { n: shown(audit.pending) }));
  if (audit?.error && state.endpoint.reachable) more.push(audit.error);
  if (audit?.at) more.push(t("checked_at", { time: show.moment(audit.at) }));
  text(byId("verdict-more"), more.join(" · "));
  attribute(byId("verdict-more"), "title", audit?.at ? show.local(audit.at) : null);
  // a screen reader hears a change of the verdict, not each number on the way
  if (said !== null && said !== kind) announce(`${title}. ${line}`);
  said = kind;
}

function behind(id, amount, figure, since, none, old) {
  const some = amount > 0;
  attribute(byId(id), "data-state", amount === null ? "unknown" : !some ? "ok" : old ? "degraded" : "busy");
  text(byId(`${id}-figure`), amount === null ? "–" : some ? figure : t("nothing"));
  const start = some && since;
  text(byId(`${id}-more`), start
    ? t("since", { time: show.moment(since), age: show.duration(Math.max(0, (now() - Date.parse(since)) / 1000)) })
    : amount === null ? t(state.delivery === "firehose" ? "not_told" : "not_known") : none);
  attribute(byId(`${id}-more`), "title", start ? show.local(since) : null);
}

const words = (count, size) => (count === null ? show.bytes(size)
  : `${plural("lines", count, show.count(count))} · ${show.bytes(size)}`);

function amounts() {
  const { bytes, lines, since, unarchived_bytes: waiting, unarchived_lines: waitingLines, unarchived_since: waitingSince } = state.behind;
  const interval = state.poll.interval ?? 60;
  const age = (iso) => (iso ? (now() - Date.parse(iso)) / 1000 : 0);
  behind("behind-log", bytes, words(lines, bytes), since, by(state.delivery, "behind_log_none"), age(since) > 2 * interval + 5);
  behind("behind-bucket", waiting, words(waitingLines, waiting), waitingSince, by(state.delivery, "behind_bucket_none"), age(waitingSince) > 60);
}

/** A line for each of several logs. */
function logs() {
  byId("logs").hidden = state.logs.length === 0;
  keyed(byId("logs"), state.logs, (log) => log.name, () => el("li", {}), (item, { name, bytes, lines, audit }) => {
    const amount = audit?.unit === "bytes" ? show.bytes : show.count;
    const parts = audit
      ? [t("verdict_line", { written: amount(audit.written), archived: amount(audit.archived), missing: amount(audit.missing) })] : [];
    if (bytes > 0) parts.push(`${t("behind_log")}: ${words(lines, bytes)}`);
    text(item, `${name}: ${parts.join(" · ") || t("not_known")}`);
  });
}

function poll() {
  const { interval, next, last, shipping } = state.poll;
  const rest = next && !stale ? (Date.parse(next) - now()) / 1000 : null;
  const due = rest !== null && rest <= 0;
  text(byId("poll-figure"), shipping && !stale ? t("shipping")
    : rest === null ? "–" : due ? t("poll_due") : t("in_time", { time: show.duration(Math.ceil(rest)) }));
  const part = rest === null || !interval ? 0 : 1 - Math.min(1, Math.max(0, rest / interval));
  byId("poll-bar").style.setProperty("--part", String(shipping ? 1 : part));
  text(byId("poll-more"), asked && asked.result !== "sent" ? t(`ship_${asked.result}`, { error: asked.error })
    : asked ? t("ship_sent") : last ? t("last_poll", { time: show.clock(last) }) : t("no_poll_yet"));
  attribute(byId("poll-more"), "title", last && !asked ? show.local(last) : null);
  byId("ship-now").setAttribute("aria-disabled", String(asked?.result === "sent"));
}

/** What became of a "ship now". A later one that took its place is answered in its stead. */
function answered() {
  if (asked?.result === "sent" && asked.id !== null) {
    const { answered: latest, error, shipping } = state.poll;
    if (latest === asked.id || (latest !== asked.before && !shipping)) finish(error ? "left" : "done");
    else if (Date.now() - asked.at > ANSWER_WITHIN) finish("late");
  }
}

function finish(result, error) {
  asked = { ...asked, result, error, at: Date.now() };
  announce(t(`ship_${result}`, { error }));
  setTimeout(() => {
    if (asked?.result !== "sent") asked = null;
    if (state) poll();
  }, RESULT_SHOWN);
}

async function ship() {
  if (asked?.result === "sent") return;
  asked = { id: null, at: Date.now(), before: state.poll.answered, result: "sent" };
  poll();
  try {
    asked.id = await shipNow();
  } catch (error) {
    finish("failed", error.message);
    poll();
  }
}

export function renderOverview(latest) {
  state = latest;
  ahead = Date.parse(state.now) - Date.now();
  answered();
  verdict();
  amounts();
  logs();
  poll();
}

export function setStale(lost) {
  stale = lost;
  if (state) poll();
}

export function startOverview() {
  byId("ship-now").addEventListener("click", ship);
  setInterval(() => state && poll(), 250);
}

/** After a change of language: nothing new happened, so nothing is announced. */
export function retitle() {
  announce("");
}
