import test from 'node:test';
import assert from 'node:assert/strict';
import { everySet } from './manifests.mjs';
import { problemsOf } from './schemas.mjs';

const sets = everySet();

for (const { name, objects } of sets) {
  test(`Every object of ${name} fits the schema of its kind`, async () => {
    assert.ok(objects.length >= 5);
    for (const object of objects) assert.deepEqual(await problemsOf(object), [], `${object.kind} ${object.metadata.name}`);
  });

  test(`Names in ${name} are unique within a kind`, () => {
    const names = objects.map((object) => `${object.kind}/${object.metadata.name}`);
    assert.deepEqual(names, [...new Set(names)]);
  });
}

// Maps whose keys are the writer's own, so that no schema can know them.
const FREE = /\/(labels|annotations|matchLabels|data|nodeSelector|requests|limits)$|\/triggers\/\d+\/metadata$|^Service\/spec\/selector$/;

function* fields(kind, value, path = []) {
  if (value === null || typeof value !== 'object') return;
  for (const key of Object.keys(value)) {
    if (!Array.isArray(value) && !FREE.test([kind, ...path].join('/'))) yield [...path, key];
    yield* fields(kind, value[key], [...path, key]);
  }
}

function misspelt(object, path) {
  const copy = structuredClone(object);
  const parent = path.slice(0, -1).reduce((at, key) => at[key], copy);
  parent[`${path.at(-1)}x`] = parent[path.at(-1)];
  delete parent[path.at(-1)];
  return copy;
}

test('Any field, misspelt anywhere, is found', async () => {
  const kinds = new Map();
  for (const { objects } of sets) {
    for (const object of objects) {
      const known = kinds.get(object.kind) ?? new Set();
      kinds.set(object.kind, known);
      for (const path of fields(object.kind, object)) {
        // Once for each place of a kind: positions in lists do not matter.
        const place = path.map((key) => (/^\d+$/.test(key) ? '0' : key)).join('/');
        if (known.has(place)) continue;
        known.add(place);
        const problems = await problemsOf(misspelt(object, path));
        assert.notDeepEqual(problems, [], `${object.kind}: ${path.join('/')} misspelt`);
      }
    }
  }

  assert.equal(kinds.size, 12);
  assert.ok([...kinds.values()].reduce((sum, places) => sum + places.size, 0) > 250);
});

test('A value of the wrong type, outside its words or missing is found', async () => {
  const deployment = () => structuredClone(sets[0].objects.find((object) => object.kind === 'Deployment'));
  const changes = [
    (d) => { d.spec.template.spec.containers[0].livenessProbe.periodSeconds = '10'; },
    (d) => { d.spec.template.spec.containers[0].imagePullPolicy = 'Sometimes'; },
    (d) => { delete d.spec.selector; },
    (d) => { d.spec.template.spec.containers[0].env[0].value = 8000; },
    (d) => { d.apiVersion = 'apps/v1beta9'; },
  ];
  for (const change of changes) {
    const object = deployment();
    change(object);
    assert.notDeepEqual(await problemsOf(object), [], change.toString());
  }
});
