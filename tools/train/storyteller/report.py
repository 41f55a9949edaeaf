"""Markdown tables and conversations of RUN/figures.json, for the model cards."""
from . import retrieval


def _table(head, rows):
    return "\n".join(["| " + " | ".join(r) + " |" for r in (head, ["---"] * len(head), *rows)])


def held_out(figures):
    """Perplexity by source, a column per model; documents, tokens and bits per byte are those of the last model's run."""
    names = list(figures)
    rows = []
    for source, last in figures[names[-1]]["held_out"].items():
        rows.append([source.replace("_", " "), str(last["documents"]), f"{last['tokens']:,}",
                     *(f"{figures[n]['held_out'][source]['perplexity']:.2f}" for n in names),
                     *(f"{figures[n]['held_out'][source].get('bits_per_byte', float('nan')):.3f}".replace("nan", "") for n in names)])
    return _table(["held-out text", "documents", "tokens", *(f"perplexity, {n}" for n in names),
                   *(f"bits per byte, {n}" for n in names)], rows)


def retrieval_table(rows, first):
    """Share of right answers in percent; the mean is over the kinds that were trained."""
    body = []
    for at, values in rows.items():
        mean = sum(values[k] for k in retrieval.KINDS) / len(retrieval.KINDS)
        body.append([str(at), *(f"{100 * values[k]:.0f}" for k in retrieval.KINDS), f"{100 * mean:.0f}",
                     f"{100 * values[retrieval.REVERSED]:.0f}"])
    return _table([first, *retrieval.KINDS, "mean", "reversed"], body)


def conversations(row):
    out = []
    for c in row["conversations"]:
        for role, text in c["turns"]:
            cut = " (cut at 400 tokens)" if c["finish"] == "length" and text == c["turns"][-1][1] else ""
            quoted = "\n".join(f"> {line}".rstrip() for line in text.strip().split("\n")) if role == "assistant" else "**" + text.replace("\n", " / ") + "**"
            out.append(quoted + (f"\n>\n> [{cut.strip()}]" if cut else ""))
    return "\n\n".join(out)


def write(figures, path):
    parts = ["## Held-out\n" + held_out(figures)]
    for name, row in figures.items():
        parts.append(f"# {name}")
        if "by_distance" in row:
            parts.append("By distance\n\n" + retrieval_table(row["by_distance"], "tokens back"))
            parts.append("By depth\n\n" + retrieval_table(row["by_depth"], "depth, %"))
        parts.append("Conversations\n\n" + conversations(row))
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n\n".join(parts) + "\n")
