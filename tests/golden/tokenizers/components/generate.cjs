// Writes components.jsonl: what Hugging Face's own library (npm package tokenizers 0.23.2) makes of single components and of small tokenizers.
//   npm install tokenizers@0.23.2 && node generate.cjs | gzip -9 -n > components.jsonl.gz
// Random texts come from a fixed seed.
const { Tokenizer } = require('tokenizers');

let seed = 20250711;
function random(n) { // mulberry32
  seed = (seed + 0x6D2B79F5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % n;
}

const alphabet = [...'aAbBzZ  \n\r\t.,!?-_\'"(){}[]<>/\\0123456789éÉßſKİıΣςσ中漢字かなカナー한글ไทย्िकक़अअौفارس\u0301\u0327\u05B0א\u200D\u200B\u00A0\u3000\u2028½²Ⅷ①ªº١२３ﬁＡ',
  '𐐀', '𐐨', '𝔸', '𝟘', '𠀀', '😀', '👩‍👩‍👧', '🇩🇪', '𞤀', '\u{1F130}', '\uFFFD', '\uFEFF', '▁', '\u00AD', '\u0000', '\u007F', '\uE000', '가', '각', 'ᄀ', 'ᅡ', 'ᆨ', 'Å', 'ö̲', '…', '。', '，', '“', '’'];
function randomText(length) {
  let s = '';
  for (let i = 0; i < length; i++) s += alphabet[random(alphabet.length)];
  return s;
}

const texts = ['', ' ', '  ', '   ', '\n', '\r\n', ' \n ', '\t\t x', 'a', ' a', 'a ', 'a  b', 'Hello world', 'Hello, World! How are you?  Fine.\n\nThanks',
  "I'm you'll DON'T 'S 'ſ we'RE", '1 22 333 4444 55555', 'x=1;\n\tif (x) {\r\n\t\treturn "y";\r\n}\r\n', 'the-final--countdown', '--a--', '-', '- - -',
  'ﬁne ＡＢＣ ½ ² Ⅷ ①', 'Ångström naïve café İstanbul ΣΑΣ ſ', 'Вычисли 2+2', '日本語のテキスト、漢字。', '中文 and English混排', '한국어 텍스트 각각', 'ภาษาไทย', 'हिन्दी क्षत्रिय',
  'العربية ١٢٣', 'עִבְרִית', '👩‍👩‍👧 😀😀 🇩🇪', '𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙 𐐀𐐨 𠀀𠀁', 'a\u0301\u0327b\u0327\u0301', '\u1100\u1161\u11A8 가\u11A8', 'tab\tnbsp\u00A0ideo\u3000line\u2028end', '\u200Bzero\u200Dwidth\uFEFF',
  'control\u0001\u0007\u007F\u0085x', '<s>x</s> [MASK] <unk>', 'http://example.com/a_b?c=d&e=%20', 'snake_case CamelCase HTMLParser iPhone4S', '     indented', 'trailing    ', '▁meta▁▁space', 'do not . do n\'t , it \'s',
  'क़ ड़ी दुख', 'เขาไม่ได้พูดสักคำ', 'آ ﷺ ﬃ', '\u0344 \u0958 \u2126 \u212B'];
for (let i = 0; i < 40; i++) texts.push(randomText(1 + random(40)));

const emit = (o) => process.stdout.write(JSON.stringify(o) + '\n');
const dummy = { type: 'WordLevel', vocab: { '<unk>': 0 }, unk_token: '<unk>' };
const build = (parts) => Tokenizer.fromString(JSON.stringify({
  version: '1.0', truncation: null, padding: null, added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, model: dummy, ...parts }));

const fs = require('fs'), zlib = require('zlib'), path = require('path');
const t5 = JSON.parse(zlib.gunzipSync(fs.readFileSync(path.join(__dirname, '../t5-small/tokenizer.json.gz'))));

const rx = (s) => ({ Regex: s });
const normalizers = [
  ...[[true, true, null, true], [true, false, false, false], [false, true, true, false], [false, false, null, true], [true, true, false, true]].map(([clean_text, handle_chinese_chars, strip_accents, lowercase]) =>
    ({ type: 'BertNormalizer', clean_text, handle_chinese_chars, strip_accents, lowercase })),
  ...['NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'Nmt', 'StripAccents', 'ByteLevel'].map((type) => ({ type })),
  { type: 'Strip', strip_left: true, strip_right: true }, { type: 'Strip', strip_left: true, strip_right: false }, { type: 'Strip', strip_left: false, strip_right: true },
  { type: 'Prepend', prepend: '▁' }, { type: 'Replace', pattern: { String: ' ' }, content: '▁' }, { type: 'Replace', pattern: { String: 'an' }, content: '' },
  { type: 'Replace', pattern: rx(' {2,}'), content: '▁' }, { type: 'Replace', pattern: rx('\\s+'), content: ' ' }, { type: 'Replace', pattern: rx('(?i)[aeiou]'), content: '*' }, { type: 'Replace', pattern: rx('\\p{M}'), content: '' },
  { type: 'Precompiled', precompiled_charsmap: 'T5' },
  { type: 'Sequence', normalizers: [{ type: 'NFD' }, { type: 'StripAccents' }, { type: 'Lowercase' }] }, { type: 'Sequence', normalizers: [] },
  { type: 'Sequence', normalizers: [{ type: 'NFKD' }, { type: 'Nmt' }, { type: 'Strip', strip_left: true, strip_right: true }, { type: 'NFKC' }] },
];
for (const normalizer of normalizers) {
  const real = normalizer.precompiled_charsmap ? { ...normalizer, precompiled_charsmap: t5.normalizer.precompiled_charsmap } : normalizer;
  const n = build({ normalizer: real }).getNormalizer();
  emit({ kind: 'normalizer', part: normalizer, cases: texts.map((t) => [t, n.normalizeString(t)]) });
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const gpt4 = `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const qwen = gpt4.replace('{1,3}', '');
const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]', lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const o200k = `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+${contractions}?|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*${contractions}?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const tekken = `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const kimi = `[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+${contractions}?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*${contractions}?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const deepseek = '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const tiktoken = `'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s`;
const split = (pattern, behavior = 'Isolated', invert = false) => ({ type: 'Split', pattern: typeof pattern === 'string' ? rx(pattern) : pattern, behavior, invert });
const byteLevel = (add_prefix_space, use_regex) => ({ type: 'ByteLevel', add_prefix_space, trim_offsets: true, use_regex });
const syntax = ['\\p{Han}+', '\\p{Hiragana}|\\p{Katakana}', '[^\\p{Latin}]+', '\\p{^L}+', '\\P{L}', '\\p{Lu}\\p{Ll}*', '\\h+', '\\H', '[[:alpha:]]+', '[[:^space:][:digit:]]+', '[a-z&&[^aeiou]]+', '[^a-z&&[^aeiou]]+', '[a-c[x-z]]+', '[^a[b]]',
  '(?m).+', '.+', '^.', '.$', '$', '^', '\\A.', '.\\z', '.\\Z', '\\b', '\\B', '\\b\\w', '(?<=a)b', '(?<!a).', '(?<= |\\n).', '(?<!aa|b)\\s', '(?>a+)b', 'a+?', 'a*?b', '(?:ab)+', '(?:ab){2}', '(a|b)*c', '(?:a|)*b', '[0-9]{2,3}', '[0-9]{2}+', '[0-9]{,2}x', 'a{,}',
  '\\d+(?=\\D)', '(?=\\d)', '(?=(?:\\d{3})+(?!\\d))', '\\R', '\\x41', '\\x{1F600}', '\\u00e9', '(?i)σ', '(?i)[^k]', '(?i)ſ', '(?i:É)', '(?-i:a)', '(?x) a  b # comment', 'a(?#note)b', '(?<name>a)b', 'a(?i)b|C', '[-a]', '[a-]', '[\\]\\[]', '[]a]', 'a|b|', '', '\\s*\\n', '[\\s\\S]', '\\.\\.|\\.', 'é', '[À-ÿ]+', '[𐐀-𐑏]+', '\\w+', '\\W+', '\\S+', '\\D+', '[\\w&&\\d]', '[^\\n]', '{', 'a{', 'a{x}', '\\-', '\\/', '\\t', '[\\t ]+'];
const preTokenizers = [
  { type: 'BertPreTokenizer' }, ...[[false, true], [true, true], [false, false], [true, false]].map(([a, b]) => byteLevel(a, b)), { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false },
  { type: 'CharDelimiterSplit', delimiter: ' ' }, { type: 'CharDelimiterSplit', delimiter: '😀' }, { type: 'Digits', individual_digits: true }, { type: 'Digits', individual_digits: false }, { type: 'FixedLength', length: 3 },
  ...['always', 'first', 'never'].flatMap((prepend_scheme) => [true, false].map((s) => ({ type: 'Metaspace', replacement: '▁', prepend_scheme, split: s }))),
  { type: 'Metaspace', replacement: '_', add_prefix_space: true }, { type: 'UnicodeScripts' }, { type: 'Whitespace' }, { type: 'WhitespaceSplit' },
  { type: 'Punctuation' }, ...['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'].flatMap((behavior) => [{ type: 'Punctuation', behavior },
    split({ String: ' ' }, behavior), split({ String: '-' }, behavior, true), split('\\s+|-', behavior, true), split('[aeiou]', behavior)]),
  ...[gpt4, qwen, o200k, tekken, kimi, tiktoken, ' ?[^(\\s|[.,!?…。，、।۔،])]+', '[0-9][0-9][0-9]', '\\p{N}{1,3}'].map((p) => split(p)),
  split("'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+", 'Removed', true), split(gpt4, 'Removed', true),
  { type: 'Sequence', pretokenizers: [split('\\p{N}{1,3}'), split('[一-龥\u3040-ゟ゠-ヿ]+'), split(deepseek), byteLevel(false, false)] },
  { type: 'Sequence', pretokenizers: [split('[\\r\\n]'), split('\\s?\\p{L}+'), split('\\s?\\p{P}+'), split('[一-龥ࠀ-一가-\uD7FF]+'), { type: 'Digits', individual_digits: true }, byteLevel(false, false)] },
  { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel(false, true)] },
  { type: 'Sequence', pretokenizers: [{ type: 'Punctuation', behavior: 'Contiguous' }, byteLevel(false, true), { type: 'Digits', individual_digits: false }, split('[0-9][0-9][0-9]')] },
  { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first' }] },
  { type: 'Sequence', pretokenizers: [{ type: 'UnicodeScripts' }, { type: 'WhitespaceSplit' }] },
  ...syntax.map((p) => split(p)),
];
for (const pre_tokenizer of preTokenizers) {
  const p = build({ pre_tokenizer }).getPreTokenizer();
  emit({ kind: 'pre_tokenizer', part: pre_tokenizer, cases: texts.map((t) => [t, p.preTokenizeString(t).map((x) => x[0])]) });
}

// A Strip with stop > 0 panics in the original on tokens shorter than that; unit tests cover it.
const decoders = [
  { type: 'BPEDecoder', suffix: '</w>' }, { type: 'ByteFallback' }, byteLevel(true, true), { type: 'CTC', pad_token: '<pad>', word_delimiter_token: '|', cleanup: true }, { type: 'CTC', pad_token: '<pad>', word_delimiter_token: '|', cleanup: false }, { type: 'Fuse' },
  ...['always', 'first', 'never'].map((prepend_scheme) => ({ type: 'Metaspace', replacement: '▁', prepend_scheme, split: true })),
  { type: 'Replace', pattern: { String: '▁' }, content: ' ' }, { type: 'Replace', pattern: { String: 'aa' }, content: 'b' }, { type: 'Replace', pattern: rx('[aeiou]+'), content: '' }, { type: 'Strip', content: ' ', start: 1, stop: 0 }, { type: 'Strip', content: '▁', start: 2, stop: 0 },
  { type: 'WordPiece', prefix: '##', cleanup: true }, { type: 'WordPiece', prefix: '##', cleanup: false },
  { type: 'Sequence', decoders: [{ type: 'Replace', pattern: { String: '▁' }, content: ' ' }, { type: 'ByteFallback' }, { type: 'Fuse' }, { type: 'Strip', content: ' ', start: 1, stop: 0 }] },
  { type: 'Sequence', decoders: [{ type: 'Replace', pattern: { String: '▁' }, content: ' ' }, { type: 'ByteFallback' }, { type: 'Fuse' }] },
  { type: 'Sequence', decoders: [{ type: 'Fuse' }, { type: 'Replace', pattern: { String: 'aa' }, content: 'b' }, { type: 'Strip', content: 'b', start: 3, stop: 0 }] },
  { type: 'Sequence', decoders: [byteLevel(false, true), { type: 'Replace', pattern: rx('\\s+'), content: '_' }] }, null,
];
const bytes = ['<0xE4>', '<0xB8>', '<0xAD>', '<0x0A>', '<0xF0>', '<0x9F>', '<0x98>', '<0x80>', '<0x61>', '<0xzz>', '<0xe4>', '<0x6>'];
const pool = ['▁', '▁▁', '▁a', 'a', 'aa', 'b', ' ', ' .', '.', ',', '##', '##ing', 'ing', 'foo</w>', '</w>', '</w></w>x', 'do', 'not', "'s", "n't", ' do not', '<pad>', '|', '|', 'x|y', 'Ġ', 'Ġhello', 'Ċ', 'ä', '¸', 'Ń', 'ðŁ', 'ĺĢ', 'é', '中', '<s>', '</s>', 'ĠĠ', '▁b', 'bb', ' aa', ...bytes];
const lists = [[], ['a'], ['▁'], ['▁', '▁'], ['▁▁a', '▁b'], ['▁a', '<0xE4>', '<0xB8>', '<0xAD>', '▁b'], ['<0x0A>', '<0x0A>', 'a'], ['<0xF0>', '<0x9F>', '<0x98>', '<0x80>'], ['ä', '¸', 'Ń'], ['ä', '¸', 'a'], ['a', 'a', '<pad>', 'a', '|', '|', 'b'],
  ['foo</w>', 'ba', 'r</w>'], ['play', '##ing', '.', 'do', "n't"], ['##a', '##b'], ['aa', 'a', 'aaa'], ['b', 'b', 'aa', 'c', 'aa', 'b']];
for (let i = 0; i < 120; i++) {
  const list = [];
  for (let n = 1 + random(9); n > 0; n--) list.push(pool[random(pool.length)]);
  lists.push(list);
}
// A damaged run of byte tokens is left out: there the two implementations differ on purpose (see ByteFallback.cs).
const damaged = (list) => {
  const whole = (run) => Buffer.from(run).toString('utf8').includes('\uFFFD') && run.length > 0 && Buffer.compare(Buffer.from(Buffer.from(run).toString('utf8')), Buffer.from(run)) !== 0;
  let run = [];
  for (const t of [...list, '']) {
    if (/^<0x[0-9a-fA-F]{2}>$/.test(t)) run.push(parseInt(t.slice(3, 5), 16));
    else { if (whole(run)) return true; run = []; }
  }
  return false;
};
for (const decoder of decoders) {
  const vocab = { '<unk>': 0 };
  for (const t of [...pool, ...lists.flat()]) if (!(t in vocab)) vocab[t] = Object.keys(vocab).length;
  const t = build({ decoder, model: { ...dummy, vocab } });
  const d = t.getDecoder();
  const usesBytes = JSON.stringify(decoder).includes('ByteFallback');
  const cases = lists.filter((l) => !(usesBytes && damaged(l)) && !(l.length === 0 && decoder && decoder.type === 'BPEDecoder'));
  emit({ kind: 'decoder', part: decoder, cases: cases.map((l) => [l, d ? d.decode(l) : l.join(' ')]) });
}
