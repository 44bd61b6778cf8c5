// The first page: a first call from here, or from anywhere.
import { follow } from "./live.js";
import { outcome, talk } from "./talk.js";

const page = document.querySelector("[data-first]");
const form = document.querySelector("[data-hello]");
let ours = false;

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  ours = true;
  const answer = document.querySelector("[data-answer]");
  const after = document.querySelector("[data-after]");
  const button = form.querySelector("button");
  button.disabled = true;
  answer.hidden = after.hidden = false;
  answer.textContent = "…";
  try {
    const message = { role: "user", content: form.elements.message.value };
    const done = await talk({ model: page.dataset.first, messages: [message] }, (text) => { answer.textContent = text; });
    const said = await outcome(done.id);
    const link = document.createElement("a");
    link.href = `/calls/${encodeURIComponent(done.id)}`;
    link.textContent = "see where it went";
    after.replaceChildren(said ? `${said.answered}, ${said.took}, ${said.cost} · ` : "", link);
    const next = document.createElement("a");
    next.href = "/";
    next.textContent = "go to the live view";
    after.append(" · ", next);
  } catch (error) {
    answer.textContent = error.message;
  }
  button.disabled = false;
});

follow("/live", (text) => {
  if (!ours && !("stay" in page.dataset) && JSON.parse(text)["live-calls"]?.includes("data-key")) location.replace("/");
});
