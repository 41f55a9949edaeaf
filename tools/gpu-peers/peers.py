"""Decoding speed of other software on one GPU, on random weights of the shapes and batches that tests/gpu/run.sh measures.

Peers: transformers' eager decoding, its continuous batching, and plain PyTorch with SDPA and a CUDA graph of the step. See README.md.
"""

import argparse
import statistics
import sys
import time

# name: layers, hidden, heads, KV heads, head size, intermediate, vocabulary (as in tests/InferenceService.Cuda.Tests/Bundle/BundleShapes.cs)
SHAPES = {
    "1.1B": (22, 2048, 32, 4, 64, 5632, 32_000),
    "7B": (32, 4096, 32, 32, 128, 11_008, 32_000),
    "8B": (32, 4096, 32, 8, 128, 14_336, 128_256),
}
PEERS = ("eager", "continuous", "graph")


def prompts(sequences, context, vocabulary):
    """The prompts of the server's own measurement."""
    return [[(i * 7 + s * 13) % vocabulary for i in range(context)] for s in range(sequences)]


def timed(torch, step, steps):
    """Median seconds of a step, by events on the device."""
    seconds = []
    for _ in range(steps):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        step()
        end.record()
        end.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    return statistics.median(seconds)


def transformers_model(torch, shape, context, implementation):
    from transformers import LlamaConfig, LlamaForCausalLM

    layers, hidden, heads, kv_heads, head_dim, intermediate, vocabulary = SHAPES[shape]
    config = LlamaConfig(
        num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=head_dim,
        intermediate_size=intermediate, vocab_size=vocabulary, max_position_embeddings=max(context + 1024, 4096), tie_word_embeddings=False,
        attn_implementation=implementation, bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    return model.eval()


def eager(torch, shape, sequences, context, steps):
    """One forward call a step with transformers' dynamic cache: what generate() does, without its own work on the host."""
    model = transformers_model(torch, shape, context, "sdpa")
    cache, ids = None, None
    for start in range(0, context, 2048 // min(sequences, 64)):  # in chunks, so that logits and activations of long prompts fit
        part = torch.tensor(prompts(sequences, context, SHAPES[shape][6]), device="cuda")[:, start:start + 2048 // min(sequences, 64)]
        output = model(part, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache, ids = output.past_key_values, output.logits[:, -1:].argmax(-1)

    def step():
        nonlocal ids
        ids = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1:].argmax(-1)

    for _ in range(3):
        step()
    return timed(torch, step, steps)


def continuous(torch, shape, sequences, context, steps):
    """transformers' continuous batching: seconds a decode step, from two runs that differ in the number of new tokens alone."""
    from transformers import GenerationConfig

    model = transformers_model(torch, shape, context, "sdpa_paged")
    inputs = prompts(sequences, context, SHAPES[shape][6])

    def run(tokens):
        config = GenerationConfig(max_new_tokens=tokens, do_sample=False, eos_token_id=-1, pad_token_id=0)
        torch.cuda.synchronize()
        start = time.perf_counter()
        results = model.generate_batch(inputs=inputs, generation_config=config, progress_bar=False)
        torch.cuda.synchronize()
        if len(results) != sequences:
            raise RuntimeError(f"{len(results)} of {sequences} requests came back")
        return time.perf_counter() - start

    run(4)
    return (run(4 + steps) - run(4)) / steps


def graph(torch, shape, sequences, context, steps):
    """A decoder of bare PyTorch operations over a static cache, one CUDA graph a step, over exactly the context's slots."""
    from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu

    layers, hidden, heads, kv_heads, head_dim, intermediate, vocabulary = SHAPES[shape]

    def random(*size):
        return torch.randn(*size, device="cuda", dtype=torch.bfloat16) * size[-1] ** -0.5

    weights = [
        (random((heads + 2 * kv_heads) * head_dim, hidden), random(hidden, heads * head_dim), random(2 * intermediate, hidden), random(hidden, intermediate))
        for _ in range(layers)
    ]
    embedding, head, norm = random(vocabulary, hidden), random(vocabulary, hidden), torch.ones(hidden, device="cuda", dtype=torch.bfloat16)
    caches = [torch.randn(2, sequences, kv_heads, context, head_dim, device="cuda", dtype=torch.bfloat16) for _ in range(layers)]
    angles = (context - 1) * 10_000.0 ** (-torch.arange(0, head_dim, 2, device="cuda") / head_dim)
    cosine, sine = (torch.cat([f, f]).to(torch.bfloat16) for f in (angles.cos(), angles.sin()))
    ids = torch.zeros(sequences, dtype=torch.long, device="cuda")

    def rotate(x):
        left, right = x.chunk(2, -1)
        return x * cosine + torch.cat([-right, left], -1) * sine

    def step():
        x = embedding[ids]
        for (qkv, output, gate_up, down), cache in zip(weights, caches):
            q, k, v = linear(rms_norm(x, (hidden,), norm), qkv).split([heads * head_dim, kv_heads * head_dim, kv_heads * head_dim], -1)
            cache[0, :, :, -1] = rotate(k.view(sequences, kv_heads, head_dim))
            cache[1, :, :, -1] = v.view(sequences, kv_heads, head_dim)
            q = rotate(q.view(sequences, heads, 1, head_dim))
            x = x + linear(scaled_dot_product_attention(q, cache[0], cache[1], enable_gqa=heads != kv_heads).reshape(sequences, -1), output)
            gate, up = linear(rms_norm(x, (hidden,), norm), gate_up).chunk(2, -1)
            x = x + linear(silu(gate) * up, down)
        ids.copy_(linear(rms_norm(x, (hidden,), norm), head).argmax(-1))

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        step()
    recorded.replay()
    return timed(torch, recorded.replay, steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--sequences", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--contexts", nargs="+", type=int, default=[512, 4096])
    parser.add_argument("--steps", type=int, default=32, help="decode steps measured")
    options = parser.parse_args()
    if min(options.sequences + options.contexts + [options.steps]) < 1:
        parser.error("--sequences, --contexts and --steps take numbers from 1 on")
    try:
        import torch
    except ImportError:
        sys.exit("PyTorch is not installed: see README.md beside this file.")
    if not torch.cuda.is_available():
        sys.exit("There is no GPU that PyTorch can use.")
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    measure = {"eager": eager, "continuous": continuous, "graph": graph}
    for shape in options.shapes:
        for context in options.contexts:
            for sequences in options.sequences:
                for peer in options.peers:
                    what = f"decode step {shape}, {sequences} x {context}"
                    torch.manual_seed(1)
                    try:
                        with torch.inference_mode():
                            seconds = measure[peer](torch, shape, sequences, context, options.steps)
                        print(f"{what:<34} {peer:<10} {seconds * 1e3:8.3f} ms {sequences / seconds:10.1f} tokens/s", flush=True)
                    except Exception as failure:  # one that does not fit, or a peer that is not installed, leaves the others their line
                        print(f"{what:<34} {peer:<10} {type(failure).__name__}: {str(failure).splitlines()[0] if str(failure) else ''}", flush=True)
                    torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
