"""The Llama decoder, eager and small: what is trained, what is exported, and what the goldens are computed with.

Parameter names and layouts are those of the exported checkpoint (rotate-half RoPE), so export is a copy.
Runs on PyTorch 1.13 and later, on CPU and CUDA.
"""
import contextlib
import math
import os
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


QUERY_BLOCK = 256


def autocast(device):
    """bf16 matrix products where the machine has them in hardware; PyTorch falls back by itself elsewhere."""
    if os.environ.get("STORYTELLER_FP32"):
        return contextlib.nullcontext()
    return torch.autocast(device, dtype=torch.bfloat16)


@dataclass
class Config:
    vocab_size: int = 4096
    hidden_size: int = 256
    intermediate_size: int = 640
    num_hidden_layers: int = 8
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 32
    max_position_embeddings: int = 2048
    rope_theta: float = 100000.0
    rms_norm_eps: float = 1e-5
    dropout: float = 0.0            # training only


class RmsNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        wide = x if x.dtype == torch.float64 else x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)) * self.weight


def rope_tables(config, length, device, dtype=torch.float32):
    """cos and sin, each (length, head_dim / 2)."""
    frequencies = config.rope_theta ** (-torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return angles.cos().to(device, dtype), angles.sin().to(device, dtype)


def rotate(x, cos, sin):
    """x (batch, heads, length, head_dim): first and second half of a head are the two coordinates."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attend(q, k, v, mask):
    """Causal attention a block of queries at a time, each over the keys up to its end: (batch, length, heads, head_dim).

    Query heads of one KV head are stacked along the rows, so k and v are never copied per query head.
    """
    batch, heads, length, size = q.shape
    rows, group = batch * k.shape[1], heads // k.shape[1]
    q = (q * (1.0 / math.sqrt(size))).reshape(rows, group, length, size)
    k, v = k.reshape(rows, length, size), v.reshape(rows, length, size)
    mask, parts = mask.to(q.dtype), []
    for begin in range(0, length, QUERY_BLOCK):
        end = min(begin + QUERY_BLOCK, length)
        some = q[:, :, begin:end].reshape(rows, group * (end - begin), size)
        scores = torch.bmm(some, k[:, :end].transpose(1, 2)).view(rows, group, end - begin, end)
        weights = torch.softmax(scores + mask[begin:end, :end], -1)
        part = torch.bmm(weights.view(rows, group * (end - begin), end), v[:, :end])
        parts.append(part.view(rows, group, end - begin, size))
    return torch.cat(parts, 2).view(batch, heads, length, size).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.q_proj = nn.Linear(c.hidden_size, c.num_attention_heads * c.head_dim, bias=False)
        self.k_proj = nn.Linear(c.hidden_size, c.num_key_value_heads * c.head_dim, bias=False)
        self.v_proj = nn.Linear(c.hidden_size, c.num_key_value_heads * c.head_dim, bias=False)
        self.o_proj = nn.Linear(c.num_attention_heads * c.head_dim, c.hidden_size, bias=False)

    def query(self, x, cos, sin):
        """(batch, heads, length, head_dim), rotated."""
        return rotate(self._heads(self.q_proj(x), self.c.num_attention_heads), cos, sin)

    def key_value(self, x, cos, sin):
        """Rotated keys and values, each (batch, KV heads, length, head_dim), in the type of the matrix products."""
        v = self._heads(self.v_proj(x), self.c.num_key_value_heads)
        return rotate(self._heads(self.k_proj(x), self.c.num_key_value_heads), cos, sin).to(v.dtype), v

    def _heads(self, t, heads):
        return t.view(t.shape[0], t.shape[1], heads, self.c.head_dim).transpose(1, 2)

    def forward(self, x, cos, sin, mask):
        q = self.query(x, cos, sin)
        k, v = self.key_value(x, cos, sin)
        if x.is_cuda and hasattr(F, "scaled_dot_product_attention"):
            group = self.c.num_attention_heads // self.c.num_key_value_heads
            k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
            out = F.scaled_dot_product_attention(q.to(v.dtype), k, v, is_causal=True).transpose(1, 2)
        else:
            out = attend(q.to(v.dtype), k, v, mask)
        return self.o_proj(out.reshape(x.shape[0], x.shape[1], -1))


class GatedMlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.up_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.down_proj = nn.Linear(c.intermediate_size, c.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = RmsNorm(c.hidden_size, c.rms_norm_eps)
        self.self_attn = Attention(c)
        self.post_attention_layernorm = RmsNorm(c.hidden_size, c.rms_norm_eps)
        self.mlp = GatedMlp(c)
        self.dropout = nn.Dropout(c.dropout) if c.dropout else nn.Identity()

    def forward(self, x, cos, sin, mask):
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), cos, sin, mask))
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.num_hidden_layers))
        self.norm = RmsNorm(c.hidden_size, c.rms_norm_eps)


class Llama(nn.Module):
    """Embedding and output head share one matrix."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.initialise()

    def initialise(self):
        for name, p in self.named_parameters():
            if p.dim() == 2:
                std = 0.02 if "embed" in name else p.shape[1] ** -0.5
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    std /= math.sqrt(2 * self.config.num_hidden_layers)
                nn.init.normal_(p, 0.0, std)

    def hidden(self, ids):
        """(batch, length) ids to the normalised last hidden state (batch, length, hidden)."""
        table, length = self.model.embed_tokens.weight, ids.shape[1]
        exact = torch.float64 if table.dtype == torch.float64 else torch.float32
        cos, sin = rope_tables(self.config, length, ids.device, exact)
        mask = torch.full((length, length), float("-inf"), device=ids.device, dtype=exact).triu(1)
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, cos, sin, mask)
        return self.model.norm(x)

    def forward(self, ids):
        return F.linear(self.hidden(ids), self.model.embed_tokens.weight)
