// Numbers, sizes and times in the reader's language.

import { language, t } from "./i18n.js";

const formatters = new Map();

function format(kind, options) {
  const key = `${language} ${kind.name} ${JSON.stringify(options)}`;
  if (!formatters.has(key)) formatters.set(key, new kind(language, options));
  return formatters.get(key);
}

const number = (options) => format(Intl.NumberFormat, options);

export const count = (n) => (n === null || n === undefined ? "–" : number({}).format(n));

export const compact = (n) => number({ notation: "compact", maximumFractionDigits: 1 }).format(n);

/** Nearly nothing and nearly all have a digit more, so that they are told from nothing and all. */
export const percent = (part) =>
  number({ style: "percent", maximumFractionDigits: part < 0.1 || part > 0.99 ? 1 : 0 }).format(part);

const SIZES = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte"];

/** A size in bytes, with the decimal unit that leaves one to three digits before the point. */
export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const step = Math.min(SIZES.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(n, 1)) / 3)));
  const value = n / 1000 ** step;
  const options = { style: "unit", unit: SIZES[step], maximumFractionDigits: value < 100 && step ? 1 : 0 };
  return number(step ? options : { ...options, unitDisplay: "long" }).format(value);
}

const STEPS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

/** A duration in its two largest units. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const fine = seconds > 0 && seconds < 1;
  let rest = fine ? seconds : Math.round(seconds);
  const first = STEPS.findIndex(([, size]) => rest >= size);
  if (first < 0 || fine) {
    return number({ style: "unit", unit: "second", unitDisplay: "short", maximumFractionDigits: 2 }).format(rest);
  }
  const parts = [];
  for (const [unit, size] of STEPS.slice(first, first + 2)) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole) parts.push(number({ style: "unit", unit, unitDisplay: "short" }).format(whole));
  }
  return parts.join(" ");
}

/** A short time, in seconds. */
export const milliseconds = (seconds) => (seconds === null || seconds === undefined ? "–"
  : number({ style: "unit", unit: "millisecond", maximumFractionDigits: 0 }).format(seconds * 1000));

export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  if (perSecond > 0 && perSecond < 1) return number({ maximumSignificantDigits: 1 }).format(perSecond);
  const digits = perSecond < 10 ? 1 : 0;
  return number({ maximumFractionDigits: digits, notation: perSecond >= 1e6 ? "compact" : "standard" }).format(perSecond);
}

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone: "UTC" };
const DAY = { year: "numeric", month: "short", day: "numeric", timeZone: "UTC" };

export const clock = (iso) => format(Intl.DateTimeFormat, CLOCK).format(new Date(iso));

export const minute = (iso) =>
  format(Intl.DateTimeFormat, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: "UTC" })
    .format(new Date(iso));

export const day = (iso) => format(Intl.DateTimeFormat, DAY).format(new Date(iso));

/** The time of day in UTC, with the day when it is not the one of `now`. */
export function moment(iso, now = new Date()) {
  const same = iso.slice(0, 10) === now.toISOString().slice(0, 10);
  return t("utc", { time: same ? clock(iso) : `${day(iso)} ${clock(iso)}` });
}

/** The same, as short as it can be told apart: for a narrow column. */
export const shortMoment = (iso, now = new Date()) => (iso.slice(0, 10) === now.toISOString().slice(0, 10) ? clock(iso)
  : format(Intl.DateTimeFormat, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
    timeZone: "UTC" }).format(new Date(iso)));

/** The same moment where the reader is. */
export const local = (iso) =>
  t("local_time", { time: format(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "long" }).format(new Date(iso)) });
