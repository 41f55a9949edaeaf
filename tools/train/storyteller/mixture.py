"""The stream of training batches: which source, in which form, cut to which length.

The stream is a function of (seed, position): a checkpoint stores the position and the stream goes on where it was. Examples are
drawn a pool at a time, sorted by length and cut into batches of about equal token count, so that almost
nothing is padding; every row is one whole document (or one run of paragraphs of a long book) from its first token.
"""
import bisect
import random

import torch

from . import plots, prompts, retrieval

# Share of tokens per source from a step on, in straight lines between the steps: old prose first, the wanted voice later;
# retrieval once there is some grammar, much of it until the heads that look things up have formed; then made stories whose plots
# hold (they come from the pool's generator and have neither documents nor held-out text).
SOURCES = ("tinystories", "fables", "fairytales", "classics", "retrieval", "plots")
SHARES = [
    (0, (0.35, 0.13, 0.22, 0.30, 0.00, 0.00)),
    (1139, (0.50, 0.16, 0.15, 0.19, 0.00, 0.00)),
    (1140, (0.25, 0.05, 0.05, 0.05, 0.60, 0.00)),
    (1500, (0.25, 0.05, 0.05, 0.05, 0.60, 0.00)),
    (1600, (0.58, 0.08, 0.03, 0.03, 0.28, 0.00)),
    (1740, (0.58, 0.08, 0.03, 0.03, 0.28, 0.00)),
    (1800, (0.64, 0.17, 0.02, 0.02, 0.15, 0.00)),
    (3260, (0.64, 0.17, 0.02, 0.02, 0.15, 0.00)),
    (3270, (0.36, 0.10, 0.01, 0.01, 0.12, 0.40)),
    (3990, (0.36, 0.10, 0.01, 0.01, 0.12, 0.40)),
    (4000, (0.25, 0.06, 0.01, 0.01, 0.12, 0.55)),
    (4430, (0.25, 0.06, 0.01, 0.01, 0.12, 0.55)),
    (4440, (0.22, 0.05, 0.01, 0.01, 0.21, 0.50)),
    (5430, (0.22, 0.05, 0.01, 0.01, 0.21, 0.50)),
    (5440, (0.19, 0.04, 0.01, 0.01, 0.15, 0.60)),
]
# What retrieval rows look like from a step on: their lengths, and the share of literal copying.
ROWS = [
    (0, (192, 256, 384, 512), 0.35),
    (1300, (256, 384, 512, 768, 1024), 0.2),
    (1540, (256, 512, 768, 1024, 1536, 2048), 0.12),
    (1600, (256, 512, 1024, 1536, 2048), 0.06),
]
FILLER = {"tinystories": 0.5, "fairytales": 0.25, "classics": 0.25}
# How often a document is seen as the answer to a request, from a step on: less once the made stories are the voice of a chat.
CHAT_SHARE = [
    (0, {"tinystories": 0.6, "fables": 0.7}),
    (3270, {"tinystories": 0.25, "fables": 0.35}),
    (4000, {"tinystories": 0.1, "fables": 0.1}),
]
POOL_TOKENS = 128 * 1024
IGNORED = -100


def _since(table, step):
    """The last row of `table` that holds at `step`."""
    return table[bisect.bisect_right([row[0] for row in table], step) - 1]


def shares(step):
    """Share of tokens of each source at `step`."""
    k = bisect.bisect_right([at for at, _ in SHARES], step) - 1
    (begin, first), (end, last) = SHARES[k], SHARES[min(k + 1, len(SHARES) - 1)]
    part = (step - begin) / (end - begin) if end > begin else 0.0
    return {s: a + (b - a) * part for s, a, b in zip(SOURCES, first, last)}


def passage(docs, rng):
    """Text of a short document, or a few paragraphs of a long one."""
    doc = docs[rng.randrange(len(docs))] if len(docs) > 1 else docs[0]
    text = doc["text"]
    if len(text) < 4000:
        return prompts.vary(text, rng)
    at = text.find("\n", rng.randrange(len(text) - 3000)) + 1
    return text[at:at + 3000].rpartition(".")[0] + "."


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
        self.taken = {s: 0 for s in SOURCES}     # documents handed out so far, per source
        self._origin, self._batches, self.at = None, [], 0
        self._paragraphs = {}

    def state_dict(self):
        """Where the stream stands: the state its current pool was drawn from, and how far into the pool it is."""
        return {**self._origin, "at": self.at}

    def load_state_dict(self, state):
        self._draw(state["pool_number"], state["taken"], state["step"])
        self.at = state["at"]

    def next(self, step):
        """(ids, targets, weights), each (batch, length); `step` says which mixture holds when a pool is drawn."""
        if self.at >= len(self._batches):
            self._draw(self._origin["pool_number"] + 1 if self._origin else 0, self.taken, step)
        self.at += 1
        return self._batches[self.at - 1]

    def _draw(self, pool_number, taken, step):
        self._origin = {"pool_number": pool_number, "taken": dict(taken), "step": step}
        self.taken, self.at = dict(taken), 0
        self._batches = self._draw_pool(pool_number, step)

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
        paragraphs, limit, ids = self._paragraphs[source, k], rng.choice([256, 384, 512, 512, 1024]), []
        at = rng.randrange(len(paragraphs))
        while at < len(paragraphs) and len(ids) < limit - 1:
            ids += paragraphs[at]
            at += 1
        ids = [self.tokenizer.bos] + ids + ([self.tokenizer.eos] if at == len(paragraphs) else [])
        return ids[:limit + 1]

    def _filler(self, rng):
        source = rng.choices(list(FILLER), list(FILLER.values()))[0]
        return passage(self.corpus[source]["train"], rng)

    def _example(self, source, rng, step):
        """(ids, weight of each in the loss), one row."""
        tok = self.tokenizer
        if source == "retrieval":
            _, lengths, copies = _since(ROWS, step)
            ids, learned = retrieval.example(tok, self._filler, rng, rng.choice(lengths), copies)
        elif source == "plots":
            told = plots.example(rng)
            if isinstance(told, str):
                ids = [tok.bos, *tok.encode(told), tok.eos]
                learned = [True] * len(ids)
            else:
                ids, learned = encode_turns(tok, told)
        elif source in _since(CHAT_SHARE, step)[1]:
            doc = self._next_document(source)
            if rng.random() < _since(CHAT_SHARE, step)[1][source]:
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

    def _draw_pool(self, pool_number, step):
        rng = random.Random(f"{self.seed}/pool/{pool_number}")
        pool = []
        for source, share in shares(step).items():
            budget = POOL_TOKENS * share
            while budget > 0:
                pool.append(self._example(source, rng, step))
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
        weights = torch.zeros(len(rows), length)
        for r, (ids, learned) in enumerate(rows):
            n = len(ids) - 1
            inputs[r, :n] = torch.tensor(ids[:-1])
            targets[r, :n] = torch.tensor([t if ok else IGNORED for t, ok in zip(ids[1:], learned[1:])])
            weights[r, :n] = torch.tensor([float(w) for w in learned[1:]])
        return inputs, targets, weights
