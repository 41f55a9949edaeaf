// The part of Go's text/template language that the chart uses: actions with trimming, pipelines, variables, if, range, with, define.
// Semantics: https://pkg.go.dev/text/template. What is not understood is an error, never passed over.

/** Reads a template file; its {{ define }} blocks go into `defined`. */
export function parse(text, name, defined) {
  const items = split(text, name);
  let at = 0;
  const block = (ends) => {
    const nodes = [];
    for (; at < items.length; at++) {
      const item = items[at];
      if (item.text !== undefined) {
        if (item.text) nodes.push(item);
        continue;
      }
      const word = item.action.match(/^\w+/)?.[0];
      if (ends.includes(word)) return { nodes, word, action: item.action };
      if (word === 'end' || word === 'else') throw fail(item, `unexpected {{ ${word} }}`);
      if (word === 'if' || word === 'with' || word === 'range') {
        at++;
        nodes.push(branch(word, item.action.slice(word.length), item));
      } else if (word === 'define') {
        const target = JSON.parse(item.action.slice(6).trim());
        at++;
        defined.set(target, block(['end']).nodes);
      } else {
        nodes.push({ kind: 'action', pipe: pipeline(item.action, item), at: item.at });
      }
    }
    if (ends.length > 0) throw new Error(`${name}: a block is not closed by {{ end }}`);
    return { nodes };
  };
  const branch = (kind, head, item) => {
    const node = { kind, pipe: pipeline(head, item), at: item.at, otherwise: [] };
    const first = block(['end', 'else']);
    node.nodes = first.nodes;
    if (first.word === 'else') {
      const rest = first.action.slice(4).trim();
      const next = items[at];
      at++;
      if (rest.startsWith('if ')) node.otherwise = [branch('if', rest.slice(2), next)];
      else if (rest === '') node.otherwise = block(['end']).nodes;
      else throw fail(next, `{{ else ${rest} }}`);
    }
    return node;
  };
  return block([]).nodes;
}

/** Writes nodes out. `functions` maps a name to a function; the evaluator itself knows and, or. */
export function execute(nodes, dot, functions, scope = new Map([['$', dot]])) {
  let out = '';
  for (const node of nodes) {
    if (node.text !== undefined) {
      out += node.text;
      continue;
    }
    try {
      if (node.kind === 'action') {
        const value = run(node.pipe, dot, functions, scope);
        if (node.pipe.declare.length === 0) out += show(value);
      } else {
        out += executeBranch(node, dot, functions, scope);
      }
    } catch (error) {
      if (!error.placed) {
        error.message = `${node.at}: ${error.message}`;
        error.placed = true;
      }
      throw error;
    }
  }
  return out;
}

function executeBranch(node, dot, functions, scope) {
  const inner = new Map(scope);
  if (node.kind === 'range') {
    const value = evaluate(node.pipe, dot, functions, scope);
    const entries = Array.isArray(value) ? [...value.entries()] : Object.entries(value ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
    if (entries.length === 0) return execute(node.otherwise, dot, functions, inner);
    return entries.map(([key, item]) => {
      const each = new Map(scope);
      const names = node.pipe.declare;
      if (names.length === 2) each.set(names[0], key);
      if (names.length > 0) each.set(names.at(-1), item);
      return execute(node.nodes, item, functions, each);
    }).join('');
  }
  const value = run(node.pipe, dot, functions, inner);
  if (!truth(value)) return execute(node.otherwise, dot, functions, inner);
  return execute(node.nodes, node.kind === 'with' ? value : dot, functions, inner);
}

/** What {{ if }} holds for true: anything but false, 0, nil and the empty. */
export function truth(value) {
  if (Array.isArray(value)) return value.length > 0;
  return value !== null && typeof value === 'object' ? Object.keys(value).length > 0 : Boolean(value);
}

const show = (value) => {
  if (value === undefined || value === null) return '';
  if (typeof value === 'object') throw new Error('a list or map is printed as such; use toYaml');
  return String(value);
};

function fail(item, message) {
  return new Error(`${item.at}: ${message}`);
}

// Text and actions in turn; {{- and -}} take the white space beside them away, comments vanish.
function split(text, name) {
  const items = [];
  let from = 0;
  let trim = false;
  const pattern = /\{\{(-\s)?\s*((?:"(?:[^"\\]|\\.)*"|\/\*[\s\S]*?\*\/|[^"}]|\}(?!\}))*?)\s*(\s-)?\}\}/g;
  for (const match of text.matchAll(pattern)) {
    let before = text.slice(from, match.index);
    if (trim) before = before.trimStart();
    if (match[1]) before = before.trimEnd();
    items.push({ text: before });
    const line = text.slice(0, match.index).split('\n').length;
    if (!match[2].startsWith('/*')) items.push({ action: match[2].trim(), at: `${name}:${line}` });
    trim = Boolean(match[3]);
    from = match.index + match[0].length;
  }
  const rest = text.slice(from);
  if (rest.includes('{{')) throw new Error(`${name}: an action cannot be read: ${rest.slice(rest.indexOf('{{'), rest.indexOf('{{') + 60)}`);
  items.push({ text: trim ? rest.trimStart() : rest });
  return items;
}

function pipeline(source, item) {
  const tokens = [...source.matchAll(/\s*("(?:[^"\\]|\\.)*"|:=|[=|(),]|[^\s|(),"]+)/g)].map((match) => match[1]);
  if (tokens.join('').length !== source.replace(/("(?:[^"\\]|\\.)*")|\s+/g, '$1').length) throw fail(item, `cannot read "${source}"`);
  let at = 0;
  const declare = [];
  const assigned = tokens.indexOf(':=');
  if (assigned >= 0) {
    declare.push(...tokens.slice(0, assigned).filter((token) => token !== ','));
    at = assigned + 1;
  }
  const commands = (end) => {
    const list = [[]];
    for (; at < tokens.length && tokens[at] !== end; at++) {
      if (tokens[at] === '|') {
        list.push([]);
      } else if (tokens[at] === '(') {
        at++;
        const inner = commands(')');
        const tail = tokens[at + 1]?.startsWith('.') && source.includes(`)${tokens[at + 1]}`) ? tokens[++at] : '';
        list.at(-1).push({ pipe: { declare: [], commands: inner }, fields: tail.split('.').slice(1) });
      } else if (tokens[at] === '=' || tokens[at] === ',') {
        throw fail(item, `"${tokens[at]}" is not understood here`);
      } else {
        list.at(-1).push(tokens[at]);
      }
    }
    if (end && tokens[at] !== end) throw fail(item, 'a parenthesis is not closed');
    if (list.some((command) => command.length === 0)) throw fail(item, 'an empty command');
    return list;
  };
  return { declare, commands: commands(undefined) };
}

function run(pipe, dot, functions, scope) {
  const value = evaluate(pipe, dot, functions, scope);
  if (pipe.declare.length > 0) scope.set(pipe.declare[0], value);
  return value;
}

function evaluate(pipe, dot, functions, scope) {
  let value;
  pipe.commands.forEach((command, index) => {
    const [head, ...rest] = command;
    const last = index > 0 ? [value] : [];
    if (typeof head === 'string' && (head === 'and' || head === 'or')) {
      value = undefined;
      for (const operand of rest) {
        value = operandOf(operand, dot, functions, scope);
        if (truth(value) === (head === 'or')) return;
      }
    } else if (typeof head === 'string' && Object.hasOwn(functions, head)) {
      value = functions[head](...rest.map((operand) => operandOf(operand, dot, functions, scope)), ...last);
    } else {
      const args = [...rest.map((operand) => operandOf(operand, dot, functions, scope)), ...last];
      value = operandOf(head, dot, functions, scope);
      if (typeof value === 'function') value = value(...args);
      else if (args.length > 0) throw new Error(`"${head}" is not a function`);
    }
  });
  return value;
}

function operandOf(token, dot, functions, scope) {
  if (typeof token !== 'string') return follow(evaluate(token.pipe, dot, functions, scope), token.fields, '(…)');
  if (token.startsWith('"')) return JSON.parse(token);
  if (/^-?\d+(\.\d+)?$/.test(token)) return Number(token);
  if (token === 'true' || token === 'false') return token === 'true';
  if (token === '.') return dot;
  if (token.startsWith('.')) return follow(dot, token.split('.').slice(1), token);
  if (token.startsWith('$')) {
    const [name, ...fields] = token.split('.');
    if (!scope.has(name)) throw new Error(`${name} is not defined`);
    return follow(scope.get(name), fields, token);
  }
  if (Object.hasOwn(functions, token)) return functions[token]();
  throw new Error(`"${token}" is not a function of the chart's language`);
}

// A missing key of a map is nil; a key of nil is an error, as in Helm.
function follow(value, fields, path) {
  for (const field of fields) {
    if (value === null || value === undefined || typeof value !== 'object') throw new Error(`${path}: nothing has a field ${field}`);
    value = Object.hasOwn(value, field) ? value[field] : undefined;
  }
  return value;
}
