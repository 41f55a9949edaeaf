#!/usr/bin/env python3
"""Golden activations, logits and greedy tokens for a tiny seeded model of every architecture and rope kind.

An independent oracle: a plain eager forward in PyTorch float64, written from the published definition of each
architecture (papers, and the field semantics of Hugging Face config.json). It shares nothing with the server's code
except the rule that makes weights from a seed.

    /usr/bin/python3 tests/golden/architectures/make_goldens.py          # rewrites every case folder
    /usr/bin/python3 tests/golden/architectures/make_goldens.py --check  # fails if a committed file would change
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
PROMPT_LENGTH, GREEDY_LENGTH, MIN_MARGIN = 40, 24, 0.05
MASK = (1 << 64) - 1
F64 = torch.float64


# ------------------------------------------------------------------ weights: a pure function of (seed, name, index)
def mix(z):
    z = ((z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9))
    z = ((z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB))
    return z ^ (z >> np.uint64(31))


def uniform(seed, name, shape, scale, base):
    """splitmix64 at counter index + 1 from mix(seed ^ fnv1a64(name)); top 24 bits, signed, in [-1, 1); * scale + base in f32"""
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & MASK
    with np.errstate(over="ignore"):
        key = mix(np.array([(seed ^ h) & MASK], np.uint64))[0]
        n = int(np.prod(shape))
        bits = mix(np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key) >> np.uint64(40)
    signed = (bits.astype(np.int64) - (1 << 23)).astype(np.float32) * np.float32(2.0 ** -23)
    return (signed * np.float32(scale) + np.float32(base)).reshape(shape)


def tensor_list(c):
    """(name, shape, scale, base) of every tensor that a checkpoint of this config holds"""
    d, ff, v = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    heads, kv, hd = c["num_attention_heads"], c["num_key_value_heads"], head_dim(c)
    arch = c["architectures"][0]
    # a tied embedding is small, or every token would predict itself
    out = [("model.embed_tokens.weight", (v, d), 0.25 if tied(c) else 3 ** 0.5, 0.0)]

    def matrix(name, rows, cols, gain=1.0):
        out.append((name + ".weight", (rows, cols), gain * (3 / cols) ** 0.5, 0.0))

    def vector(name, n, scale=0.5, base=0.0):
        out.append((name, (n,), scale, base))

    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        vector(p + "input_layernorm.weight", d, base=1.0)
        if arch == "Phi3ForCausalLM":
            matrix(p + "self_attn.qkv_proj", (heads + 2 * kv) * hd, d, 1.5)
        else:
            matrix(p + "self_attn.q_proj", heads * hd, d, 1.5)
            matrix(p + "self_attn.k_proj", kv * hd, d, 1.5)
            matrix(p + "self_attn.v_proj", kv * hd, d)
        attention_bias = c.get("attention_bias", False)
        if attention_bias or arch == "Qwen2ForCausalLM":
            vector(p + "self_attn.q_proj.bias", heads * hd)
            vector(p + "self_attn.k_proj.bias", kv * hd)
            vector(p + "self_attn.v_proj.bias", kv * hd)
        if arch == "Qwen3ForCausalLM":
            vector(p + "self_attn.q_norm.weight", hd, base=1.0)
            vector(p + "self_attn.k_norm.weight", hd, base=1.0)
        matrix(p + "self_attn.o_proj", d, heads * hd)
        if attention_bias:
            vector(p + "self_attn.o_proj.bias", d)
        vector(p + "post_attention_layernorm.weight", d, base=1.0)
        if arch == "Phi3ForCausalLM":
            matrix(p + "mlp.gate_up_proj", 2 * ff, d)
        else:
            matrix(p + "mlp.gate_proj", ff, d)
            matrix(p + "mlp.up_proj", ff, d)
        matrix(p + "mlp.down_proj", d, ff)
        if c.get("mlp_bias", False):
            vector(p + "mlp.gate_proj.bias", ff)
            vector(p + "mlp.up_proj.bias", ff)
            vector(p + "mlp.down_proj.bias", d)
    vector("model.norm.weight", d, base=1.0)
    if not tied(c):
        matrix("lm_head", v, d, 4.0)
    return [(n, s, float(np.float32(scale)), base) for n, s, scale, base in out]


def store(x, kind):
    """the bytes of a tensor as a checkpoint keeps them, and the values they stand for"""
    if kind == "F32":
        return x.astype("<f4").tobytes(), x
    if kind == "F16":
        half = x.astype("<f2")
        return half.tobytes(), half.astype(np.float32)
    u = x.view(np.uint32)
    u = (u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return (u >> np.uint32(16)).astype("<u2").tobytes(), u.view(np.float32)


def write_safetensors(path, entries):
    """entries: (name, dtype, shape, bytes)"""
    head, at = {}, 0
    for name, kind, shape, raw in entries:
        head[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(e[3] for e in entries))


# ------------------------------------------------------------------ meaning of config.json
def head_dim(c):
    return c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]


def tied(c):
    return c.get("tie_word_embeddings", c["architectures"][0] == "SmolLM3ForCausalLM")


def rope_settings(c):
    p = c.get("rope_parameters") or c.get("rope_scaling") or {}
    theta = p.get("rope_theta", c.get("rope_theta", 10000.0))
    part = p.get("partial_rotary_factor", c.get("partial_rotary_factor", 1.0))
    return p.get("rope_type", p.get("type", "default")), float(theta), int(head_dim(c) * part), p


def rotates(c, layer):
    if c["architectures"][0] != "SmolLM3ForCausalLM":
        return True
    if "no_rope_layers" in c:
        return c["no_rope_layers"][layer] == 1
    return (layer + 1) % c.get("no_rope_layer_interval", 4) != 0


def window(c, layer):
    """None: full attention; W: a token sees itself and the W - 1 tokens before it"""
    arch, w = c["architectures"][0], c.get("sliding_window")
    if arch in ("MistralForCausalLM", "Phi3ForCausalLM"):
        return w
    if arch == "LlamaForCausalLM" or w is None or not c.get("use_sliding_window", False):
        return None
    if "layer_types" in c:
        return w if c["layer_types"][layer] == "sliding_attention" else None
    if arch == "SmolLM3ForCausalLM":
        return None if rotates(c, layer) else w
    return w if layer >= c["max_window_layers"] else None


def angles(c, positions):
    """[positions, rotated/2] angles in radians, and the factor on cosines and sines"""
    kind, theta, dim, p = rope_settings(c)
    n = dim // 2
    exponent = torch.arange(n, dtype=F64) * 2 / dim
    pos = torch.as_tensor(positions, dtype=F64)[:, None]
    plain = theta ** -exponent
    if kind == "default":
        return pos * plain, 1.0
    if kind == "linear":                                     # positional interpolation, arXiv:2306.15595
        return pos / p["factor"] * plain, 1.0
    if kind == "dynamic":                                    # NTK-aware, base by the length at which the token is decoded
        limit = c["max_position_embeddings"]
        rows = []
        for position in positions:
            length = max(position + 1, limit)
            base = theta * (p["factor"] * length / limit - (p["factor"] - 1)) ** (dim / (dim - 2))
            rows.append(position * base ** -exponent)
        return torch.stack(rows), 1.0
    if kind == "llama3":                                     # arXiv:2407.21783; bands by wavelength
        original = p["original_max_position_embeddings"]
        out = []
        for f in plain.tolist():
            wavelength = 2 * math.pi / f
            if wavelength < original / p["high_freq_factor"]:
                out.append(f)
            elif wavelength > original / p["low_freq_factor"]:
                out.append(f / p["factor"])
            else:
                smooth = (original / wavelength - p["low_freq_factor"]) / (p["high_freq_factor"] - p["low_freq_factor"])
                out.append((1 - smooth) * f / p["factor"] + smooth * f)
        return pos * torch.tensor(out, dtype=F64), 1.0
    if kind == "yarn":                                       # arXiv:2309.00071, "NTK-by-parts" and attention temperature
        s, original = p["factor"], p.get("original_max_position_embeddings", c["max_position_embeddings"])

        def pair_turning(times):
            return dim * math.log(original / (times * 2 * math.pi)) / (2 * math.log(theta))

        low, high = pair_turning(p.get("beta_fast") or 32), pair_turning(p.get("beta_slow") or 1)
        if p.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dim - 1)
        ramp = torch.clamp((torch.arange(n, dtype=F64) - low) / ((high - low) or 0.001), 0, 1)
        temperature = lambda m: 1.0 if s <= 1 else 0.1 * m * math.log(s) + 1
        factor = p.get("attention_factor")
        if factor is None:
            both = p.get("mscale") and p.get("mscale_all_dim")
            factor = temperature(p["mscale"]) / temperature(p["mscale_all_dim"]) if both else temperature(1)
        return pos * (plain / s * ramp + plain * (1 - ramp)), factor
    if kind in ("longrope", "su"):                           # arXiv:2402.13753
        original = c.get("original_max_position_embeddings") or p["original_max_position_embeddings"]
        ratio = c["max_position_embeddings"] / original
        factors = p["long_factor"] if ratio > 1 else p["short_factor"]
        factor = p.get("attention_factor")
        if factor is None:
            factor = math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 else 1.0
        return pos * plain / torch.tensor(factors, dtype=F64), factor
    raise ValueError(kind)


# ------------------------------------------------------------------ the forward
def rms(x, weight, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def rotate(x, angle, factor):
    """x [tokens, heads, hd]: element i and element i + half of the rotated part are one complex number"""
    half = angle.shape[1]
    z = torch.complex(x[..., :half].contiguous(), x[..., half:2 * half].contiguous())
    z = z * torch.polar(torch.full_like(angle, factor), angle)[:, None, :]
    return torch.cat([z.real, z.imag, x[..., 2 * half:]], -1)


def forward(c, w, ids):
    """per-layer residual streams [tokens, hidden] and logits [tokens, vocabulary]"""
    heads, kv, hd, eps = c["num_attention_heads"], c["num_key_value_heads"], head_dim(c), c["rms_norm_eps"]
    n = len(ids)
    angle, factor = angles(c, list(range(n)))
    x = w["model.embed_tokens.weight"][torch.as_tensor(ids)]
    states = []

    def linear(name, value):
        y = value @ w[name + ".weight"].T
        return y + w[name + ".bias"] if name + ".bias" in w else y

    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = rms(x, w[p + "input_layernorm.weight"], eps)
        if p + "self_attn.qkv_proj.weight" in w:
            q, k, v = torch.split(linear(p + "self_attn.qkv_proj", h), [heads * hd, kv * hd, kv * hd], -1)
        else:
            q, k, v = (linear(p + f"self_attn.{m}_proj", h) for m in "qkv")
        q, k, v = q.reshape(n, heads, hd), k.reshape(n, kv, hd), v.reshape(n, kv, hd)
        if p + "self_attn.q_norm.weight" in w:
            q, k = rms(q, w[p + "self_attn.q_norm.weight"], eps), rms(k, w[p + "self_attn.k_norm.weight"], eps)
        if rotates(c, i):
            q, k = rotate(q, angle, factor), rotate(k, angle, factor)
        distance = torch.arange(n)[:, None] - torch.arange(n)[None, :]
        hidden = distance < 0
        if window(c, i) is not None:
            hidden = hidden | (distance >= window(c, i))
        heads_out = []
        for head in range(heads):
            group = head // (heads // kv)
            score = q[:, head] @ k[:, group].T / math.sqrt(hd)
            heads_out.append(torch.softmax(score.masked_fill(hidden, -math.inf), -1) @ v[:, group])
        x = x + linear(p + "self_attn.o_proj", torch.cat(heads_out, -1))
        h = rms(x, w[p + "post_attention_layernorm.weight"], eps)
        if p + "mlp.gate_up_proj.weight" in w:
            gate, up = torch.chunk(linear(p + "mlp.gate_up_proj", h), 2, -1)
        else:
            gate, up = linear(p + "mlp.gate_proj", h), linear(p + "mlp.up_proj", h)
        x = x + linear(p + "mlp.down_proj", gate * torch.sigmoid(gate) * up)
        states.append(x)
    x = rms(x, w["model.norm.weight"], eps)
    return states, x @ w["model.embed_tokens.weight" if tied(c) else "lm_head.weight"].T


# ------------------------------------------------------------------ the cases
BASE = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=200,
            max_position_embeddings=256, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu", tie_word_embeddings=False,
            bos_token_id=1, eos_token_id=2)
LONG = [1.0, 1.1, 1.4, 1.9, 2.7, 4.0, 6.5, 9.0]
SHORT = [1.0, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5]


def case(arch, model_type, **changes):
    c = dict(architectures=[arch + "ForCausalLM"], model_type=model_type, **BASE)
    c.update(changes)
    return {k: v for k, v in c.items() if v != "absent"}


CASES = {
    "llama": case("Llama", "llama", num_key_value_heads=4, num_hidden_layers=3),
    "llama-linear-tied": case("Llama", "llama", rope_scaling=dict(type="linear", factor=4.0), tie_word_embeddings=True),
    "llama-dynamic": case("Llama", "llama", max_position_embeddings=24, rope_scaling=dict(type="dynamic", factor=2.0)),
    "llama-llama3": case("Llama", "llama", num_key_value_heads=1, rope_theta=500000.0, rope_scaling=dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)),
    "llama-yarn": case("Llama", "llama", max_position_embeddings=32, rope_scaling=dict(
        rope_type="yarn", factor=4.0, original_max_position_embeddings=32)),
    "llama-yarn-mscale": case("Llama", "llama", rope_theta="absent", rope_parameters=dict(
        rope_type="yarn", rope_theta=1000.0, factor=8.0, original_max_position_embeddings=64, beta_fast=4, beta_slow=0.5,
        mscale=1.0, mscale_all_dim=0.5, truncate=False)),
    "llama-biases": case("Llama", "llama", num_attention_heads=8, attention_bias=True, mlp_bias=True),
    "mistral": case("Mistral", "mistral", head_dim=24, sliding_window=9, num_hidden_layers=3, rms_norm_eps=1e-6),
    "qwen2": case("Qwen2", "qwen2", num_key_value_heads=1, tie_word_embeddings=True, use_sliding_window=False, sliding_window=8,
                  max_window_layers=1, rope_theta=1000000.0),
    "qwen2-window": case("Qwen2", "qwen2", num_hidden_layers=3, use_sliding_window=True, sliding_window=8, max_window_layers=1),
    "qwen3": case("Qwen3", "qwen3", head_dim=32, attention_bias=False, rope_theta="absent", rope_parameters=dict(
        rope_type="default", rope_theta=1000000.0)),
    "qwen3-layer-types": case("Qwen3", "qwen3", head_dim=16, num_key_value_heads=4, num_hidden_layers=3, attention_bias=True,
                              use_sliding_window=True, sliding_window=7, max_window_layers=9,
                              layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    "phi3": case("Phi3", "phi3", num_key_value_heads=4, sliding_window=21, rope_scaling=None, original_max_position_embeddings=256),
    "phi3-partial": case("Phi3", "phi3", partial_rotary_factor=0.75, sliding_window=None, num_key_value_heads=1),
    "phi3-longrope-long": case("Phi3", "phi3", max_position_embeddings=256, original_max_position_embeddings=32, sliding_window=None,
                               rope_scaling=dict(type="longrope", short_factor=SHORT, long_factor=LONG)),
    "phi3-longrope-short": case("Phi3", "phi3", max_position_embeddings=64, original_max_position_embeddings=64, sliding_window=None,
                                rope_scaling=dict(type="su", short_factor=SHORT, long_factor=LONG)),
    "smollm3": case("SmolLM3", "smollm3", num_hidden_layers=4, rope_theta=50000.0, tie_word_embeddings="absent",
                    use_sliding_window=False, sliding_window=None),
    "smollm3-window": case("SmolLM3", "smollm3", num_hidden_layers=3, no_rope_layers=[1, 0, 1], use_sliding_window=True,
                           sliding_window=11, attention_bias=True, mlp_bias=True),
    # Written out by this script, so that the format itself is not only read by those who wrote it.
    "stored-llama-bf16-sharded": case("Llama", "llama", torch_dtype="bfloat16", tie_word_embeddings=True, vocab_size=160),
    "stored-qwen2-f16": case("Qwen2", "qwen2", dtype="float16", hidden_size=48, intermediate_size=64, num_hidden_layers=2,
                             vocab_size=160, use_sliding_window=False),
}
KINDS = {"stored-llama-bf16-sharded": "BF16", "stored-qwen2-f16": "F16"}


def run(c, seed, kind):
    raw, w = {}, {}
    for name, shape, scale, base in tensor_list(c):
        raw[name], values = store(uniform(seed, name, shape, scale, base), kind)
        w[name] = torch.from_numpy(np.ascontiguousarray(values)).to(F64)
    prompt = [int((i * 7919 + 31 * i * i + seed) % c["vocab_size"]) for i in range(PROMPT_LENGTH)]
    states, logits = forward(c, w, prompt)
    ids, margin = list(prompt), math.inf
    for _ in range(GREEDY_LENGTH):
        top = torch.topk(forward(c, w, ids)[1][-1], 2)
        margin = min(margin, (top.values[0] - top.values[1]).item())
        ids.append(int(top.indices[0]))
    return raw, prompt, states, logits, ids[len(prompt):], margin


def write_case(name, c, root):
    kind, seed = KINDS.get(name, "F32"), 1000
    while True:
        raw, prompt, states, logits, greedy, margin = run(c, seed, kind)
        if margin >= MIN_MARGIN and len(set(greedy)) >= 8:
            break
        seed += 1
    folder = os.path.join(root, name)
    os.makedirs(folder, exist_ok=True)

    def dump(file, value):
        with open(os.path.join(folder, file), "w", encoding="utf-8") as f:
            f.write(json.dumps(value, indent=1) + "\n")

    digest = hashlib.sha256(b"".join(raw.values())).hexdigest()
    dump("config.json", c)
    dump("golden.json", dict(seed=seed, dtype=kind, weights_sha256=digest, smallest_margin=round(margin, 4), prompt=prompt, greedy=greedy))
    as_f32 = lambda t: t.to(torch.float32).numpy().astype("<f4").tobytes()
    write_safetensors(os.path.join(folder, "golden.safetensors"),
                      [(f"layer.{i}", "F32", tuple(s.shape), as_f32(s)) for i, s in enumerate(states)]
                      + [("logits", "F32", tuple(logits.shape), as_f32(logits))])
    listed = tensor_list(c)
    if not name.startswith("stored-"):
        dump("tensors.json", [dict(name=n, shape=s, scale=scale, base=base) for n, s, scale, base in listed])
    elif name.endswith("-sharded"):
        cut = len(listed) // 2
        parts = {f"model-0000{i + 1}-of-00002.safetensors": part for i, part in enumerate((listed[:cut], listed[cut:]))}
        for file, part in parts.items():
            write_safetensors(os.path.join(folder, file), [(n, kind, s, raw[n]) for n, s, _, _ in part])
        dump("model.safetensors.index.json", dict(metadata=dict(total_size=sum(map(len, raw.values()))),
                                                  weight_map={n: file for file, part in parts.items() for n, _, _, _ in part}))
    else:
        write_safetensors(os.path.join(folder, "model.safetensors"), [(n, kind, s, raw[n]) for n, s, _, _ in listed])
    print(f"{name:28} seed {seed}  smallest margin {margin:.3f}  {greedy[:6]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", help="one case")
    a = parser.parse_args()
    torch.set_num_threads(1)
    if not a.check:
        for name, c in CASES.items():
            if a.only in (None, name):
                write_case(name, c, HERE)
        return
    import filecmp, tempfile
    with tempfile.TemporaryDirectory() as root:
        for name, c in CASES.items():
            write_case(name, c, root)
            for file in os.listdir(os.path.join(root, name)):
                if file.endswith(".json") and not filecmp.cmp(os.path.join(root, name, file), os.path.join(HERE, name, file), False):
                    sys.exit(f"{name}/{file} differs")


if __name__ == "__main__":
    main()
