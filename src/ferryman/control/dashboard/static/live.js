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

export function watch(root, after) {
  const state = document.querySelector("[data-live-state]");
  const say = (text, name) => {
    if (!state || state.dataset.liveState === name) return;
    state.dataset.liveState = name;
    state.querySelector("[data-live-text]").textContent = text;
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
  const source = new EventSource(root.dataset.live);
  source.onopen = () => say("Live", "live");
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) say("Signed out: load the page again", "out");
    else say("Waiting for the control plane", "away");
  };
  source.onmessage = (event) => {
    say("Live", "live");
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const region = document.getElementById(id);
      if (!region) continue;
      if (holding() && "holdable" in region.dataset) held.set(region, html);
      else put(region, html, after);
    }
  };
  addEventListener("pagehide", () => source.close());
}
