import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { startServer } from '../server.mjs';

const KEY = 'sk-conformance';
const STORY = [{ role: 'user', content: 'Tell me a short story about a brave rabbit.' }];

let server;
let client;
let model;

before(async () => {
  // Or one that runs elsewhere, with the key that these tests use.
  server = process.env.OPENAI_NODE_SERVER
    ? { url: process.env.OPENAI_NODE_SERVER, stop: async () => {} }
    : await startServer(['--api-key', KEY, '--shutdown-timeout', '1s'], {});
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: KEY, maxRetries: 0 });
  model = (await client.models.list()).data[0].id;
});
after(() => server?.stop());

describe('models', () => {
  it('are listed and found by id', async () => {
    const found = await client.models.retrieve(model);
    assert.equal(found.id, model);
    assert.equal(found.object, 'model');
    assert.equal(Number.isInteger(found.created), true);
  });
});

describe('chat completions', () => {
  const request = () => ({ model, messages: STORY, max_tokens: 24, temperature: 0 });

  it('answer with text, usage and a request id', async () => {
    const { data, response } = await client.chat.completions.create(request()).withResponse();
    assert.equal(data.object, 'chat.completion');
    assert.ok(data.choices[0].message.content.length > 0);
    assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
    assert.ok(response.headers.get('x-request-id'));
  });

  it('stream the same text, with one finish and usage last', async () => {
    const whole = await client.chat.completions.create(request());
    const stream = await client.chat.completions.create({ ...request(), stream: true, stream_options: { include_usage: true } });
    let text = '';
    let finishes = 0;
    let usage = null;
    for await (const chunk of stream) {
      assert.equal(usage, null, 'nothing follows the usage chunk');
      text += chunk.choices[0]?.delta?.content ?? '';
      if (chunk.choices[0]?.finish_reason) finishes += 1;
      usage = chunk.usage ?? null;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(finishes, 1);
    assert.deepEqual(usage.completion_tokens, whole.usage.completion_tokens);
  });

  it('carry log-probabilities', async () => {
    const answer = await client.chat.completions.create({ ...request(), logprobs: true, top_logprobs: 3 });
    const [first] = answer.choices[0].logprobs.content;
    assert.ok(first.logprob <= 0);
    assert.equal(first.top_logprobs.length, 3);
    assert.ok(Array.isArray(first.bytes));
  });

  it('repeat themselves under a seed', async () => {
    const seeded = { ...request(), temperature: 1, seed: 7, n: 2 };
    const [one, two] = [await client.chat.completions.create(seeded), await client.chat.completions.create(seeded)];
    assert.deepEqual(one.choices.map((c) => c.message.content), two.choices.map((c) => c.message.content));
    assert.notEqual(one.choices[0].message.content, one.choices[1].message.content);
  });

  it('can be aborted in the middle, and the server goes on', async () => {
    const stream = await client.chat.completions.create({ ...request(), max_tokens: 400, ignore_eos: true, stream: true });
    for await (const chunk of stream) {
      assert.ok(chunk.id.startsWith('chatcmpl-'));
      break;
    }
    stream.controller.abort();
    const next = await client.chat.completions.create(request());
    assert.equal(next.choices.length, 1);
  });
});

describe('completions', () => {
  it('continue a prompt with log-probabilities and echo', async () => {
    const answer = await client.completions.create({
      model, prompt: 'Once upon a time', max_tokens: 8, temperature: 0, logprobs: 2, echo: true,
    });
    const [choice] = answer.choices;
    assert.ok(choice.text.startsWith('Once upon a time'));
    assert.equal(choice.logprobs.token_logprobs.length, choice.logprobs.tokens.length);
    assert.equal(choice.logprobs.text_offset[0], 0);
  });

  it('stream the same text', async () => {
    const request = { model, prompt: 'Once upon a time', max_tokens: 16, temperature: 0 };
    const whole = await client.completions.create(request);
    let text = '';
    for await (const chunk of await client.completions.create({ ...request, stream: true })) text += chunk.choices[0]?.text ?? '';
    assert.equal(text, whole.choices[0].text);
  });
});

describe('errors', () => {
  it('map to the classes of the client', async () => {
    const wrongKey = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'sk-wrong', maxRetries: 0 });
    await assert.rejects(wrongKey.models.list(), OpenAI.AuthenticationError);
    await assert.rejects(client.chat.completions.create({ model: 'no-such-model', messages: STORY }), OpenAI.NotFoundError);
    await assert.rejects(client.chat.completions.create({ model, messages: STORY, temperature: 9 }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.param, 'temperature');
      assert.equal(error.type, 'invalid_request_error');
      assert.ok(error.requestID);
      return true;
    });
  });

  it('say the context length when a prompt is too long', async () => {
    await assert.rejects(client.completions.create({ model, prompt: 'word '.repeat(20000), max_tokens: 1 }),
      (error) => error.code === 'context_length_exceeded' && /maximum context length is \d+ tokens/.test(error.message));
  });
});
