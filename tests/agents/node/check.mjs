// The official `@anthropic-ai/sdk` for Node against a provider of another format: one line of JSON.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: process.env.URL, apiKey: process.env.KEY, maxRetries: 0 });
const model = process.env.MODEL;
const tool = {
  name: "timetable",
  description: "When does the ferry leave?",
  input_schema: { type: "object", properties: { pier: { type: "string" } }, required: ["pier"] },
};
const messages = [{ role: "user", content: 'Look it up.\nsim call timetable {"pier": "north"}\n' }];
const said = [];
for (let turn = 0; turn < 3; turn++) {
  const stream = client.messages.stream({ model, messages, tools: [tool], max_tokens: 500 });
  const reply = await stream.finalMessage();
  said.push(reply.stop_reason);
  messages.push({ role: "assistant", content: reply.content });
  const calls = reply.content.filter((block) => block.type === "tool_use");
  if (!calls.length) {
    said.push(reply.content.map((block) => block.text ?? "").join(""));
    break;
  }
  const results = calls.map((call) => ({
    type: "tool_result",
    tool_use_id: call.id,
    content: `${call.input.pier} at noon`,
  }));
  messages.push({ role: "user", content: results });
}
let refused = "";
try {
  await client.messages.create({ model: "nowhere/none", messages, max_tokens: 5 });
} catch (error) {
  refused = error.error?.error?.type ?? String(error);
}
console.log(JSON.stringify({ said, refused }));
