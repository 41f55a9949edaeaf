// What a PromQL expression asks for, by Prometheus' own grammar.
import { parser } from '@prometheus-io/lezer-promql';

/** Selectors of an expression: metric and label names. Throws when it is not PromQL. */
export function selectorsOf(source) {
  // Grafana's variables, as Grafana fills them in.
  const text = source.replace(/\$__rate_interval/g, '5m').replace(/"\$\{?\w+\}?"/g, '".*"');
  const selectors = [];
  const grouped = [];
  let current;
  parser.parse(text).iterate({
    enter(node) {
      if (node.type.isError) throw new Error(`not PromQL at ${node.from}: ${text}`);
      const here = text.slice(node.from, node.to);
      if (node.name === 'VectorSelector') selectors.push(current = { metric: undefined, labels: [] });
      if (node.name === 'Identifier' && node.node.parent.name === 'VectorSelector') current.metric = here;
      if (node.name === 'LabelName' && /Matcher$/.test(node.node.parent.name)) current.labels.push(here);
      else if (node.name === 'LabelName') grouped.push(here);
    },
  });
  if (selectors.length === 0) throw new Error(`no series in ${text}`);
  return { selectors, grouped };
}
