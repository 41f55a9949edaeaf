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

// Whole tokenizers: a small one given in full, or one of the folders above with some fields replaced ("base" and "override").
const load = (name) => JSON.parse(zlib.gunzipSync(fs.readFileSync(path.join(__dirname, '..', name, 'tokenizer.json.gz'))));
const bases = { gpt2: load('gpt2'), cl100k: load('cl100k'), 'llama2-spm': load('llama2-spm'), 't5-small': t5 };
const token = (id, content, flags = {}) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: false, ...flags });
const vocabOf = (list) => Object.fromEntries(list.map((t, i) => [t, i]));
const small = (model, parts = {}) => ({ version: '1.0', truncation: null, padding: null, added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, model, ...parts });
const letters = [...'abcdefghijklmnopqrstuvwxyz'];
const bpe = (extra, list = ['<unk>', ...letters, ' ', 'ab', 'abc', 'bc', 'cd', 'he', 'll', 'hell', 'lo', 'hello', 'aa', 'aaaa', 'é', 'é'.repeat(2)]) => ({ type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null,
  end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false, vocab: vocabOf(list), merges: ['a b', 'ab c', 'b c', 'c d', 'h e', 'l l', 'he ll', 'l o', 'hell o', 'a a', 'aa aa', 'é é'], ...extra });
const byteTokens = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
const bertVocab = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'hello', 'world', 'un', '##aff', '##able', '##a', '##b', 'a', 'b', ',', '.', '!', '?', '中', '国', 'the', 'de', '##cafe', 'cafe', '##s', '1', '##2', '##3', '##ed', 'play', '##play', "'", 'n', '##t'];
const bert = (extra = {}) => ({ type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 12, vocab: vocabOf(bertVocab), ...extra });
const bertParts = {
  normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true }, pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: { type: 'TemplateProcessing', single: [{ SpecialToken: { id: '[CLS]', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '[SEP]', type_id: 0 } }],
    pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }], special_tokens: { '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] }, '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] } } },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true }, added_tokens: bertVocab.slice(0, 5).map((t, i) => token(i, t, { special: true })) };
const pieces = [['<unk>', 0], ['▁', -2], ['▁a', -3], ['a', -4], ['b', -4.5], ['ab', -5], ['▁ab', -5.5], ['c', -4], ['abc', -6], ['xyz', -1], ['é', -3], ['▁▁', -3.5], ['zz', -2]];
const unigram = (extra = {}, list = pieces) => ({ type: 'Unigram', unk_id: 0, vocab: list, byte_fallback: false, ...extra });
const metaspace = (scheme, s = true) => ({ type: 'Metaspace', replacement: '▁', prepend_scheme: scheme, split: s });
const wordTexts = ['hello', 'abcd hello', 'aaaaaaa', 'xyzzy', 'é', 'éééé', '中文 a', 'a中b文文c', '中中a', 'HELLO', 'cabcab', '😀a😀😀', ' a  b '];
const bertTexts = ['Hello, World!', 'unaffable', 'unaffablex', 'Déçafé cafés', '中国 the 123', 'playedplayed', 'toolongaword12345', "isn't a.b?", '[CLS] a [MASK] b', '[mask]', '', '  ', 'a\u0000b\uFFFDc \u200D'];
const unigramTexts = ['ab abc', 'xyz', 'xy zz', 'éa', '中文a', 'a中b', '  a', '<unk>', '<unk>x', '中<unk>文', 'zzz', '😀'];
const chatTexts = ['<s>Hello</s>', '<|im_start|>user\nHi<|im_end|>\n', 'a <|x|> b', 'a<|x|>b', '  <|x|>  ', '<|x|><|y|>', '<|y|> <|x|> <|y|>', 'wørd WØRD wørdy awørd wørd.', 'Wørd wørd', '<s> <s>', 'x<s', '<|<|x|>', '<tool> </tool>', '\n\n<|x|>\n\n', '▁<|x|>▁'];
const flagTokens = (n) => [token(n, '<|x|>', { lstrip: true, rstrip: true, special: true }), token(n + 1, '<|y|>', { rstrip: true, special: true }), token(n + 2, '<|z|>', { lstrip: true }), token(n + 3, 'wørd', { single_word: true, normalized: true }),
  token(n + 4, '<|im_start|>', { special: true }), token(n + 5, '<|im_end|>', { special: true }), token(n + 6, '<|im'), token(n + 7, '  '), token(n + 8, '<tool>', { normalized: true })];
const with_ = (base, override) => ({ base, override });
const llamaDecoder = bases['llama2-spm'].decoder, specials = bases['llama2-spm'].added_tokens;
const prefix = (id, content) => ({ type: 'TemplateProcessing', single: [{ SpecialToken: { id: content, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }], pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }], special_tokens: { [content]: { id: content, ids: [id], tokens: [content] } } });
const tokenizers = [
  [small(bpe({})), wordTexts], [small(bpe({ unk_token: '<unk>' })), wordTexts], [small(bpe({ unk_token: '<unk>', fuse_unk: true })), wordTexts], [small(bpe({ ignore_merges: true, merges: [['a', 'b'], ['ab', 'c']] })), wordTexts],
  [small(bpe({ unk_token: '<unk>', fuse_unk: true, byte_fallback: true }, ['<unk>', 'a', 'b', 'c', 'ab', '▁', ...byteTokens].slice(0, 230)), {}), ['a中b', '中a', 'é', '中é中', '\n']].map((x, i) => (i === 0 ? { ...x, model: { ...x.model, merges: ['a b'] } } : x)),
  [small(bpe({ unk_token: '<unk>', byte_fallback: true, merges: ['a b', '<0xE4> <0xB8>'] }, ['<unk>', 'a', 'b', 'ab', '<0xE4><0xB8>', ...byteTokens]), { decoder: llamaDecoder }), ['a中b', '中a', 'é', '😀', 'aab中中', '\n\n']],
  [small(bpe({ unk_token: '<unk>', continuing_subword_prefix: '##', merges: ['a ##b', 'ab ##c', '##b ##c'] }, ['<unk>', 'a', 'b', 'c', '##a', '##b', '##c', 'ab', 'abc', '##bc'])), ['abc', 'aabc', 'cabc', 'abx', 'x']],
  [small(bpe({ unk_token: '<unk>', end_of_word_suffix: '</w>', merges: ['a b</w>', 'c ab</w>'] }, ['<unk>', 'a', 'b', 'c', 'a</w>', 'b</w>', 'ab</w>', 'cab</w>']), { pre_tokenizer: { type: 'WhitespaceSplit' }, decoder: { type: 'BPEDecoder', suffix: '</w>' } }), ['cab ab', 'a b', 'abc', 'x', 'cabab a']],
  [small(bert(), bertParts), bertTexts], [small(bert({ max_input_chars_per_word: 100 }), { ...bertParts, decoder: { type: 'WordPiece', prefix: '##', cleanup: false }, post_processor: { type: 'BertProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 2] } }), bertTexts],
  [small({ type: 'WordLevel', vocab: vocabOf(['<unk>', 'a', 'b', 'hello', '中']), unk_token: '<unk>' }, { pre_tokenizer: { type: 'Whitespace' } }), ['a b hello', 'a,b', '中 文', 'x']],
  [small(unigram(), { pre_tokenizer: metaspace('always'), decoder: metaspace('always') }), unigramTexts], [small(unigram({}, [...pieces, ...byteTokens.map((t) => [t, 0])]), {}), unigramTexts],
  [small(unigram({ byte_fallback: true }, [...pieces, ...byteTokens.map((t) => [t, -20])]), { decoder: llamaDecoder }), unigramTexts], [small(unigram(), { pre_tokenizer: metaspace('first') }), unigramTexts],
  [small(bpe({ unk_token: '<unk>' }), { normalizer: { type: 'Lowercase' }, added_tokens: flagTokens(41) }), [...chatTexts, ...wordTexts]],
  [with_('gpt2', { added_tokens: [...bases.gpt2.added_tokens, ...flagTokens(50257)] }), [...chatTexts, ...texts]],
  [with_('gpt2', { normalizer: { type: 'NFC' }, pre_tokenizer: { type: 'Sequence', pretokenizers: [split(qwen), byteLevel(false, false)] }, added_tokens: [token(50257, '<|im_start|>', { special: true }), token(50258, '<|im_end|>', { special: true }), token(50259, '<tool>')] }), [...chatTexts, ...texts]],
  [with_('gpt2', { pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel(false, true)] }, post_processor: { type: 'RobertaProcessing', sep: ['</s>', 2], cls: ['<s>', 0], trim_offsets: true, add_prefix_space: true } }), texts],
  [with_('gpt2', { pre_tokenizer: byteLevel(true, true), post_processor: { type: 'Sequence', processors: [{ type: 'ByteLevel', add_prefix_space: true, trim_offsets: false }, prefix(50256, '<|endoftext|>')] } }), [...texts, 'a<|endoftext|>b']],
  [with_('cl100k', { pre_tokenizer: { type: 'Sequence', pretokenizers: [split(o200k), byteLevel(false, false)] }, added_tokens: [] }), texts],
  [with_('cl100k', { pre_tokenizer: { type: 'Sequence', pretokenizers: [split('\\p{N}{1,3}'), split('[一-龥\u3040-ゟ゠-ヿ]+'), split(deepseek), byteLevel(false, false)] }, added_tokens: [], model: 'ignore_merges' }), texts],
  [with_('llama2-spm', { normalizer: null, pre_tokenizer: metaspace('first', false), added_tokens: [...specials, ...flagTokens(32000)] }), [...chatTexts, ...texts]],
  [with_('llama2-spm', { normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' }, pre_tokenizer: split({ String: ' ' }, 'MergedWithPrevious'), decoder: { type: 'Sequence', decoders: llamaDecoder.decoders.slice(0, 3) }, post_processor: prefix(1, '<s>') }), [...chatTexts, ...texts]],
  [with_('llama2-spm', { added_tokens: [...specials, token(32000, '<|im_start|>', { rstrip: true, special: true }), token(32001, '<|im_end|>', { rstrip: true, special: true })] }), [...chatTexts, ...texts]],
  [with_('t5-small', { truncation: null, padding: null }), texts],
  [with_('t5-small', { truncation: null, padding: null, normalizer: { type: 'Sequence', normalizers: [{ type: 'Replace', pattern: { String: '``' }, content: '"' }, { type: 'NFKD' }, { type: 'StripAccents' }, { type: 'Lowercase' }, t5.normalizer] }, pre_tokenizer: metaspace('always') }), texts],
];
(async () => {
  for (const [spec, inputs] of tokenizers) {
    let full = spec;
    if (spec.base) {
      full = { ...bases[spec.base], ...spec.override };
      if (spec.override.model === 'ignore_merges') full.model = { ...bases[spec.base].model, ignore_merges: true };
    }
    const t = Tokenizer.fromString(JSON.stringify(full));
    const cases = [];
    for (const text of inputs) {
      for (const add of [true, false]) {
        const ids = (await t.encode(text, null, { addSpecialTokens: add })).getIds();
        cases.push([text, add, ids, await t.decode(ids, false), await t.decode(ids, true)]);
      }
    }
    // What the cases need of a replaced character map is named, not repeated.
    emit({ kind: 'tokenizer', part: JSON.parse(JSON.stringify(spec).split(t5.normalizer.precompiled_charsmap).join('T5')), cases });
  }
})();
