"""Writes the checkpoint of a run as a Hugging Face folder, and reads such a folder back."""
import json
import os
import shutil

import torch

from . import bpe, safetensors
from .training import build

GENERATION = {"do_sample": True, "temperature": 0.2, "top_p": 0.9}


def _write_json(path, value):
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        json.dump(value, f, ensure_ascii=False, indent=2)
        f.write("\n")


def export(run, out, forward_passes=None):
    """Writes the checkpoint in `run`; `forward_passes` is what an LCKV model's inference should use, if not what was stored."""
    os.makedirs(out, exist_ok=True)
    state = torch.load(os.path.join(run, "checkpoint.pt"), map_location="cpu")
    c = build(state["config"]).config
    safetensors.write(os.path.join(out, "model.safetensors"),
                      {name: t.to(torch.bfloat16) for name, t in state["model"].items()})
    twin = hasattr(c, "layer_types")
    _write_json(os.path.join(out, "config.json"), {
        "architectures": ["LCKVLlamaForCausalLM" if twin else "LlamaForCausalLM"],
        "model_type": "lckv-llama" if twin else "llama", "torch_dtype": "bfloat16",
        "vocab_size": c.vocab_size, "hidden_size": c.hidden_size, "intermediate_size": c.intermediate_size,
        "num_hidden_layers": c.num_hidden_layers, "num_attention_heads": c.num_attention_heads,
        "num_key_value_heads": c.num_key_value_heads, "head_dim": c.head_dim,
        "max_position_embeddings": c.max_position_embeddings, "rope_theta": c.rope_theta, "rope_scaling": None,
        "rms_norm_eps": c.rms_norm_eps, "hidden_act": "silu", "attention_bias": False, "mlp_bias": False,
        "attention_dropout": 0.0, "tie_word_embeddings": True, "use_cache": True, "initializer_range": 0.02,
        **({"layer_types": c.layer_types, "forward_passes": forward_passes or c.forward_passes, "backward_passes": c.backward_passes,
            "sliding_window": c.sliding_window, "force_nodiag": c.force_nodiag, "use_sequential": False} if twin else {}),
        "bos_token_id": 0, "eos_token_id": [1, 5]})
    _write_json(os.path.join(out, "generation_config.json"), {"bos_token_id": 0, "eos_token_id": [1, 5], **GENERATION})
    shutil.copyfile(os.path.join(run, "tokenizer.json"), os.path.join(out, "tokenizer.json"))
    _write_json(os.path.join(out, "tokenizer_config.json"), {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bpe.BOS, "eos_token": bpe.EOS,
        "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False,
        "model_max_length": c.max_position_embeddings,
        "added_tokens_decoder": {
            str(i): {"content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                     "special": True} for i, t in enumerate(bpe.SPECIAL)},
        "chat_template": bpe.CHAT_TEMPLATE})
    size = sum(os.path.getsize(os.path.join(out, f)) for f in os.listdir(out))
    print(f"exported step {state['step']}, {state['tokens']} tokens, {size / 1e6:.1f} MB in all, to {out}")


def load(folder, dtype=torch.float32):
    """(model, tokenizer) of an exported folder; the weights are the stored bf16 values, widened to `dtype`."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        stored = json.load(f)
    model = build(stored)
    model.load_state_dict({n: t.to(dtype) for n, t in
                           safetensors.read(os.path.join(folder, "model.safetensors")).items()})
    return model.to(dtype).eval(), bpe.Tokenizer.load(os.path.join(folder, "tokenizer.json"))
