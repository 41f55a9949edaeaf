"""Held-out perplexity by source, retrieval accuracy and sample conversations of exported folders.

Perplexity is per token; bits per byte are given beside it because they can be compared between tokenizers.
"""
import json
import math
import os
import random

import torch

from . import export, lckv, prompts, recall, report
from .mixture import IGNORED, encode_turns
from .training import loss_of

TOKENS_PER_SOURCE = 40_000
WINDOW = 1024       # of the prose figures: the first version's whole context
CONVERSATIONS = [
    ["Tell me a short story about a brave rabbit."],
    ["Write a story about a girl named Rose who finds a key."],
    ["Write a fable about a proud lion that teaches that kindness is a strength."],
    ["Tell me a story about Tom and his dog Max."],
    ["Continue this story: Once upon a time there was a little girl named Lily. She had a red ball. One day the ball rolled "
     "into the river."],
    ["Write a bedtime story about a bear and the moon."],
    ["Write a story with the words cat, hat and tree."],
    ["Tell me a story about a little girl named Mia.", "What was the name of the girl in the story?"],
    ["Anna has the key. The map is in the castle. Tom has the apple.\n\nWhere is the map?"],
    ["Hello!", "Tell me a story about a frog."],
]


@torch.no_grad()
def _nats(model, ids, learned, device):
    targets = torch.tensor([[t if ok else IGNORED for t, ok in zip(ids[1:], learned[1:])]], device=device)
    return float(loss_of(model, torch.tensor([ids[:-1]], device=device), targets, device, "sum")), sum(learned[1:])


def perplexity(model, tokenizer, docs, device):
    """Prose: every document in windows of `WINDOW` tokens, each beginning with BOS."""
    window, nats, count, size, used = WINDOW, 0.0, 0, 0, 0
    for doc in docs:
        body = [*tokenizer.encode(doc["text"]), tokenizer.eos]
        for at in range(0, len(body), window):
            part = body[at:at + window]
            lost, n = _nats(model, [tokenizer.bos, *part], [True] * (len(part) + 1), device)
            nats, count, size = nats + lost, count + n, size + len(tokenizer.decode(part).encode())
            if count >= TOKENS_PER_SOURCE:
                break
        used += 1
        if count >= TOKENS_PER_SOURCE:
            break
    return {"documents": used, "tokens": count, "perplexity": math.exp(nats / count),
            "bits_per_byte": nats / math.log(2) / size}


def chat_perplexity(model, tokenizer, source, docs, device, seed):
    """Perplexity of held-out answers after a question made from them."""
    rng, nats, count = random.Random(seed), 0.0, 0
    for doc in docs:
        ids, learned = encode_turns(tokenizer, prompts.turns(source, [doc], rng))
        limit = WINDOW + 1
        lost, n = _nats(model, ids[:limit], learned[:limit], device)
        nats, count = nats + lost, count + n
    return {"documents": len(docs), "tokens": count, "perplexity": math.exp(nats / count)}


@torch.no_grad()
def sample(model, tokenizer, ids, seed, temperature, top_p, limit=400):
    """Sampled continuation until an end token, in the exact form with a cache."""
    generator, decoder = torch.Generator().manual_seed(seed), lckv.Sequential(model)
    out, room = [], model.config.max_position_embeddings - len(ids)
    for token in ids:
        logits = decoder.step(token)
    while len(out) < min(limit, room):
        p = torch.softmax(logits.float().cpu() / temperature, -1)
        ordered, order = p.sort(descending=True)
        ordered[(ordered.cumsum(0) - ordered) > top_p] = 0
        token = int(order[torch.multinomial(ordered, 1, generator=generator)])
        if token in (tokenizer.eos, tokenizer.end):
            return tokenizer.decode(out), "stop"
        out.append(token)
        logits = decoder.step(token)
    return tokenizer.decode(out), "length"


def converse(model, tokenizer, questions, seed):
    """Chat turns with the model's own sampled answers, and how the last one ended."""
    turns = []
    for question in questions:
        turns.append(("user", question))
        ids = encode_turns(tokenizer, turns)[0] + [tokenizer.assistant]
        text, why = sample(model, tokenizer, ids, seed, export.GENERATION["temperature"], export.GENERATION["top_p"])
        turns.append(("assistant", text))
    return turns, why


def evaluate(folders, texts, options):
    """Writes RUN/figures.json: for each folder held-out perplexity, retrieval tables and conversations."""
    path, figures = os.path.join(options.run, "figures.json"), {}
    for folder in folders:
        model, tokenizer = export.load(folder)
        model, device = model.to(options.device), options.device
        name, row = os.path.basename(os.path.normpath(folder)), {}
        row["held_out"] = {s: perplexity(model, tokenizer, split["held_out"], device) for s, split in texts.items()}
        for s in ("tinystories", "fables"):
            row["held_out"][s + "_as_chat"] = chat_perplexity(model, tokenizer, s, texts[s]["held_out"], device, options.seed)
        for source, values in row["held_out"].items():
            print(name, source, json.dumps(values), flush=True)
        row["conversations"] = []
        for questions in CONVERSATIONS:
            turns, why = converse(model, tokenizer, questions, options.seed)
            row["conversations"].append({"turns": turns, "finish": why})
            print("\n".join(f"{name} {role}: {text}" for role, text in turns), f"[{why}]\n", flush=True)
        if model.config.max_position_embeddings >= recall.CONTEXT:
            # each question of the twin costs several passes
            cases = max(2, options.cases // 3) if hasattr(model, "layers") else options.cases
            row["by_distance"] = {d: recall.by_kind(model, texts, tokenizer, device, d, cases, options.seed,
                                                    kinds=recall.ALL) for d in recall.DISTANCES}
            row["by_depth"] = {depth: recall.by_kind(model, texts, tokenizer, device, recall.at_depth(depth), cases,
                                                     options.seed, recall.CONTEXT, kinds=recall.ALL) for depth in recall.DEPTHS}
            for table in ("by_distance", "by_depth"):
                for at, values in row[table].items():
                    print(name, table, at, json.dumps(values), flush=True)
        figures[name] = row
        with open(path, "w", encoding="utf-8") as f:
            json.dump(figures, f, ensure_ascii=False, indent=1)
    report.write(figures, os.path.join(options.run, "figures.md"))
