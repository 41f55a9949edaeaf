"""Retrieval accuracy of a model on held-out prose: by kind of question, distance and depth.

An answer counts when every token of the expected answer, its end marker included, is the most likely one after the
right tokens before it: greedy decoding gives exactly this answer.
"""
import random

import torch
import torch.nn.functional as F

from . import retrieval
from .mixture import FILLER, passage
from .model import autocast

CONTEXT = 1984      # tokens before the answer in the longest cases
DISTANCES = (64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 1920)
ALL = (*retrieval.KINDS, retrieval.REVERSED)
DEPTHS = (0, 25, 50, 75, 100)


def at_depth(percent):
    """Distance of a fact at `percent` of the longest context: 0 is its beginning, 100 its end."""
    return round(CONTEXT - 40 - percent / 100 * (CONTEXT - 80))


def held_out_prose(corpus):
    """Passages of held-out documents, drawn as the filler in training is from training documents."""
    def prose(rng):
        source = rng.choices(list(FILLER), list(FILLER.values()))[0]
        return passage(corpus[source]["held_out"], rng)
    return prose


@torch.no_grad()
def right(model, ids, answer, device):
    """(whole answer right, share of its tokens right)"""
    row = torch.tensor([ids + answer[:-1]], device=device)
    with autocast(device):
        hidden = model.hidden(row)[:, len(ids) - 1:]
        best = F.linear(hidden, model.model.embed_tokens.weight)[0].argmax(-1).tolist()
    return best == answer


def by_kind(model, corpus, tokenizer, device, distance, count, seed, context=None, distractors=4, kinds=tuple(retrieval.KINDS)):
    """Share of right answers for each kind of question whose fact lies `distance` tokens back.

    The text before the question is `context` tokens long, or of a random length from the distance up.
    """
    prose, out = held_out_prose(corpus), {}
    for kind in kinds:
        hits = 0
        for i in range(count):
            rng = random.Random(f"{seed}/{kind}/{distance}/{context}/{i}")
            size = context or min(CONTEXT, distance + rng.choice([24, 100, 300, 600]))
            ids, answer = retrieval.case(tokenizer, prose, rng, kind, distance, size, distractors)
            hits += right(model, ids, answer, device)
        out[kind] = hits / count
    return out
