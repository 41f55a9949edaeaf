// Every set of manifests of the repository: the chart with each values file, and each kustomize overlay.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { readYaml, renderChart } from './render/helm.mjs';
import { buildKustomization } from './render/kustomize.mjs';

export const deploy = fileURLToPath(new URL('../../deploy', import.meta.url));
export const chart = join(deploy, 'helm/inference-service');

/** Values files of the chart: what it is without any, and those under ci/. */
export const valuesFiles = ['default', ...readdirSync(join(chart, 'ci')).map((file) => file.replace('-values.yaml', ''))];

/** Values that a file of ci/ sets. */
export const valuesOf = (name) => (name === 'default' ? {} : readYaml(readFileSync(join(chart, 'ci', `${name}-values.yaml`), 'utf8')));

export const overlays = readdirSync(join(deploy, 'kustomize/overlays'));

/** All sets: name and objects. */
export function everySet() {
  return [
    ...valuesFiles.map((name) => ({ name: `helm ${name}`, objects: renderChart(chart, valuesOf(name)).map(({ object }) => object) })),
    ...overlays.map((name) => ({ name: `kustomize ${name}`, objects: buildKustomization(join(deploy, 'kustomize/overlays', name)) })),
    { name: 'kustomize base', objects: buildKustomization(join(deploy, 'kustomize/base')) },
  ];
}

/** The object of this kind; fails when there is none or more than one. */
export function one(objects, kind) {
  const found = objects.filter((object) => object.kind === kind);
  if (found.length !== 1) throw new Error(`${found.length} objects of kind ${kind}`);
  return found[0];
}

/** Seconds that the server may take after the time for running work is over, at worst: what its code waits for, one after the other. */
export const afterDrain = [
  ['Hosting/ServerLifecycle.cs', 'LastWords'],
  ['Hosting/HostSetup.cs', 'CloseConnections'],
  ['Hosting/ModelCatalog.cs', 'Patience'],
].reduce((sum, [file, name]) => {
  const source = readFileSync(fileURLToPath(new URL(`../../src/InferenceService.Server/${file}`, import.meta.url)), 'utf8');
  return sum + Number(new RegExp(`${name} = TimeSpan\\.FromSeconds\\((\\d+)\\)`).exec(source)[1]);
}, 3 * 5); // each of the OpenTelemetry SDK's providers (traces, metrics, logs) flushes for up to 5 s when it is disposed

/** Variables of the server's container. */
export const environment = (objects) =>
  Object.fromEntries(one(objects, 'Deployment').spec.template.spec.containers[0].env.map(({ name, value }) => [name, value ?? 'from-the-cluster']));
