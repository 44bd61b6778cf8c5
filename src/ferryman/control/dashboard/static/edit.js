// The editor: numbers of lines, and what is wrong with them, asked for when the writing rests.
const $ = (selector) => document.querySelector(selector);
const form = $("[data-edit]");
const text = $("[data-text]");
const gutter = $("[data-gutter]");
const state = $("[data-state]");
const list = $("[data-problems]");
const REST = 500;
let timer = 0;
let asking = null;
let wrong = new Map(); // line → severity

function number() {
  const lines = text.value.split("\n").length;
  gutter.replaceChildren(...Array.from({ length: lines }, (_, at) => {
    const line = document.createElement("span");
    line.textContent = `${at + 1}\n`;
    line.className = wrong.get(at + 1) ?? "";
    return line;
  }));
  gutter.scrollTop = text.scrollTop;
}

function go(line) {
  const lines = text.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  text.focus();
  text.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
  text.scrollTop = (line - 6) * parseFloat(getComputedStyle(text).lineHeight);
}

function item(problem) {
  const row = document.createElement("li");
  row.className = problem.severity;
  if (problem.line) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "small";
    button.dataset.line = problem.line;
    button.textContent = `line ${problem.line}`;
    row.append(button, " ");
  }
  const key = document.createElement("b");
  key.className = "break";
  key.textContent = problem.key || "the whole";
  row.append(key, `: ${problem.message} `);
  if (problem.fix) {
    const fix = document.createElement("span");
    fix.className = "fix";
    fix.textContent = problem.fix;
    row.append(fix);
  }
  return row;
}

function show(said) {
  const errors = said.problems.filter((each) => each.severity === "error");
  wrong = new Map(said.problems.map((each) => [each.line, each.severity]));
  list.replaceChildren(...said.problems.map(item));
  text.setAttribute("aria-invalid", String(errors.length > 0));
  state.dataset.state = errors.length ? "bad" : "good";
  const count = `${errors.length} mistake${errors.length > 1 ? "s" : ""}`;
  state.textContent = errors.length ? `${count}: nothing has changed.`
    : said.changes.length ? `Good. Would change ${said.changes.join(", ")}.` : "Good; nothing is different.";
  number();
}

async function check() {
  if (asking) return ask(); // one at a time: the answer to come is asked for again
  asking = text.value;
  try {
    const response = await fetch("/routes/check", {
      method: "POST",
      headers: { "content-type": "text/plain", "x-ferryman-proof": document.body.dataset.proof },
      body: asking,
    });
    if (response.ok && asking === text.value) show(await response.json());
    else if (!response.ok) state.textContent = "It can't be checked now: load the page again.";
  } catch {
    state.textContent = "The control plane does not answer; it is tried again as you write.";
  }
  asking = null;
}

function ask() {
  clearTimeout(timer);
  timer = setTimeout(check, REST);
}

text.addEventListener("input", () => { number(); ask(); });
text.addEventListener("scroll", () => { gutter.scrollTop = text.scrollTop; });
text.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") form.querySelector("[value=review]").click();
});
list.addEventListener("click", (event) => {
  const button = event.target.closest("[data-line]");
  if (button) go(Number(button.dataset.line));
});
for (const button of list.querySelectorAll("[data-line]")) wrong.set(Number(button.dataset.line), button.closest("li").className);
number();
