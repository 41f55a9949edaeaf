// Runs the image that build.sh made, as its own configuration says, in a container of runc: read-only root, no capabilities, no new
// privileges, Podman's default seccomp profile where it is installed, 2 GiB of memory. Prints sizes, times and memory; exits with 1 when
// something is not as promised. Needs root (node tests/deploy/image/run.mjs).
import assert from 'node:assert/strict';
import { spawn, spawnSync, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

const work = fileURLToPath(new URL('../../../artifacts/image', import.meta.url));
const PORT = 18_125;
const KEY = 'sk-conformance';
const RUNS = 5;
const MEMORY = 2 ** 31;
const url = `http://127.0.0.1:${PORT}`;
const json = (path) => JSON.parse(readFileSync(join(work, path), 'utf8'));
const blob = (digest) => `oci/blobs/${digest.replace(':', '/')}`;
const mb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const middle = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

function seccomp() {
  const file = '/usr/share/containers/seccomp.json';
  if (!existsSync(file)) return undefined;
  const profile = JSON.parse(readFileSync(file, 'utf8'));
  // Rules for a process without capabilities on this architecture.
  const applies = ({ includes = {}, excludes = {} }) =>
    !(includes.caps?.length) && (!includes.arches?.length || includes.arches.includes('amd64')) && !excludes.arches?.includes('amd64');
  const syscalls = profile.syscalls.filter(applies).map(({ names, action, args, errnoRet }) => ({ names, action, ...(args?.length && { args }), ...(errnoRet && { errnoRet }) }));
  return { defaultAction: profile.defaultAction, defaultErrnoRet: profile.defaultErrnoRet, architectures: ['SCMP_ARCH_X86_64'], syscalls };
}

function unpack() {
  const manifest = json(blob(json('oci/index.json').manifests[0].digest));
  const image = json(blob(manifest.config.digest)).config;
  const total = manifest.layers.reduce((sum, layer) => sum + layer.size, 0);
  console.log(`image: ${mb(total)} compressed (${manifest.layers.map((layer) => mb(layer.size)).join(' + ')})`);
  assert.ok(total < 150e6);
  const root = join(work, 'bundle/rootfs');
  rmSync(join(work, 'bundle'), { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  for (const layer of manifest.layers) execFileSync('tar', ['-xzf', join(work, blob(layer.digest)), '-C', root]);
  console.log(`unpacked: ${mb(Number(execFileSync('du', ['-sb', root], { encoding: 'utf8' }).split('\t')[0]))}`);
  assert.equal(spawnSync('find', [root, '-name', 'sh', '-o', '-name', 'bash', '-o', '-name', 'curl'], { encoding: 'utf8' }).stdout, '');
  return image;
}

function configure(image) {
  execFileSync('runc', ['spec', '--bundle', join(work, 'bundle')]);
  const config = json('bundle/config.json');
  const [uid, gid = uid] = image.User.split(':').map(Number);
  assert.ok(uid > 0);
  const none = [];
  Object.assign(config.process, {
    terminal: false,
    user: { uid, gid },
    cwd: image.WorkingDir,
    args: [...image.Entrypoint, ...(image.Cmd ?? [])],
    env: [...image.Env, `INFERENCE__Server__Port=${PORT}`, 'INFERENCE__Server__DrainDelay=0', 'INFERENCE__Server__ShutdownTimeout=1s', `INFERENCE__Auth__Keys__0=${KEY}`],
    capabilities: { bounding: none, effective: none, inheritable: none, permitted: none, ambient: none },
    noNewPrivileges: true,
    rlimits: none,
  });
  config.root = { path: 'rootfs', readonly: true };
  // The host's network: the test asks over the loopback address.
  config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'network');
  config.linux.resources = { memory: { limit: MEMORY, swap: MEMORY }, devices: [{ allow: false, access: 'rwm' }] };
  config.linux.cgroupsPath = '/inference-image-test';
  config.linux.seccomp = seccomp();
  writeFileSync(join(work, 'bundle/config.json'), JSON.stringify(config));
}

async function firstToken() {
  const body = JSON.stringify({ model: 'storyteller', prompt: 'Once upon a time', max_tokens: 8, stream: true });
  for (;;) {
    const answer = await fetch(`${url}/v1/completions`, { method: 'POST', body, headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` } }).catch(() => null);
    if (answer?.status === 200) {
      for await (const chunk of answer.body) {
        if (Buffer.from(chunk).includes('"text":"')) return;
      }
    }
    await answer?.body?.cancel().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function start(id) {
  const began = performance.now();
  const child = spawn('runc', ['run', '--bundle', join(work, 'bundle'), id], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (data) => { output += data; });
  child.stderr.on('data', (data) => { output += data; });
  const exit = once(child, 'exit');
  await Promise.race([firstToken(), exit.then(() => { throw new Error(output); })]);
  return { milliseconds: performance.now() - began, output: () => output, exit };
}

async function stop(id, exit) {
  const began = performance.now();
  execFileSync('runc', ['kill', id, 'TERM']);
  const [code] = await exit;
  assert.equal(code, 0);
  return performance.now() - began;
}

const image = unpack();
configure(image);
const times = [];
for (let i = 0; i < RUNS; i++) {
  const { milliseconds, exit } = await start('inference-image');
  times.push(milliseconds);
  await stop('inference-image', exit);
}

console.log(`start to first token: ${middle(times).toFixed(0)} ms (median of ${RUNS}: ${times.map((time) => time.toFixed(0)).join(', ')})`);

const { output, exit } = await start('inference-image');
const { pid } = JSON.parse(execFileSync('runc', ['state', 'inference-image'], { encoding: 'utf8' }));
const spent = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13).reduce((sum, ticks) => sum + Number(ticks), 0);
console.log(`processor time of the server until then: ${spent / 100} s`);
const status = Object.fromEntries(readFileSync(`/proc/${pid}/status`, 'utf8').split('\n').map((line) => line.split(':\t')));
const mount = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n').find((line) => line.split(' ')[4] === '/');
console.log(`process: uid ${status.Uid.split('\t')[0]}, capabilities ${status.CapBnd}, no new privileges ${status.NoNewPrivs}, seccomp ${status.Seccomp}, root ${mount.split(' ')[5]}`);
assert.equal(status.Uid.split('\t')[0], '1654');
assert.equal(Number.parseInt(status.CapBnd, 16), 0);
assert.match(mount.split(' ')[5], /^ro/);
console.log(`memory after the first answer: ${status.VmRSS.trim()} resident`);

const check = json(`docker/${json('docker/manifest.json').config.digest.split(':')[1]}`).config.Healthcheck.Test;
assert.equal(check.shift(), 'CMD');
const asked = performance.now();
execFileSync('runc', ['exec', '--cwd', image.WorkingDir, 'inference-image', ...check]);
console.log(`health check: ${check.join(' ')} in ${(performance.now() - asked).toFixed(0)} ms`);

const suite = spawnSync('npm', ['test', '--prefix', fileURLToPath(new URL('../../openai-node', import.meta.url))],
  { encoding: 'utf8', env: { ...process.env, OPENAI_NODE_SERVER: url } });
console.log(`OpenAI's client: ${[...suite.stdout.matchAll(/^# (?:pass|fail) \d+$/gm)].join(', ').replaceAll('# ', '')}`);
assert.equal(suite.status, 0, suite.stdout);

const peak = ['/sys/fs/cgroup/memory/inference-image-test/memory.max_usage_in_bytes', '/sys/fs/cgroup/inference-image-test/memory.peak'].find(existsSync);
console.log(`memory at most: ${readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmHWM:\s*(.*)/)[1]} resident${peak ? `, ${mb(Number(readFileSync(peak, 'utf8')))} charged to the control group (pages of files that were read before count elsewhere)` : ''}`);
console.log(`SIGTERM to the end: ${(await stop('inference-image', exit)).toFixed(0)} ms, code 0`);
assert.match(output(), /storyteller/);
