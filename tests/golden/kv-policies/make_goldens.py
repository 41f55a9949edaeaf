#!/usr/bin/env python3
"""Kept sets and logits of every KV-cache policy, from an independent oracle.

A plain decoder in PyTorch float64: dense attention over explicit lists of positions, one list for every (layer, kv head). There
are no blocks, slots, tables or chunks here, and no code of the server. README.md names the sources and lists every choice.

    /usr/bin/python3 tests/golden/kv-policies/make_goldens.py            # rewrites every case folder
    /usr/bin/python3 tests/golden/kv-policies/make_goldens.py --check    # fails if a committed JSON file would change
    /usr/bin/python3 tests/golden/kv-policies/make_goldens.py --search g2  # margins of several seeds of one case
"""
import argparse
import hashlib
import json
import math
import os
import struct
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPT, FORCED, VOCABULARY, THETA = 300, 64, 80, 10000.0
SPECIAL, PUNCTUATION = [1, 2, 3], [10, 11, 12, 13, 14, 15]
COLUMNS = list(range(2, VOCABULARY, 5))          # logits that are stored
SHOWN = [0, 1, 21, 46, 64]                       # decode steps whose kept sets are written out; the others as hashes
SHOWN_LATER = [0, 64]                            # of runs that differ from another in one rule
RESIDUAL = GROUP = 32                            # KIVI: exact tail, and tokens or channels that share a scale
PROMPT_CHUNK, SETTLED = 64, 1e-3                 # prompts of models with cycles: tokens that go through the passes together, and when they end


# ------------------------------------------------------------------ the tiny checkpoints
SHAPES = {
    "g1": dict(hidden_size=48, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4, head_dim=16),
    "g2": dict(hidden_size=64, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=32),
    "g4": dict(hidden_size=48, intermediate_size=48, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=2, head_dim=16),
    "shared": dict(hidden_size=32, intermediate_size=32, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2, head_dim=16),
}
SHARING = {"shared": "0_4_4_4_4_5"}              # whose keys and values each layer reads: LCKV (arXiv:2405.10637) with two layers of its own
PASSES = 9
SEEDS = {"g1": 2, "g2": 68, "g4": 2, "shared": 1}
# What a kv head likes to look at: (special, punctuation, local, heavy hitters, contents), each a gain in units of the score
LIKES = {
    "special": (11.0, 0.0, 0.0, 0.0, 0.6),
    "punct": (8.0, 9.0, 0.0, 0.0, 0.6),
    "local": (4.0, 0.0, 9.0, 0.0, 0.8),
    "hitter": (3.0, 3.0, 0.0, 4.0, 0.8),
    "content": (0.0, 0.0, 0.0, 0.0, 3.0),
    "broad": (0.0, 0.0, 0.0, 0.0, 0.4),
}
HEADS = {
    "g1": ["hitter content broad special", "local special local punct", "punct hitter content local", "local local special special"],
    "g2": ["hitter special", "local special", "content punct", "local local"],
    "g4": ["broad hitter", "local special", "punct hitter", "content special", "local local", "hitter punct"],
    "shared": ["punct content"] + 4 * ["local hitter"] + ["special broad"],
}


def config_of(name):
    c = dict(architectures=["LlamaForCausalLM"], model_type="llama", **SHAPES[name], vocab_size=VOCABULARY, max_position_embeddings=512,
             rms_norm_eps=1e-5, rope_theta=THETA, hidden_act="silu", tie_word_embeddings=False, bos_token_id=1, eos_token_id=0,
             torch_dtype="float16")
    if name in SHARING:
        c.update(architectures=["LCKVLlamaForCausalLM"], model_type="lckv-llama", layer_types=SHARING[name], forward_passes=PASSES - 2, backward_passes=2)
    return c


def sources(c):
    """the layer whose keys and values each layer reads"""
    return [int(s) for s in c["layer_types"].split("_")] if "layer_types" in c else list(range(c["num_hidden_layers"]))


def make_weights(name, c, seed):
    """Random matrices, to which every head gets what it likes: the embeddings carry a direction that all tokens share, one of
    the special tokens and one of punctuation, and a head's q and k read them into slowly (or, for nearness, quickly) turning pairs."""
    rng = np.random.RandomState(seed)
    d, hd, half = c["hidden_size"], c["head_dim"], c["head_dim"] // 2
    heads, kv, ff = c["num_attention_heads"], c["num_key_value_heads"], c["intermediate_size"]
    shared, special, punct, *_ = np.linalg.qr(rng.randn(d, d))[0].T
    e = rng.randn(VOCABULARY, d)
    for direction in (shared, special, punct):
        e -= np.outer(e @ direction, direction)
    e += 0.8 * math.sqrt(d) * shared
    e[SPECIAL] += 1.2 * math.sqrt(d) * special
    e[PUNCTUATION] += 1.2 * math.sqrt(d) * punct
    w = {"model.embed_tokens.weight": e}
    matrix = lambda rows, cols, gain=1.0: rng.randn(rows, cols) * gain / math.sqrt(cols)
    near = [i for i in range(half) if 0.02 < THETA ** (-i / half) < 1.1]
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        w[p + "input_layernorm.weight"] = 1 + 0.1 * rng.randn(d)
        q, k = np.zeros((heads, hd, d)), np.zeros((kv, hd, d))
        for head, kind in enumerate(HEADS[name][layer].split()):
            s, t, n, h, content = LIKES[kind]
            slow, third = half - 1, half - 3
            k[head] = matrix(hd, d)
            k[head, [slow, third]] *= 0.2
            k[head, slow] += 2.2 * (s * special + t * punct) / math.sqrt(d)
            k[head, third] += matrix(1, d)[0] * h
            k[head, near] += (2.0 * n / len(near)) ** 0.5 * shared / math.sqrt(d) * 1.6
            for query in range(head * (heads // kv), (head + 1) * (heads // kv)):
                r = rng.uniform(0.85, 1.15)
                q[query] = matrix(hd, d, content)
                q[query, slow] += r * math.sqrt(hd) * 1.6 * shared / math.sqrt(d)
                q[query, third] += r * math.sqrt(hd) * 1.6 * shared / math.sqrt(d)
                q[query, near] += r * math.sqrt(hd) * (2.0 * n / len(near)) ** 0.5 * shared / math.sqrt(d)
        w[p + "self_attn.q_proj.weight"] = q.reshape(heads * hd, d)
        w[p + "self_attn.k_proj.weight"] = k.reshape(kv * hd, d)
        w[p + "self_attn.v_proj.weight"] = matrix(kv * hd, d)
        w[p + "self_attn.o_proj.weight"] = matrix(d, heads * hd)
        w[p + "post_attention_layernorm.weight"] = 1 + 0.1 * rng.randn(d)
        w[p + "mlp.gate_proj.weight"] = matrix(ff, d)
        w[p + "mlp.up_proj.weight"] = matrix(ff, d)
        w[p + "mlp.down_proj.weight"] = matrix(d, ff)
    w["model.norm.weight"] = 1 + 0.1 * rng.randn(d)
    w["lm_head.weight"] = matrix(VOCABULARY, d, 3.0)
    unread = tuple(f"model.layers.{i}.self_attn.{p}_proj" for i, s in enumerate(sources(c)) if s != i for p in "kv")
    return {key: value.astype("<f2") for key, value in w.items() if not key.startswith(unread)}


def make_text(seed):
    """prompt and forced continuation: BOS and a marker first, markers and punctuation strewn in"""
    rng = np.random.RandomState(seed + 77)
    plain = np.array([t for t in range(4, VOCABULARY) if t not in PUNCTUATION])
    text = plain[np.minimum(rng.exponential(20, PROMPT + FORCED).astype(int), len(plain) - 1)]
    dots = rng.rand(PROMPT + FORCED) < 0.12
    text[dots] = rng.choice(PUNCTUATION, dots.sum())
    text[[0, 1, 2, 97, 181, 312, 340]] = [1, 2, 3, 3, 2, 3, 2]
    return text[:PROMPT].tolist(), text[PROMPT:].tolist()


# ------------------------------------------------------------------ the decoder
class Decoder:
    """weights and mathematics; holds no cache"""

    def __init__(self, c, w, dtype):
        self.c, self.dtype = c, dtype
        self.w = {key: torch.from_numpy(value.astype(np.float64)).to(dtype) for key, value in w.items()}
        self.layers, self.heads, self.kv, self.hd = (c[k] for k in ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim"))
        self.g = self.heads // self.kv
        self.source = sources(c)
        self.owners = sorted(set(self.source))       # layers with keys and values
        self.readers = {o: [i for i, s in enumerate(self.source) if s == o] for o in self.owners}

    def norm(self, x, name):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.c["rms_norm_eps"]) * self.w[name + ".weight"]

    def rotate(self, x, positions):
        """x [tokens, heads, hd] by its positions; the pair of channel i is channel i + hd / 2"""
        half = self.hd // 2
        angle = torch.tensor(positions, dtype=torch.float64)[:, None, None] * THETA ** -(torch.arange(half, dtype=torch.float64) / half)
        cos, sin = torch.cos(angle).to(self.dtype), torch.sin(angle).to(self.dtype)
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def embed(self, ids):
        return self.w["model.embed_tokens.weight"][torch.tensor(ids)]

    def qkv(self, layer, x):
        """unrotated q [tokens, heads, hd], k and v [tokens, kv, hd]; None of a layer that reads another's"""
        p = f"model.layers.{layer}."
        h = self.norm(x, p + "input_layernorm")
        parts = [h @ self.w[p + f"self_attn.{m}_proj.weight"].T for m in ("qkv" if layer in self.owners else "q")]
        return ([y.reshape(len(x), -1, self.hd) for y in parts] + [None, None])[:3]

    def sees_itself(self, layer):
        """a layer that reads from above does not see the token whose keys and values do not exist yet"""
        return self.source[layer] <= layer

    def finish(self, layer, x, attended):
        """attended [tokens, heads, hd]"""
        p = f"model.layers.{layer}."
        x = x + attended.reshape(len(x), -1) @ self.w[p + "self_attn.o_proj.weight"].T
        h = self.norm(x, p + "post_attention_layernorm")
        gate, up = (h @ self.w[p + f"mlp.{m}_proj.weight"].T for m in ("gate", "up"))
        return x + (gate * torch.sigmoid(gate) * up) @ self.w[p + "mlp.down_proj.weight"].T

    def logits(self, x):
        return self.norm(x, "model.norm") @ self.w["lm_head.weight"].T


class Memory:
    """Every key and value ever computed, at its own position, and for every (layer that owns them, kv head) the positions that are kept.
    Keys are stored unrotated and rotated to their own position; packing replaces both by what the codes stand for."""

    def __init__(self, m):
        total = PROMPT + FORCED
        new = lambda: [torch.full((total, m.kv, m.hd), math.nan, dtype=m.dtype) for _ in range(m.layers)]
        self.m, self.raw, self.turned, self.value = m, new(), new(), new()
        self.kept = [[[] for _ in range(m.kv)] for _ in m.owners]

    def lane(self, layer, head):
        """positions that are kept of what the layer reads"""
        return self.kept[self.m.owners.index(self.m.source[layer])][head]

    def shown(self):
        return [[list(self.lane(layer, head)) for head in range(self.m.kv)] for layer in range(self.m.layers)]

    def put(self, layer, positions, k, v):
        self.raw[layer][positions], self.turned[layer][positions], self.value[layer][positions] = k, self.m.rotate(k, positions), v


# ------------------------------------------------------------------ policies
class Policy:
    """Keeps everything. Subclasses say what a query sees, what the prompt's end leaves and what a decoded token changes."""

    cache_positions = False      # rotary positions are indices inside what is seen

    def __init__(self, **settings):
        self.settings, self.bits, self.report, self.margins, self.passes = settings, settings.get("bits"), {}, {}, []
        self.residual = settings.get("residual", RESIDUAL)

    def margin(self, what, value):
        self.margins[what] = min(self.margins.get(what, math.inf), float(value))

    def mask(self, i):
        """keys of query i in the prompt"""
        return list(range(i + 1))

    def full_blocks(self, memory, layer, head, seen):
        """the tokens of each block that may be packed: all of them kept, and before the exact tail"""
        lane = set(memory.kept[layer][head])
        for first in range(0, seen - self.residual - GROUP + 1, GROUP):
            block = list(range(first, first + GROUP))
            if lane.issuperset(block):
                yield block

    def prompt_end(self, memory, attention):
        """attention[owner]: [heads of all readers, queries, keys] of the prompt; sets memory.kept"""
        for lanes in memory.kept:
            for head in range(len(lanes)):
                lanes[head] = list(range(PROMPT))

    def decoded(self, memory, i, received):
        """token i was attended with the kept positions and itself; received[layer][head]: {position: mean attention of the group}"""
        for lanes in memory.kept:
            for head in range(len(lanes)):
                lanes[head] = lanes[head] + [i]


class Streaming(Policy):
    cache_positions = True

    def __init__(self, **settings):
        super().__init__(**settings)
        self.s, self.r = settings["sinks"], settings["recent"]

    def mask(self, i):
        return list(range(min(self.s, i + 1))) + list(range(max(self.s, i - self.r), i + 1))

    def between(self, seen):
        return [j for j in range(seen) if j < self.s or j >= seen - self.r]

    def prompt_end(self, memory, attention):
        memory.kept = [[self.between(PROMPT) for _ in lanes] for lanes in memory.kept]

    def decoded(self, memory, i, received):
        memory.kept = [[self.between(i + 1) for _ in lanes] for lanes in memory.kept]


class SimLayer(Policy):
    """decided at the end of the prompt, or, if that is not longer than S + R, from the first w decoded queries beyond S + R"""

    def prompt_end(self, memory, attention):
        super().prompt_end(memory, attention)
        s, r, w = self.settings["sinks"], self.settings["recent"], self.settings["queries"]
        self.lazy, self.rows = set(), []
        self.decide_at = PROMPT if PROMPT > s + r else s + r + w
        if self.decide_at == PROMPT:
            looked_at = self.between(PROMPT)
            self.decide(memory, [a[:, PROMPT - w:, :][:, :, looked_at].sum(-1).mean().item() for a in attention], PROMPT)

    def between(self, seen):
        return [j for j in range(seen) if j < self.settings["sinks"] or j >= seen - self.settings["recent"]]

    def decide(self, memory, ratio, seen):
        if "threshold" in self.settings:
            lazy = [layer for layer, x in enumerate(ratio) if x > self.settings["threshold"]]
            for x in ratio:
                self.margin("ratio", abs(x - self.settings["threshold"]))
        else:
            order = sorted(range(len(ratio)), key=lambda layer: (-ratio[layer], layer))
            count = self.settings["lazy_layers"]
            lazy = sorted(order[:count])
            self.margin("ratio", ratio[order[count - 1]] - ratio[order[count]])
        self.lazy = set(lazy)
        self.report = dict(ratio=[round(x, 6) for x in ratio], lazy=lazy)
        for layer in lazy:
            memory.kept[layer] = [self.between(seen) for _ in memory.kept[layer]]

    def decoded(self, memory, i, received):
        for layer, lanes in enumerate(memory.kept):
            for head in range(len(lanes)):
                lanes[head] = lanes[head] + [i]
                if layer in self.lazy and self.settings["slide"]:
                    lanes[head] = [j for j in lanes[head] if j < self.settings["sinks"] or j > i - self.settings["recent"]]
        self.rows = (self.rows + [received])[-self.settings["queries"]:]
        if i + 1 == self.decide_at:
            looked_at = set(self.between(i + 1))
            mass = lambda lane: sum(value for j, value in lane.items() if j in looked_at)
            mean = lambda values: sum(values) / len(values)
            self.decide(memory, [mean([mean([mass(lane) for lane in row[layer]]) for row in self.rows]) for layer in range(len(memory.kept))], i + 1)


class FastGen(Policy):
    CHAIN = ["special", "special+punct", "special+punct+frequent", "special+punct+frequent+local", "full"]

    def __init__(self, ids, **settings):
        super().__init__(**settings)
        self.special = {j for j, t in enumerate(ids) if t in SPECIAL or j < settings.get("sinks", 0)}
        self.marked = self.special | {j for j, t in enumerate(ids) if t in PUNCTUATION}
        self.local = math.ceil(settings["local_ratio"] * PROMPT)

    def budget(self, seen):
        return math.ceil(self.settings["frequent_ratio"] * (seen if self.settings["grows"] else PROMPT))

    def top(self, sums, candidates):
        """the heaviest of the candidates, and by how much the last of them is heavier than the next"""
        order = sorted(candidates, key=lambda j: (-sums[j], j))
        budget = self.budget(PROMPT)
        return set(order[:budget]), sums[order[budget - 1]] - sums[order[budget]]

    def prompt_end(self, memory, attention):
        n, m, goal = PROMPT, memory.m, self.settings["recovery"]
        self.choice, self.score = {}, {}
        shown = []
        for layer in range(m.layers):
            for head in range(m.kv):
                first = n - self.settings.get("profiled", n)  # earlier queries are not looked at
                each = attention[layer][head * m.g:(head + 1) * m.g, first:]
                distance = torch.arange(n)[first:, None] - torch.arange(n)[None, :]
                column = each.mean(0).sum(0).tolist()
                x0 = {j for j in self.special if j < n}
                x1 = {j for j in self.marked if j < n}
                rest = [j for j in range(n) if j not in x1]
                window = set(range(n - self.local, n))
                heavy, gap2 = self.top(column, rest)
                older, gap3 = self.top(column, [j for j in rest if j not in window])
                x2, x3 = x1 | heavy, x1 | older
                rho = None
                for a in each if self.settings.get("each_head") else each.mean(0)[None]:
                    sums, band = a.sum(0).tolist(), (a * (distance < self.local)).sum(0).tolist()
                    mass = lambda x: sum(sums[j] for j in x) / (n - first)
                    mine = [mass(x0), mass(x1), mass(x2), mass(x3) + sum(band[j] for j in range(n) if j not in x3) / (n - first)]
                    rho = mine if rho is None else [min(pair) for pair in zip(rho, mine)]
                chosen = next((k for k, value in enumerate(rho) if value >= goal), 4)
                for value in rho[:chosen + 1]:
                    self.margin("recovery", abs(value - goal))
                if chosen in (2, 3):
                    self.margin("frequent", gap2 if chosen == 2 else gap3)
                memory.kept[layer][head] = sorted([x0, x1, x2, x3 | window, set(range(n))][chosen])
                self.choice[layer, head] = chosen
                self.score[layer, head] = {j: column[j] for j in memory.kept[layer][head]}
                shown.append(dict(layer=layer, head=head, recovery=[round(v, 6) for v in rho], kept=self.CHAIN[chosen]))
        self.report = dict(lanes=shown, local=self.local, frequent=self.budget(PROMPT))

    def full_blocks(self, memory, layer, head, seen):
        """survivors move together, so a block is 32 of them; heads that overwrite single tokens stay as computed"""
        lane = memory.kept[layer][head]
        if self.choice[layer, head] not in (2, 3):
            for first in range(0, len(lane) - self.residual - GROUP + 1, GROUP):
                yield lane[first:first + GROUP]

    def decoded(self, memory, i, received):
        for (layer, head), chosen in self.choice.items():
            lanes, score = memory.kept[layer], self.score[layer, head]
            if chosen == 0 and i not in self.special or chosen == 1 and i not in self.marked:
                continue
            lanes[head] = lanes[head] + [i]
            if chosen not in (2, 3):
                continue
            for j, value in received[layer][head].items():
                score[j] = score.get(j, 0.0) + value
            young = self.local if chosen == 3 else self.settings["protected"]
            unmarked = [j for j in lanes[head] if j not in self.marked]
            # The frequent tokens of the union: with a local part those outside the window, otherwise all
            counted = [j for j in unmarked if j <= i - young] if chosen == 3 else unmarked
            while len(counted) > self.budget(i + 1):
                order = sorted((j for j in counted if j <= i - young), key=lambda j: (score[j], -j))
                self.margin("evicted", score[order[1]] - score[order[0]])
                counted.remove(order[0])
                lanes[head] = [j for j in lanes[head] if j != order[0]]
                del score[order[0]]


# ------------------------------------------------------------------ packed keys and values
def packed(x, bits, policy):
    """x [groups, members]: what the codes of each group stand for. Scale and minimum are rounded to float16 before they are used,
    codes round half to even."""
    y = x.to(torch.float64).numpy()
    if policy.settings.get("f32"):
        y = y.astype(np.float32)
    low, high = y.min(1, keepdims=True), y.max(1, keepdims=True)
    top = 2 ** bits - 1
    scale, floor = ((high - low) / y.dtype.type(top)).astype(np.float16).astype(y.dtype), low.astype(np.float16).astype(y.dtype)
    fine = np.where(scale > 0, (y - floor) / np.where(scale > 0, scale, 1), 0)
    policy.margin(f"code{bits}", np.abs(np.abs(fine - np.floor(fine)) - 0.5).min())
    codes = np.clip(np.rint(fine), 0, top)
    return torch.from_numpy((codes * scale + floor).astype(np.float64)).to(x.dtype)


def pack(memory, policy, done, seen):
    """packs what may be packed, once"""
    m = memory.m
    for lane, layer in enumerate(m.owners):
        for head in range(m.kv):
            for block in policy.full_blocks(memory, lane, head, seen):
                if (layer, head, block[0]) in done:
                    continue
                done.add((layer, head, block[0]))
                key = packed(memory.turned[layer][block, head].T.contiguous(), policy.bits, policy).T
                memory.turned[layer][block, head] = key
                memory.raw[layer][block, head] = m.rotate(key[:, None], [-j for j in block])[:, 0]
                for channel in range(0, m.hd, GROUP):
                    part = memory.value[layer][block, head, channel:channel + GROUP]
                    memory.value[layer][block, head, channel:channel + GROUP] = packed(part.contiguous(), policy.bits, policy)


# ------------------------------------------------------------------ one run
def attend(m, memory, policy, layer, head, q, i, keys, strict=False):
    """one query token in the lane (layer, head): q [g, hd] unrotated; output [g, hd] and attention [g, keys]. The query is the last
    of the keys; strict: it has its place there, but is not seen. A query that sees nothing gets zeros."""
    own = len(keys) - 1
    if strict:
        keys = keys[:-1]
    if not keys:
        return torch.zeros_like(q), torch.zeros(len(q), 0, dtype=m.dtype)
    if policy.cache_positions:
        q = m.rotate(q[None], [own])[0]
        k = m.rotate(memory.raw[layer][keys, head][:, None], list(range(len(keys))))[:, 0]
    else:
        q = m.rotate(q[None], [i])[0]
        k = memory.turned[layer][keys, head]
    a = torch.softmax(q @ k.T / math.sqrt(m.hd), -1)
    return a @ memory.value[layer][keys, head], a


def encode_in_passes(m, memory, policy, prompt):
    """A prompt where layers read from above: chunk after chunk, the cycle's layers several times over the same chunk, from zeros on,
    until what they read no longer moves, at most PASSES times. Only the last pass counts as attention."""
    layers = [i for i in range(m.layers) if m.source[i] > i]
    first, last = layers[0], max(m.source[i] for i in layers)      # one cycle
    whole = [torch.zeros(m.heads, PROMPT, PROMPT, dtype=m.dtype) for _ in range(m.layers)]

    def through(layer, x, at):
        q, k, v = m.qkv(layer, x)
        if k is not None:
            memory.put(layer, at, k, v)
        out = torch.zeros_like(q)
        for n, i in enumerate(at):
            for head in range(m.kv):
                lane, keys, strict = slice(head * m.g, (head + 1) * m.g), policy.mask(i), not m.sees_itself(layer)
                out[n, lane], a = attend(m, memory, policy, m.source[layer], head, q[n, lane], i, keys, strict)
                whole[layer][lane, i, keys[:-1] if strict else keys] = a
        return m.finish(layer, x, out)

    chunk = policy.settings.get("chunk", PROMPT_CHUNK)
    for start in range(0, PROMPT, chunk):
        at = list(range(start, min(start + chunk, PROMPT)))
        x = m.embed([prompt[i] for i in at])
        for layer in range(first):
            x = through(layer, x, at)
        for lanes in (memory.raw, memory.turned, memory.value):
            lanes[last][at] = 0.0
        below, most = x, min(PASSES, len(at))
        for done in range(1, most + 1):
            old, x = [lanes[last][at].clone() for lanes in (memory.turned, memory.value)], below
            for layer in range(first, last + 1):
                x = through(layer, x, at)
            moved = max(((new[last][at] - was).abs().flatten(1).amax(1) / new[last][at].abs().flatten(1).amax(1)).max().item()
                        for new, was in zip((memory.turned, memory.value), old))
            if done == 1 or len(at) == most:
                continue
            policy.margin("settled", abs(math.log(moved / SETTLED)))
            if moved < SETTLED:
                break
        policy.passes.append(done)
        for layer in range(last + 1, m.layers):
            x = through(layer, x, at)
    return x, [torch.cat([whole[reader] for reader in m.readers[owner]]) for owner in m.owners]


def encode(m, memory, policy, prompt):
    """the whole prompt at once; its last hidden states and the attention of every layer"""
    x, attention = m.embed(prompt), []
    for layer in range(m.layers):
        q, k, v = m.qkv(layer, x)
        memory.put(layer, list(range(PROMPT)), k, v)
        out = torch.zeros_like(q)
        whole = torch.zeros(m.heads, PROMPT, PROMPT, dtype=m.dtype)
        if policy.cache_positions:
            for i in range(PROMPT):
                keys = policy.mask(i)
                for head in range(m.kv):
                    lane = slice(head * m.g, (head + 1) * m.g)
                    out[i, lane], whole[lane, i, keys] = attend(m, memory, policy, layer, head, q[i, lane], i, keys)
        else:
            turned = m.rotate(q, list(range(PROMPT)))
            hidden = torch.ones(PROMPT, PROMPT, dtype=torch.bool)
            for i in range(PROMPT):
                hidden[i, policy.mask(i)] = False
            for head in range(m.heads):
                score = turned[:, head] @ memory.turned[layer][:PROMPT, head // m.g].T / math.sqrt(m.hd)
                whole[head] = torch.softmax(score.masked_fill(hidden, -math.inf), -1)
                out[:, head] = whole[head] @ memory.value[layer][:PROMPT, head // m.g]
        attention.append(whole)
        x = m.finish(layer, x, out)
    return x, attention


def run(m, policy, prompt, forced):
    """logits [1 + FORCED, vocabulary] and the kept sets after the prompt and after every forced token"""
    memory, done = Memory(m), set()
    x, attention = (encode_in_passes if any(not m.sees_itself(layer) for layer in range(m.layers)) else encode)(m, memory, policy, prompt)
    rows = [m.logits(x[-1:])[0]]
    policy.prompt_end(memory, attention)
    if policy.bits:
        pack(memory, policy, done, PROMPT)
    history = [memory.shown()]
    for i, token in enumerate(forced, PROMPT):
        x, received = m.embed([token]), []
        for layer in range(m.layers):
            q, k, v = m.qkv(layer, x)
            if k is not None:
                memory.put(layer, [i], k, v)
            out = torch.zeros_like(q)
            received.append([])
            for head in range(m.kv):
                keys = memory.lane(layer, head) + [i]
                lane = slice(head * m.g, (head + 1) * m.g)
                out[0, lane], a = attend(m, memory, policy, m.source[layer], head, q[0, lane], i, keys, not m.sees_itself(layer))
                received[-1].append(dict(zip(keys, a.mean(0).tolist())))
            x = m.finish(layer, x, out)
        rows.append(m.logits(x)[0])
        policy.decoded(memory, i, received)
        if policy.bits:
            pack(memory, policy, done, i + 1)
        history.append(memory.shown())
    return torch.stack(rows), history


# ------------------------------------------------------------------ the cases
def policies_of(name, threshold, ids):
    layers = SHAPES[name]["num_hidden_layers"]
    stream = lambda s, r, **more: (Streaming, dict(sinks=s, recent=r, **more))
    lazy = lambda slide, **more: (SimLayer, dict(sinks=4, recent=60, queries=32, slide=slide, **more))
    fast = lambda t, grows=False, **more: (
        FastGen, dict(ids=ids, recovery=t, local_ratio=0.3, frequent_ratio=0.3, protected=4, grows=grows, **more))
    if name in SHARING:
        # Under a mask a chunk is no longer than what a row sees, in whole blocks of 16 tokens
        return {
            "lckv": (Policy, {}),
            "lckv-8bit": (Policy, dict(bits=8, residual=32)),
            "streaming-llm": stream(4, 60, chunk=48),
            "sim-layer-kv-share-slide": lazy(True, lazy_layers=2),
        }
    return {
        "full": (Policy, {}),
        "streaming-llm": stream(4, 60),
        "streaming-llm-no-sinks": stream(0, 60),
        "streaming-llm-neutral": stream(4, 360),
        "sim-layer-kv-threshold": lazy(False, threshold=threshold),
        "sim-layer-kv-threshold-slide": lazy(True, threshold=threshold),
        "sim-layer-kv-share": lazy(False, lazy_layers=layers // 2),
        "sim-layer-kv-share-slide": lazy(True, lazy_layers=layers // 2),
        "sim-layer-kv-late": (SimLayer, dict(sinks=4, recent=310, queries=32, slide=True, lazy_layers=layers // 2)),
        "fast-gen-0.9": fast(0.9),
        "fast-gen-0.95": fast(0.95),
        "fast-gen-0.98": fast(0.98),
        "fast-gen-0.95-grows": fast(0.95, grows=True),
        "fast-gen-1": fast(1.0),
        "fast-gen-0": fast(0.0),
        "full-4bit": (Policy, dict(bits=4, residual=32)),
        "full-8bit": (Policy, dict(bits=8, residual=32)),
        "sim-layer-kv-4bit": lazy(False, threshold=threshold, bits=4, residual=32),
        "sim-layer-kv-slide-4bit": lazy(True, threshold=threshold, bits=4, residual=32),
        "fast-gen-0.98-4bit": fast(0.98, bits=4, residual=32),
        "streaming-llm-4bit": stream(4, 100, bits=4, residual=32),
        # as served unless said otherwise: the growing budget, the first tokens special, the last queries looked at
        "fast-gen-0.95-served": fast(0.95, grows=True, sinks=4, profiled=64),
        "fast-gen-0.95-served-8bit": fast(0.95, grows=True, sinks=4, profiled=64, bits=8, residual=32),
        "streaming-llm-8bit": stream(4, 100, bits=8, residual=32),
        **({} if name == "g1" else {"fast-gen-0.95-served-min": fast(0.95, grows=True, sinks=4, profiled=64, each_head=True)}),
    }


def threshold_of(ratios):
    """the middle of the widest gap, so that some layers are lazy and some are not"""
    x = sorted(ratios)
    k = max(range(len(x) - 1), key=lambda j: x[j + 1] - x[j])
    return round((x[k] + x[k + 1]) / 2, 3)


def lane_text(lane):
    """sorted positions as runs: 0-3,17,22-24"""
    runs = []
    for j in lane:
        if runs and runs[-1][1] == j - 1:
            runs[-1][1] = j
        else:
            runs.append([j, j])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def digest(kept):
    return hashlib.sha256(";".join(lane_text(lane) for lanes in kept for lane in lanes).encode()).hexdigest()[:16]


def build(name, seed, check32=False, only=None):
    """everything about one case; with check32 also the distance to a run in float32"""
    c = config_of(name)
    w = make_weights(name, c, seed)
    prompt, forced = make_text(seed)
    m = Decoder(c, w, torch.float64)
    probe = SimLayer(sinks=4, recent=60, queries=32, slide=False, threshold=0.5)
    run(m, probe, prompt, [])
    table = policies_of(name, threshold_of(probe.report["ratio"]), prompt + forced)
    results = {}
    for label, (kind, settings) in table.items():
        if only and not label.startswith(only):
            continue
        policy = kind(**settings)
        logits, history = run(m, policy, prompt, forced)
        results[label] = dict(policy=policy, logits=logits, history=history)
        if check32:
            single = kind(**settings)
            single.settings["f32"] = True
            logits32, history32 = run(Decoder(c, w, torch.float32), single, prompt, forced)
            results[label]["same"] = history32 == history
            results[label]["difference"] = ((logits32 - logits).abs().max() / logits.abs().max()).item()
    return c, w, prompt, forced, results


def write_safetensors(path, entries):
    head, at = {}, 0
    for key, kind, array in entries:
        head[key] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for _, _, array in entries))


def write_case(name, root):
    c, w, prompt, forced, results = build(name, SEEDS[name])
    folder = os.path.join(root, name)
    os.makedirs(folder, exist_ok=True)

    def dump(file, value):
        with open(os.path.join(folder, file), "w", encoding="utf-8") as f:
            f.write(json.dumps(value, indent=1) + "\n")

    dump("config.json", c)
    write_safetensors(os.path.join(folder, "model.safetensors"), [(key, "F16", value) for key, value in w.items()])
    flat = lambda ids: " ".join(map(str, ids))
    entries, runs = [], {}
    for label, result in results.items():
        policy, logits, history = result["policy"], result["logits"], result["history"]
        settings = {k: v for k, v in policy.settings.items() if k != "ids"}
        shown = SHOWN_LATER if "served" in label or label == "streaming-llm-8bit" or name in SHARING else SHOWN
        kept = {str(t): [[lane_text(lane) for lane in lanes] for lanes in history[t]] for t in shown}
        if policy.passes:
            policy.report["passes"] = policy.passes
        runs[label] = dict(settings=settings, report=policy.report, kept=kept, kept_sha256=" ".join(digest(k) for k in history),
                           margins={k: float(f"{v:.2e}") for k, v in sorted(policy.margins.items())})
        rows = torch.cat([logits[:, COLUMNS], logits.logsumexp(-1, keepdim=True)], -1)
        entries.append((label, "F32", rows.numpy().astype("<f4")))
    dump("golden.json", dict(seed=SEEDS[name], prompt=flat(prompt), forced=flat(forced), special=SPECIAL, punctuation=PUNCTUATION,
                             columns=flat(COLUMNS), policies=runs))
    write_safetensors(os.path.join(folder, "logits.safetensors"), entries)
    print(name, "written,", len(results), "runs")


ENOUGH = dict(recovery=5e-5, frequent=3e-5, evicted=1e-5)


def search(name, seeds):
    """Decisions must not hang on the last bits of float32: shows what float32 changes for seeds whose decisions are far from ties"""
    for seed in seeds:
        far = lambda runs: all(r["policy"].margins.get(key, 1) >= value for r in build(name, seed, only=runs)[-1].values() for key, value in ENOUGH.items())
        if not (far("fast-gen-0.95") and far("fast-gen")):  # the likeliest to fail first
            continue
        *_, results = build(name, seed, check32=True)
        worst, different = {}, []
        for label, r in results.items():
            different += [] if r["same"] else [label]
            for key, value in r["policy"].margins.items():
                worst[key] = min(worst.get(key, math.inf), value)
        plain = max(r["difference"] for label, r in results.items() if "bit" not in label)
        quantised = {label: f"{r['difference']:.1e}" for label, r in results.items() if "bit" in label}
        print(name, seed, {k: f"{v:.1e}" for k, v in worst.items()}, f"f32 {plain:.1e}", quantised, different or "", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--search", metavar="CASE")
    parser.add_argument("--seeds", default="1:6")
    a = parser.parse_args()
    torch.set_num_threads(1)
    if a.search:
        search(a.search, range(*map(int, a.seeds.split(":"))))
    elif not a.check:
        for name in SHAPES:
            write_case(name, HERE)
    else:
        import filecmp
        import tempfile
        with tempfile.TemporaryDirectory() as root:
            for name in SHAPES:
                write_case(name, root)
                for file in ("config.json", "golden.json"):
                    if not filecmp.cmp(os.path.join(root, name, file), os.path.join(HERE, name, file), False):
                        sys.exit(f"{name}/{file} differs")


if __name__ == "__main__":
    main()
