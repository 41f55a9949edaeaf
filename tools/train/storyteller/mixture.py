"""The stream of training batches: which source, in which form, cut to which length.

The stream is a function of (seed, position): a checkpoint stores the position and the stream goes on where it was. Examples are
drawn a pool at a time, sorted by length and cut into batches of about equal token count, so that almost
nothing is padding; every row is one whole document (or one run of paragraphs of a long book) from its first token.
"""
import random

import torch

from . import prompts

# share of tokens per source at the start and at the end of training: old prose first, the wanted voice last
SHARES = {
    "tinystories": (0.35, 0.60),
    "fables": (0.13, 0.18),
    "fairytales": (0.22, 0.10),
    "classics": (0.30, 0.12),
}
CHAT_SHARE = {"tinystories": 0.6, "fables": 0.7}
POOL_TOKENS = 128 * 1024
IGNORED = -100


def encode_turns(tokenizer, turns):
    """(ids, learned): the chat in the form of the chat template; only answers and their end marker are learned."""
    marker = {"system": tokenizer.system, "user": tokenizer.user, "assistant": tokenizer.assistant}
    ids, learned = [tokenizer.bos], [False]
    for role, text in turns:
        body = [marker[role], *tokenizer.encode(text.strip()), tokenizer.end]
        ids += body
        learned += [False] + [role == "assistant"] * (len(body) - 1)
    return ids, learned


class Stream:
    def __init__(self, corpus, tokenizer, config, seed, batch_tokens):
        self.corpus, self.tokenizer, self.context = corpus, tokenizer, config.max_position_embeddings
        self.seed, self.batch_tokens = seed, batch_tokens
        self.taken = {s: 0 for s in SHARES}     # documents handed out so far, per source
        self._origin, self._batches, self.at = None, [], 0
        self._paragraphs = {}

    def state_dict(self):
        """Where the stream stands: the state its current pool was drawn from, and how far into the pool it is."""
        return {**self._origin, "at": self.at}

    def load_state_dict(self, state):
        self._draw(state["pool_number"], state["taken"], state["progress"])
        self.at = state["at"]

    def next(self, progress):
        """(ids, targets), both (batch, length) int64; `progress` in [0, 1] moves the mixture when a pool is drawn."""
        if self.at >= len(self._batches):
            self._draw(self._origin["pool_number"] + 1 if self._origin else 0, self.taken, progress)
        self.at += 1
        return self._batches[self.at - 1]

    def _draw(self, pool_number, taken, progress):
        self._origin = {"pool_number": pool_number, "taken": dict(taken), "progress": progress}
        self.taken, self.at = dict(taken), 0
        self._batches = self._draw_pool(pool_number, progress)

    def _next_document(self, source):
        docs, n = self.corpus[source]["train"], self.taken[source]
        self.taken[source] += 1
        epoch, at = divmod(n, len(docs))
        order = list(range(len(docs)))
        random.Random(f"{self.seed}/{source}/{epoch}").shuffle(order)
        return docs[order[at]]

    def _passage(self, source, rng):
        """A run of whole paragraphs of 200 tokens up to the context."""
        docs = self.corpus[source]["train"]
        weights = [len(d["text"]) for d in docs]
        k = rng.choices(range(len(docs)), weights)[0]
        if (source, k) not in self._paragraphs:
            cut = [p for p in docs[k]["text"].split("\n") if p.strip()]
            self._paragraphs[source, k] = [self.tokenizer.encode(p + "\n") for p in cut]
        paragraphs, limit, ids = self._paragraphs[source, k], rng.choice([256, 384, 512, 512, self.context]), []
        at = rng.randrange(len(paragraphs))
        while at < len(paragraphs) and len(ids) < limit - 1:
            ids += paragraphs[at]
            at += 1
        ids = [self.tokenizer.bos] + ids + ([self.tokenizer.eos] if at == len(paragraphs) else [])
        return ids[:limit + 1]

    def _example(self, source, rng):
        tok = self.tokenizer
        if source in CHAT_SHARE:
            doc = self._next_document(source)
            if rng.random() < CHAT_SHARE[source]:
                docs = [doc]
                while source == "tinystories" and len(docs) < 4 and rng.random() < 0.15:
                    docs.append(self._next_document(source))
                ids, learned = encode_turns(tok, prompts.turns(source, docs, rng))
            else:
                text = prompts.vary(doc["text"], rng) if source == "tinystories" else doc["text"]
                ids = [tok.bos, *tok.encode(text), tok.eos]
                learned = [True] * len(ids)
        else:
            ids = self._passage(source, rng)
            learned = [True] * len(ids)
        return ids[:self.context + 1], learned[:self.context + 1]

    def _draw_pool(self, pool_number, progress):
        rng = random.Random(f"{self.seed}/pool/{pool_number}")
        pool = []
        for source, (first, last) in SHARES.items():
            budget = POOL_TOKENS * (first + (last - first) * progress)
            while budget > 0:
                pool.append(self._example(source, rng))
                budget -= len(pool[-1][0])
        rng.shuffle(pool)
        pool.sort(key=lambda e: len(e[0]))
        batches, start = [], 0
        while start < len(pool):
            end = start + 1
            while end < len(pool) and (end + 1 - start) * (len(pool[end][0]) - 1) <= self.batch_tokens:
                end += 1
            batches.append(self._tensors(pool[start:end]))
            start = end
        rng.shuffle(batches)
        return batches

    def _tensors(self, rows):
        length = max(len(ids) for ids, _ in rows) - 1
        inputs = torch.full((len(rows), length), self.tokenizer.eos)
        targets = torch.full((len(rows), length), IGNORED)
        for r, (ids, learned) in enumerate(rows):
            n = len(ids) - 1
            inputs[r, :n] = torch.tensor(ids[:-1])
            targets[r, :n] = torch.tensor([t if ok else IGNORED for t, ok in zip(ids[1:], learned[1:])])
        return inputs, targets
