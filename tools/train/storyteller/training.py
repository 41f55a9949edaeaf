"""The training loop: warm-up, constant rate, linear decay to zero; checkpoints that resume exactly; a CSV of the loss.

The decay is the last `decay_steps` of `steps`. Both may be changed when a run is resumed, or while it runs by writing
them into RUN/plan, so a run whose speed was not known can be told late when to end.
"""
import csv
import os
import signal
import time

import torch
import torch.nn.functional as F

from . import chart, lckv, recall
from .mixture import IGNORED, Stream
from .model import Config, Llama, autocast
from .optim import Optimiser


def planned(run, options):
    """Sets when the run ends from RUN/plan (`steps decay-steps`), which may be written while it runs."""
    path = os.path.join(run, "plan")
    if os.path.exists(path):
        with open(path) as f:
            options.steps, options.decay_steps = map(int, f.read().split())


def build(settings):
    """The decoder that a checkpoint's or a folder's settings describe: an LCKV one if they name `layer_types`."""
    kind, make = (lckv.LckvConfig, lckv.Lckv) if "layer_types" in settings else (Config, Llama)
    return make(kind(**{k: settings[k] for k in kind.__dataclass_fields__ if k in settings}))


def rate(step, steps, warmup, decay_steps):
    return min(1.0, (step + 1) / warmup, max(0.0, (steps - step) / decay_steps))


def loss_of(model, inputs, targets, device, reduction="mean", weights=None):
    """Cross-entropy of the learned positions only: the output head never sees the others; the weighted mean if weights are given."""
    with autocast(device):
        hidden = model.hidden(inputs)
        keep = targets.reshape(-1) != IGNORED
        logits = F.linear(hidden.reshape(-1, hidden.shape[-1])[keep], model.model.embed_tokens.weight)
    if weights is None:
        return F.cross_entropy(logits.float(), targets.reshape(-1)[keep], reduction=reduction)
    weights = weights.reshape(-1)[keep]
    return (F.cross_entropy(logits.float(), targets.reshape(-1)[keep], reduction="none") * weights).sum() / weights.sum()


@torch.no_grad()
def held_out_loss(model, corpus, tokenizer, device, count=64):
    """Mean loss per token of the first held-out stories, without dropout: a curve to watch, not the reported figure."""
    model.eval()
    total = tokens = 0
    for doc in corpus["tinystories"]["held_out"][:count]:
        ids = torch.tensor([[tokenizer.bos, *tokenizer.encode(doc["text"]), tokenizer.eos]], device=device)
        total += float(loss_of(model, ids[:, :-1], ids[:, 1:], device, "sum"))
        tokens += ids.shape[1] - 1
    model.train()
    return total / tokens


def watch(model, corpus, tokenizer, device, options):
    """A few held-out retrieval questions by distance, printed: to see whether the mixture does its work."""
    model.eval()
    for distance in (256, 1024, 1536):
        row = recall.by_kind(model, corpus, tokenizer, device, distance, 4, options.seed)
        print(f"  distance {distance}: " + " ".join(f"{k} {v:.2f}" for k, v in row.items()), flush=True)
    model.train()


def save(path, model, optimiser, stream, step, tokens, begun, settings):
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "stream": stream.state_dict(),
                "random": torch.get_rng_state(), "step": step, "tokens": tokens, "begun": begun, "config": settings},
               path + ".part")
    os.replace(path + ".part", path)


def _begin_curve(path, step):
    """Keeps the rows up to `step`: those after the checkpoint are written again."""
    rows = []
    if os.path.exists(path):
        with open(path, newline="") as f:
            rows = [r for r in list(csv.reader(f))[1:] if int(r[0]) <= step]
    with open(path, "w", newline="") as f:
        csv.writer(f, lineterminator="\n").writerows([["step", "tokens", "loss", "held_out_stories", "rate", "seconds"], *rows])


def _warm(path, model, settings, stream):
    """Weights of the twin from a Llama's checkpoint; its stream goes on where the Llama's stood. Returns step and tokens."""
    state = torch.load(path, map_location="cpu")
    model.load_state_dict(lckv.from_llama(state["model"], model.config))
    origin = state["stream"]
    stream.load_state_dict({**origin, "pool_number": origin["pool_number"] + 1, "at": 0})
    return state["step"], state["tokens"]


def train(run, corpus, tokenizer, settings, options, warm=None):
    """`settings`: fields of the configuration; `warm`: a Llama's checkpoint that an LCKV model begins from."""
    device = options.device
    torch.manual_seed(options.seed)
    os.makedirs(run, exist_ok=True)
    model = build(settings).to(device)
    if warm:
        model.config.forward_passes, model.config.backward_passes = options.passes
    optimiser = Optimiser(model)
    stream = Stream(corpus, tokenizer, model.config, options.seed, options.batch_tokens)
    checkpoint, curve = os.path.join(run, "checkpoint.pt"), os.path.join(run, "loss.csv")
    step = tokens = begun = 0
    if os.path.exists(checkpoint):
        state = torch.load(checkpoint, map_location=device)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        stream.load_state_dict(state["stream"])
        if "random" in state:
            torch.set_rng_state(state["random"].cpu())
        step, tokens, begun = state["step"], state["tokens"], state.get("begun", 0)
        print(f"resumed at step {step}, {tokens} tokens", flush=True)
    elif warm:
        begun, tokens = _warm(warm, model, settings, stream)
        step = begun
        print(f"warm start from step {step}, {tokens} tokens", flush=True)
    _begin_curve(curve, step)
    began = last_save = time.monotonic()
    losses, mark, mark_tokens = [], time.monotonic(), tokens
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    planned(run, options)
    while step < options.steps:
        inputs, targets, weights = (t.to(device) for t in stream.next(step))
        loss = loss_of(model, inputs, targets, device, weights=weights)
        loss.backward()
        scale = options.peak * rate(step - begun, options.steps - begun, options.warmup, options.decay_steps)
        optimiser.step(scale)
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
        step, tokens = step + 1, tokens + inputs.numel()
        if step % 20 == 0 or step == options.steps:
            planned(run, options)
            now = time.monotonic()
            mean = sum(losses) / len(losses)
            held = held_out_loss(model, corpus, tokenizer, device) if step % 200 == 0 or step == options.steps else None
            shown = "" if held is None else f"{held:.4f}"
            print(f"step {step}/{options.steps} tokens {tokens} loss {mean:.4f} held-out [{shown}] rate {scale:.3f} "
                  f"{(tokens - mark_tokens) / (now - mark):.0f} tokens/s", flush=True)
            with open(curve, "a", newline="") as f:
                csv.writer(f, lineterminator="\n").writerow([step, tokens, f"{mean:.4f}", shown, f"{scale:.4f}", f"{now - began:.0f}"])
            losses, mark, mark_tokens = [], now, tokens
            if held is not None:
                watch(model, corpus, tokenizer, device, options)
            if step == options.steps - options.decay_steps:
                save(os.path.join(run, "checkpoint-before-decay.pt"), model, optimiser, stream, step, tokens, begun, settings)
            if stop or step == options.steps or now - last_save > options.save_every:
                save(checkpoint, model, optimiser, stream, step, tokens, begun, settings)
                last_save = now
            if stop:
                print("stopped; the same command resumes", flush=True)
                break
    chart.draw(curve, curve[:-4] + ".png")
