"""Two optimisers behind one step: Muon for the matrices inside the layers, AdamW for embedding and norms.

Muon is momentum whose update is replaced by its nearest semi-orthogonal matrix, found with five Newton-Schulz steps
(Keller Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/); on a few million tokens it needs
clearly fewer of them than AdamW alone.
"""
import torch


def orthogonalise(g, steps=5):
    """Newton-Schulz iteration with the quintic coefficients of the reference; g is (rows, columns)."""
    x = g.bfloat16()
    flip = x.shape[0] > x.shape[1]
    if flip:
        x = x.t()
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        a = x @ x.t()
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.t() if flip else x).to(g.dtype)


class Optimiser:
    def __init__(self, model, muon_lr=0.02, adam_lr=0.003, weight_decay=0.1):
        named = list(model.named_parameters())
        self.matrices = [p for n, p in named if p.dim() == 2 and "embed" not in n]
        self.momentum = [torch.zeros_like(p) for p in self.matrices]
        others = [p for n, p in named if p.dim() != 2 or "embed" in n]
        self.adam = torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0)
        self.muon_lr, self.adam_lr, self.weight_decay = muon_lr, adam_lr, weight_decay

    @torch.no_grad()
    def step(self, scale, momentum=0.95):
        """One update at `scale` times the full learning rates."""
        lr = self.muon_lr * scale
        for p, m in zip(self.matrices, self.momentum):
            m.lerp_(p.grad, 1 - momentum)
            update = orthogonalise(p.grad.lerp(m, momentum))
            p.mul_(1 - lr * self.weight_decay)
            p.add_(update, alpha=-lr * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)
        for group in self.adam.param_groups:
            group["lr"] = self.adam_lr * scale
        self.adam.step()

    def zero_grad(self):
        for p in self.matrices:
            p.grad = None
        self.adam.zero_grad(set_to_none=True)

    def state_dict(self):
        return {"momentum": self.momentum, "adam": self.adam.state_dict()}

    def load_state_dict(self, state):
        for m, saved in zip(self.momentum, state["momentum"]):
            m.copy_(saved)
        self.adam.load_state_dict(state["adam"])
