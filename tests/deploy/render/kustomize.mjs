// Builds a kustomization as `kubectl kustomize` does, for those that keep to the fields below; patches are lists of JSON 6902 operations.
// cross-check.test.mjs compares it with kubectl where kubectl is installed.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { documents, readYaml } from './helm.mjs';

const KNOWN = ['apiVersion', 'kind', 'resources', 'components', 'patches', 'namespace', 'images', 'replicas', 'configMapGenerator', 'generatorOptions'];

/** Objects of the kustomization in this folder. */
export function buildKustomization(folder) {
  return apply(folder, []);
}

function apply(folder, inherited) {
  const kustomization = readYaml(readFileSync(join(folder, 'kustomization.yaml'), 'utf8'));
  const unknown = Object.keys(kustomization).filter((key) => !KNOWN.includes(key));
  if (unknown.length > 0) throw new Error(`${folder}: ${unknown.join(', ')} is not understood`);
  let objects = [...inherited];
  for (const path of kustomization.resources ?? []) objects.push(...resources(join(folder, path)));
  for (const path of kustomization.components ?? []) objects = apply(join(folder, path), objects);
  for (const map of kustomization.configMapGenerator ?? []) objects.push(configMap(folder, map, kustomization.generatorOptions));
  for (const patch of kustomization.patches ?? []) patchAll(folder, patch, objects);
  for (const object of objects) {
    if (kustomization.namespace) object.metadata.namespace = kustomization.namespace;
    for (const { name, count } of kustomization.replicas ?? []) {
      if (object.kind === 'Deployment' && object.metadata.name === name) object.spec.replicas = count;
    }
    for (const { name, newName, newTag } of kustomization.images ?? []) {
      for (const container of object.spec?.template?.spec?.containers ?? []) {
        const [image, tag] = container.image.split(':');
        if (image === name) container.image = `${newName ?? image}:${newTag ?? tag}`;
      }
    }
  }
  return objects;
}

function resources(path) {
  if (path.endsWith('.yaml')) return documents(readFileSync(path, 'utf8'), path).map(({ object }) => object);
  return apply(path, []);
}

// Names without a hash of the content: kustomize adds one unless told not to.
function configMap(folder, { name, files }, options) {
  if (!options?.disableNameSuffixHash) throw new Error(`${folder}: configMapGenerator without disableNameSuffixHash is not understood`);
  const data = Object.fromEntries(files.map((file) => {
    const [key, path] = file.includes('=') ? file.split('=') : [file.split('/').at(-1), file];
    return [key, readFileSync(join(folder, path), 'utf8')];
  }));
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...(options.labels && { labels: { ...options.labels } }) }, data };
}

function patchAll(folder, { path, target }, objects) {
  const operations = readYaml(readFileSync(join(folder, path), 'utf8'));
  const hit = objects.filter((object) => object.kind === target.kind && (!target.name || object.metadata.name === target.name));
  if (hit.length === 0) throw new Error(`${dirname(join(folder, path))}: nothing to patch is called ${target.kind}/${target.name}`);
  for (const object of hit) {
    for (const operation of operations) patchOne(object, operation, path);
  }
}

// RFC 6902: add (also at "-", the end of a list), replace and remove.
function patchOne(object, { op, path, value, ...rest }, file) {
  if (Object.keys(rest).length > 0 || !['add', 'replace', 'remove'].includes(op)) throw new Error(`${file}: ${op} ${path} is not understood`);
  const steps = path.split('/').slice(1).map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  const last = steps.pop();
  let at = object;
  for (const step of steps) {
    at = at?.[step];
    if (at === undefined) throw new Error(`${file}: there is nothing at ${path}`);
  }
  if (op !== 'add' && at[last] === undefined) throw new Error(`${file}: there is nothing at ${path} to ${op}`);
  const copy = structuredClone(value);
  if (Array.isArray(at)) {
    const index = last === '-' ? at.length : Number(last);
    at.splice(index, op === 'add' ? 0 : 1, ...(op === 'remove' ? [] : [copy]));
  } else if (op === 'remove') {
    delete at[last];
  } else {
    at[last] = copy;
  }
}
