"""Greedy continuations and logits of an exported folder, for the tests of other implementations.

Computed in float64 from the stored bf16 weights by this package's own eager decoder, without a KV cache.
"""
import json
import os

import torch

from . import bpe, export
from .mixture import encode_turns

GREEDY_TOKENS = 32
TOP = 8
CASES = [
    ("chat", [("user", "Tell me a short story about a brave rabbit.")]),
    ("system_and_turns", [
        ("system", "You are a kind storyteller."),
        ("user", "Tell me a story about a little girl named Lily."),
        ("assistant", "Once upon a time, there was a little girl named Lily. She had a red ball. One day the ball rolled "
                      "into the river. A big dog jumped in and brought it back. Lily was very happy and hugged the dog."),
        ("user", "Now tell me a story about a fox and an owl.")]),
    ("completion", "Once upon a time, there was a little"),
    ("long_completion", " ".join(
        f"On day {n} the old farmer counted {n + 6} apples, gave {n} of them to the hungry goat, and went home."
        for n in range(1, 8))),
]
TEXTS = ["Hello, world!", "It's 1,024 o'clock; don't wait...", "  two  spaces\n\nand a\ttab ", "naïve café – “quoted” 🐇",
         "The rabbit's den: 3 rooms, 12 beds.", "日本語 и русский"]


@torch.no_grad()
def _case(model, tokenizer, name, prompt):
    chat = not isinstance(prompt, str)
    ids = encode_turns(tokenizer, prompt)[0] + [tokenizer.assistant] if chat \
        else [tokenizer.bos, *tokenizer.encode(prompt)]
    row, generated, margins, first = list(ids), [], [], None
    for _ in range(GREEDY_TOKENS):
        logits = model(torch.tensor([row]))[0, -1]
        best = torch.topk(logits, TOP)
        if first is None:
            first, spread = best, float(torch.logsumexp(logits, 0))
        margins.append(float(best.values[0] - best.values[1]))
        generated.append(int(best.indices[0]))
        row.append(generated[-1])
    return {
        "name": name,
        "messages" if chat else "prompt": [{"role": r, "content": t} for r, t in prompt] if chat else prompt,
        "prompt_ids": ids,
        "top_ids": first.indices.tolist(), "top_logits": first.values.tolist(), "log_sum_exp": spread,
        "greedy_ids": generated, "smallest_margin": min(margins), "greedy_text": tokenizer.decode(generated),
    }


def write(folder, out):
    os.makedirs(out, exist_ok=True)
    model, tokenizer = export.load(folder, torch.float64)
    golden = {
        "dtype": "float64", "torch": torch.__version__, "chat_template": bpe.CHAT_TEMPLATE,
        "encodings": [{"text": t, "ids": tokenizer.encode(t)} for t in TEXTS],
        "cases": [_case(model, tokenizer, name, prompt) for name, prompt in CASES],
    }
    with open(os.path.join(out, "golden.json"), "w", encoding="utf-8", newline="\n") as f:
        json.dump(golden, f, ensure_ascii=False, indent=1)
        f.write("\n")
    for case in golden["cases"]:
        print(f"{case['name']}: {len(case['prompt_ids'])} prompt ids, margin {case['smallest_margin']:.4f}: "
              f"{case['greedy_text']!r}")
