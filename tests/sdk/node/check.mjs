// The official openai package for Node, unchanged, against a whole Ferryman. Prints one line of
// JSON for each check: {"check", "ok", "error" if not ok, "facts"}. Environment: ENDPOINT (with
// /v1), KEY, SIM (URL of the simulator behind Ferryman).
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const { ENDPOINT, KEY, SIM } = process.env;
const make = (more = {}) =>
  new OpenAI({ baseURL: ENDPOINT, apiKey: KEY, maxRetries: 0, ...more });
const client = make();
const messages = [{ role: "user", content: "Good morning, dear ferry" }];
const said = "The ferry leaves the bank at"; // the simulator's first six words
const six = "lab/sim?tokens=6";
const tool = {
  type: "function",
  function: {
    name: "timetable",
    parameters: {
      type: "object",
      properties: { pier: { type: "string" }, day: { type: "integer" } },
      required: ["pier", "day"],
    },
  },
};
const Crossing = z.object({
  boat: z.string(),
  passengers: z.int().min(7), // without a bound zod asks for the least safe integer
  piers: z.array(z.string()),
});
const crossing = { boat: "ferry", passengers: 7, piers: ["ferry"] };

const chat = (model, more = {}, options) =>
  client.chat.completions.create({ model, messages, ...more }, options);

async function all(events) {
  const found = [];
  for await (const event of await events) found.push(event);
  return found;
}

const text = (chunks) => chunks.map((c) => c.choices[0]?.delta?.content ?? "").join("");

// The error that `work` fails with; it has to be of `kind`.
async function caught(kind, work) {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
    return error;
  }
  assert.fail(`no ${kind.name} came`);
}

const stats = async () => (await fetch(`${SIM}/sim/stats`)).json();

async function until(condition, what) {
  for (let i = 0; i < 1500; i++) {
    if (condition(await stats())) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`never came: ${what}`);
}

// Waits until the simulator has nothing to do, and lets it count anew.
async function settled() {
  await until((s) => s.active === 0, "the end of the calls before");
  await fetch(`${SIM}/sim/reset`, { method: "POST", body: "" });
}

const checks = {
  async chat() {
    const { data, response } = await chat("quick").withResponse();
    assert.ok(data.choices[0].message.content.startsWith(said));
    assert.equal(response.headers.get("x-ferryman-provider"), "lab");
    assert.equal(response.headers.get("x-ferryman-model"), "sim");
    assert.equal(response.headers.get("x-ferryman-attempts"), "1");
    const cost = (data.usage.prompt_tokens + 2 * data.usage.completion_tokens) / 1e6;
    assert.equal(Number(response.headers.get("x-ferryman-cost-usd")), cost);
    return { request_id: response.headers.get("x-ferryman-request-id") };
  },

  async stream_without_usage() {
    const chunks = await all(chat(six, { stream: true }));
    assert.equal(text(chunks), said);
    assert.ok(chunks.every((chunk) => chunk.choices.length === 1 && !chunk.usage));
  },

  async stream_with_usage() {
    const asked = { stream: true, stream_options: { include_usage: true } };
    const chunks = await all(chat(six, asked));
    assert.equal(text(chunks), said);
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.completion_tokens, 6);
    assert.ok(chunks.every((chunk) => !chunk.usage));
  },

  async tools_whole() {
    const reply = await chat("lab/sim?tools=2", { tools: [tool] });
    assert.equal(reply.choices[0].finish_reason, "tool_calls");
    const calls = reply.choices[0].message.tool_calls;
    assert.equal(new Set(calls.map((call) => call.id)).size, 2);
    for (const call of calls) {
      assert.equal(call.function.name, "timetable");
      assert.deepEqual(JSON.parse(call.function.arguments), { pier: "ferry", day: 7 });
    }
  },

  async tools_streamed() {
    const asked = { model: "lab/sim?tools=2", messages, tools: [tool] };
    const final = await client.chat.completions.stream(asked).finalChatCompletion();
    assert.equal(final.choices[0].finish_reason, "tool_calls");
    const calls = final.choices[0].message.tool_calls;
    assert.equal(calls.length, 2);
    assert.deepEqual(JSON.parse(calls[1].function.arguments), { pier: "ferry", day: 7 });
  },

  async tools_run() {
    const rides = [];
    const ride = (given) => (rides.push(given), "at dawn");
    const runner = client.chat.completions.runTools({
      model: "lab/sim",
      messages,
      tool_choice: { type: "function", function: { name: "timetable" } },
      tools: [{ ...tool, function: { ...tool.function, function: ride, parse: JSON.parse } }],
    });
    await runner.done();
    assert.deepEqual(rides, [{ pier: "ferry", day: 7 }]);
  },

  async structured_output() {
    const response_format = zodResponseFormat(Crossing, "crossing");
    const asked = { model: "lab/sim", messages, response_format };
    const whole = await client.chat.completions.parse(asked);
    assert.deepEqual(whole.choices[0].message.parsed, crossing);
    const streamed = await client.chat.completions.stream(asked).finalChatCompletion();
    assert.deepEqual(streamed.choices[0].message.parsed, crossing);
  },

  async embeddings() {
    const input = ["dawn", "dusk"];
    const packed = await client.embeddings.create({ model: "lab/sim", input });
    const asked = (await (await fetch(`${SIM}/sim/last`)).json()).body;
    assert.equal(JSON.parse(asked).encoding_format, "base64");
    const floats = await client.embeddings.create({
      model: "lab/sim",
      input,
      encoding_format: "float",
    });
    for (const index of [0, 1]) {
      assert.equal(packed.data[index].embedding.length, 256);
      assert.deepEqual(packed.data[index].embedding, floats.data[index].embedding.map(Math.fround));
    }
  },

  async legacy_completions() {
    const asked = { model: six, prompt: "Good morning" };
    const whole = await client.completions.create(asked);
    assert.equal(whole.choices[0].text, said);
    const chunks = await all(client.completions.create({ ...asked, stream: true }));
    assert.equal(chunks.map((c) => c.choices[0].text).join(""), said);
  },

  async moderations() {
    const reply = await client.moderations.create({ model: "lab/sim", input: ["peace", "violence"] });
    assert.deepEqual(reply.results.map((result) => result.flagged), [false, true]);
  },

  async responses_whole() {
    const reply = await client.responses.create({ model: six, input: "Good morning" });
    assert.equal(reply.status, "completed");
    assert.equal(reply.output_text, said);
    assert.equal(reply.usage.output_tokens, 6);
    const format = zodTextFormat(Crossing, "crossing");
    const asked = { model: "lab/sim", input: "Good morning", text: { format } };
    assert.deepEqual((await client.responses.parse(asked)).output_parsed, crossing);
  },

  async responses_streamed() {
    const events = await all(client.responses.create({ model: six, input: "Good", stream: true }));
    const deltas = events.filter((event) => event.type === "response.output_text.delta");
    assert.equal(deltas.map((event) => event.delta).join(""), said);
    assert.equal(events.at(-1).type, "response.completed");
    assert.equal(events.at(-1).response.usage.output_tokens, 6);
  },

  async models() {
    const names = (await all(client.models.list())).map((model) => model.id);
    assert.ok(names.includes("quick") && names.includes("lab/sim"));
    assert.equal((await client.models.retrieve("lab/sim")).owned_by, "lab");
    await caught(OpenAI.NotFoundError, client.models.retrieve("quack"));
  },

  async wrong_key() {
    const stranger = make({ apiKey: "key-that-nobody-has-made" });
    const asked = stranger.chat.completions.create({ model: "quick", messages });
    const error = await caught(OpenAI.AuthenticationError, asked);
    assert.equal(error.code, "invalid_api_key");
  },

  async unknown_model() {
    const error = await caught(OpenAI.NotFoundError, chat("quik"));
    assert.equal(error.code, "model_not_found");
    assert.equal(error.param, "model");
    assert.match(error.message, /quik.*quick/);
  },

  async rate_limit() {
    const error = await caught(OpenAI.RateLimitError, chat("lab/sim-429?retry-after=7"));
    assert.equal(error.headers.get("retry-after"), "7");
    assert.equal(error.code, "rate_limit_exceeded");
    await caught(OpenAI.RateLimitError, chat("lab/sim-429", { stream: true }));
  },

  async bad_request() {
    const error = await caught(OpenAI.BadRequestError, chat("lab/sim-400"));
    assert.equal(error.param, "temperature");
    const own = await caught(OpenAI.BadRequestError, chat(7));
    assert.equal(own.code, "invalid_request");
  },

  async server_error() {
    for (const [word, status] of Object.entries({ 500: 500, 503: 503, html: 502, close: 502 })) {
      const error = await caught(OpenAI.InternalServerError, chat(`lab/sim-${word}`));
      assert.equal(error.status, status);
      assert.ok(error.code);
    }
  },

  async cut_stream() {
    for (const word of ["cut", "cut-clean", "reset-mid", "no-done"]) {
      const asked = all(chat(`lab/sim-${word}?at=3`, { stream: true }));
      const error = await caught(OpenAI.APIError, asked);
      assert.equal(error.code, "upstream_stream_truncated", word);
    }
    for (const word of ["error-event", "error-done"]) {
      const asked = all(chat(`lab/sim-${word}?at=3`, { stream: true }));
      assert.equal((await caught(OpenAI.APIError, asked)).code, "upstream_error", word);
    }
    for (const word of ["cut", "cut-clean", "reset-mid"]) {
      const asked = { model: `lab/sim-${word}?at=3`, input: "Good", stream: true };
      const error = await caught(OpenAI.APIError, all(client.responses.create(asked)));
      assert.equal(error.code, "upstream_stream_truncated", word);
    }
  },

  async retries() {
    for (const maxRetries of [0, 2]) {
      await settled();
      const model = "sim-500?retry-after=0.01";
      await caught(OpenAI.InternalServerError, chat(`lab/${model}`, {}, { maxRetries }));
      assert.deepEqual((await stats()).models, { [model]: maxRetries + 1 });
    }
    await settled();
    await chat("lab/sim-429?fail-first=2&retry-after=0.01", {}, { maxRetries: 2 });
    assert.equal((await stats()).requests, 3);
    await settled();
    await caught(OpenAI.InternalServerError, chat("lab/sim-401", {}, { maxRetries: 2 }));
    assert.equal((await stats()).requests, 1); // no retry makes the gateway's own key right
  },

  async cancelled_stream() {
    await settled();
    const asked = chat("lab/sim?tps=20&tokens=5000", { stream: true });
    const { data: stream, response } = await asked.withResponse();
    for await (const chunk of stream) {
      assert.equal(chunk.choices.length, 1);
      break; // which aborts the request
    }
    await until((s) => s.cancelled === 1, "the end of the connection upstream");
    return { left: response.headers.get("x-ferryman-request-id") };
  },

  async cancelled_call() {
    await settled();
    const leaving = new AbortController();
    const model = "lab/sim?delay=60000";
    const asked = caught(OpenAI.APIUserAbortError, chat(model, {}, { signal: leaving.signal }));
    await until((s) => s.active === 1, "the call upstream");
    leaving.abort();
    await asked;
    await until((s) => s.cancelled === 1, "the end of the connection upstream");
  },

  async fifty_at_once() {
    const texts = Array.from({ length: 50 }, (_, n) => `passenger ${n} has ${n * n} apples 渡し舟`);
    const say = async (content, n) => {
      const asked = { messages: [{ role: "user", content }] };
      if (n % 2) {
        return text(await all(chat("lab/sim-echo?tps=40&ttft=100", { ...asked, stream: true })));
      }
      return (await chat("lab/sim-echo?ttft=200", asked)).choices[0].message.content;
    };
    assert.deepEqual(await Promise.all(texts.map(say)), texts);
  },
};

for (const [check, work] of Object.entries(checks)) {
  let line;
  try {
    line = { check, ok: true, facts: (await work()) ?? {} };
  } catch (error) {
    line = { check, ok: false, error: error.stack ?? String(error), facts: {} };
  }
  console.log(JSON.stringify(line));
}
