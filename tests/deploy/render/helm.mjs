// Renders a chart as `helm template` does, for charts that keep to the functions below. cross-check.test.mjs compares it with helm itself
// where helm is installed.
import { readdirSync, readFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import Ajv from 'ajv';
import { parse as parseYaml, parseAllDocuments, stringify } from 'yaml';
import { parse, execute, truth } from './template.mjs';

// YAML as Kubernetes' tools read it: 0440 is octal.
export const readYaml = (text) => parseYaml(text, { version: '1.1' });

/** Values files over a chart's own, as helm merges them: maps by key, lists whole, null removes. */
export function merge(base, over) {
  const out = { ...base };
  for (const [key, value] of Object.entries(over ?? {})) {
    if (value === null) delete out[key];
    else out[key] = isMap(value) && isMap(out[key]) ? merge(out[key], value) : value;
  }
  return out;
}

/** Checks values against the chart's values.schema.json; returns one line a problem. */
export function valueProblems(chart, values) {
  const validate = new Ajv({ allErrors: true, allowUnionTypes: true }).compile(JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8')));
  return validate(values) ? [] : validate.errors.map((error) => `${error.instancePath || '/'} ${error.message} ${JSON.stringify(error.params)}`);
}

/** Objects that the chart makes of these values, with the file that each comes from; throws on the first problem. */
export function renderChart(chart, overrides = {}, { name = 'llm', namespace = 'inference' } = {}) {
  const values = merge(readYaml(readFileSync(join(chart, 'values.yaml'), 'utf8')), overrides);
  const problems = valueProblems(chart, values);
  if (problems.length > 0) throw new Error(`values: ${problems.join('; ')}`);
  const description = readYaml(readFileSync(join(chart, 'Chart.yaml'), 'utf8'));
  const root = {
    Values: values,
    Chart: Object.fromEntries(Object.entries(description).map(([key, value]) => [key[0].toUpperCase() + key.slice(1), value])),
    Release: { Name: name, Namespace: namespace, Service: 'Helm', IsInstall: true, IsUpgrade: false, Revision: 1 },
    Files: { Get: (path) => (existsSync(join(chart, path)) ? readFileSync(join(chart, path), 'utf8') : '') },
  };
  const defined = new Map();
  const files = readdirSync(join(chart, 'templates')).sort();
  const bodies = files.map((file) => [file, parse(readFileSync(join(chart, 'templates', file), 'utf8'), file, defined)]);
  const functions = library(defined);
  return bodies.filter(([file]) => file.endsWith('.yaml')).flatMap(([file, nodes]) => documents(execute(nodes, root, functions), file));
}

/** Kubernetes objects of a YAML stream. */
export function documents(text, file) {
  return parseAllDocuments(text, { version: '1.1' }).flatMap((document) => {
    if (document.errors.length > 0) throw new Error(`${file}: ${document.errors[0].message}`);
    const object = document.toJS();
    return object ? [{ file, object }] : [];
  });
}

const isMap = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
// Go writes the keys of a map in order.
const sorted = (value) => (isMap(value)
  ? Object.fromEntries(Object.entries(value).sort().map(([key, child]) => [key, sorted(child)]))
  : Array.isArray(value) ? value.map(sorted) : value);
const pad = (count, text) => String(text).split('\n').map((line) => ' '.repeat(count) + line).join('\n');
const text = (value) => (value === undefined || value === null ? '' : String(value));

function library(defined) {
  const functions = {
    include: (name, dot) => {
      if (!defined.has(name)) throw new Error(`there is no template "${name}"`);
      return execute(defined.get(name), dot, functions);
    },
    required: (message, value) => {
      if (value === undefined || value === null || value === '') throw new Error(message);
      return value;
    },
    default: (fallback, value) => (truth(value) ? value : fallback),
    toYaml: (value) => stringify(value, { version: '1.1', lineWidth: 0 }).trimEnd(),
    toJson: (value) => JSON.stringify(sorted(value)).replace(/[<>&]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`),
    quote: (value) => (value === undefined || value === null ? '' : JSON.stringify(String(value))),
    indent: pad,
    nindent: (count, value) => `\n${pad(count, value)}`,
    printf: (format, ...values) => format.replace(/%[sd]/g, () => text(values.shift())),
    replace: (from, to, value) => text(value).replaceAll(from, to),
    trunc: (length, value) => text(value).slice(0, length),
    trimSuffix: (suffix, value) => (text(value).endsWith(suffix) ? text(value).slice(0, -suffix.length) : text(value)),
    contains: (part, value) => text(value).includes(part),
    kindIs: (kind, value) => kind === (Array.isArray(value) ? 'slice' : isMap(value) ? 'map' : { number: 'float64', boolean: 'bool' }[typeof value] ?? typeof value),
    int: (value) => Math.trunc(Number(value)),
    add: (...values) => values.reduce((sum, value) => sum + Math.trunc(Number(value)), 0),
    eq: (first, ...others) => others.includes(first),
    ne: (first, second) => first !== second,
    not: (value) => !truth(value),
  };
  return functions;
}
