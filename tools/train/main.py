#!/usr/bin/env python3
"""Trains the embedded storyteller and writes it as a Hugging Face folder. See README.md.

    main.py all --data DIR --run DIR        everything below, in this order
    main.py prepare|train|twin|export|evaluate|golden --data DIR --run DIR
"""
import argparse
import json
import os
import shutil
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
from storyteller.lckv import LckvConfig
from storyteller.model import Config

TOKENIZER_WEIGHT = {"tinystories": 6, "fables": 4, "fairytales": 2, "classics": 1}


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("command", choices=["all", "prepare", "train", "twin", "export", "evaluate", "golden"])
    p.add_argument("--data", required=True, help="folder with the text files")
    p.add_argument("--run", required=True, help="folder for tokenizer, checkpoint, loss curve and figures")
    p.add_argument("--out", help="folder of the exported model (default RUN/storyteller)")
    p.add_argument("--twin-out", help="folder of the exported LCKV twin (default RUN/lckv-storyteller)")
    p.add_argument("--golden", help="folder for the golden (default RUN/golden)")
    p.add_argument("--twin-golden", help="folder for the twin's golden (default RUN/lckv-golden)")
    p.add_argument("--compare", nargs="*", default=[], help="further exported folders to evaluate")
    p.add_argument("--cases", type=int, default=20, help="retrieval questions per kind and distance in the evaluation")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=20240601)
    p.add_argument("--steps", type=int, default=6600)
    p.add_argument("--warmup", type=int, default=60)
    p.add_argument("--decay-steps", type=int, default=2800)
    p.add_argument("--batch-tokens", type=int, default=4096)
    p.add_argument("--layer-types", default="0_1_5_5_5_5_6_7", help="which layer's keys and values each layer of the twin reads")
    p.add_argument("--passes", type=int, nargs=2, default=(1, 2), help="passes of the twin in training: without gradient, with it")
    p.add_argument("--forward-passes", type=int, default=4, help="`forward_passes` of the exported twin: what inference should use")
    p.add_argument("--twin-steps", type=int, default=360)
    p.add_argument("--twin-decay-steps", type=int, default=320)
    p.add_argument("--twin-rate", type=float, default=0.5, help="largest learning rate of the twin, as a share of the Llama's")
    p.add_argument("--warm", help="checkpoint that the twin begins from (default RUN/checkpoint.pt)")
    p.add_argument("--save-every", type=float, default=180, help="seconds between checkpoints")
    return p.parse_args()


def prepare(o):
    os.makedirs(o.run, exist_ok=True)
    cache = os.path.join(o.run, "texts.json")       # reading and checking for contamination takes most of a minute
    if os.path.exists(cache):
        with open(cache, encoding="utf-8") as f:
            texts, report = json.load(f)
    else:
        texts, report = corpus.load(o.data)
        with open(cache, "w", encoding="utf-8") as f:
            json.dump([texts, report], f, ensure_ascii=False)
    with open(os.path.join(o.run, "corpus.json"), "w") as f:
        json.dump(report, f, indent=1)
    path = os.path.join(o.run, "tokenizer.json")
    if not os.path.exists(path):
        weighted = ((d["text"], TOKENIZER_WEIGHT[s]) for s, split in texts.items() for d in split["train"])
        tokenizer = bpe.Tokenizer(bpe.train(weighted, Config.vocab_size))
        with open(path, "w", encoding="utf-8") as f:
            json.dump(tokenizer.to_json(), f, ensure_ascii=False, indent=1)
    return texts, bpe.Tokenizer.load(path)


def train_twin(o, texts, tokenizer):
    """The LCKV twin, in RUN/lckv, from the finished Llama."""
    warm, run = o.warm or os.path.join(o.run, "checkpoint.pt"), os.path.join(o.run, "lckv")
    began = torch.load(warm, map_location="cpu")["step"]
    settings = vars(LckvConfig(layer_types=o.layer_types))
    own = argparse.Namespace(**{**vars(o), "steps": began + o.twin_steps, "decay_steps": o.twin_decay_steps, "warmup": 20,
                                "peak": o.twin_rate})
    training.train(run, texts, tokenizer, settings, own, warm)
    shutil.copyfile(os.path.join(o.run, "tokenizer.json"), os.path.join(run, "tokenizer.json"))


def main():
    o = parse()
    torch.set_num_threads(o.threads)
    o.out = o.out or os.path.join(o.run, "storyteller")
    o.golden = o.golden or os.path.join(o.run, "golden")
    o.twin_out = o.twin_out or os.path.join(o.run, "lckv-storyteller")
    o.twin_golden = o.twin_golden or os.path.join(o.run, "lckv-golden")
    twin = os.path.join(o.run, "lckv")
    every = o.command == "all"
    if every or o.command in ("prepare", "train", "twin", "evaluate"):
        texts, tokenizer = prepare(o)
    if every or o.command == "train":
        o.peak = 1.0
        training.train(o.run, texts, tokenizer, vars(Config()), o)
    if every or o.command == "twin":
        train_twin(o, texts, tokenizer)
    if every or o.command == "export":
        export.export(o.run, o.out)
        if os.path.exists(os.path.join(twin, "checkpoint.pt")):
            export.export(twin, o.twin_out, o.forward_passes)
    if every or o.command == "evaluate":
        evaluation.evaluate([f for f in (o.out, o.twin_out, *o.compare) if os.path.isdir(f)], texts, o)
    if every or o.command == "golden":
        golden.write(o.out, o.golden)
        if os.path.isdir(o.twin_out):
            golden.write_twin(o.twin_out, o.twin_golden)


if __name__ == "__main__":
    main()
