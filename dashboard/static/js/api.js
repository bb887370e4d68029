// The server's API: JSON in, errors as sentences.

import { t } from "./i18n.js";

let reachable = true;

/** Whether there is an endpoint to read the archive from; without one nothing is asked for. */
export function setReachable(answers) {
  const changed = reachable !== answers;
  reachable = answers;
  return changed;
}

/** An error worth showing: while there is no endpoint the page says so once, and not at each part. */
export const shown = (problem) => (reachable ? problem : null);

/** What stands in the place of what has not been read yet. */
export const waiting = () => t(reachable ? "loading" : "not_reachable");

export class ApiError extends Error {}

async function answer(address, options) {
  let response;
  try {
    response = await fetch(address, { signal: AbortSignal.timeout(20_000), ...options });
  } catch (error) {
    throw new ApiError(String(error.message ?? error));
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new ApiError(said.error ?? `${response.status} ${response.statusText}`);
}

const address = (path, parameters) => {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== ""));
  return `api/${path}?${query}`;
};

/** GET api/<path> as JSON; parameters that are "" are left out. Throws ApiError. */
export const getJson = async (path, parameters = {}) => (await answer(address(path, parameters))).json();

/** GET api/<path> as text. Throws ApiError. */
export const getText = async (path, parameters = {}) => (await answer(address(path, parameters))).text();

/** Ask for a poll now; the request's id. Throws ApiError. */
export async function shipNow() {
  const options = { method: "POST", headers: { "X-Requested-With": "dashboard" } };
  return (await (await answer("api/ship-now", options)).json()).id;
}

/** A loader that never runs twice at a time and, when asked meanwhile, runs once more after. Each call's promise has what
 * the last of these runs returned. */
export function single(load) {
  let running = null;
  let again = false;
  async function run() {
    try {
      let read;
      do {
        again = false;
        read = await load();
      } while (again);
      return read;
    } finally {
      running = null;
    }
  }
  return () => {
    again = true;
    running ??= run();
    return running;
  };
}
