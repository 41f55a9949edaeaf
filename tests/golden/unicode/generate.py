"""Writes normalization.jsonl.gz: what Python's unicodedata makes of every code point that has a decomposition or a combining class,
and of random runs of such code points. Each line: [text, NFC, NFD, NFKC, NFKD].

    python3 generate.py
"""

import gzip
import json
import random
import unicodedata

FORMS = ["NFC", "NFD", "NFKC", "NFKD"]


def main():
    every = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    moving = [c for c in every if unicodedata.combining(c)]
    mapped = [c for c in every if unicodedata.decomposition(c) and not 0xAC00 <= ord(c) < 0xAC00 + 11172]
    seconds = sorted({unicodedata.normalize("NFD", c)[-1] for c in mapped})
    jamo = [chr(c) for c in range(0x1100, 0x1200)] + [chr(0xAC00 + i) for i in range(0, 11172, 27)]
    chance = random.Random(20250711)
    texts = ["".join(mapped[i:i + 16]) for i in range(0, len(mapped), 16)] + ["a" + "".join(moving[i:i + 16]) for i in range(0, len(moving), 16)]
    texts += ["".join(jamo[i:i + 16]) for i in range(0, len(jamo), 16)]
    for _ in range(600):
        pools = [moving, mapped, seconds, jamo, list("aAoOuUeEiI <>="), every]
        texts.append("".join(chance.choice(chance.choice(pools)) for _ in range(chance.randint(1, 24))))
    with gzip.GzipFile("normalization.jsonl.gz", "wb", mtime=0) as out:
        for text in texts:
            if any(unicodedata.category(c) == "Cn" for c in text):
                continue
            line = [text] + [unicodedata.normalize(form, text) for form in FORMS]
            out.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


main()
