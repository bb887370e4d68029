// The state, once a second, by server-sent events; reconnects for ever, and says when what is shown is old.

const SILENT = 6_000; // ms without a state (one is sent each second) after which the connection counts as lost
const RETRY = [500, 1_000, 2_000, 5_000]; // ms

/** Calls onState(state) for each state, and onConnection("connected" | "lost") when that changes. */
export function connect(onState, onConnection) {
  let source = null;
  let tries = 0;
  let timer = 0;
  let watch = 0;

  function lost() {
    source?.close();
    source = null;
    clearTimeout(watch);
    clearTimeout(timer);
    onConnection("lost");
    timer = setTimeout(open, RETRY[Math.min(tries++, RETRY.length - 1)]);
  }

  function listening() {
    clearTimeout(watch);
    watch = setTimeout(lost, SILENT);
  }

  function open() {
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
  open();
}
