// What every page does: local times, themes, keys, copying, and parts that stay true.
import { watch } from "./live.js";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// -- times: the server writes UTC, the reader sees the own clock

const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

export function localTimes(root) {
  for (const time of $$("time[datetime]:not([title])", root)) {
    const at = new Date(time.dateTime);
    if (isNaN(at)) continue;
    time.title = time.dateTime.replace("T", " ").replace("Z", " UTC");
    const today = at.toDateString() === new Date().toDateString();
    const long = "long" in time.dataset && !today;
    time.textContent = (long ? day.format(at) + ", " : "") + short.format(at);
  }
}

// -- theme

function switchTheme() {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
    (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const theme = dark ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch {}
}

// -- keyboard

let before = "";
let beforeAt = 0;

function onKey(event) {
  const at = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || at.matches("input, select, textarea")) return;
  if ($("dialog[open]")) return;
  const go = before === "g" && Date.now() - beforeAt < 1500;
  before = event.key;
  beforeAt = Date.now();
  const link = go && $(`[data-go="${CSS.escape(event.key)}"]`);
  if (link) link.click();
  else if (event.key === "/") $("[data-search]") ? $("[data-search]").focus() : location.assign("/calls");
  else if (event.key === "?") $("#help")?.showModal();
  else if (event.key === "t") switchTheme();
  else if (event.key === "h") $("[data-hold]")?.click();
  else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
  else return;
  event.preventDefault();
}

function step(by) {
  const rows = $$("a.row").filter((row) => row.checkVisibility());
  const next = rows[rows.indexOf(document.activeElement) + by];
  (next ?? rows[by > 0 ? 0 : rows.length - 1])?.focus();
}

// -- clicks

async function copy(button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    const shown = button.parentElement.querySelector("code");
    if (shown) getSelection().selectAllChildren(shown);
    button.textContent = "Press Ctrl-C";
  }
  setTimeout(() => { button.textContent = label; }, 2000);
}

function onClick(event) {
  const on = (selector) => event.target.closest(selector);
  if (on("[data-theme-switch]")) switchTheme();
  else if (on("[data-help]")) $("#help").showModal();
  else if (on("[data-copy]")) copy(on("[data-copy]"));
  else if (!on("a, button, summary, input, label, form") && !getSelection().toString()) {
    on("table.list tbody tr")?.querySelector("a.row")?.click();
  }
}

// -- the way in: a link's token stands behind the # so that it is in no log

function enter(form) {
  if (location.hash.length < 9) return;
  form.elements.token.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
  form.submit();
}

document.addEventListener("keydown", onKey);
document.addEventListener("click", onClick);
// Names of time zones, the reader's own first, once somebody wants to choose.
document.addEventListener("focusin", (event) => {
  const list = event.target.matches("[data-zones]") && event.target.list;
  if (!list || list.children.length) return;
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  list.append(...[own, "UTC", ...Intl.supportedValuesOf("timeZone")].map((name) => new Option(name)));
});

// Of boxes of a form no more than so many are ticked.
function bound(box) {
  const all = $$("[data-most]", box.form);
  const full = all.filter((each) => each.checked).length >= Number(box.dataset.most);
  for (const each of all) each.disabled = full && !each.checked;
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  else if (event.target.matches("[data-most]")) bound(event.target);
});
localTimes(document);
$(".bar nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
if ($("[data-enter]")) enter($("[data-enter]"));
else if (location.hash.length > 20) history.replaceState(null, "", location.pathname + location.search);
if ($("[data-live]")) watch($("[data-live]"), localTimes);
