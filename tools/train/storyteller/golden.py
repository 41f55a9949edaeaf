"""Greedy continuations and logits of an exported folder, for the tests of other implementations.

Computed in float64 from the stored bf16 weights by this package's own eager decoder, without a KV cache.
"""
import json
import os

import torch

from . import bpe, export
from .mixture import encode_turns
from .training import autocast

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


def _draft(quick, row, count):
    """A cheap guess at the greedy continuation, in bf16."""
    row, start = list(row), len(row)
    while len(row) < start + count:
        with autocast("cpu"):
            hidden = quick.hidden(torch.tensor([row]))[:, -1]
            logits = torch.nn.functional.linear(hidden, quick.model.embed_tokens.weight)
        row.append(int(logits[0].argmax()))
    return row[start:]


@torch.no_grad()
def _case(model, quick, tokenizer, name, prompt):
    chat = not isinstance(prompt, str)
    ids = encode_turns(tokenizer, prompt)[0] + [tokenizer.assistant] if chat \
        else [tokenizer.bos, *tokenizer.encode(prompt)]
    # A guess is checked by one exact pass over all of it; up to its first wrong token it stands, the rest is guessed again.
    generated = _draft(quick, ids, GREEDY_TOKENS)
    while True:
        logits = model(torch.tensor([ids + generated[:-1]]))[0, len(ids) - 1:]
        exact = logits.argmax(-1).tolist()
        wrong = next((i for i, (a, b) in enumerate(zip(exact, generated)) if a != b), None)
        if wrong is None:
            break
        kept = generated[:wrong] + [exact[wrong]]
        generated = kept + _draft(quick, ids + kept, GREEDY_TOKENS - len(kept))
    first, spread = torch.topk(logits[0], TOP), float(torch.logsumexp(logits[0], 0))
    best = torch.topk(logits, 2).values
    margins = (best[:, 0] - best[:, 1]).tolist()
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
    quick, _ = export.load(folder, torch.float32)
    golden = {
        "dtype": "float64", "torch": torch.__version__, "chat_template": bpe.CHAT_TEMPLATE,
        "encodings": [{"text": t, "ids": tokenizer.encode(t)} for t in TEXTS],
        "cases": [_case(model, quick, tokenizer, name, prompt) for name, prompt in CASES],
    }
    with open(os.path.join(out, "golden.json"), "w", encoding="utf-8", newline="\n") as f:
        json.dump(golden, f, ensure_ascii=False, indent=1)
        f.write("\n")
    for case in golden["cases"]:
        print(f"{case['name']}: {len(case['prompt_ids'])} prompt ids, margin {case['smallest_margin']:.4f}: "
              f"{case['greedy_text']!r}")
