// Starts the real server on a free port with the embedded model, and stops it.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const project = fileURLToPath(new URL('../../src/InferenceService.Server', import.meta.url));

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  return port;
}

/** Resolves once /ready answers 200; rejects with the server's output when it ends before that. */
export async function startServer(...flags) {
  // A server that runs elsewhere, with the flags that the tests use.
  if (process.env.OPENAI_NODE_SERVER) return { url: process.env.OPENAI_NODE_SERVER, stop: async () => {} };
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawn('dotnet', ['run', '-c', 'Release', '--no-build', '--project', project, '--', '--port', `${port}`, ...flags],
    { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (data) => { output += data; });
  child.stderr.on('data', (data) => { output += data; });
  const ended = once(child, 'exit').then(() => { throw new Error(`The server ended early:\n${output}`); });
  ended.catch(() => {});
  const ready = (async () => {
    for (;;) {
      const answer = await fetch(`${url}/ready`).catch(() => null);
      if (answer?.status === 200) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  await Promise.race([ready, ended]);
  return {
    url,
    stop: async () => {
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      await exit;
    },
  };
}
