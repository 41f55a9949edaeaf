// The root Dockerfile against the repository; image/ builds and runs it.
import test from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const read = (path) => readFileSync(join(repository, path), 'utf8');
const instructions = read('Dockerfile').replace(/\\\n/g, ' ').split('\n').filter((line) => /^[A-Z]/.test(line));
const last = instructions.slice(instructions.findLastIndex((line) => line.startsWith('FROM ')));

function projects(path, found = new Set()) {
  if (found.has(path)) return found;
  found.add(path);
  for (const [, reference] of read(path).matchAll(/<ProjectReference Include="([^"]+)"/g)) projects(normalize(join(dirname(path), reference)), found);
  return found;
}

test('Before the sources come, every project that the server needs is there to be restored', () => {
  const copied = instructions.filter((line) => line.startsWith('COPY src/')).flatMap((line) => line.split(/\s+/).slice(1, -1)).sort();
  const needed = [...projects('src/InferenceService.Server/InferenceService.Server.csproj')].flatMap((path) => [path, join(dirname(path), 'packages.lock.json')]).sort();
  assert.deepEqual(copied, needed);
  for (const file of instructions.find((line) => line.startsWith('COPY global.json')).split(/\s+/).slice(1, -1)) assert.ok(existsSync(join(repository, file)), file);
});

test('The image runs as a user who is not root, and needs no shell', () => {
  assert.match(last[0], /-chiseled$/);
  assert.ok(last.includes('USER 1654'));
  assert.deepEqual(last.filter((line) => line.startsWith('RUN')), []);
  const [check] = last.filter((line) => line.startsWith('HEALTHCHECK'));
  const [entry] = last.filter((line) => line.startsWith('ENTRYPOINT'));
  const words = JSON.parse(entry.slice('ENTRYPOINT '.length));
  assert.deepEqual(JSON.parse(check.slice(check.indexOf('CMD ') + 4)), [...words, '--health-check']);
});

test('What is built outside of the image does not come in', () => {
  const ignored = read('.dockerignore').split('\n');
  for (const folder of ['**/bin', '**/obj', 'artifacts', '**/node_modules']) assert.ok(ignored.includes(folder), folder);
});
