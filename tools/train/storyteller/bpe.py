"""Byte-level BPE: trainer, encoder and the `tokenizer.json` that describes both.

Pre-tokenization is what the exported file declares: every digit is a piece of its own, the rest is cut by the
GPT-2 pattern, bytes are written in the GPT-2 printable alphabet. The pattern is stated with exact Unicode letter and
number classes because Python's `re` has no \\p{L}.
"""
import heapq
import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict

BOS, EOS, SYSTEM, USER, ASSISTANT, END = "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL = [BOS, EOS, SYSTEM, USER, ASSISTANT, END]

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' or message['role'] == 'developer' %}{{ '<|system|>' }}"
    "{% elif message['role'] == 'user' %}{{ '<|user|>' }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' }}"
    "{% else %}{{ raise_exception('This model knows the roles system, user and assistant.') }}{% endif %}"
    "{{ message['content'] | trim }}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def _unicode_class(first_letter):
    """Character-class body with every code point whose general category starts with `first_letter`."""
    parts, start = [], None
    for point in range(sys.maxunicode + 2):
        inside = point <= sys.maxunicode and unicodedata.category(chr(point))[0] == first_letter
        if inside and start is None:
            start = point
        elif not inside and start is not None:
            parts.append(f"\\U{start:08x}-\\U{point - 1:08x}")
            start = None
    return "".join(parts)


_L, _N = _unicode_class("L"), _unicode_class("N")
_DIGIT = re.compile(f"([{_N}])")
_WORDS = re.compile(rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{_L}]+| ?[{_N}]+| ?[^\s{_L}{_N}]+|\s+(?!\S)|\s+")


def byte_alphabet():
    """The printable character that stands for each byte in GPT-2 style vocabularies."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {b: chr(b) for b in kept}, 0
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + extra)
            extra += 1
    return table


_BYTES = byte_alphabet()
_UNBYTES = {c: b for b, c in _BYTES.items()}


def pieces(text):
    """Pre-tokens of `text`, still as ordinary text."""
    for part in _DIGIT.split(text):
        if part:
            yield from _WORDS.findall(part)


def spell(piece):
    return "".join(_BYTES[b] for b in piece.encode("utf-8"))


def train(weighted_texts, vocabulary_size):
    """Merges learned from an iterable of (text, weight); ties fall to the lexicographically smaller pair."""
    counts = Counter()
    for text, weight in weighted_texts:
        for piece, n in Counter(pieces(text)).items():
            counts[spell(piece)] += n * weight
    words = [(list(w), c) for w, c in sorted(counts.items()) if len(w) > 1]
    pair_count, where = Counter(), defaultdict(set)
    for i, (symbols, c) in enumerate(words):
        for pair in zip(symbols, symbols[1:]):
            pair_count[pair] += c
            where[pair].add(i)
    heap = [(-c, p) for p, c in pair_count.items()]
    heapq.heapify(heap)
    merges = []
    while heap and len(merges) < vocabulary_size - 256 - len(SPECIAL):
        negative, pair = heapq.heappop(heap)
        current = pair_count.get(pair, 0)
        if current <= 0:
            continue
        if -negative != current:            # stale entry: the true count is lower now
            heapq.heappush(heap, (-current, pair))
            continue
        merges.append(pair)
        joined, touched = pair[0] + pair[1], set()
        for i in where.pop(pair):
            symbols, c = words[i]
            for old in zip(symbols, symbols[1:]):
                pair_count[old] -= c
            merged, k = [], 0
            while k < len(symbols):
                if k + 1 < len(symbols) and (symbols[k], symbols[k + 1]) == pair:
                    merged.append(joined)
                    k += 2
                else:
                    merged.append(symbols[k])
                    k += 1
            words[i] = (merged, c)
            for new in zip(merged, merged[1:]):
                pair_count[new] += c
                where[new].add(i)
                if joined in new:
                    touched.add(new)
        pair_count.pop(pair, None)
        for new in touched:
            heapq.heappush(heap, (-pair_count[new], new))
    return merges


class Tokenizer:
    """Encodes ordinary text (special markers in it are not looked for) and decodes ids."""

    def __init__(self, merges):
        self.merges = [tuple(m) for m in merges]
        self.ranks = {m: i for i, m in enumerate(self.merges)}
        tokens = SPECIAL + [_BYTES[b] for b in range(256)] + [a + b for a, b in self.merges]
        self.vocabulary = {t: i for i, t in enumerate(tokens)}
        if len(self.vocabulary) != len(tokens):
            raise ValueError("two merges make the same token")
        self.tokens = tokens
        self.bos, self.eos, self.system, self.user, self.assistant, self.end = range(len(SPECIAL))
        self._cache = {}

    def _encode_piece(self, piece):
        symbols = list(spell(piece))
        while len(symbols) > 1:
            rank, k = min((self.ranks.get(p, 1 << 30), k) for k, p in enumerate(zip(symbols, symbols[1:])))
            if rank == 1 << 30:
                break
            symbols[k:k + 2] = [symbols[k] + symbols[k + 1]]
        return tuple(self.vocabulary[s] for s in symbols)

    def encode(self, text):
        ids, cache = [], self._cache
        for piece in pieces(text):
            got = cache.get(piece)
            if got is None:
                got = cache[piece] = self._encode_piece(piece)
            ids.extend(got)
        return ids

    def decode(self, ids, skip_special=True):
        out, special = bytearray(), len(SPECIAL)
        for i in ids:
            if i >= special:
                out.extend(_UNBYTES[c] for c in self.tokens[i])
            elif not skip_special:
                out.extend(self.tokens[i].encode())
        return out.decode("utf-8", errors="replace")

    def to_json(self):
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        return {
            "version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [
                {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                 "normalized": False, "special": True} for i, t in enumerate(SPECIAL)],
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": True}, byte_level]},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": BOS, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"SpecialToken": {"id": BOS, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                         {"SpecialToken": {"id": BOS, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {BOS: {"id": BOS, "ids": [self.bos], "tokens": [BOS]}}},
            "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                      "ignore_merges": False, "vocab": self.vocabulary,
                      "merges": [f"{a} {b}" for a, b in self.merges]}}

    @staticmethod
    def load(path):
        with open(path, encoding="utf-8") as f:
            return Tokenizer([m.split(" ") for m in json.load(f)["model"]["merges"]])
