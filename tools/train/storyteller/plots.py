"""A story grammar: stories whose causes, characters and things hold together, and what a user would have asked to hear them.

The content stands in `plots/*.txt` as text that can be read. A plot has a head of `key: value` lines, then beats divided by empty
lines; each line of a beat is another way to tell it. In such a line

    {a|b|}      is one of the alternatives (the last one here is empty),
    [h]         is the hero: the name, or "the rabbit"; [h.a] introduces him, [h.he] [h.him] [h.his] [h.self] are pronouns,
                [h.went] how he moves, [h.home] where he sleeps, [h.eats], [h.kind] what he is; [H] begins with a capital,
    [t]         is a thing: its noun; [t.a] introduces it ("a big red ball"), [t.color] ...,
    [spot]      is what the head's line `spot: a | b` gave this time; [@fruit] is a word of that list,
    <sad h>     is a phrase of phrases.txt, said of `h`,
    (h:named)   in front of a line lets it be used only for such heroes; `?` in front of a beat's first line makes it optional.

In a head, a key of one letter is a character (h hero, f g friends, p pet, m family) or a thing (t u v) with the tags it may have;
`gist` and `theme` say what the story is about, `Q: question = answer` lines ask about it. A question is only asked when the
story has used all slots of its answer.
"""
import functools
import os
import random
import re

from . import prompts

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plots")
FILES = ("everyday.txt", "pets.txt", "animals.txt", "fables.txt", "bedtime.txt", "combinations.txt")
CHARACTERS, THINGS = "hfg", "tuv"
FEMALE = dict(he="she", him="her", his="her", self="herself", hers="hers", boy="girl", son="daughter")
MALE = dict(he="he", him="him", his="his", self="himself", hers="his", boy="boy", son="son")
FEELINGS = ["happy", "happy", "very happy", "glad", "full of joy", "happy and proud"]
ELDERS = {"mom": FEMALE, "mother": FEMALE, "grandma": FEMALE, "grandmother": FEMALE, "aunt": FEMALE}
PETLIKE = ("dragon", "dinosaur", "monster", "unicorn", "elf", "fairy")
NOT_CHILDREN = ("Spot", "Fin", "Kitty")
UNLIKE = set("swimmer machine fantasy object sky plant toyish vehicle rails floats roller light".split())
_BRACES = re.compile(r"\{([^{}]*)\}")
_MACRO = re.compile(r"<([a-z0-9-]+)((?: [a-z])*)>")
_SLOT = re.compile(r"\[([A-Za-z@][A-Za-z ]*)(?:\.([a-z]+))?\]")
_GUARD = re.compile(r"\(([a-z]):(!?)([a-z]+)\) ?")
_VOWEL = re.compile(r"^(?!uni|use|uku|one\b|eu)[aeiou]|^(hour|honest)", re.I)


# ---- reading the content

def _lines(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        return [line.rstrip("\n") for line in f if not line.startswith("#")]


@functools.lru_cache(None)
def words():
    """Word lists by name."""
    out = {}
    for line in _lines("words.txt"):
        key, _, rest = line.partition(": ")
        if rest:
            out[key] = [w.strip() for w in rest.split(", ")]
    out["girls"] = out["girls"] + prompts.GIRLS * 2
    out["boys"] = out["boys"] + prompts.BOYS * 2
    return out


@functools.lru_cache(None)
def table(name, width):
    """Rows of a `a | b | c` file; the second column is a set of tags."""
    rows = [[c.strip() for c in line.split("|" if width == 4 else " | ")] for line in _lines(name) if line.strip()]
    bad = [r for r in rows if len(r) != width]
    assert not bad, bad
    return [[r[0], set(r[1].split()), *r[2:]] for r in rows]


@functools.lru_cache(None)
def phrases():
    """Alternatives of each `<phrase>`; `morals()` has the same form."""
    return _blocks("phrases.txt")


@functools.lru_cache(None)
def morals():
    return _blocks("morals.txt")


def _blocks(name):
    out, key = {}, None
    for line in _lines(name):
        if line.startswith("== "):
            key = line[3:].strip()
            out[key] = []
        elif line.strip():
            out[key].append(line.strip())
    return out


class Plot:
    """One plot as written: head, beats, questions."""

    def __init__(self, title, lines):
        self.title, self.head, self.beats, self.questions = title, {}, [], []
        beat = []
        for line in lines + [""]:
            line = line.strip()
            if line.startswith("Q: "):
                self.questions.append(line[3:].split(" = "))
            elif not self.beats and not beat and re.match(r"[a-z]+: ", line):
                key, _, value = line.partition(": ")
                self.head[key] = value
            elif line:
                beat.append(line)
            elif beat:
                self.beats.append(beat)
                beat = []
        self.kind = self.head.get("kind", "everyday")


@functools.lru_cache(None)
def plots():
    """All plots, in the order of the files."""
    out = []
    for name in FILES:
        if not os.path.exists(os.path.join(FOLDER, name)):
            continue
        title, lines = None, []
        for line in _lines(name) + ["== "]:
            if line.startswith("== "):
                if title:
                    out.append(Plot(title, lines))
                title, lines = line[3:].strip(), []
            else:
                lines.append(line)
    return out


def options(text):
    """Top-level alternatives of `a | b {c|d}`: bars within braces do not count."""
    out, depth, part = [], 0, ""
    for c in text:
        depth += (c == "{") - (c == "}")
        if c == "|" and depth == 0:
            out.append(part.strip())
            part = ""
        else:
            part += c
    return out + [part.strip()]


def choose(text, rng):
    """`text` with every {a|b} decided."""
    while "{" in text:
        text = _BRACES.sub(lambda m: rng.choice(m[1].split("|")), text)
    return text


def article(phrase):
    return ("an " if _VOWEL.search(phrase) else "a ") + phrase


# ---- characters and things

class Character:
    """Somebody in the story; `form(x)` is what [h.x] says."""

    def __init__(self, row, rng, trait=None, named=0.75, gender=None, taken=(), name=None):
        self.noun, self.tags, self.moved, self.nest, lives, eats = row
        child = "child" in self.tags
        if self.noun in ("girl", "boy"):
            gender = "female" if self.noun == "girl" else "male"
        for g in ("female", "male"):
            gender = g if g in self.tags else gender
        self.gender = gender or rng.choice(["female", "male"])
        self.pronouns = FEMALE if self.gender == "female" else MALE
        self.lives, self.eats = choose(lives, rng), choose(eats, rng)
        self.name = name
        if name is None and (child and named > 0.3 or rng.random() < named):
            lists = ["girls" if self.gender == "female" else "boys"] + ([] if child or "fantasy" in self.tags and self.noun not in PETLIKE else [self.gender])
            lists += [self.gender] * 2 if named == 1.0 else []      # a pet
            pool = [n for n in words()[rng.choice(lists)]
                    if not (child and n in NOT_CHILDREN) and not any(n[0] == o[0] or n.lower() in o.lower() or o.lower() in n.lower() for o in taken)]
            self.name = rng.choice(pool)
        sizes = "child" if child else "small" if "small" in self.tags else "big" if "big" in self.tags else ""
        self.trait = trait if trait is not None else rng.choice(words()["traits"]) if rng.random() < 0.55 else ""
        size = rng.choice(words()["size " + sizes]) if sizes and rng.random() < (0.2 if sizes == "big" else 0.45) else ""
        if self.noun.endswith(("ling", "puppy", "kitten")) and size in ("young", "big") or self.trait in ("young", "small", "little", "tiny", "big"):
            size = ""
        coat = rng.choice(words()["coat"]) if sizes and not child and not self.trait and rng.random() < 0.2 \
            and self.tags & {"house", "runner"} and self.noun not in ("zebra", "tiger", "lion") else ""
        if child and not size and not self.trait:
            size = "little"
        order = (self.trait, size, coat) if size in ("little", "young") and self.trait != "old" else (size, self.trait, coat)
        self.adjectives = [a for a in order if a]
        self.naming = rng.choice(["named", "named", "called"])

    @property
    def bare(self):
        return article(" ".join([*self.adjectives, self.noun]))

    @property
    def intro(self):
        return f"{self.bare} {self.naming} {self.name}" if self.name else self.bare

    def form(self, what):
        if what in self.pronouns:
            return self.pronouns[what]
        return {"": self.name or f"the {self.noun}", "a": self.intro, "bare": self.bare, "kind": self.noun,
                "the": f"the {self.noun}", "went": self.moved, "home": self.nest, "in": self.lives, "eats": self.eats,
                "trait": self.trait, "name": self.name or "", "little": " ".join([*self.adjectives[:2], self.noun])}[what]

    def has(self, tag):
        return {"named": bool(self.name), "trait": bool(self.trait)}.get(tag, tag in self.tags)


class Elder:
    """Somebody of the hero's family: "his mother"."""

    def __init__(self, hero, rng):
        self.noun = rng.choice(words()["family child" if "child" in hero.tags else "family animal"])
        self.pronouns = ELDERS.get(self.noun, MALE)
        self.of, self.name, self.tags, self.trait, self.adjectives = hero.pronouns["his"], None, {"elder"}, "", []

    def form(self, what):
        return self.pronouns[what] if what in self.pronouns else {
            "": f"{self.of} {self.noun}", "the": f"{self.of} {self.noun}", "my": f"my {self.noun}", "kind": self.noun}[what]

    def has(self, tag):
        return tag in self.tags


class Thing:
    """An object with at most two adjectives, the second a color."""

    def __init__(self, row, rng, color=None):
        self.noun, self.tags, adjectives, colors = row
        first = rng.choice(adjectives.split(", ")) if rng.random() < 0.55 else ""
        choices = words()["color"] if colors == "yes" else [c for c in colors.split(", ") if c]
        self.color = color or (rng.choice(choices) if choices and rng.random() < 0.6 else "")
        first = first or ("" if self.color else rng.choice(adjectives.split(", ")))
        if first in ("golden", "silver") and self.color or first == self.color:
            first = ""
        self.adjectives = [a for a in (first, self.color) if a]

    def form(self, what):
        full = " ".join([*self.adjectives, self.noun])
        return {"": self.noun, "a": article(full), "full": full, "color": self.color, "the": f"the {self.noun}",
                "adj": " ".join(self.adjectives)}[what]

    def has(self, tag):
        return tag in self.tags or tag == "colored" and bool(self.color)


# ---- telling

def _matches(tag, row):
    """Whether one tag of a head, or a noun, admits the row: those who cannot walk about on land must be named or asked for."""
    if tag == "any" or tag.replace("_", " ") == row[0]:
        return True
    return tag in row[1] and (tag in UNLIKE or not row[1] & UNLIKE)


def _pick(rows, tags, rng, but=()):
    """A row with one of the tags (or nouns) in `tags`, each tag as likely as the next; "-x" forbids tag or noun x."""
    wanted = [t for t in tags.split() if t[0] != "-"]
    banned = {t[1:].replace("_", " ") for t in tags.split() if t[0] == "-"}
    free = [r for r in rows if r[0] not in but and r[0] not in banned and not r[1] & banned]
    rng.shuffle(wanted)
    for tag in wanted:
        fitting = [r for r in free if _matches(tag, r)]
        if fitting:
            return rng.choice(fitting)
    return None


class Story:
    """A told story: `text`, `kind`, `hero`, `name`, `things`, `moral`, `places`, `questions` [(question, answer)], `abouts`."""

    def __init__(self, plot, rng, wanted):
        self.plot, self.rng, self.kind = plot, rng, plot.kind
        self.cast, self.chosen, self.used = {}, {}, set()
        self._draw(wanted)
        self.telling = True
        self._beats = [self._beat(b) for b in plot.beats]
        self._beats = [b for b in self._beats if b]
        self.text = self._join()
        self.telling, told = False, set(self.used)
        self.abouts = self._abouts()
        self.used = told
        self.questions = self._questions()

    # what the story is made of

    def _draw(self, wanted):
        head, rng = self.plot.head, self.rng
        nouns, names = [], []
        for key in CHARACTERS:
            if key not in head:
                continue
            if key == "h" and "like" in wanted:
                c = wanted["like"]
            else:
                tags = wanted.get("hero", head[key]) if key == "h" else wanted.get("friend", head[key]) if key == "f" else head[key]
                row = _pick(table("creatures.txt", 6), tags, rng, nouns)
                trait = head.get("trait" if key == "h" else "trait" + key)
                trait = choose("{" + trait + "}", rng).strip() if trait else None
                first = self.cast.get("h")
                other = {"female": "male", "male": "female"}[first.gender] if first and rng.random() < 0.8 else None
                named = (0.78 if key == "h" else 0.55) if "grown" not in row[1] else 0.3
                c = Character(row, rng, trait if key != "h" else wanted.get("trait", trait), named, other, names,
                              wanted.get("name") if key == "h" else None)
                if key != "h" and trait is None and rng.random() < 0.5:
                    c.adjectives = [a for a in c.adjectives if a != c.trait]
                    c.trait = ""
            self.cast[key] = c
            nouns.append(c.noun)
            names += [c.name] if c.name else []
        if "p" in head:
            noun = choose("{" + head["p"] + "}", rng).strip() if head["p"] != "yes" else rng.choice(words()["pets"])
            row = next(r for r in table("creatures.txt", 6) if r[0] == noun)
            self.cast["p"] = Character(row, rng, "", 1.0, None, names)
        if "m" in head:
            self.cast["m"] = Elder(self.cast["h"], rng)
        for i, key in enumerate(THINGS):
            if key in head:
                tags = wanted.get("thing", head[key]) if key == "t" else head[key]
                row = _pick(table("objects.txt", 4), tags, rng, nouns)
                self.cast[key] = Thing(row, rng)
                nouns.append(row[0])
        for key, value in head.items():
            if key not in self.cast and key not in ("kind", "gist", "theme", "trait", "traitf", "traitg", "moral"):
                self.chosen[key] = rng.choice(options(value))
        self.chosen.setdefault("feel", rng.choice(FEELINGS))
        if "moral" in head:
            self.topic = choose("{" + head["moral"] + "}", rng).strip()
            self.chosen["moral"] = wanted.get("moral") or rng.choice(morals()[self.topic])

    @property
    def hero(self):
        return self.cast["h"]

    @property
    def name(self):
        return self.hero.name

    @property
    def things(self):
        return [self.cast[k] for k in THINGS if k in self.cast]

    @property
    def moral(self):
        return self.say("[moral]") if "moral" in self.chosen else None

    @property
    def places(self):
        return [self.say(f"[{k}]") for k in ("place", "spot", "land") if k in self.chosen]

    # from template to text

    def _allowed(self, line, bound=None):
        """The line without its guards, or None where a guard forbids it."""
        while (m := _GUARD.match(line)):
            who = self.cast.get((bound or {}).get(m[1], m[1]))
            if (who is not None and who.has(m[3])) == bool(m[2]):
                return None
            line = line[m.end():]
        return line

    def _phrase(self, m):
        bound = dict(zip("xyz", m[2].split()))
        fitting = [line for line in (self._allowed(p, bound) for p in phrases()[m[1]]) if line is not None]
        line = self.rng.choice(fitting)
        return re.sub(r"\[([xyzXYZ])(?=[\].])", lambda s: "[" + (bound[s[1].lower()] if s[1].islower() else
                                                                bound[s[1].lower()].upper()), line)

    def _slot(self, m):
        key, form = m[1], m[2] or ""
        if key[0] == "@":
            return choose(self.rng.choice(words()[key[1:]]), self.rng)
        low = key.lower()
        if low in self.cast:
            if self.telling and isinstance(self.cast[low], Character):
                form = self._introduced(low, form)
            said = self.cast[low].form(form)
            self.used |= {low, f"{low}.{form}"}
        else:
            said = self.chosen[low]
            if "{" in said or "[@" in said:     # decided once: the same words at each place
                said = self.chosen[low] = re.sub(r"\[@([a-z ]+)\]", lambda s: self.rng.choice(words()[s[1]]), choose(said, self.rng))
            self.used.add(low)
            said = self.say(said)
        return said[:1].upper() + said[1:] if key[0].isupper() else said

    def _introduced(self, key, form):
        """Who is named for the first time is introduced, and nobody is introduced twice."""
        known = self.used & {f"{key}.a", f"{key}.bare", f"{key}.name"}
        if not known and form in ("", "the") and key in "fg":
            return "a"
        assert known or form in ("a", "bare", "name") or key in "hp", f"{self.plot.title}: [{key}.{form}] before [{key}.a]"
        return "" if known and form == "a" and f"{key}.a" in self.used else form

    def say(self, text):
        """Slots, phrases and alternatives of `text` replaced."""
        text = choose(text, self.rng)
        while "<" in text:
            text = choose(_MACRO.sub(self._phrase, text), self.rng)
        return _SLOT.sub(self._slot, text)

    def _beat(self, lines):
        lines = list(lines)
        if lines[0].startswith("? "):
            lines[0] = lines[0][2:]
            if self.rng.random() < 0.45:
                return ""
        fitting = [line for line in map(self._allowed, lines) if line is not None]
        return self.say(self.rng.choice(fitting)).strip() if fitting else ""

    def _join(self):
        breaks, text = self.rng.choice([0.1, 0.3, 0.3, 0.6]), ""
        for i, beat in enumerate(self._beats):
            text += ("" if i == 0 else "\n" if self.rng.random() < breaks else " ") + beat
        return reword(tidy(text.removeprefix("Then, ")), self.rng)

    # what may be asked

    def _abouts(self):
        """Noun phrases a request may name, all of them in the story."""
        h, rng = self.hero, self.rng
        out = [h.form("bare"), article(h.noun), article(" ".join([h.trait, h.noun]).strip())]
        if h.name:
            out += [h.intro, h.intro, f"{article(h.noun)} {h.naming} {h.name}", f"{article(h.noun)} named {h.name}", h.name]
            out += [f"{h.name} the {h.noun}"] if not h.has("child") else []
        who, words_of = rng.choice(out), out
        about = [who, rng.choice(words_of)]
        for gist in options(self.plot.head["gist"]) if "gist" in self.plot.head else []:
            about += [f"{who} {tidy(self.say(gist), False)}"] * 2
        for key in ("t", "u"):
            if key in self.cast and f"{key}.a" in self.used:
                t = self.cast[key]
                about += [f"{who} and {rng.choice([t.form('a'), article(t.noun)])}", rng.choice([t.form("a"), article(t.noun)])]
        for key in ("f", "g", "p"):
            if key in self.cast and key in self.used:
                f = self.cast[key]
                known = f"{key}." in self.used or f"{key}.a" in self.used      # else the story does not tell the name
                phrase = rng.choice([f.form("bare"), article(f.noun), f.intro if known else f.form("bare"), article(f.noun)])
                if key == "p":
                    about += [f"{h.name or who} and {h.form('his')} {f.noun}" + (f" {f.name}" if f.name and rng.random() < .7 else "")] * 4
                else:
                    about += [f"{who} and {phrase}"] * 2 + [f"a friendship between {article(h.noun)} and {article(f.noun)}"] * \
                        ("friend" in self.plot.head.get("theme", ""))
                if known and f.name and h.name and rng.random() < 0.4:
                    about.append(f"{h.name} and {f.name}")
        if "theme" in self.plot.head:
            theme = self.say(rng.choice(options(self.plot.head["theme"])))
            about += [f"{who} and {theme}" if theme.startswith(("the ", "a ")) else f"{who}", theme]
        return about

    def _questions(self):
        h, name, feel = self.hero, self.hero.form(""), self.chosen.get("feel")
        out = [("{Who is the story about?|Who was the story about?|Who is it about?|Who is the hero of the story?}",
                f"{{The story is about|It is about|The story was about}} {h.intro}.")]
        if h.name:
            out.append((f"{{What was the name of the {h.noun}{{| in the story}}?|What is the name of the {h.noun}?|"
                        f"What was the {h.noun} called?|What is the {h.noun} called?|What is the {h.noun}'s name?|What was the {h.noun}'s name?}}",
                        f"{{The name of the {h.noun} {{is|was}} {h.name}.|The {h.noun} {{is|was}} called {h.name}.}}"))
            if not h.has("child"):
                out.append((f"{{What animal is {h.name}?|Who is {h.name}?|Who was {h.name}?}}" if h.tags & {"walker", "flyer", "swimmer"}
                            else f"{{Who is {h.name}?|Who was {h.name}?}}", f"{h.name} is {h.bare}."))
        for key in ("f", "g", "p"):
            c = self.cast.get(key)
            if c and c.name and f"{key}.a" in self.used and c.noun != h.noun:
                out.append((f"{{What was the name of the {c.noun}?|What was the {c.noun} called?|What is the name of the {c.noun}?}}",
                            f"{{The name of the {c.noun} was {c.name}.|The {c.noun} was called {c.name}.}}"))
        for key in THINGS:
            t = self.cast.get(key)
            if t and t.color and f"{key}.a" in self.used and t.tags.isdisjoint({"food"}):
                out.append((f"{{What color was the {t.noun}?|What color is the {t.noun}?|Which color did the {t.noun} have?}}",
                            f"The {t.noun} was {t.color}."))
        if "h.in" in self.used:
            out.append((f"{{Where did {name} live?|Where does {name} live?}}", f"{name} lived {h.lives}."))
        if "feel" in self.used:
            out.append((f"{{How did {name} feel at the end?|How did {name} feel {{|at the end of the story}}?|How does the story end for {name}?}}",
                        f"{{At the end, {name} was {feel}.|{name} {{felt|was}} {feel} {{in the end|at the end}}.}}"))
        if self.moral and "moral" in self.used:
            out.append((f"{{What is the moral of the story?|What did {name} learn?|What does the story teach?|What can we learn from the story?|What is the lesson?}}",
                        f"{{The story teaches that|We can learn that|The moral is that|The story shows that}} {self.moral}."))
        done, used = [], set(self.used)
        for question, answer in [*out, *self.plot.questions, *self.plot.questions]:
            needed = {m[1].lower() for m in _SLOT.finditer(answer)}
            if needed <= used:
                done.append((tidy(self.say(question)), tidy(self.say(answer))))
        return done


@functools.lru_cache(None)
def wordings():
    """(pattern of the first wording, all wordings) of each line of wordings.txt."""
    rows = [[w.strip() for w in line.split("|")] for line in _lines("wordings.txt") if line.strip()]
    return [(re.compile(rf"\b({row[0][0]}|{row[0][0].upper()}){row[0][1:]}\b"), row) for row in rows]


SHORT = [("did not", "didn't"), ("could not", "couldn't"), ("do not", "don't"), ("was not", "wasn't"), ("does not", "doesn't"),
         ("would not", "wouldn't"), ("had not", "hadn't"), ("I am", "I'm"), ("I will", "I'll"), ("It is", "It's"), ("cannot", "can't")]


def reword(text, rng):
    """The same story in slightly other words; in a third of the stories with don't and I'm."""
    for pattern, row in wordings():
        if rng.random() < 0.45:
            new = rng.choice(row[1:])
            text = pattern.sub(lambda m: new[0].upper() + new[1:] if m[1].isupper() else new, text)
    if rng.random() < 0.3:
        for long, short in SHORT:
            text = re.sub(rf"\b{long}\b(?=[ ])", short, text)
            text = re.sub(rf"\b{long[0].upper() + long[1:]}\b(?=[ ])", short[0].upper() + short[1:], text)
    return text


def tidy(text, capital=True):
    """Right articles, capitals at the beginning of sentences, no doubled spaces."""
    text = re.sub(r" +", " ", text)
    text = re.sub(r" ([.,!?])", r"\1", text).replace(" \n", "\n").replace("\n ", "\n")
    text = re.sub(r"\b([Aa])n? (?=([a-z]+))", lambda m: m[1] + ("n " if _VOWEL.search(m[2]) else " "), text)
    if capital:
        text = re.sub(r"(^\"?|[.!?]\"? *\n\"?|[.!?] \"?|\.\" \"?|[,:] \")([a-z])", lambda m: m[1] + m[2].upper(), text.strip())
    return text.strip()


# ---- what is not told: the evaluation's prompts

def forbidden(story):
    """Whether the story has just the elements of one of the prompts that the model is evaluated with."""
    h, cast = story.hero, story.cast
    said = set(re.findall(r"[a-z]+", story.text.lower()))
    traits = {a for c in cast.values() for a in (getattr(c, "trait", ""), getattr(c, "noun", "")) if a}
    pairs = {(getattr(c, "trait", None), c.noun) for c in cast.values()}
    names = {c.name for c in cast.values() if getattr(c, "name", None)}
    return (("brave", "rabbit") in pairs
            or "Rose" in names and "key" in said
            or ("proud", "lion") in pairs and story.moral is not None and "kind" in story.moral
            or {"Tom", "Max"} <= names
            or "Lily" in names and ("ball" in traits or "river" in said)
            or h.noun == "bear" and "moon" in said
            or {"cat", "hat"} <= said
            or any(c.name == "Mia" for c in cast.values() if getattr(c, "name", None)))


_BANNED = [r"brave (little )?rabbit", r"\brose\b.*\bkey\b", r"proud (little |big )?lion.*\bkind", r"\btom\b.*\bmax\b",
           r"\blily\b.*(\bball\b|\briver\b)", r"\bbear\b.*\bmoon\b", r"\bmoon\b.*\bbear\b", r"\bcat\b.*\bhat\b", r"\bhat\b.*\bcat\b",
           r"\bmia\b"]


def banned(request):
    """Whether a request comes too near to a prompt of the evaluation."""
    return any(re.search(p, request.lower(), re.S) for p in _BANNED)


# ---- telling and asking

def accepts(tags, row):
    """Whether a head's `tags` allow this creature or thing."""
    banned_tags = {t[1:].replace("_", " ") for t in tags.split() if t[0] == "-"}
    wanted = [t for t in tags.split() if t[0] != "-"]
    return not (row[0] in banned_tags or row[1] & banned_tags) and any(_matches(t, row) for t in wanted)


def tell(rng, wanted=None):
    """A story. `wanted` may ask for hero, friend, thing (nouns), name, trait, moral, kind, or to be `like` a character."""
    wanted = wanted or {}
    fitting = [p for p in plots() if wanted.get("kind", p.kind) == p.kind and _fits(p, wanted)]
    while True:
        story = Story(rng.choice(fitting or plots()), rng, wanted)
        if wanted or not forbidden(story):
            return story


def _fits(plot, wanted):
    creatures = {r[0]: r for r in table("creatures.txt", 6)}
    things = {r[0]: r for r in table("objects.txt", 4)}
    hero = wanted["like"].noun if "like" in wanted else wanted.get("hero")
    for key, noun, rows in (("h", hero, creatures), ("f", wanted.get("friend"), creatures), ("t", wanted.get("thing"), things)):
        if noun and (key not in plot.head or noun not in rows or not accepts(plot.head[key], rows[noun])):
            return False
    trait = wanted["like"].trait if "like" in wanted else wanted.get("trait")
    return not (trait and "trait" in plot.head and trait not in plot.head["trait"])


ASK = prompts.ASK + [
    "Tell me a story about {}", "Write a story about {}", "tell me a short story about {}", "write a short story about {}",
    "Can you write a story about {}?", "Could you tell me a story about {}?", "I would like a story about {}.",
    "A short story about {}.", "Make up a short story about {}.", "Tell us a story about {}.", "can you tell me a story about {}",
    "please tell me a story about {}", "Story about {}", "Tell me something about {}.", "Write me a short story about {}.",
    "My child wants to hear a story about {}.", "My daughter wants a story about {}.", "I need a story about {}.",
    "Write a simple story about {}.", "Write a happy story about {}.", "Do you know a story about {}?", "Invent a story about {}.",
]
ASK_BED = ["Write a bedtime story about {}.", "Tell me a bedtime story about {}.", "bedtime story about {}", "A bedtime story about {}, please.",
           "Can you tell me a bedtime story about {}?", "Please tell me a good night story about {}.", "I cannot sleep. Tell me a story about {}.",
           "Tell my child a bedtime story about {}.", "Write a short bedtime story about {}", "Write a calm story about {}."]
ASK_FABLE = prompts.ASK_FABLE + ["write a fable about {}", "Tell me a short fable about {}.", "A fable about {}, please.",
                                 "Tell a fable with {}.", "Can you write a fable about {}?", "Write a fable about {} with a moral."]
ASK_MORAL = prompts.ASK_MORAL + ["Write a fable about {} that teaches that {}.", "Tell me a story about {} that shows that {}.",
                                 "write a fable about {} that teaches that {}", "Write a short story about {}. It should teach that {}.",
                                 "Tell me a fable about {} with the moral that {}.", "Write a fable about {}. Moral: {}."]
ASK_WORDS = prompts.ASK_WORDS + ["write a story with the words {}", "Write a story with these words: {}.", "Tell me a story with the words {}.",
                                 "Make a story out of the words {}.", "Please write a story with {}.", "Write a story that has {} in it.",
                                 "Write a short story with the words {}."]
ASK_ON = prompts.ASK_ON + ["continue this story: {}", "Continue the story: {}", "Please continue this story: {}", "Go on with this story: {}",
                           "Here is the beginning of a story. How does it go on? {}", "Complete the story: {}", "{}"]
ASK_AGAIN = prompts.ASK_AGAIN + ["Tell me another story about {}.", "Tell me another story. This time about {}.", "another one about {}",
                                 "And now one about {}, please.", "That was nice. Now tell me a story about {}.", "One more, about {}!"]


def typed(text, rng):
    """As people type: now and then without a full stop, or all in small letters."""
    draw = rng.random()
    if draw < 0.1:
        text = text.rstrip(".")
    if draw < 0.04:
        text = text.lower()
    return text


def request(story, rng, again=False):
    """(request, answer): the answer is the story, or the rest of it."""
    for _ in range(20):
        question, answer = _request(story, rng, again)
        if not banned(question):
            return question, answer
    return rng.choice(prompts.ASK_ANY), story.text


def _request(story, rng, again):
    text, draw = story.text, rng.random()
    if draw < 0.13 and not again:
        cuts = [m.end() for m in re.finditer(r"[.!?]\"?\s", text) if text[:m.end()].count('"') % 2 == 0][:5]
        cut = rng.choice(cuts[:4])
        return rng.choice(ASK_ON).format(text[:cut].strip()), text[cut:].strip()
    if draw < 0.24 and " and " in _words(story, random.Random(0)):
        return typed(rng.choice(ASK_WORDS).format(_words(story, rng)), rng), text
    if draw < 0.28 and not again:
        asks = prompts.ASK_ANY
        if story.kind == "fable":
            asks = ["Tell me a fable.", "Write a fable.", "tell me a fable", "Tell me a story with a moral."]
        return rng.choice(asks), text
    if draw < 0.36 and not again:
        return typed(_detailed(story, rng), rng), text
    about = rng.choice(story.abouts)
    if again and rng.random() < 0.8:
        return typed(rng.choice(ASK_AGAIN).format(about), rng), text
    if story.kind == "fable" and rng.random() < 0.75:
        who = rng.choice([story.hero.form("bare"), story.hero.form("bare"), about])
        who = who if who.startswith(("a ", "an ")) or rng.random() < 0.5 else story.hero.form("bare")
        if rng.random() < 0.5:
            moral = story.moral if rng.random() < 0.6 else rng.choice(morals()[story.topic])
            return typed(rng.choice(ASK_MORAL).format(who, moral), rng), text
        return typed(rng.choice(ASK_FABLE).format(who), rng), text
    if story.kind == "bedtime" and rng.random() < 0.6:
        return typed(rng.choice(ASK_BED).format(about), rng), text
    asks = [a for a in ASK if "bedtime" not in a] if story.kind != "bedtime" else ASK
    return typed(rng.choice(asks).format(about), rng), text


def _detailed(story, rng):
    """A request in several sentences."""
    h, told = story.hero, story.used
    who = rng.choice([h.form("bare"), article(h.noun)])
    parts, plain = [], rng.choice(["Write a story about {}.", "Tell me a story about {}.", "Write a short story about {}.", "A story about {}."])
    if h.name:
        named = f"{h.form('his').capitalize()} name is {h.name}."
        parts += [rng.choice([named, f"The {h.noun} is called {h.name}.", f"The name of the {h.noun} is {h.name}."])] * 2
    for key in THINGS:
        if f"{key}.a" in told:
            t = story.cast[key]
            parts += [rng.choice([f"There should be {article(t.noun)} in it.", f"Use the word {t.noun}.", f"It should have {t.form('a')} in it."])]
    for key in "fg":
        if f"{key}.a" in told:
            f = story.cast[key]
            parts += [rng.choice([f"There is also {article(f.noun)}.", f"{h.form('he').capitalize()} meets {f.form('a')}.", f"There should be {article(f.noun)} in it."])]
    if story.moral:
        parts.append(rng.choice([f"It should teach that {story.moral}.", f"The moral is that {story.moral}."]))
    if story.kind == "bedtime":
        parts.append(rng.choice(["It is for bedtime.", "My child is going to sleep."]))
    parts = parts or ["It should be short."]
    return " ".join([plain.format(who), *dict.fromkeys(rng.sample(parts, min(len(parts), rng.choice([1, 1, 2]))))])


def _words(story, rng):
    """Two to four nouns of the story in a row, its characters and things among them."""
    said = set(re.findall(r"[a-z]+", story.text.lower()))
    main = [c.noun for c in [*story.cast.values(), *story.things]]
    main = sorted({n for n in main if re.search(rf"\b{n}\b", story.text) and n not in ("girl", "boy")})
    rest = sorted((said & prompts.THINGS) - set(main))
    rng.shuffle(main)
    rng.shuffle(rest)
    count = rng.choice([2, 3, 3, 3, 3, 4])
    picked = main[:rng.choice([1, 2, 2, 3])]
    picked = (picked + rest)[:count]
    rng.shuffle(picked)
    return ", ".join(picked[:-1]) + " and " + picked[-1] if len(picked) > 1 else picked[0]


def turns(story, rng):
    """Chat turns [(role, text)]: a request, the story, perhaps questions about it, perhaps another story."""
    out = [("system", rng.choice(prompts.SYSTEM))] if rng.random() < 0.08 else []
    if rng.random() < 0.04 and "frog" not in story.text:
        questions, answer = rng.choice(prompts.SMALL_TALK[:2])
        out += [("user", rng.choice(questions)), ("assistant", answer)]
    for i in range(3):
        question, answer = request(story, rng, again=i > 0)
        out += [("user", question), ("assistant", answer)]
        if rng.random() < 0.38 and story.questions:
            for q, a in rng.sample(story.questions, min(len(story.questions), rng.choice([1, 1, 2]))):
                if not any(q == text for _, text in out) and not banned(q):
                    out += [("user", typed(q, rng)), ("assistant", a)]
        if rng.random() > 0.14:
            break
        story = tell(rng, {"like": story.hero} if rng.random() < 0.3 else None)
        if forbidden(story):
            story = tell(rng)
    if rng.random() < 0.03:
        questions, answer = prompts.SMALL_TALK[2]
        out += [("user", rng.choice(questions)), ("assistant", answer)]
    return out


def example(rng):
    """Chat turns (85%) or the plain text of a story."""
    story = tell(rng)
    return turns(story, rng) if rng.random() < 0.85 else story.text
