"""Greedy continuations and logits of exported folders, for the tests of other implementations.

Computed in float64 from the stored bf16 weights by this package's own eager decoders: the Llama without a KV cache, its LCKV twin
one token after the other, and in passes over the whole text. A reload in float32 is compared with what was recorded.
"""
import json
import os

import torch

from . import bpe, export, lckv
from .mixture import encode_turns
from .model import autocast

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
TWIN_TEXT = (
    "Once upon a time, there was a little girl named Lily. She lived in a small house near the forest with her mom and her "
    "dog Max. Max has the red ball. The key is in the castle. One day, Lily wanted to play outside, but it was raining. She "
    "looked out of the window and saw a small bird. The bird was wet and sad. Lily opened the window and said, \"Come in, little "
    "bird.\" The bird came in and sat near the fire. Soon the rain stopped and the sun came out. \"Thank you, Lily,\" said the "
    "bird, and it sang a happy song. Lily and Max went outside to play.")
TWIN_PASSES = (1, 4, 9)
PASS_STRIDE = 8
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


def _dump(out, golden):
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "golden.json"), "w", encoding="utf-8", newline="\n") as f:
        json.dump(golden, f, ensure_ascii=False, indent=1)
        f.write("\n")


def write(folder, out):
    model, tokenizer = export.load(folder, torch.float64)
    quick, _ = export.load(folder, torch.float32)
    golden = {
        "dtype": "float64", "torch": torch.__version__, "chat_template": bpe.CHAT_TEMPLATE,
        "encodings": [{"text": t, "ids": tokenizer.encode(t)} for t in TEXTS],
        "cases": [_case(model, quick, tokenizer, name, prompt) for name, prompt in CASES],
    }
    _dump(out, golden)
    for case in golden["cases"]:
        with torch.no_grad():
            again = quick(torch.tensor([case["prompt_ids"]]))[0, -1]
        off = max(abs(float(again[i]) - v) for i, v in zip(case["top_ids"], case["top_logits"]))
        print(f"{case['name']}: {len(case['prompt_ids'])} prompt ids, margin {case['smallest_margin']:.4f}, "
              f"float32 off by {off:.1e}: {case['greedy_text']!r}")


def _summary(logits):
    """What is recorded of the logits at one position."""
    first = torch.topk(logits, TOP)
    return {"top_ids": first.indices.tolist(), "top_logits": first.values.tolist(),
            "log_sum_exp": float(torch.logsumexp(logits, 0))}


@torch.no_grad()
def _in_passes(model, ids, passes):
    return torch.nn.functional.linear(model.hidden(torch.tensor([ids]), passes), model.model.embed_tokens.weight)[0]


def write_twin(folder, out):
    model, tokenizer = export.load(folder, torch.float64)
    ids = [tokenizer.bos, *tokenizer.encode(TWIN_TEXT)]
    decoder = lckv.Sequential(model)
    exact = torch.stack([decoder.step(i) for i in ids])
    greedy, margins, logits = [], [], exact[-1]
    while len(greedy) < GREEDY_TOKENS:
        best = torch.topk(logits, 2)
        margins.append(float(best.values[0] - best.values[1]))
        greedy.append(int(best.indices[0]))
        logits = decoder.step(greedy[-1])
    golden = {
        "dtype": "float64", "torch": torch.__version__, "layer_types": model.config.layer_types, "text": TWIN_TEXT, "ids": ids,
        "sequential": [_summary(row) for row in exact],
        "sequential_last_logits": [round(v, 9) for v in exact[-1].tolist()],
        "passes": {str(p): [_summary(row) for row in _in_passes(model, ids, p)[::PASS_STRIDE]] for p in TWIN_PASSES},
        "pass_positions": list(range(len(ids)))[::PASS_STRIDE],
        "greedy_ids": greedy, "smallest_margin": min(margins), "greedy_text": tokenizer.decode(greedy),
    }
    _dump(out, golden)
    quick, _ = export.load(folder, torch.float32)
    again = lckv.Sequential(quick)
    off = max(float((again.step(i) - row).abs().max()) for i, row in zip(ids, exact))
    print(f"{len(ids)} ids, margin {golden['smallest_margin']:.4f}, float32 reload off by {off:.1e}: {golden['greedy_text']!r}")
    for p in (*TWIN_PASSES, len(ids)):
        both = [float((_in_passes(m, ids, p) - exact).abs().max()) for m in (model, quick)]
        print(f"{p} passes: off from token by token by {both[0]:.1e} in float64, {both[1]:.1e} in float32")
