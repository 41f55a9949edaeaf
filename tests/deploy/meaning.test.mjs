// What no schema says: that the manifests fit the server, and each other.
import test from 'node:test';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { afterDrain, chart, deploy, everySet, one } from './manifests.mjs';
import { readYaml, renderChart } from './render/helm.mjs';
import { buildKustomization } from './render/kustomize.mjs';

const seconds = (text) => Number(/^(\d+)s$/.exec(text)[1]);
const setting = (container, key) => container.env.find(({ name }) => name === `INFERENCE__${key.replaceAll(':', '__')}`)?.value;
const fits = (selector, labels) => Object.entries(selector).every(([key, value]) => labels[key] === value);

for (const { name, objects } of everySet()) {
  const deployment = one(objects, 'Deployment');
  const pod = deployment.spec.template;
  const server = pod.spec.containers[0];

  test(`${name}: the kubelet waits longer than the server drains`, () => {
    const drain = seconds(setting(server, 'Server:DrainDelay')) + seconds(setting(server, 'Server:ShutdownTimeout')) + afterDrain;
    assert.ok(pod.spec.terminationGracePeriodSeconds > drain, `${pod.spec.terminationGracePeriodSeconds} s against ${drain} s`);
    assert.equal(server.lifecycle, undefined, 'the server itself waits for load balancers; a preStop hook would need time of its own');
  });

  test(`${name}: probes ask what the server answers, on the port it listens on`, () => {
    assert.equal(setting(server, 'Server:Port'), String(server.ports.find((port) => port.name === 'http').containerPort));
    assert.deepEqual([server.startupProbe, server.livenessProbe, server.readinessProbe].map((probe) => probe.httpGet.path), ['/ready', '/live', '/ready']);
    for (const probe of [server.startupProbe, server.livenessProbe, server.readinessProbe]) {
      assert.equal(probe.httpGet.port, 'http');
      assert.equal(probe.httpGet.scheme === 'HTTPS', setting(server, 'Server:Tls:CertFile') !== undefined);
    }
  });

  test(`${name}: the admin routes are in no Service, and only operators reach them`, () => {
    const exposed = setting(server, 'Server:AdminHost') !== undefined;
    const port = server.ports.find((candidate) => candidate.name === 'admin');
    assert.equal(port !== undefined, exposed);
    if (exposed) {
      assert.equal(setting(server, 'Server:AdminPort'), String(port.containerPort));
      assert.ok(setting(server, 'Auth:KeyFile'), 'the server refuses to open them without keys');
    }
    // Each pod has its own: a Service would drain one pod and resume another.
    for (const { spec } of objects.filter(({ kind }) => kind === 'Service')) assert.ok(spec.ports.every((entry) => ![port?.containerPort, 'admin'].includes(entry.targetPort)));
    for (const { spec } of objects.filter(({ kind }) => kind === 'NetworkPolicy')) {
      for (const rule of spec.ingress.filter(({ ports }) => ports.some((entry) => entry.port === 'admin'))) {
        assert.ok(exposed && rule.from.length > 0);
        assert.deepEqual(rule.ports.map((entry) => entry.port), ['admin']);
      }
    }
  });

  test(`${name}: nothing runs as root, with capabilities, on a writable root or with a token`, () => {
    const { securityContext, automountServiceAccountToken, enableServiceLinks } = pod.spec;
    assert.ok(securityContext.runAsNonRoot && securityContext.runAsUser > 0);
    assert.equal(securityContext.seccompProfile.type, 'RuntimeDefault');
    assert.equal(automountServiceAccountToken, false);
    assert.equal(enableServiceLinks, false);
    for (const container of [...(pod.spec.initContainers ?? []), server]) {
      assert.equal(container.securityContext.allowPrivilegeEscalation, false);
      assert.equal(container.securityContext.readOnlyRootFilesystem, true);
      assert.deepEqual(container.securityContext.capabilities, { drop: ['ALL'] });
    }
  });

  test(`${name}: processors are whole, and requests equal limits`, () => {
    assert.deepEqual(server.resources.requests, server.resources.limits);
    assert.match(String(server.resources.limits.cpu), /^[1-9]\d*$/);
  });

  test(`${name}: every mount has its volume and every volume is mounted read-only, but for scratch`, () => {
    const volumes = new Map(pod.spec.volumes.map((volume) => [volume.name, volume]));
    const mounted = [...server.volumeMounts, ...(pod.spec.initContainers ?? []).flatMap((container) => container.volumeMounts)];
    assert.deepEqual(new Set(mounted.map((mount) => mount.name)), new Set(volumes.keys()));
    for (const mount of server.volumeMounts) assert.equal(mount.readOnly ?? false, mount.name !== 'tmp', mount.name);
    for (const [variable, value] of server.env.filter(({ value }) => value?.startsWith('/')).map(({ name: n, value }) => [n, value])) {
      assert.ok(server.volumeMounts.some((mount) => value === mount.mountPath || value.startsWith(`${mount.mountPath}/`)), `${variable}=${value} lies in no volume`);
    }
  });

  test(`${name}: whatever selects pods selects these`, () => {
    const labels = pod.metadata.labels;
    const selectors = objects.flatMap(({ kind, spec }) => ({
      Deployment: () => [spec.selector.matchLabels],
      Service: () => [spec.selector],
      PodDisruptionBudget: () => [spec.selector.matchLabels],
      NetworkPolicy: () => [spec.podSelector.matchLabels],
      InferencePool: () => [spec.selector.matchLabels],
    })[kind]?.() ?? []);
    assert.ok(selectors.length >= 4);
    for (const selector of selectors) assert.ok(fits(selector, labels), JSON.stringify(selector));
    const service = one(objects, 'Service');
    for (const monitor of objects.filter(({ kind }) => kind === 'ServiceMonitor')) assert.ok(fits(monitor.spec.selector.matchLabels, service.metadata.labels));
    for (const scaler of objects.filter(({ kind }) => /Scale(dObject|r)$|Autoscaler$/.test(kind))) {
      assert.equal(scaler.spec.scaleTargetRef.name, deployment.metadata.name);
      assert.equal(deployment.spec.replicas, undefined, 'a number here would undo the autoscaler at every rollout');
    }
    for (const pool of objects.filter(({ kind }) => kind === 'InferencePool')) {
      assert.deepEqual(pool.spec.targetPorts.map((port) => port.number), server.ports.map((port) => port.containerPort));
    }
    for (const volume of pod.spec.volumes.filter((each) => each.configMap)) {
      assert.ok(objects.some(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === volume.configMap.name));
    }
  });
}

// The same release in both forms. Labels of objects name the tool that made them, so they differ.
const pairs = {
  base: {},
  'overlays/cpu': { replicas: 2 },
  'overlays/claim': { replicas: 2, model: { source: 'claim', claim: { name: 'models' } } },
  'overlays/gpu': {
    image: { tag: '0.1.0-cuda' },
    gpu: { count: 1, runtimeClassName: 'nvidia' },
    model: { source: 'claim', claim: { name: 'models' } },
    resources: { requests: { cpu: '4', memory: '16Gi' }, limits: { cpu: '4', memory: '16Gi' } },
  },
  'overlays/hpa': { autoscaling: { kind: 'hpa', minReplicas: 2, maxReplicas: 8 }, drain: { timeoutSeconds: 300 } },
  'overlays/keda': {
    autoscaling: { kind: 'keda', maxReplicas: 6 }, monitoring: { serviceMonitor: { enabled: true }, prometheusRule: { enabled: true } },
  },
  'overlays/gateway': readYaml(readFileSync(join(chart, 'ci/gateway-values.yaml'), 'utf8')),
};
const plain = (objects) => new Map(objects.map(({ kind, ...object }) => [kind, { ...object, metadata: { name: object.metadata.name } }]));

function sortLists(value) {
  if (Array.isArray(value)) return value.map(sortLists).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).sort().map(([key, child]) => [key, sortLists(child)]));
}

for (const [path, values] of Object.entries(pairs)) {
  test(`kustomize ${path} says what the chart says`, () => {
    const release = { name: 'inference-service', namespace: 'inference' };
    const fromChart = plain(renderChart(chart, values, release).map(({ object }) => object));
    const fromKustomize = plain(buildKustomization(join(deploy, 'kustomize', path)));
    assert.deepEqual([...fromKustomize.keys()].sort(), [...fromChart.keys()].sort());
    for (const [kind, object] of fromKustomize) assert.deepEqual(sortLists(object), sortLists(fromChart.get(kind)), kind);
  });
}

test('A value that the chart does not know stops the rendering', () => {
  assert.throws(() => renderChart(chart, { replicaCount: 2 }), /must NOT have additional properties.*replicaCount/);
  assert.throws(() => renderChart(chart, { resources: { limits: { cpu: '500m' } } }), /cpu/);
  assert.throws(() => renderChart(chart, { model: { source: 'claim' } }), /model\.claim\.name is needed/);
});

test('The chart holds every default that its schema knows', () => {
  const schema = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8'));
  const values = readYaml(readFileSync(join(chart, 'values.yaml'), 'utf8'));
  const names = (node, path = '') => Object.entries(node.properties ?? {}).flatMap(([key, child]) => [`${path}${key}`, ...names(child, `${path}${key}.`)]);
  const missing = names(schema).filter((name) => name.split('.').reduce((at, key) => at?.[key], values) === undefined);
  // Given by others: helm itself, the policy, and a resource that is rarely limited.
  assert.deepEqual(missing, ['global', 'kvPolicy.name', 'resources.requests.ephemeral-storage', 'resources.limits.ephemeral-storage']);
});
