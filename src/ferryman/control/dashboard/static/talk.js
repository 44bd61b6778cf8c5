// A call through the control plane to the data plane, and its stream, event by event.

export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

// A POST as this dashboard's own page sends it.
export function tell(path, body, signal) {
  const headers = { "content-type": "application/json", "x-ferryman-proof": document.body.dataset.proof };
  return fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

// Sends a chat request; `hear(text, piece)` gets each piece. Returns {text, calls, id, first, took, usage};
// `calls` are what the model asks of tools, as the API has them.
export async function talk(body, hear, signal) {
  const began = performance.now();
  const asked = { ...body, stream: true, stream_options: { include_usage: true } };
  const response = await tell("/playground/run", asked, signal);
  const id = response.headers.get("x-ferryman-request-id");
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    const why = said.error?.message ?? said.detail ?? `The answer was ${response.status}.`;
    throw Object.assign(new Error(why), { id });
  }
  let text = "";
  let first = null;
  let usage = null;
  const calls = [];
  for await (const event of events(response)) {
    if (event.error) throw Object.assign(new Error(event.error.message), { id, text });
    usage = event.usage ?? usage;
    for (const part of event.choices?.[0]?.delta?.tool_calls ?? []) {
      const call = (calls[part.index ?? 0] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
      call.id ||= part.id ?? "";
      call.function.name += part.function?.name ?? "";
      call.function.arguments += part.function?.arguments ?? "";
    }
    const piece = event.choices?.[0]?.delta?.content;
    if (!piece) continue;
    first ??= performance.now() - began;
    text += piece;
    hear(text, piece);
  }
  return { text, calls: calls.filter(Boolean), id, first, took: performance.now() - began, usage };
}

// What the ledger says of a call that has ended.
export async function outcome(id) {
  const response = await fetch(`/playground/outcome/${encodeURIComponent(id)}`);
  return response.ok ? response.json() : null;
}
