"""Retrieval tasks set in prose: statements ("needles") hidden in filler, then questions about them; copying; counting.

One context carries many questions, so that a row teaches many answers. A row is a list of token ids and, for each, its weight in the
loss: needles are given (weight 0, they are random), filler is ordinary text (1), answers count `ANSWER` times.
Names and things are single tokens of the vocabulary, digits always are. Everything is drawn from the caller's `random.Random`.
"""
import re

NAMES = ("Lily Mia Sue Lucy Anna Amy Sara Sally Molly Jane Emma Daisy Kitty Mary Alice Tim Tom Ben Max Sam Jack Billy "
         "Bob Joe Timmy Tommy Jimmy Leo Peter Spot Fin Benny Henry John Robert Will").split()
THINGS = ("apple ball balloon bell bike blanket book bottle box bread cake candy car clock coat crown cup doll egg feather "
          "flower hat honey jar key kite lamp leaf letter map mirror nest orange picture pie ring rock rope shell ship "
          "spoon star stone toy train treasure truck").split()
PLACES = ("kitchen garden barn forest tower school shop market church castle cave hall palace village river lake park pond "
          "tent house field mill inn farm chest street").split()
ANSWER = 6.0
VALUE, PLAIN, GIVEN = ANSWER, 1.0, 0.0

# kind: statements, question, answer. The answer says again what was asked, then the value: {k} key, {v} value.
FORMS = {
    "passkey": (["The pass key is {v}. Remember it."], "What is the pass key?", "The pass key is {v}."),
    "number": (["The secret number of {k} is {v}."], "What is the secret number of {k}?",
               "The secret number of {k} is {v}."),
    "has": (["{k} has the {v}."], "What does {k} have?", "I think {k} has the {v}."),
    "owner": (["The {k} belongs to {v}."], "Who owns the {k}?", "The {k} belongs to {v}."),
    "who": (["{k} has the {v}."], "Who has the {v}?", "The {v} is with {k}."),
    "place": (["The {k} is in the {v}."], "Where is the {k}?", "The {k} is in the {v}."),
}
KINDS = {"has": 3, "owner": 2, "place": 3, "number": 2, "passkey": 2}
REVERSED = "who"        # asks for the key by the value: not in training any more, see the card
_SENTENCE = re.compile(r"(?<=[.!?])[\"']?\s+")


def sentences(text):
    """Sentences of `text`, each with the white space that precedes it (a space in front of the first)."""
    out, at = [], 0
    for m in _SENTENCE.finditer(text):
        out.append(text[at:m.end()].rstrip())
        at = m.end()
    out.append(text[at:])
    return [" " + s for s in out if s.strip()]


class Row:
    """Token ids with their weights, in the making."""

    def __init__(self, tokenizer):
        self.tok, self.ids, self.weights = tokenizer, [tokenizer.bos], [GIVEN]

    def __len__(self):
        return len(self.ids)

    def add(self, ids, weight):
        self.ids += ids
        self.weights += [weight] * len(ids)

    def text(self, text, weight):
        self.add(self.tok.encode(text), weight)

    def answer(self, text, value):
        """`text` with the occurrence of `value` at full weight and the rest as plain text."""
        head, tail = text.split(value, 1)
        whole, first, last = self.tok.encode(text), self.tok.encode(head.rstrip(" ")), self.tok.encode(tail)
        n, m = len(first), len(whole) - len(last)
        self.add(whole[:n], PLAIN)
        self.add(whole[n:m], VALUE)
        self.add(whole[m:], PLAIN)


def _facts(rng, count, kinds, avoid):
    """`count` facts (kind, key, value) without two that share a key or a value of the same kind."""
    def free(words):
        kept = [w for w in words if w not in avoid]
        rng.shuffle(kept)
        return kept
    names, numbered, things, placed, places = free(NAMES), free(NAMES), free(THINGS), free(THINGS), list(PLACES)
    facts, numbers = [], 0
    for _ in range(count * 3):
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        if kind == "passkey" and not any(f[0] == "passkey" for f in facts):
            facts.append((kind, "", "".join(rng.sample("0123456789", 5))))
        elif kind == "number" and numbered and numbers < 5:
            numbers += 1
            facts.append((kind, numbered.pop(), "".join(rng.sample("0123456789", 4))))
        elif kind == "owner" and names and things:
            facts.append((kind, things.pop(), names.pop()))
        elif kind in ("has", REVERSED) and names and things:
            facts.append((kind, names.pop(), things.pop()))
        elif kind == "place" and placed:
            facts.append((kind, placed.pop(), rng.choice(places)))
        if len(facts) == count:
            break
    return facts


def needles(tokenizer, prose, rng, length):
    """Facts hidden in filler, then one question about each; as a chat or as plain text.

    `prose(rng)` gives the text of one passage after the other.
    """
    row, chat = Row(tokenizer), rng.random() < 0.7
    most = max(1, min(48, length // 36))
    count = max(1, int(most * rng.choice([0.1, 0.25, 0.5, 0.75, 1])))
    budget = length - 24 * count - 30
    filler, size = [], 0
    room = budget - 11 * count
    while size < room:
        for s in sentences(prose(rng)):
            filler.append(tokenizer.encode(s))
            size += len(filler[-1])
            if size >= room:
                break
    words = set(re.findall(r"[A-Za-z]+", tokenizer.decode([i for s in filler for i in s])))
    facts = _facts(rng, count, KINDS, {w for w in words if w in NAMES})
    at = sorted(rng.randrange(len(filler) + 1) for _ in facts)
    if chat:
        row.add([tokenizer.user], GIVEN)
    placed = 0
    for i in range(len(filler) + 1):
        while placed < len(facts) and at[placed] == i:
            kind, k, v = facts[placed]
            row.text(" " + rng.choice(FORMS[kind][0]).format(k=k, v=v), GIVEN)
            placed += 1
        if i < len(filler):
            row.add(filler[i], PLAIN)
    rng.shuffle(facts)
    first = True
    for kind, k, v in facts:
        if len(row) > length - 20:
            break
        _, question, answer = FORMS[kind]
        question, answer = question.format(k=k, v=v), answer.format(k=k, v=v)
        if chat:
            if not first:
                row.add([tokenizer.user], GIVEN)
            row.text(("\n\n" if first else "") + question, GIVEN)
            row.add([tokenizer.end, tokenizer.assistant], GIVEN)
            row.answer(answer, k if kind == "who" else v)
            row.add([tokenizer.end], PLAIN)
        else:
            row.text(("\n\n" if first else "\n") + "Question: " + question + "\nAnswer:", GIVEN)
            row.answer(" " + answer, k if kind == "who" else v)
        first = False
    return row.ids, row.weights


def copying(tokenizer, prose, rng, length):
    """A run of words, names, digits or sentences, some filler, and the same run again; every repeated token is learned."""
    row, room, draw = Row(tokenizer), int(length * rng.choice([0.2, 0.35, 0.45])), rng.random()
    if draw < 0.55:
        pool = [tokenizer.encode(" " + w)[0] for w in NAMES + THINGS + PLACES]
        body = [rng.choice(pool) for _ in range(room)]
    elif draw < 0.8:                # any words of the vocabulary: nothing but position and content helps
        body = [rng.randrange(300, len(tokenizer.tokens)) for _ in range(room)]
    else:
        body = tokenizer.encode(" " + prose(rng))[:room]
    row.text("Copy:", GIVEN)
    row.add(body, GIVEN)
    if rng.random() < 0.6:
        filler = tokenizer.encode("\n\n" + prose(rng))
        row.add(filler[:max(0, length - len(row) - len(body) - 4)], PLAIN)
    row.text("\nCopy:", GIVEN)
    row.add(body[:1], GIVEN)
    row.add(body[1:1 + max(0, length - len(row))], ANSWER / 2)
    return row.ids, row.weights


def counting(tokenizer, rng, length):
    """Counting up and down, and how often a word was said, as short chats in one row."""
    row = Row(tokenizer)
    while len(row) < length - 60:
        row.add([tokenizer.user], GIVEN)
        if rng.random() < 0.5:
            a, n = rng.randrange(1, 60), rng.randrange(3, 10)
            steps = [a + i for i in range(n)]
            if rng.random() < 0.3:
                steps.reverse()
            row.text(f"Count from {steps[0]} to {steps[-1]}.", GIVEN)
            row.add([tokenizer.end, tokenizer.assistant], GIVEN)
            row.text(", ".join(map(str, steps)) + ".", 2 * PLAIN)
        else:
            n, word = rng.randrange(1, 10), rng.choice(THINGS)
            row.text(f"How many times do I say {word}?" + f" {word}" * n, GIVEN)
            row.add([tokenizer.end, tokenizer.assistant], GIVEN)
            row.answer(f"{n} times.", str(n))
        row.add([tokenizer.end], PLAIN)
    return row.ids, row.weights


def example(tokenizer, prose, rng, length, copy_share=0.2):
    draw = rng.random()
    if draw < copy_share:
        return copying(tokenizer, prose, rng, length)
    if draw < copy_share + 0.04:
        return counting(tokenizer, rng, min(length, 512))
    return needles(tokenizer, prose, rng, length)


def case(tokenizer, prose, rng, kind, distance, context, distractors):
    """A single question: (ids up to the answer, ids of the whole expected answer).

    The asked fact ends about `distance` tokens before the question's mark; the text before it fills up to `context`
    tokens in all; `distractors` facts of the same sort stand elsewhere.
    """
    pool = _facts(rng, 1 + distractors, {kind: 1}, set()) if kind != "passkey" else \
        _facts(rng, 1, {kind: 1}, set()) + _facts(rng, distractors, {"has": 1}, set())
    (_, k, v), others = pool[0], pool[1:]
    _, question, answer = FORMS[kind]
    tail = tokenizer.encode("\n\n" + question.format(k=k, v=v)) + [tokenizer.end, tokenizer.assistant]
    fact = tokenizer.encode(" " + FORMS[kind][0][0].format(k=k, v=v))
    names = {w for f in pool for w in f[1:]}
    def fill(size):
        out = []
        while sum(map(len, out)) < size:
            for s in sentences(prose(rng)):
                if not names & set(re.findall(r"[A-Za-z]+", s)):
                    out.append(tokenizer.encode(s))
        return out
    def mix(size, facts):
        extra = [tokenizer.encode(" " + FORMS[f[0]][0][0].format(k=f[1], v=f[2])) for f in facts]
        room = size - sum(map(len, extra))
        parts, flat = fill(room), []
        for e in extra:
            parts.insert(rng.randrange(max(1, len(parts) // 2)), e)
        for p in parts:
            flat += p
        return flat[:max(size, 0)] if not extra else flat
    after = max(0, distance - len(tail))
    late = [f for f in others if after > 40 * (1 + others.index(f)) and rng.random() < 0.5]
    early = [f for f in others if f not in late]
    behind = mix(after, late)[:after] if after else []
    before = max(0, context - len(fact) - len(behind) - len(tail) - 2)
    ahead = mix(before, early)[-before:] if before > 12 else []
    ids = [tokenizer.bos, tokenizer.user] + ahead + fact + behind + tail
    return ids, tokenizer.encode(answer.format(k=k, v=v)) + [tokenizer.end]
