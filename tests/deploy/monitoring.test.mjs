// Dashboards and rules ask for series that the server really has, in PromQL that Prometheus can read.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterDrain, chart, environment, everySet } from './manifests.mjs';
import { readYaml, renderChart } from './render/helm.mjs';
import { selectorsOf } from './promql.mjs';
import { runServer, startServer } from '../server.mjs';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const read = (path) => readFileSync(join(repository, path), 'utf8');
const alerts = readYaml(readFileSync(join(chart, 'files/alerts.yaml'), 'utf8')).groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(readFileSync(join(chart, 'files/dashboard.json'), 'utf8'));
const panels = dashboard.panels.filter((panel) => panel.type !== 'row');

let server;
let samples;

before(async () => {
  server = await startServer([], environment(renderChart(chart, {}).map(({ object }) => object)));
  const body = JSON.stringify({ prompt: 'Once', max_tokens: 4 });
  const answer = await fetch(`${server.url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  assert.equal(answer.status, 200);
  await answer.text();
  const page = await (await fetch(`${server.url}/metrics`)).text();
  samples = new Map();
  for (const line of page.split('\n').filter((each) => each && !each.startsWith('#'))) {
    const [, name, labels = ''] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? /.exec(line);
    const known = samples.get(name) ?? new Set();
    for (const [, label] of labels.matchAll(/(\w+)="(?:[^"\\]|\\.)*"/g)) known.add(label);
    samples.set(name, known);
  }
});

after(async () => { assert.equal(await server?.stop(), 0); });

// What Prometheus itself adds to what it scrapes.
const ADDED = ['job', 'instance', 'namespace', 'service', 'pod'];

function holds(expression) {
  const { selectors, grouped } = selectorsOf(expression);
  const known = selectors.map(({ metric, labels }) => {
    if (metric === 'up') return ADDED;
    assert.ok(samples.has(metric), `the server has no series ${metric}`);
    const all = [...samples.get(metric), ...ADDED];
    for (const label of labels) assert.ok(all.includes(label), `${metric} has no label ${label}`);
    return all;
  });
  for (const label of grouped) assert.ok(known.every((labels) => labels.includes(label)), `${label} is not a label of every series in ${expression}`);
}

test('Every panel asks for series and labels that the server has', () => {
  assert.ok(panels.length >= 25);
  for (const panel of panels) {
    assert.ok(panel.targets.length > 0, panel.title);
    for (const target of panel.targets) holds(target.expr);
  }
});

test('Every alert asks for series and labels that the server has', () => {
  assert.equal(alerts.length, 16);
  for (const rule of alerts) holds(rule.expr);
});

test('Every autoscaler asks for series that the server has', () => {
  let queries = 0;
  for (const { objects } of everySet()) {
    for (const { kind, spec } of objects) {
      const triggers = kind === 'ScaledObject' ? spec.triggers.map((trigger) => trigger.metadata.query) : [];
      const metrics = kind === 'HorizontalPodAutoscaler' ? spec.metrics.map((metric) => metric.pods.metric.name) : [];
      for (const expression of [...triggers, ...metrics]) {
        holds(expression);
        queries++;
      }
    }
  }

  assert.equal(queries, 8);
});

test('A series or label that the server does not have is found', () => {
  assert.throws(() => holds('sum(rate(inference_request_success[5m]))'), /no series/);
  assert.throws(() => holds('inference_num_requests_running{model="m"}'), /no label/);
  assert.throws(() => holds('sum by (model) (inference_num_requests_running)'), /not a label/);
  assert.throws(() => holds('sum(rate(inference_num_preemptions_total[5m])'), /not PromQL/);
});

test('Series that endpoint pickers and others\' boards read are there', () => {
  for (const name of ['num_requests_waiting', 'num_requests_running', 'kv_cache_usage_perc', 'cache_config_info']) assert.ok(samples.has(`vllm:${name}`), name);
});

test('The dashboard is one that Grafana loads', () => {
  assert.match(dashboard.uid, /^[a-z0-9-]{1,40}$/);
  assert.ok(dashboard.title && dashboard.schemaVersion >= 36);
  const ids = dashboard.panels.map((panel) => panel.id);
  assert.deepEqual(ids, [...new Set(ids)]);
  const variables = new Set(dashboard.templating.list.map((variable) => variable.name));
  const used = [...JSON.stringify(dashboard).matchAll(/\$\{?([a-z]\w*)/g)].map((match) => match[1]);
  for (const name of used) assert.ok(variables.has(name) || name === '__rate_interval', `$${name} is not a variable`);
  for (const variable of dashboard.templating.list.filter(({ type }) => type === 'query')) {
    const [, metric, label] = /^label_values\((\w+), (\w+)\)$/.exec(variable.query.query);
    assert.ok([...samples.get(metric), ...ADDED].includes(label));
  }

  const cells = new Set();
  for (const { gridPos: { x, y, w, h }, title } of dashboard.panels) {
    assert.ok(x >= 0 && x + w <= 24, title);
    for (let i = x; i < x + w; i++) {
      for (let j = y; j < y + h; j++) {
        assert.ok(!cells.has(`${i},${j}`), `${title} lies over another panel`);
        cells.add(`${i},${j}`);
      }
    }
  }

  for (const panel of panels) {
    assert.ok(panel.description, panel.title);
    assert.deepEqual(panel.targets.map((target) => target.refId), panel.targets.map((_, i) => String.fromCharCode(65 + i)));
    for (const { datasource } of [panel, ...panel.targets]) assert.deepEqual(datasource, { type: 'prometheus', uid: '${datasource}' });
  }
});

test('The dashboard fits Grafana\'s own types, and a misspelt field does not', () => {
  const types = fileURLToPath(new URL('node_modules/@grafana/schema/dist/types/raw/dashboard/x/dashboard_types.gen', import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), 'board-'));
  const compiles = (board) => {
    const file = join(folder, 'board.ts');
    writeFileSync(file, `import type { Dashboard } from '${types}';\nexport const board: Dashboard = ${JSON.stringify(board)};\n`);
    const compiler = fileURLToPath(new URL('node_modules/typescript/bin/tsc', import.meta.url));
    return spawnSync(process.execPath, [compiler, '--noEmit', '--strict', '--skipLibCheck', file], { encoding: 'utf8' }).stdout;
  };
  try {
    assert.equal(compiles(dashboard), '');
    const [row, panel] = dashboard.panels;
    assert.match(compiles({ ...dashboard, panels: [row, { ...panel, titel: 'x' }] }), /titel/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('Every alert has its section in the runbook, and the runbook no other', () => {
  const sections = [...read('docs/operate.md').matchAll(/^### (Inference\w+)$/gm)].map((match) => match[1]);
  assert.deepEqual(sections, alerts.map((rule) => rule.alert));
  for (const rule of alerts) assert.equal(rule.annotations.runbook, `docs/operate.md#${rule.alert.toLowerCase()}`);
});

const promtool = [join(repository, 'artifacts/promtool'), '/usr/bin/promtool'].find(existsSync);

test('promtool loads the rules and the configuration, and every alert fires when it should', { skip: !promtool && 'promtool is not installed' }, () => {
  for (const args of [['check', 'rules', join(chart, 'files/alerts.yaml')], ['check', 'config', '--syntax-only', join(repository, 'docker/prometheus/prometheus.yaml')],
    ['test', 'rules', fileURLToPath(new URL('alerts.test.yaml', import.meta.url))]]) {
    const { status, stdout, stderr } = spawnSync(promtool, args, { encoding: 'utf8' });
    assert.equal(status, 0, stdout + stderr);
  }

  const tested = read('tests/deploy/alerts.test.yaml');
  for (const rule of alerts) assert.match(tested, new RegExp(`alertname: ${rule.alert}\\n\\s+exp_alerts:`), `${rule.alert} is not tested`);
});

test('The compose file mounts files that are there, and gives the server time to drain', () => {
  const { services } = readYaml(read('docker/compose.yaml'));
  const mounts = Object.values(services).flatMap((service) => service.volumes ?? []).filter((volume) => volume.startsWith('.'));
  assert.equal(mounts.length, 4);
  for (const mount of mounts) assert.ok(existsSync(join(repository, 'docker', mount.split(':')[0])), mount);
  const [grace, drain] = [services.server.stop_grace_period, services.server.environment.INFERENCE__Server__ShutdownTimeout].map((text) => Number(/^(\d+)s$/.exec(text)[1]));
  assert.ok(grace > 5 + drain + afterDrain, `${grace} s against a drain delay of 5 s, ${drain} s and ${afterDrain} s`);
  assert.ok(services.server.read_only);
  assert.deepEqual(readYaml(read('docker/prometheus/prometheus.yaml')).scrape_configs.map((scrape) => scrape.job_name), ['inference-service']);
  assert.equal(readYaml(read('docker/grafana/provisioning/dashboards/files.yaml')).providers[0].options.path, '/var/lib/grafana/dashboards');
});

test('The server that a manifest starts answers its probes, and its health check', async () => {
  for (const path of ['/ready', '/live', '/health']) assert.equal((await fetch(`${server.url}${path}`)).status, 200);
  assert.deepEqual(runServer(['--health-check'], server.settings), { status: 0, stdout: '', stderr: '' });
});
