// The state, once a second, by server-sent events; reconnects for ever, and says when what is shown is old. A page out of
// sight does not ask: each that does keeps the server looking at the endpoint.

const SILENT = 6_000; // ms without a state (one is sent each second) after which the connection counts as lost
const GRACE = 5_000; // ms that a page out of sight keeps its connection; a browser has only six to a host
const RETRY = [500, 1_000, 2_000, 5_000]; // ms

/** Calls onState(state) for each state, and onConnection("connecting" | "connected" | "lost") when that changes. */
export function connect(onState, onConnection) {
  let source = null;
  let tries = 0;
  let timer = 0;
  let watch = 0;
  let leaving = 0;

  function close() {
    source?.close();
    source = null;
    clearTimeout(watch);
    clearTimeout(timer);
  }

  function lost() {
    close();
    onConnection("lost");
    timer = setTimeout(open, RETRY[Math.min(tries++, RETRY.length - 1)]);
  }

  function listening() {
    clearTimeout(watch);
    watch = setTimeout(lost, SILENT);
  }

  function leave() {
    close();
    onConnection("connecting");
  }

  function look() {
    clearTimeout(leaving);
    if (document.hidden) leaving = setTimeout(leave, GRACE);
    else if (!source) open();
  }

  function open() {
    close();
    source = new EventSource("api/events");
    source.addEventListener("error", lost);
    source.addEventListener("state", (event) => {
      tries = 0;
      listening();
      onConnection("connected");
      onState(JSON.parse(event.data));
    });
    listening();
  }

  // a laptop that slept, a tab that was frozen: what is shown is old the moment it is looked at again
  addEventListener("pageshow", (event) => event.persisted && lost());
  document.addEventListener("visibilitychange", look);
  look();
}
