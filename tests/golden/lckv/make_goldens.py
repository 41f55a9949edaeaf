#!/usr/bin/env python3
"""Golden logits for tiny seeded models whose layers share a KV cache by `layer_types`.

An independent oracle in PyTorch float64, written from the definition (LCKV, arXiv:2405.10637 section 3; its generalisation,
arXiv:2410.14442): once token by token, which is what the model means, and once as prompts are encoded, chunk after chunk with
repeated passes over the layers of a cycle. The two share only projections. The rule that makes weights from a seed and the
safetensors writer are those of tests/golden/architectures.

    /usr/bin/python3 make_goldens.py          # rewrites every case folder
    /usr/bin/python3 make_goldens.py --check  # fails if a committed JSON file would change
"""
import argparse
import filecmp
import hashlib
import json
import math
import os
import re
import sys
import tempfile

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "architectures"))
import make_goldens as house  # noqa: E402

PROMPT_LENGTH, GREEDY_LENGTH, MIN_MARGIN = 40, 12, 0.05
CHUNKS = (40, 16, 9)
SETTLED = 1e-3
F64 = torch.float64


# ------------------------------------------------------------------ meaning of config.json
class Plan:
    """t(l), window and masked diagonal of every layer; owners; passes"""

    def __init__(self, c):
        n, kind = c["num_hidden_layers"], c.get("model_type")
        entries = c["layer_types"].split("_")
        assert len(entries) == n
        self.window = [None] * n
        if kind == "opt-llama":
            self.t = [c["target_layer"] % n if e == "1" else i for i, e in enumerate(entries)]
        elif kind == "cla-llama":
            self.t = []
            for i, e in enumerate(entries):
                self.t.append(self.t[i - 1] if e == "1" else i)
        else:
            self.t = [int(re.fullmatch(r"(\d+)s?", e).group(1)) for e in entries]
            self.window = [c.get("sliding_window", 4096) if e.endswith("s") else None for e in entries]
        legacy = kind in ("opt-llama", "group-opt-llama")
        self.owners = sorted(set(self.t))
        assert all(self.t[o] == o for o in self.owners)
        self.top = [t > i for i, t in enumerate(self.t)]
        self.nodiag = [top or legacy or c.get("force_nodiag", False) for top in self.top]
        self.passes = c["num_encoders"] + 1 if legacy else c.get("forward_passes", 7) + c.get("backward_passes", 2)

    def segments(self):
        """(first, last, loops): a cycle reaches up to the highest layer read from inside it"""
        out, i, n = [], 0, len(self.t)
        while i < n:
            if self.top[i]:
                hi = self.t[i]
                while max(self.t[i:hi + 1]) > hi:
                    hi = max(self.t[i:hi + 1])
                out.append((i, hi, True))
                i = hi + 1
            else:
                out.append((i, i, False))
                i += 1
        return out

    def sees(self, layer, query, key):
        if key > query or (key == query and self.nodiag[layer]):
            return False
        return self.window[layer] is None or key > query - self.window[layer]


def tensor_list(c):
    """what house.tensor_list says of a Llama, less k and v of layers that nobody reads"""
    owners = Plan(c).owners
    unread = {f"model.layers.{i}.self_attn.{p}_proj.{what}" for i in range(c["num_hidden_layers"]) if i not in owners
              for p in "kv" for what in ("weight", "bias")}
    return [entry for entry in house.tensor_list(c) if entry[0] not in unread]


# ------------------------------------------------------------------ the model
class Model:
    def __init__(self, c, w):
        self.c, self.w, self.plan = c, w, Plan(c)
        self.heads, self.kv, self.hd, self.eps = c["num_attention_heads"], c["num_key_value_heads"], house.head_dim(c), c["rms_norm_eps"]

    def norm(self, name, x):
        return house.rms(x, self.w[name + ".weight"], self.eps)

    def linear(self, name, x):
        y = x @ self.w[name + ".weight"].T
        return y + self.w[name + ".bias"] if name + ".bias" in self.w else y

    def rotated(self, x, heads, positions):
        angle, factor = house.angles(self.c, positions)
        return house.rotate(x.reshape(len(positions), heads, self.hd), angle, factor)

    def queries(self, i, h, positions):
        return self.rotated(self.linear(f"model.layers.{i}.self_attn.q_proj", h), self.heads, positions)

    def keys_values(self, i, h, positions):
        p = f"model.layers.{i}.self_attn."
        return (self.rotated(self.linear(p + "k_proj", h), self.kv, positions),
                self.linear(p + "v_proj", h).reshape(len(positions), self.kv, self.hd))

    def rest(self, i, x, attended):
        p = f"model.layers.{i}."
        x = x + self.linear(p + "self_attn.o_proj", attended)
        h = self.norm(p + "post_attention_layernorm", x)
        gate = self.linear(p + "mlp.gate_proj", h)
        return x + self.linear(p + "mlp.down_proj", gate * torch.sigmoid(gate) * self.linear(p + "mlp.up_proj", h))

    def logits(self, x):
        head = "model.embed_tokens.weight" if house.tied(self.c) else "lm_head.weight"
        return self.norm("model.norm", x) @ self.w[head].T


class Sequential:
    """one token after the other; a lane is a list that only grows"""

    def __init__(self, model):
        self.model, self.length = model, 0
        self.keys, self.values = ({o: [] for o in model.plan.owners} for _ in range(2))

    def feed(self, token):
        model, plan, i = self.model, self.model.plan, self.length
        x = model.w["model.embed_tokens.weight"][token][None]
        for l, source in enumerate(plan.t):
            h = model.norm(f"model.layers.{l}.input_layernorm", x)
            q = model.queries(l, h, [i])[0]
            if l in self.keys:
                k, v = model.keys_values(l, h, [i])
                self.keys[l].append(k[0])
                self.values[l].append(v[0])
            seen = [j for j in range(len(self.keys[source])) if plan.sees(l, i, j)]
            parts = []
            for head in range(model.heads):
                group = head // (model.heads // model.kv)
                if not seen:
                    parts.append(torch.zeros(model.hd, dtype=F64))
                    continue
                score = torch.stack([q[head] @ self.keys[source][j][group] for j in seen]) / math.sqrt(model.hd)
                weight = torch.softmax(score, 0)
                parts.append(sum(a * self.values[source][j][group] for a, j in zip(weight, seen)))
            x = model.rest(l, x, torch.cat(parts)[None])
        self.length += 1
        return model.logits(x)[0]


def encoded(model, ids, chunk, initial=0.0):
    """dense, chunk after chunk, all passes over a chunk's cycles; also the number of passes of every chunk's loops"""
    plan, n = model.plan, len(ids)
    lanes = {o: [torch.full((n, model.kv, model.hd), math.nan, dtype=F64) for _ in range(2)] for o in plan.owners}
    out, passes_run = [], []

    def layer(l, x, at):
        h = model.norm(f"model.layers.{l}.input_layernorm", x)
        if l in lanes:
            lanes[l][0][at], lanes[l][1][at] = model.keys_values(l, h, at)
        q, (k, v) = model.queries(l, h, at), lanes[plan.t[l]]
        seen = torch.tensor([[plan.sees(l, i, j) for j in range(at[-1] + 1)] for i in at])
        heads = []
        for head in range(model.heads):
            group = head // (model.heads // model.kv)
            kk, vv = k[:at[-1] + 1, group], v[:at[-1] + 1, group]
            e = torch.where(seen, torch.exp(q[:, head] @ torch.nan_to_num(kk).T / math.sqrt(model.hd)), torch.zeros((), dtype=F64))
            total = e.sum(-1, keepdim=True)
            heads.append(torch.where(total > 0, e @ torch.nan_to_num(vv) / torch.where(total > 0, total, torch.ones_like(total)),
                                     torch.zeros((), dtype=F64)))
        return model.rest(l, x, torch.cat(heads, -1))

    for start in range(0, n, chunk):
        at = list(range(start, min(start + chunk, n)))
        x = model.w["model.embed_tokens.weight"][torch.tensor([ids[i] for i in at])]
        for first, last, loops in plan.segments():
            if not loops:
                x = layer(first, x, at)
                continue
            targets = sorted({plan.t[l] for l in range(first, last + 1) if plan.top[l]})
            for o in targets:
                for lane in lanes[o]:
                    lane[at] = initial
            cap, before = min(plan.passes, len(at)), x
            for done in range(1, cap + 1):
                old = {o: [lane[at].clone() for lane in lanes[o]] for o in targets}
                x = before
                for l in range(first, last + 1):
                    x = layer(l, x, at)
                change = max(((lane[at] - was).abs().flatten(1).amax(1) / lane[at].abs().flatten(1).amax(1)).max().item()
                             for o in targets for lane, was in zip(lanes[o], old[o]))
                if done == 1 or len(at) == cap:
                    continue
                assert not SETTLED / 1.02 < change < SETTLED * 1.02, "f32 might decide otherwise"
                if change < SETTLED:
                    break
            passes_run.append([start, first, done, change])
        out.append(model.logits(x))
    return torch.cat(out), passes_run


# ------------------------------------------------------------------ cases
def case(layer_types, model_type="lckv-llama", architecture="LCKVLlamaForCausalLM", **changes):
    c = dict(
        architectures=[architecture], model_type=model_type, torch_dtype="float32", vocab_size=101, hidden_size=32, intermediate_size=48,
        num_hidden_layers=len(layer_types.split("_")), num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
        rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu", tie_word_embeddings=False, layer_types=layer_types)
    if model_type == "lckv-llama":
        c.update(forward_passes=7, backward_passes=2)
    c.update(changes)
    return c


CASES = {
    "identity": case("0_1_2_3_4_5_6_7"),
    "w2": case("0_6_6_6_6_6_6_7"),
    "w10-like": case("0_1_5_5_5_5_6_7", tie_word_embeddings=True),
    "sandwich-middle": case("0_3_3_3_3_3_3_7"),
    "cla2": case("0_0_2_2_4_4_6_6", attention_bias=True),
    "yoco": case("0s_1s_2s_3s_4_4_4_4", sliding_window=7),
    "mixattention": case("0_1s_1s_3s_3s_0_6s_6s", sliding_window=11),
    "force-nodiag": case("0_6_6_6_6_6_6_7", force_nodiag=True),
    "sliding-cycle": case("0_5s_5s_3s_5_5_3s", sliding_window=6),
    "two-cycles": case("2_2_2_5_5_5", num_key_value_heads=1),
    "cycle-on-top": case("0_5_5_5_5_5", num_key_value_heads=4),
    "settles": case("0_4_4_4_4_5", forward_passes=26, mlp_bias=True),
    "legacy-opt": case("0_1_1_1_1_2_0", "opt-llama", "LlamaForCausalLM", target_layer=-2, num_encoders=5, num_trained_encoders=1),
    "legacy-cla": case("0_2_1_1_2_1", "cla-llama", "LlamaForCausalLM"),
}


def run(c, seed):
    raw, w = {}, {}
    for name, shape, scale, base in tensor_list(c):
        raw[name], values = house.store(house.uniform(seed, name, shape, scale, base), "F32")
        w[name] = torch.from_numpy(np.ascontiguousarray(values)).to(F64)
    model = Model(c, w)
    prompt = [int((i * 7919 + 31 * i * i + seed) % c["vocab_size"]) for i in range(PROMPT_LENGTH)]
    decoder, greedy, margin = Sequential(model), [], math.inf
    exact = torch.stack([decoder.feed(token) for token in prompt])
    row = exact[-1]
    for _ in range(GREEDY_LENGTH):
        top = torch.topk(row, 2)
        margin = min(margin, (top.values[0] - top.values[1]).item())
        if margin < MIN_MARGIN:
            return None
        greedy.append(int(top.indices[0]))
        row = decoder.feed(greedy[-1])
    return raw, model, prompt, exact, greedy, margin


def write_case(name, c, root):
    seed = 2000
    while (made := run(c, seed)) is None:
        seed += 1
    raw, model, prompt, exact, greedy, margin = made
    few = prompt[:min(9, model.plan.passes)]
    for initial in (0.0, 0.7):  # a chunk of at most P tokens is exact, whatever K and V it began with
        assert (encoded(model, few, 9, initial)[0] - exact[:len(few)]).abs().max() < 1e-9
    folder = os.path.join(root, name)
    os.makedirs(folder, exist_ok=True)

    def dump(file, value):
        with open(os.path.join(folder, file), "w", encoding="utf-8") as f:
            f.write(json.dumps(value, indent=1) + "\n")

    as_f32 = lambda t: t.to(torch.float32).numpy().astype("<f4").tobytes()
    entries, passes = [("sequential", "F32", tuple(exact.shape), as_f32(exact))], {}
    for chunk in CHUNKS:
        logits, ran = encoded(model, prompt, chunk)
        entries.append((f"chunk.{chunk}", "F32", tuple(logits.shape), as_f32(logits)))
        passes[str(chunk)] = [[start, first, done] for start, first, done, _ in ran]
        print(f"{name:18} seed {seed} chunk {chunk:2}: off by {(logits - exact).abs().max() / exact.abs().max():.1e}  "
              + "  ".join(f"{done} passes, change {change:.1e}" for _, _, done, change in ran))
    dump("config.json", c)
    dump("golden.json", dict(seed=seed, weights_sha256=hashlib.sha256(b"".join(raw.values())).hexdigest(), smallest_margin=round(margin, 4),
                             prompt=prompt, greedy=greedy, passes=passes))
    dump("tensors.json", [dict(name=n, shape=s, scale=scale, base=base) for n, s, scale, base in tensor_list(c)])
    house.write_safetensors(os.path.join(folder, "golden.safetensors"), entries)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", help="one case")
    a = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for name, c in CASES.items():
            if a.only not in (None, name):
                continue
            write_case(name, c, scratch if a.check else HERE)
            for file in os.listdir(os.path.join(scratch, name)) if a.check else []:
                if file.endswith(".json") and not filecmp.cmp(os.path.join(scratch, name, file), os.path.join(HERE, name, file), False):
                    sys.exit(f"{name}/{file} differs")


if __name__ == "__main__":
    main()
