"""Writes what the policy benchmarks read: held-out prose and retrieval questions for the embedded models.

    python3 tools/train/benchmark_data.py --data DIR --model src/InferenceService.Server/Embedded/storyteller --out docs/benchmarks/data

`held-out-tales.txt`: the fairy tales that training never saw, one after the other. `retrieval.jsonl.gz`: one question a line, as
token ids of that model's tokenizer: `distance` (tokens from the fact to the question), `kind`, `prompt`, `answer`.
"""
import argparse
import gzip
import json
import os
import random

from storyteller import corpus, export, recall, retrieval

DISTANCES = (64, 256, 512, 1024, 1536)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--each", type=int, default=4, help="questions of each kind and distance")
    p.add_argument("--seed", type=int, default=20240601)
    options = p.parse_args()
    texts, _ = corpus.load(options.data)
    _, tokenizer = export.load(options.model)
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, "held-out-tales.txt"), "w", encoding="utf-8") as f:
        f.write("\n\n".join(doc["text"] for doc in texts["fairytales"]["held_out"]) + "\n")
    prose = recall.held_out_prose(texts)
    # Time stamp and name are left out of the gzip header, so that the same command writes the same bytes.
    with open(os.path.join(options.out, "retrieval.jsonl.gz"), "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as f:
        for distance in DISTANCES:
            for kind in retrieval.KINDS:
                for i in range(options.each):
                    rng = random.Random(f"benchmark/{options.seed}/{kind}/{distance}/{i}")
                    size = min(recall.CONTEXT, distance + rng.choice([24, 100, 300]))
                    prompt, answer = retrieval.case(tokenizer, prose, rng, kind, distance, size, 4)
                    line = {"distance": distance, "kind": kind, "prompt": prompt, "answer": answer}
                    f.write((json.dumps(line, separators=(",", ":")) + "\n").encode())


if __name__ == "__main__":
    main()
