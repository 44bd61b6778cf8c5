// The playground: one conversation, up to four models beside each other.
import { outcome, talk, tell } from "./talk.js";

const $ = (selector, root = document) => root.querySelector(selector);
const root = $("[data-play]");
const panels = $("[data-panels]");
const form = $("[data-ask]");
const MOST = 4;
const MOST_IMAGES = 4;
const LARGEST = 2_000_000; // bytes of an image
let stop = null;
let images = []; // data URLs that go with the next message

function add(model) {
  if (panels.children.length >= MOST) return;
  const panel = $("#panel").content.firstElementChild.cloneNode(true);
  panel.messages = [];
  $("[data-model]", panel).value = model;
  $("[data-remove]", panel).addEventListener("click", () => { panel.remove(); count(); });
  panels.append(panel);
  count();
  return panel;
}

function count() {
  panels.dataset.number = panels.children.length;
  for (const button of panels.querySelectorAll("[data-remove]")) button.hidden = panels.children.length < 2;
  $("[data-add]").disabled = panels.children.length >= MOST;
}

function say(panel, who, text) {
  const line = document.createElement("div");
  line.className = `say ${who}`;
  line.textContent = text; // never as HTML: models write what they like
  const log = $("[data-talk]", panel);
  log.append(line);
  log.scrollTop = log.scrollHeight;
  return line;
}

// -- images and tools

function showImages() {
  $("[data-images]").replaceChildren(...images.map((url, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "thumb";
    button.setAttribute("aria-label", `Take image ${at + 1} away`);
    const image = document.createElement("img");
    image.src = url;
    image.alt = "";
    button.append(image);
    button.addEventListener("click", () => { images.splice(at, 1); showImages(); });
    return button;
  }));
}

async function attach(files) {
  for (const file of files) {
    if (images.length >= MOST_IMAGES) return warn(`At most ${MOST_IMAGES} images go with a message.`);
    if (!/^image\/(png|jpeg|gif|webp)$/.test(file.type)) return warn(`${file.name} is no PNG, JPEG, GIF or WebP.`);
    if (file.size > LARGEST) return warn(`${file.name} is over 2 MB.`);
    images.push(await new Promise((done, fail) => {
      const reader = new FileReader();
      reader.onload = () => done(reader.result);
      reader.onerror = () => fail(reader.error);
      reader.readAsDataURL(file);
    }));
  }
  warn("");
  showImages();
}

function warn(text) {
  $("[data-warning]").textContent = text;
}

function tools() {
  const field = form.elements.tools;
  field.setCustomValidity("");
  if (!field.value.trim()) return null;
  try {
    const given = JSON.parse(field.value);
    if (!Array.isArray(given)) throw new Error("it must be a list, as the API has it");
    return given;
  } catch (error) {
    field.closest("details").open = true;
    field.setCustomValidity(`Tools: ${error.message}`);
    field.reportValidity();
    throw error;
  }
}

function content(text, urls) {
  if (!urls.length) return text;
  return [{ type: "text", text }, ...urls.map((url) => ({ type: "image_url", image_url: { url } }))];
}

// What a model asks of a tool, with room for what the tool says.
function sayCalls(panel, calls) {
  for (const call of calls) {
    const line = say(panel, "model tool", `${call.function.name}(${call.function.arguments})`);
    const field = document.createElement("input");
    field.placeholder = "What it says: goes with the next message";
    field.setAttribute("aria-label", `Result of ${call.function.name}`);
    field.addEventListener("input", () => { call.result = field.value; });
    line.append(field);
  }
}

function results(panel) {
  const last = panel.messages.at(-1);
  return (last?.tool_calls ?? []).map((call) => ({ role: "tool", tool_call_id: call.id, content: call.result ?? "" }));
}

// Messages as they are sent: what stands beside a call of a tool is ours.
function sent(messages) {
  return messages.map((each) => each.tool_calls
    ? { ...each, tool_calls: each.tool_calls.map(({ result, ...call }) => call) } : each);
}

function settings() {
  const { temperature, most } = form.elements;
  const given = tools();
  return {
    ...(given && { tools: given }),
    ...(temperature.value && { temperature: Number(temperature.value) }),
    ...(most.value && { max_tokens: Number(most.value) }),
  };
}

function request(panel, messages) {
  const system = form.elements.system.value.trim();
  const before = system ? [{ role: "system", content: system }] : [];
  return { model: $("[data-model]", panel).value.trim(), messages: [...before, ...sent(messages)], ...settings() };
}

async function ask(panel, message, urls, signal) {
  const note = $("[data-outcome]", panel);
  const before = panel.messages.length;
  panel.messages.push(...results(panel), { role: "user", content: content(message, urls) });
  const mine = say(panel, "user", message);
  for (const url of urls) {
    const image = document.createElement("img");
    image.src = url;
    image.alt = "An image that was sent";
    mine.append(image);
  }
  const line = say(panel, "model", "…");
  note.textContent = "";
  const log = $("[data-talk]", panel);
  try {
    const done = await talk(request(panel, panel.messages), (text) => {
      line.textContent = text;
      log.scrollTop = log.scrollHeight;
    }, signal);
    if (!done.text && done.calls.length) line.remove();
    else if (!done.text) line.textContent = "(an empty answer)";
    panel.messages.push({
      role: "assistant", content: done.text, ...(done.calls.length && { tool_calls: done.calls }),
    });
    sayCalls(panel, done.calls);
    const said = await outcome(done.id);
    const tokens = done.usage ? `${done.usage.prompt_tokens} in, ${done.usage.completion_tokens} out` : "";
    const facts = said ? [said.answered, said.cost, `${said.took}, first token ${said.first_token}`] : [`${Math.round(done.took)} ms`];
    note.replaceChildren([...facts, tokens].filter(Boolean).join(" · ") + " · ", trace(done.id), " · ", thumbs(done.id));
  } catch (error) {
    panel.messages.length = before;
    line.classList.add("wrong");
    line.textContent = error.name === "AbortError" ? "Stopped." : [error.text, error.message].filter(Boolean).join("\n\n");
    if (error.id) note.replaceChildren(trace(error.id));
  }
}

function trace(id) {
  const link = document.createElement("a");
  link.href = `/calls/${encodeURIComponent(id)}`;
  link.textContent = "trace";
  return link;
}

// What is said of an answer is kept beside its call.
function thumbs(id) {
  const both = document.createElement("span");
  both.className = "thumbs-of";
  both.setAttribute("role", "status");
  for (const [thumb, word] of [["up", "Good"], ["down", "Bad"]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "small";
    button.textContent = word;
    button.setAttribute("aria-label", `${word} answer`);
    button.addEventListener("click", async () => {
      const response = await tell("/playground/feedback", { request_id: id, thumb });
      both.textContent = response.ok ? `said to be ${word.toLowerCase()}` : "That was not noted.";
    });
    both.append(button, " ");
  }
  return both;
}

async function send(event) {
  event?.preventDefault();
  const field = form.elements.message;
  const message = field.value.trim();
  if (!message || stop) return;
  const named = [...panels.children].filter((panel) => $("[data-model]", panel).value.trim());
  if (!named.length) return $("[data-model]", panels).focus();
  try { tools(); } catch { return; }
  const urls = images;
  field.value = "";
  images = [];
  warn("");
  showImages();
  stop = new AbortController();
  $("[data-send]").disabled = true;
  $("[data-stop]").hidden = false;
  await Promise.allSettled(named.map((panel) => ask(panel, message, urls, stop.signal)));
  stop = null;
  $("[data-send]").disabled = false;
  $("[data-stop]").hidden = true;
  field.focus();
}

// -- the same call elsewhere

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function python(value) {
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (value && typeof value === "object") {
    return `{${Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${python(each)}`).join(", ")}}`;
  }
  return value === true ? "True" : value === false ? "False" : value === null ? "None" : JSON.stringify(value);
}

const languages = {
  curl: (base, body) => `curl ${base}/chat/completions \\
  -H "authorization: Bearer $FERRYMAN_KEY" -H 'content-type: application/json' \\
  -d ${quoted(JSON.stringify(body))}`,
  python: (base, body) => `import os
from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(base)}, api_key=os.environ["FERRYMAN_KEY"])
answer = client.chat.completions.create(
${Object.entries(body).map(([name, value]) => `    ${name}=${python(value)},`).join("\n")}
)
print(answer.choices[0].message.content)`,
  js: (base, body) => `import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${JSON.stringify(base)}, apiKey: process.env.FERRYMAN_KEY });
const answer = await client.chat.completions.create(${JSON.stringify(body, null, 2)});
console.log(answer.choices[0].message.content);`,
};

async function copyAs(button) {
  const panel = panels.firstElementChild;
  const draft = form.elements.message.value.trim();
  const messages = draft || !panel.messages.length
    ? [...panel.messages, ...results(panel), { role: "user", content: content(draft || "Say hello.", images) }]
    : panel.messages.slice(0, panel.messages.findLastIndex((each) => each.role === "user") + 1);
  const body = JSON.parse(JSON.stringify(request(panel, messages), (name, value) =>
    name === "url" && value.length > 2000 ? "https://example.org/image.png" : value));
  const text = languages[button.dataset.as](`${root.dataset.play}/v1`, body);
  const label = button.textContent;
  await navigator.clipboard.writeText(text).then(() => { button.textContent = "Copied"; }, () => { button.textContent = "Not allowed"; });
  setTimeout(() => { button.textContent = label; }, 1500);
}

form.addEventListener("submit", send);
form.elements.tools.addEventListener("input", (event) => event.target.setCustomValidity(""));
$("[data-files]").addEventListener("change", async (event) => {
  await attach(event.target.files);
  event.target.value = "";
});
form.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) {
    event.preventDefault();
    attach(event.clipboardData.files);
  }
});
form.elements.message.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
});
document.addEventListener("click", (event) => {
  const on = (selector) => event.target.closest(selector);
  if (on("[data-add]")) $("[data-model]", add("") ?? panels.lastElementChild).focus();
  else if (on("[data-stop]")) stop?.abort();
  else if (on("[data-as]")) copyAs(on("[data-as]"));
  else if (on("[data-clear]")) {
    for (const panel of panels.children) {
      panel.messages = [];
      $("[data-talk]", panel).replaceChildren();
      $("[data-outcome]", panel).textContent = "";
    }
  }
});
// -- a call that was made before

const words = (content) => (Array.isArray(content) ? content.map((part) => part.text ?? `(${part.type})`).join("\n") : content ?? "");

function again({ messages = [], tools, temperature, max_tokens }) {
  const left = [...messages];
  if (["system", "developer"].includes(left[0]?.role)) form.elements.system.value = words(left.shift().content);
  if (left.at(-1)?.role === "user" && typeof left.at(-1).content === "string") form.elements.message.value = left.pop().content;
  const panel = panels.firstElementChild;
  panel.messages = left;
  for (const { role, content, tool_calls } of left) {
    const calls = (tool_calls ?? []).map((call) => `${call.function?.name}(${call.function?.arguments})`);
    say(panel, role === "assistant" ? "model" : "user", [words(content), ...calls].filter(Boolean).join("\n"));
  }
  form.elements.tools.value = tools ? JSON.stringify(tools) : "";
  form.elements.temperature.value = temperature ?? "";
  form.elements.most.value = max_tokens ?? "";
}

const given = $("[data-chosen]").dataset;
for (const name of given.chosen.split("\n")) add(name);
again(JSON.parse(given.again));
form.elements.message.focus();
