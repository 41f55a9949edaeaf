// Runs the built server the way a manifest or a test says: for every suite on Node.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../src/InferenceService.Server/bin/Release/net10.0/InferenceService.Server.dll', import.meta.url));
// Nothing of this shell's settings.
const clean = () => Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('INFERENCE__')));

/** Runs to the end; returns exit code and output. */
export function runServer(args, env) {
  const { status, stdout, stderr } = spawnSync('dotnet', [program, ...args], { env: { ...clean(), ...env }, encoding: 'utf8' });
  return { status, stdout, stderr };
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  return port;
}

/** Starts it on a free port with these settings; resolves once /ready answers 200, rejects with the server's output when it ends before that. */
export async function startServer(args, env) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const settings = { ...env, INFERENCE__Server__Port: `${port}`, INFERENCE__Server__DrainDelay: '0', INFERENCE__Server__AdminPort: 'none' };
  const child = spawn('dotnet', [program, ...args], { env: { ...clean(), ...settings }, stdio: ['ignore', 'pipe', 'pipe'] });
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
    settings,
    stop: async () => {
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      const [code] = await exit;
      return code;
    },
  };
}
