"""Reads the text files, cleans and de-duplicates them, and splits documents into training and held-out.

The split is by document: a hash of the cleaned text decides, so it does not depend on order or on other files.
A held-out document that shares more than a tenth of its 13-word runs with the training text is dropped from both sides.
Two files of the data folder are left out on purpose: their texts were written by models whose licence puts a
condition on the name of whatever is trained on them.
"""
import gzip
import hashlib
import json
import os
import re

SOURCES = {
    "tinystories": ["tinystories-sample.txt.gz", "tinystories-v2-gpt4-sample.txt.gz"],
    "fables": ["fables-apache-mit-generators.jsonl.gz"],
    "fairytales": ["fairytaleqa-stories.jsonl.gz"],
    "classics": ["childrens-classics.jsonl.gz"],
}
HELD_OUT_ONE_IN = 25
_PLAIN = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u00a0": " ", "\u2013": "-",
                        "\u2014": " - ", "\u2026": "...", "\ufeff": None, "\u200b": None, "\r": None, "`": "'"})


def clean(text):
    text = text.translate(_PLAIN)
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" ?\n ?", "\n", text)
    return re.sub(r"\n{2,}", "\n\n", text).strip()


def _clean_markdown(text):
    text = re.sub(r"^---.*?^---", "", text, count=1, flags=re.S | re.M)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^\s*(#+.*|[-*_]{3,}|>+)\s*$", "", text, flags=re.M)
    text = re.sub(r"<[^>\n]{1,80}>", "", text)
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", text.replace("\r", ""))
    return clean(re.sub(r"[*_\\]", "", text))


def _read(path):
    with gzip.open(path, "rt", encoding="utf-8") as f:
        if path.endswith(".txt.gz"):
            for story in f.read().split("<|endoftext|>"):
                yield {"text": clean(story)}
        else:
            for line in f:
                row = json.loads(line)
                if "story" in row:
                    yield {"text": clean(re.sub(r"\*\*|^#+ .*$", "", row["story"], flags=re.M)),
                           "prompt": clean(row["prompt"])}
                elif "author" in row:
                    yield {"text": _clean_markdown(row["text"]), "title": row["title"]}
                else:
                    yield {"text": clean(row["text"]), "title": row["title"]}


def _finished(text):
    return text[-1:] in '.!?"\')'


def _runs(text):
    words = re.findall(r"[a-z0-9]+", text.lower())
    return [hash(tuple(words[i:i + 13])) for i in range(len(words) - 12)]


def load(folder):
    """{source: {"train": [doc], "held_out": [doc]}} and a dictionary of counts for the card."""
    corpus, report, seen = {}, {}, set()
    for source, files in SOURCES.items():
        split, dropped = {"train": [], "held_out": []}, 0
        for name in files:
            for doc in _read(os.path.join(folder, name)):
                text = doc["text"]
                key = re.sub(r"\W+", "", text.lower())[:100]
                short = source in ("tinystories", "fables")
                if len(text) < 200 or key in seen or (short and not _finished(text)):
                    dropped += 1
                    continue
                seen.add(key)
                digest = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
                split["held_out" if digest % HELD_OUT_ONE_IN == 0 else "train"].append(doc)
        if not split["held_out"]:
            split["held_out"].append(split["train"].pop())
        corpus[source], report[source] = split, {"dropped_duplicate_or_cut": dropped}
    held_runs = {r for s in corpus.values() for d in s["held_out"] for r in _runs(d["text"])}
    shared = {r for s in corpus.values() for d in s["train"] for r in _runs(d["text"]) if r in held_runs}
    for source, split in corpus.items():
        kept = []
        for doc in split["held_out"]:
            runs = _runs(doc["text"])
            if sum(r in shared for r in runs) <= 0.1 * len(runs):
                kept.append(doc)
        report[source].update(
            train_documents=len(split["train"]), train_bytes=sum(len(d["text"].encode()) for d in split["train"]),
            held_out_documents=len(kept), held_out_bytes=sum(len(d["text"].encode()) for d in kept),
            held_out_dropped_as_contaminated=len(split["held_out"]) - len(kept))
        split["held_out"] = kept
    return corpus, report
