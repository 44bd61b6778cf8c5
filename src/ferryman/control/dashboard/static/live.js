// Parts of a page that the server keeps true. What did not change stays as it is, so that focus,
// selection and reading position do, too.

const written = new WeakMap(); // row → its HTML as the server wrote it

function freshRows(old, fresh) {
  const known = new Map([...old.children].map((row) => [row.dataset.key, row]));
  let place = old.firstElementChild;
  for (const row of [...fresh.children]) {
    const html = row.outerHTML;
    const same = known.get(row.dataset.key);
    const shown = same && written.get(same) === html ? same : row;
    written.set(shown, html);
    if (same && shown === row && same.contains(document.activeElement)) {
      queueMicrotask(() => row.querySelector("a")?.focus());
    }
    if (same && shown === row && same === place) place = place.nextElementSibling;
    if (same && shown === row) same.remove();
    if (shown === place) place = place.nextElementSibling;
    else old.insertBefore(shown, place);
  }
  while (place) {
    const next = place.nextElementSibling;
    place.remove();
    place = next;
  }
}

function put(region, html, after) {
  const made = document.createElement("template");
  made.innerHTML = html;
  const old = region.querySelector("tbody");
  const fresh = made.content.querySelector("tbody");
  const keyed = old && fresh && [...old.children, ...fresh.children].every((row) => row.dataset.key);
  if (keyed) freshRows(old, fresh);
  else region.replaceChildren(made.content);
  after(region);
}

const LONGEST = 30_000; // milliseconds between two tries

// Hears what a stream says, for as long as there is somebody who is signed in: what a browser gives
// up (an answer that is no stream, such as a proxy's 502) is tried again, less and less often.
export function follow(url, hear, say = () => {}) {
  let source = null;
  let wait = 1000;
  let later = 0;
  const open = () => {
    source = new EventSource(url);
    source.onopen = () => { wait = 1000; say("Live", "live"); };
    source.onmessage = (event) => { say("Live", "live"); hear(event.data); };
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return say("Waiting for the control plane", "away");
      say("Reconnecting", "away");
      again();
    };
  };
  const again = () => {
    later = setTimeout(ask, wait);
    wait = Math.min(2 * wait, LONGEST);
  };
  const ask = async () => { // an EventSource doesn't tell which answer it got
    const leave = new AbortController();
    const reply = await fetch(url, { signal: leave.signal }).catch(() => null);
    leave.abort();
    if (reply?.status === 401 || reply?.status === 403) say("Signed out: load the page again", "out");
    else if (reply?.ok) open();
    else again();
  };
  open();
  addEventListener("pagehide", () => { clearTimeout(later); source.close(); });
}

export function watch(root, after) {
  const state = document.querySelector("[data-live-state]");
  const say = (text, name) => {
    const words = state?.querySelector("[data-live-text]");
    if (!state || (state.dataset.liveState === name && words.textContent === text)) return;
    state.dataset.liveState = name;
    words.textContent = text;
  };
  const hold = document.querySelector("[data-hold]");
  const held = new Map();
  const holding = () => hold?.getAttribute("aria-pressed") === "true";
  hold?.addEventListener("click", () => {
    hold.setAttribute("aria-pressed", String(!holding()));
    hold.textContent = holding() ? "Go on" : "Hold the list";
    if (holding()) return;
    for (const [region, html] of held) put(region, html, after);
    held.clear();
  });
  follow(root.dataset.live, (text) => {
    for (const [id, html] of Object.entries(JSON.parse(text))) {
      const region = document.getElementById(id);
      if (!region) continue;
      if (holding() && "holdable" in region.dataset) held.set(region, html);
      else put(region, html, after);
    }
  }, say);
}
