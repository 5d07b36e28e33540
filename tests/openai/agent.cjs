// Clients of TypeScript before an agent: OpenAI's own, and Vercel's. Prints one JSON object: what each made of each case.
//
// agent.cjs BASE_URL KEY, with the clients in NODE_PATH

const OpenAI = require("openai");
const { APICallError, generateText, streamText } = require("ai");
const { createOpenAI } = require("@ai-sdk/openai");

// What it warns of would stand among the JSON.
globalThis.AI_SDK_LOG_WARNINGS = false;

const [baseURL, apiKey] = process.argv.slice(2);
const model = "demo";
const messages = (content) => [{ role: "user", content }];

const ofCompletion = (text, usage) => ({
  text,
  input: usage.prompt_tokens,
  output: usage.completion_tokens,
  cached: usage.prompt_tokens_details.cached_tokens,
  reasoning: usage.completion_tokens_details.reasoning_tokens,
});

const ofResponse = ({ output_text: text, usage }) => ({
  text,
  input: usage.input_tokens,
  output: usage.output_tokens,
  cached: usage.input_tokens_details.cached_tokens,
  reasoning: usage.output_tokens_details.reasoning_tokens,
});

async function openai() {
  const client = new OpenAI({ baseURL, apiKey, timeout: 60_000 });
  const chat = await client.chat.completions.create({ model, messages: messages("hello") });
  const options = { model, messages: messages("grow"), stream_options: { include_usage: true } };
  const chatStream = await client.chat.completions.stream(options).finalChatCompletion();
  const response = await client.responses.create({ model, input: "hello" });
  const responseStream = await client.responses.stream({ model, input: "grow" }).finalResponse();
  const again = await client.responses.retrieve(response.id);
  const stranger = client.withOptions({ apiKey: "cfd_wrong" });
  return {
    chat: ofCompletion(chat.choices[0].message.content, chat.usage),
    chat_stream: ofCompletion(chatStream.choices[0].message.content, chatStream.usage),
    response: ofResponse(response),
    response_stream: ofResponse(responseStream),
    again: ofResponse(again),
    wrong_key: await stranger.models.list().then(() => "nothing", (error) => error.status),
  };
}

const ofAi = (text, usage) => ({
  text,
  input: usage.inputTokens,
  output: usage.outputTokens,
  cached: usage.inputTokenDetails.cacheReadTokens,
  reasoning: usage.outputTokenDetails.reasoningTokens,
});

async function ai() {
  const told = {};
  const provider = createOpenAI({ baseURL, apiKey });
  for (const [name, kind] of [["chat", provider.chat(model)], ["response", provider.responses(model)]]) {
    const whole = await generateText({ model: kind, prompt: "hello" });
    told[name] = ofAi(whole.text, whole.usage);
    const stream = streamText({ model: kind, prompt: "grow" });
    told[`${name}_stream`] = ofAi(await stream.text, await stream.usage);
    told[`${name}_failed`] = await generateText({ model: kind, prompt: "fail", maxRetries: 0 }).then(
      () => "nothing",
      (error) => error.message,
    );
  }
  const stranger = createOpenAI({ baseURL, apiKey: "cfd_wrong" });
  told.wrong_key = await generateText({ model: stranger.responses(model), prompt: "x" }).then(
    () => "nothing",
    (error) => (APICallError.isInstance(error) ? error.statusCode : String(error)),
  );
  return told;
}

Promise.all([openai(), ai()]).then(
  ([openai, ai]) => console.log(JSON.stringify({ openai, ai })),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
