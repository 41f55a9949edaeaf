#!/usr/bin/env python3
"""Trains the embedded storyteller and writes it as a Hugging Face folder. See README.md.

    main.py all --data DIR --run DIR        everything below, in this order
    main.py prepare|train|export|evaluate|golden --data DIR --run DIR
"""
import argparse
import json
import os
import sys

# Training allocates and frees the same large buffers each step; returning them to the system between steps costs
# more than the arithmetic. glibc reads these variables at start only, hence the restart.
_MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "16000000000", "MALLOC_TOP_PAD_": "536870912"}
if sys.platform == "linux" and "MALLOC_MMAP_MAX_" not in os.environ:
    os.environ.update(_MALLOC)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")     # spinning barriers are ruinous on a shared machine
    os.execv(sys.executable, [sys.executable, *sys.argv])

import torch

from storyteller import bpe, corpus, evaluation, export, golden, training
from storyteller.model import Config

TOKENIZER_WEIGHT = {"tinystories": 6, "fables": 4, "fairytales": 2, "classics": 1}


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("command", choices=["all", "prepare", "train", "export", "evaluate", "golden"])
    p.add_argument("--data", required=True, help="folder with the text files")
    p.add_argument("--run", required=True, help="folder for tokenizer, checkpoint, loss curve and figures")
    p.add_argument("--out", help="folder of the exported model (default RUN/storyteller)")
    p.add_argument("--golden", help="folder for the golden (default RUN/golden)")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=20240601)
    p.add_argument("--steps", type=int, default=1450)
    p.add_argument("--warmup", type=int, default=60)
    p.add_argument("--decay-steps", type=int, default=330)
    p.add_argument("--batch-tokens", type=int, default=4096)
    p.add_argument("--save-every", type=float, default=180, help="seconds between checkpoints")
    return p.parse_args()


def prepare(o):
    os.makedirs(o.run, exist_ok=True)
    texts, report = corpus.load(o.data)
    with open(os.path.join(o.run, "corpus.json"), "w") as f:
        json.dump(report, f, indent=1)
    path = os.path.join(o.run, "tokenizer.json")
    if not os.path.exists(path):
        weighted = ((d["text"], TOKENIZER_WEIGHT[s]) for s, split in texts.items() for d in split["train"])
        tokenizer = bpe.Tokenizer(bpe.train(weighted, Config.vocab_size))
        with open(path, "w", encoding="utf-8") as f:
            json.dump(tokenizer.to_json(), f, ensure_ascii=False, indent=1)
    print(json.dumps(report))
    return texts, bpe.Tokenizer.load(path)


def main():
    o = parse()
    torch.set_num_threads(o.threads)
    o.out = o.out or os.path.join(o.run, "storyteller")
    o.golden = o.golden or os.path.join(o.run, "golden")
    every = o.command == "all"
    if every or o.command in ("prepare", "train", "evaluate"):
        texts, tokenizer = prepare(o)
    if every or o.command == "train":
        training.train(o.run, texts, tokenizer, Config(), o)
    if every or o.command == "export":
        export.export(o.run, o.out)
    if every or o.command == "evaluate":
        evaluation.evaluate(o.out, texts, o)
    if every or o.command == "golden":
        golden.write(o.out, o.golden)


if __name__ == "__main__":
    main()
