"""The LCKV decoder: layers that read the keys and values of one upper layer (Wu and Tu, 2024, "Layer-Condensed KV Cache").

`layer_types` names for each layer the layer whose keys and values it reads, joined by `_`; an `s` behind the number means a sliding
window. A layer that reads from above sees only tokens before its own (masked diagonal); the first token's
attention output is zero there. Such layers and their target form a loop: text is encoded by going through it several
times, each pass reading the keys and values of the pass before (zeros in the first); after as many passes as there are
tokens this equals one token after the other. Training makes the first passes without gradient, the last ones with it.
"""
import contextlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .model import Config, Llama, attend, rope_tables


@dataclass
class LckvConfig(Config):
    layer_types: str = "0_6_6_6_6_6_6_7"
    forward_passes: int = 7         # without gradient
    backward_passes: int = 2        # with gradient
    sliding_window: int = 4096
    force_nodiag: bool = False


@dataclass
class Reading:
    """How one layer reads: from which layer, whether only tokens before its own, whether within the window."""
    target: int
    strict: bool
    window: bool


def readings(config):
    out = []
    for layer, entry in enumerate(config.layer_types.split("_")):
        target = int(entry.rstrip("s"))
        if not 0 <= target < config.num_hidden_layers:
            raise ValueError(f"layer_types: layer {layer} reads {target}, there are {config.num_hidden_layers} layers")
        out.append(Reading(target, target > layer or config.force_nodiag, entry.endswith("s")))
    if len(out) != config.num_hidden_layers:
        raise ValueError(f"layer_types has {len(out)} entries for {config.num_hidden_layers} layers")
    owners = {r.target for r in out}
    for owner in owners:
        if out[owner].target != owner and any(r.target == owner for r in out[:owner]):
            raise ValueError(f"layer_types: layer {owner} is read from below but does not read itself")
    return out


def plan(layers):
    """[(first, last, loops)]: runs of layers that are passed once, and loops that close over what reads from above."""
    out, i = [], 0
    while i < len(layers):
        last, loops = i, layers[i].target > i
        if loops:
            last = layers[i].target
            while max(r.target for r in layers[i:last + 1]) > last:
                last = max(r.target for r in layers[i:last + 1])
        else:
            while last + 1 < len(layers) and layers[last + 1].target <= last + 1:
                last += 1
        out.append((i, last, loops))
        i = last + 1
    return out


class Lckv(Llama):
    """Same parameter names as the Llama; `k_proj` and `v_proj` exist only in layers that are read."""

    def __init__(self, config):
        super().__init__(config)
        self.layers = readings(config)
        self.owners = sorted({r.target for r in self.layers})
        self.plan = plan(self.layers)
        for i, layer in enumerate(self.model.layers):
            if i not in self.owners:
                del layer.self_attn.k_proj, layer.self_attn.v_proj

    def _masks(self, length, device, dtype):
        """Per layer: what is added to the scores, and 0 for the queries that see nothing (None if there are none)."""
        at, made = torch.arange(length, device=device), {}
        for r in self.layers:
            if (r.strict, r.window) in made:
                continue
            seen = at[None] < at[:, None] + (0 if r.strict else 1)
            if r.window:
                seen &= at[None] > at[:, None] - self.config.sliding_window
            empty = ~seen.any(1)
            mask = torch.zeros(length, length, dtype=dtype, device=device).masked_fill(~seen, float("-inf"))
            mask[empty, at[empty]] = 0          # a row of nothing but -inf has no softmax; its output is made zero below
            keep = (~empty).to(dtype)[None, :, None] if bool(empty.any()) else None
            made[r.strict, r.window] = mask, keep
        return [made[r.strict, r.window] for r in self.layers]

    def _run(self, first, last, x, lanes, cos, sin, masks):
        """One pass through layers `first` to `last`; writes the lanes that they own."""
        for i in range(first, last + 1):
            layer, (mask, keep) = self.model.layers[i], masks[i]
            attention, inner = layer.self_attn, layer.input_layernorm(x)
            if i in self.owners:
                lanes[i] = attention.key_value(inner, cos, sin)
            k, v = lanes[self.layers[i].target]
            q = attention.query(inner, cos, sin).to(v.dtype)
            out = attend(q, k, v, mask).reshape(x.shape[0], x.shape[1], -1)
            if keep is not None:
                out = out * keep.to(out.dtype)
            x = x + layer.dropout(attention.o_proj(out))
            x = x + layer.dropout(layer.mlp(layer.post_attention_layernorm(x)))
        return x

    def hidden(self, ids, passes=None):
        """As the Llama's, in `forward_passes` passes without gradient and `backward_passes` with it (or `passes` in all)."""
        c, table, (batch, length) = self.config, self.model.embed_tokens.weight, ids.shape
        exact = torch.float64 if table.dtype == torch.float64 else torch.float32
        cos, sin = rope_tables(c, length, ids.device, exact)
        masks, lanes = self._masks(length, ids.device, exact), {}
        blind = passes - 1 if passes else c.forward_passes
        total = passes or c.forward_passes + c.backward_passes
        x = self.model.embed_tokens(ids)
        for first, last, loops in self.plan:
            if not loops:
                x = self._run(first, last, x, lanes, cos, sin, masks)
                continue
            for i in range(first, last + 1):
                if i in self.owners:
                    # the type of a matrix product here: bf16 under autocast
                    kind = self.model.layers[i].self_attn.v_proj(x[:1, :1].detach()).dtype
                    zero = torch.zeros(batch, c.num_key_value_heads, length, c.head_dim, dtype=kind, device=ids.device)
                    lanes[i] = (zero, zero)
            start = x
            for n in range(total):
                if n == blind:
                    torch.clear_autocast_cache()    # weights cast to bf16 without gradient must not be used with it
                with torch.no_grad() if n < blind else contextlib.nullcontext():
                    x = self._run(first, last, start, lanes, cos, sin, masks)
        return self.model.norm(x)


class Sequential:
    """The exact form: one token after the other, over a cache. Also runs a Llama (every layer reads itself)."""

    def __init__(self, model):
        self.model, self.c = model, model.config
        layers = getattr(model, "layers", None)
        self.layers = layers or [Reading(i, False, False) for i in range(self.c.num_hidden_layers)]
        self.owners = {r.target for r in self.layers}
        self.at, weight = 0, model.model.embed_tokens.weight
        size = (self.c.num_key_value_heads, self.c.max_position_embeddings, self.c.head_dim)
        self.lanes = {i: tuple(torch.zeros(size, dtype=weight.dtype, device=weight.device) for _ in "kv") for i in self.owners}
        self.cos, self.sin = rope_tables(self.c, self.c.max_position_embeddings, weight.device, weight.dtype)

    @torch.no_grad()
    def step(self, token):
        """Appends one token; logits (vocabulary) after it."""
        c, inside, at = self.c, self.model.model, self.at
        cos, sin = self.cos[at:at + 1], self.sin[at:at + 1]
        x = inside.embed_tokens(torch.tensor([[token]], device=self.cos.device))
        for i, (layer, r) in enumerate(zip(inside.layers, self.layers)):
            attention, inner = layer.self_attn, layer.input_layernorm(x)
            if i in self.owners:
                k, v = attention.key_value(inner, cos, sin)
                self.lanes[i][0][:, at] = k[0, :, 0]
                self.lanes[i][1][:, at] = v[0, :, 0]
            end = at if r.strict else at + 1
            begin = max(0, at - c.sliding_window + 1) if r.window else 0
            out = torch.zeros(1, 1, c.num_attention_heads * c.head_dim, dtype=x.dtype, device=x.device)
            if end > begin:
                k, v = (lane[:, begin:end] for lane in self.lanes[r.target])
                q = attention.query(inner, cos, sin)[0, :, 0].view(c.num_key_value_heads, -1, c.head_dim)
                weights = torch.softmax(q @ k.transpose(1, 2) / c.head_dim ** 0.5, -1)
                out = (weights @ v).reshape(1, 1, -1)
            x = x + attention.o_proj(out)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        self.at += 1
        return F.linear(inside.norm(x), inside.embed_tokens.weight)[0, 0]


def from_llama(state, config):
    """State of the twin: everything of the Llama, keys and values of an owner averaged over the layers that read it."""
    layers = readings(config)
    readers = {o: [i for i, r in enumerate(layers) if r.target == o] for o in {r.target for r in layers}}
    out = {}
    for name, t in state.items():
        parts = name.split(".")
        if parts[-2] not in ("k_proj", "v_proj"):
            out[name] = t.clone()
        elif int(parts[2]) in readers:
            same = [state[".".join([*parts[:2], str(i), *parts[3:]])] for i in readers[int(parts[2])]]
            out[name] = torch.stack(same).mean(0)
    return out
