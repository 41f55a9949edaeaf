"""Held-out perplexity by source, and sample outputs, of an exported folder.

Perplexity is per token; bits per byte are given beside it because they can be compared between tokenizers.
"""
import json
import math
import os
import random

import torch

from . import export, prompts
from .mixture import IGNORED, encode_turns
from .training import autocast, loss_of

TOKENS_PER_SOURCE = 40_000
SAMPLE_PROMPTS = [
    "Tell me a short story about a brave rabbit.",
    "Write a story about a girl named Rose who finds a key.",
    "Write a fable about a proud lion that teaches that kindness is a strength.",
]


@torch.no_grad()
def _nats(model, ids, learned, device):
    targets = torch.tensor([[t if ok else IGNORED for t, ok in zip(ids[1:], learned[1:])]], device=device)
    return float(loss_of(model, torch.tensor([ids[:-1]], device=device), targets, device, "sum")), sum(learned[1:])


def perplexity(model, tokenizer, docs, device):
    """Prose: every document in windows of the context length, each beginning with BOS."""
    window, nats, count, size, used = model.config.max_position_embeddings, 0.0, 0, 0, 0
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
        limit = model.config.max_position_embeddings + 1
        lost, n = _nats(model, ids[:limit], learned[:limit], device)
        nats, count = nats + lost, count + n
    return {"documents": len(docs), "tokens": count, "perplexity": math.exp(nats / count)}


@torch.no_grad()
def sample(model, tokenizer, ids, device, seed, temperature, top_p, limit=400):
    """Sampled continuation until an end token; recomputes the whole row for each token, which is fast enough here."""
    generator, row = torch.Generator().manual_seed(seed), list(ids)
    while len(row) - len(ids) < limit and len(row) < model.config.max_position_embeddings:
        with autocast(device):
            hidden = model.hidden(torch.tensor([row], device=device))[:, -1]
            logits = torch.nn.functional.linear(hidden, model.model.embed_tokens.weight)
        p = torch.softmax(logits[0].float().cpu() / temperature, -1)
        ordered, order = p.sort(descending=True)
        ordered[(ordered.cumsum(0) - ordered) > top_p] = 0
        token = int(order[torch.multinomial(ordered, 1, generator=generator)])
        if token in (tokenizer.eos, tokenizer.end):
            return tokenizer.decode(row[len(ids):]), "stop"
        row.append(token)
    return tokenizer.decode(row[len(ids):]), "length"


def evaluate(folder, texts, options):
    model, tokenizer = export.load(folder)
    model = model.to(options.device)
    figures = {s: perplexity(model, tokenizer, split["held_out"], options.device) for s, split in texts.items()}
    for s in ("tinystories", "fables"):
        figures[s + "_as_chat"] = chat_perplexity(model, tokenizer, s, texts[s]["held_out"], options.device, options.seed)
    for name, row in figures.items():
        print(name, json.dumps(row))
    samples = []
    for prompt in SAMPLE_PROMPTS:
        ids = encode_turns(tokenizer, [("user", prompt)])[0] + [tokenizer.assistant]
        text, why = sample(model, tokenizer, ids, options.device, options.seed,
                           export.GENERATION["temperature"], export.GENERATION["top_p"])
        samples.append({"prompt": prompt, "text": text, "finish": why})
        print(f"\n> {prompt}\n{text}\n[{why}]")
    with open(os.path.join(options.run, "figures.json"), "w", encoding="utf-8") as f:
        json.dump({"held_out": figures, "samples": samples}, f, ensure_ascii=False, indent=1)
