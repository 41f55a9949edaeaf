// The renderers against what the tools' documentation says, and against the tools themselves where they are installed.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { chart, deploy, overlays, valuesFiles, valuesOf } from './manifests.mjs';
import { documents, merge, renderChart, readYaml } from './render/helm.mjs';
import { buildKustomization } from './render/kustomize.mjs';
import { execute, parse } from './render/template.mjs';

const functions = { quote: (value) => JSON.stringify(String(value)), upper: (text) => text.toUpperCase(), eq: (a, b) => a === b, join: (...parts) => parts.join('') };
const write = (text, dot) => execute(parse(text, 'test', new Map()), dot, functions);

test('Templates: what text/template documents', () => {
  const cases = [
    ['{{23 -}} < {{- 45}}', null, '23<45'],
    ['{{ .a.b | upper | quote }}', { a: { b: 'x' } }, '"X"'],
    ['{{ if .a }}1{{ else if .b }}2{{ else }}3{{ end }}', { b: true }, '2'],
    ['{{ if or .a .b }}y{{ end }}{{ if and .b .a }}n{{ end }}', { b: true }, 'y'],
    ['{{ with .a }}{{ .b }}{{ $.c }}{{ end }}', { a: { b: 1 }, c: 2 }, '12'],
    ['{{ range $k, $v := .m }}{{ $k }}={{ $v }};{{ end }}', { m: { z: 1, a: 2 } }, 'a=2;z=1;'],
    ['{{ range $i, $v := .l }}{{ $i }}{{ $v }}{{ end }}', { l: ['a', 'b'] }, '0a1b'],
    ['{{ range .l }}x{{ else }}none{{ end }}', { l: [] }, 'none'],
    ['{{ $x := "a" }}{{ $x }}{{/* gone */}}', null, 'a'],
    ['{{ eq (upper .a) "X" }}', { a: 'x' }, 'true'],
    ['{{ join "a|b" (upper "}}") "c" }}', null, 'a|b}}c'],
    ['a\n  {{- if .x }}\nb\n  {{- end }}\nc', { x: 1 }, 'a\nb\nc'],
  ];
  for (const [text, dot, expected] of cases) assert.equal(write(text, dot), expected, text);
});

test('Templates: what is not understood is an error that names its place', () => {
  for (const text of ['{{ nosuch . }}', '{{ if .a }}', '{{ end }}', '{{ .a.b.c }}', '{{ $y }}', '{{ block "x" . }}{{ end }}', '{{ .a | .b }}', '{{ break }}']) {
    assert.throws(() => write(text, { a: {} }), /test/, text);
  }
});

test('Values merge as helm merges them', () => {
  assert.deepEqual(merge({ a: { b: 1, c: [1, 2] }, d: 1 }, { a: { c: [3] }, d: null }), { a: { b: 1, c: [3] } });
  assert.equal(readYaml('mode: 0440').mode, 0o440);
});

const order = (objects) => [...objects].sort((a, b) => (`${a.kind}${a.metadata.name}` < `${b.kind}${b.metadata.name}` ? -1 : 1));
const installed = (tool, ...args) => spawnSync(tool, args).status === 0;

function sameFor(render) {
  for (const name of valuesFiles) {
    const text = render(name === 'default' ? undefined : join(chart, 'ci', `${name}-values.yaml`));
    assert.deepEqual(order(renderChart(chart, valuesOf(name)).map(({ object }) => object)), order(documents(text, name).map(({ object }) => object)), name);
  }
}

test('helm itself renders the same', { skip: !installed('helm', 'version') && 'helm is not installed' }, () => {
  sameFor((file) => execFileSync('helm', ['template', 'llm', chart, '--namespace', 'inference', ...(file ? ['--values', file] : [])], { encoding: 'utf8' }));
});

// Debian's packages golang-go, golang-github-masterminds-sprig-dev and golang-k8s-sigs-yaml-dev.
const goPath = '/usr/share/gocode';
const canGo = installed('go', 'version') && ['github.com/Masterminds/sprig', 'sigs.k8s.io/yaml'].every((path) => existsSync(join(goPath, 'src', path)));

test('Go\'s own templates with sprig render the same', { skip: !canGo && 'Go, sprig or its YAML package are not installed' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'gotemplate-'));
  try {
    const program = join(folder, 'gotemplate');
    const source = fileURLToPath(new URL('gotemplate', import.meta.url));
    execFileSync('go', ['build', '-o', program, '.'], { cwd: source, env: { ...process.env, GO111MODULE: 'off', GOPATH: goPath, GOCACHE: join(folder, 'cache') } });
    sameFor((file) => execFileSync(program, [chart, 'llm', 'inference', ...(file ? [file] : [])], { encoding: 'utf8' }));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('kubectl kustomize builds the same', { skip: !installed('kubectl', 'version', '--client') && 'kubectl is not installed' }, () => {
  for (const folder of ['base', ...overlays.map((name) => `overlays/${name}`)]) {
    const text = execFileSync('kubectl', ['kustomize', join(deploy, 'kustomize', folder)], { encoding: 'utf8' });
    assert.deepEqual(order(buildKustomization(join(deploy, 'kustomize', folder))), order(documents(text, 'kubectl').map(({ object }) => object)), folder);
  }
});
