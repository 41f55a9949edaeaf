// Every variable that a manifest sets is a setting of the server, with a value that it takes.
import test from 'node:test';
import assert from 'node:assert/strict';
import { environment, everySet } from './manifests.mjs';
import { runServer } from '../server.mjs';

// Several sets of manifests set the same variables.
const different = new Map(everySet().map((set) => [JSON.stringify(environment(set.objects)), set]));

for (const { name, objects } of different.values()) {
  test(`The server takes every setting of ${name}`, () => {
    const env = environment(objects);
    // Files that only the cluster has.
    const policy = objects.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name.endsWith('-policy'))?.data['policy.json'];
    if (env.INFERENCE__Models__0__KvCache__PolicyFile) {
      const { name: word, ...options } = JSON.parse(policy);
      delete env.INFERENCE__Models__0__KvCache__PolicyFile;
      env.INFERENCE__Models__0__KvCache__Policy = word;
      for (const [key, value] of Object.entries(options)) env[`INFERENCE__Models__0__KvCache__PolicyOptions__${key}`] = `${value}`;
    }

    const { status, stderr } = runServer(['--print-config'], env);
    assert.equal(stderr, '');
    assert.equal(status, 0);
  });
}

test('A setting that the server does not know is found', () => {
  const { status, stderr } = runServer(['--print-config'], { INFERENCE__Engine__MaxNumSeq: '4' });
  assert.equal(status, 2);
  assert.match(stderr, /Engine__MaxNumSeq is not a setting; did you mean INFERENCE__Engine__MaxNumSeqs/);
});
