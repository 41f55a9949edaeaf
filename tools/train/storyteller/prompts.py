"""Turns stories and fables into what a user might ask for and what the storyteller answers.

Everything is drawn from a `random.Random` given by the caller, so a document yields other questions each time it comes
round, and the same ones for the same seed. Names are exchanged now and then (and so are animals of one kind):
the model has to read the request instead of remembering the story.
"""
import re

GIRLS = """Lily Mia Sue Lucy Anna Amy Sara Sally Molly Jane Emma Daisy Ella Rose Kitty Polly Mary Ellie Sophie Zoe Lola
Nina Maya Ruby Alice Betty Clara Eva Grace Hannah Ivy Julia Kate Laura Maria Nora Olivia Penny Rita Tara""".split()
BOYS = """Tim Tom Ben Max Sam Jack Billy Bob Joe Timmy Tommy Jimmy Johnny Mark Leo Charlie Peter Spot Fin Benny Alex
Andy Danny David Eddie Freddy George Harry Henry Jake John Luke Mike Nick Oscar Paul Robert Simon Toby Will""".split()
EXCHANGED = "rabbit dog cat bear lion tiger squirrel pig cow horse kitten hedgehog goat monkey hamster mole".split()
_NOISES = re.compile(r"\b(bark|meow|woof|moo|neigh|oink|roar|purr|hop)", re.I)
THINGS = set(("girl boy man woman king queen prince princess knight fairy witch wizard farmer teacher baby child mom "
              "grandma grandpa doctor sailor pirate robot dragon dinosaur monster giant mouse rabbit bunny dog puppy cat "
              "kitten bear lion tiger fox wolf deer squirrel hedgehog frog toad turtle snail fish whale shark dolphin "
              "octopus crab duck goose hen chicken rooster bird owl crow parrot eagle swan butterfly bee ant spider "
              "ladybug worm snake lizard elephant giraffe zebra monkey hippo rhino camel cow horse pony pig sheep goat "
              "donkey unicorn penguin panda mole otter beaver tree flower garden forest park river lake pond sea ocean "
              "beach island mountain hill cave castle house farm zoo school boat ship car truck train bus plane bike "
              "rocket kite balloon ball doll toy teddy puzzle box hat coat shoe ring necklace crown key map book "
              "letter picture drum guitar bell lamp candle clock mirror cake cookie pie bread soup candy apple banana "
              "orange carrot pumpkin berry honey egg sun moon star rainbow cloud rain snow wind storm fire stone rock "
              "feather shell treasure gift party birthday picnic race game dream bridge swing slide tower "
              "village market shop jar bottle spoon cup blanket pillow bed rope ladder leaf seed nest".split()))
HEROES = "|".join(sorted(
    "girl boy man woman king queen prince princess knight fairy witch wizard farmer robot dragon dinosaur monster giant "
    "mouse rabbit bunny dog puppy cat kitten bear lion tiger fox wolf deer squirrel hedgehog frog turtle snail fish "
    "whale dolphin duck hen chicken bird owl crow parrot eagle swan butterfly bee ant spider ladybug worm snake elephant "
    "giraffe zebra monkey hippo cow horse pony pig sheep goat donkey unicorn penguin car truck train boat bus plane "
    "tree flower star cloud doll ball".split()))
_HERO = re.compile(rf"\b(an?) ((?:[a-z]+,? ){{0,2}}?)({HEROES})\b(?:,? (?:named|called|whose name was) ([A-Z][a-z]+))?")
_NAMED = re.compile(r"\b(?:named|called|name was) ([A-Z][a-z]+)")

ASK = [
    "Tell me a short story about {}.", "Tell me a story about {}.", "Write a story about {}.",
    "Write a short story about {}.", "Can you tell me a story about {}?", "Please write a story about {}.",
    "Please tell me a short story about {}.", "I want to hear a story about {}.", "Make up a story about {}.",
    "Could you write a little story about {}?", "Write a bedtime story about {}.", "A story about {}, please.",
    "Write a children's story about {}.", "tell me a story about {}", "write a story about {}", "story about {}",
    "Write me a story about {}", "Tell a story about {}.", "Give me a short tale about {}.",
]
ASK_ANY = ["Tell me a story.", "Tell me a short story.", "Write a story.", "Can you tell me a story?",
           "Tell me a bedtime story.", "Write a short story for children.", "I want a story, please.", "tell me a story",
           "Please tell me another story.", "Surprise me with a story.", "Write something nice for my child."]
ASK_AGAIN = ["Another story, please. This time about {}.", "Now tell me a story about {}.", "Tell me one about {}.",
             "Thank you! Now write a story about {}."]
ASK_WORDS = ["Write a story with the words {}.", "Use the words {} in a short story.",
             "Tell me a story that has the words {} in it.", "Write a short story that uses these words: {}."]
ASK_ON = ["Continue this story: {}", "Finish this story: {}", "How does this story go on? {}", "Go on: {}",
          "Write what happens next: {}"]
ASK_FABLE = ["Write a fable about {}.", "Tell me a fable about {}.", "Tell me a story with a moral about {}.",
             "Tell me a story about {} that teaches a lesson.", "Write a short fable with {}."]
ASK_MORAL = ["Write a story about {} that teaches that {}.", "Tell me a fable about {}. The moral is: {}.",
             "Write a fable about {} which shows that {}."]
ASK_NAME = ["What is the name of the {}?", "What was the name of the {} in the story?", "What is the {} called?"]
ASK_WHO = ["Who is the story about?", "Who is in the story?", "Who was that story about?"]
SYSTEM = ["You are a kind storyteller.", "You tell short stories for children.", "You are a helpful assistant.",
          "You write simple stories."]
SMALL_TALK = [
    (["Hello", "Hello!", "Hi", "Hi!", "Hi there", "Hey", "Good morning!", "Good evening."],
     "Hello! I tell short stories. What should the story be about?"),
    (["Who are you?", "What are you?", "What can you do?", "What is your name?", "Help", "help me"],
     "I am a little storyteller. Ask me for a story about an animal, a child or a thing, and I will tell you one."),
    (["Thank you!", "Thanks", "Thank you very much.", "That was nice.", "I liked it."],
     "You are welcome! Would you like to hear another story?"),
]


def _article(phrase):
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def vary(text, rng):
    """The same story with other names (half of the time) and perhaps another four-legged animal."""
    swap = {}
    if rng.random() < 0.5:
        for pool in (GIRLS, BOYS):
            present = [n for n in pool if re.search(rf"\b{n}\b", text)]
            free = [n for n in pool if n not in present]
            for name in present[:3]:
                swap[name] = free.pop(rng.randrange(len(free)))
    if rng.random() < 0.25 and not _NOISES.search(text):
        present = [a for a in EXCHANGED if re.search(rf"\b{a}s?\b", text, re.I)]
        if len(present) == 1 and len(re.findall(rf"\b{present[0]}s?\b", text, re.I)) >= 2:
            old = present[0]
            new = rng.choice([a for a in EXCHANGED if a != old])
            swap.update({old: new, old.capitalize(): new.capitalize(), old + "s": new + "s"})
    if not swap:
        return text
    return re.sub(r"\b(" + "|".join(sorted(swap, key=len, reverse=True)) + r")\b", lambda m: swap[m[1]], text)


def subject(text, rng):
    """What the story is about, as a noun phrase, or None."""
    hero = _HERO.search(text[:400])
    if hero and rng.random() < 0.75:
        article, adjectives, noun, name = hero.groups()
        if re.search(r"\b(day|time|was|and|to|in|of|the|his|her|saw|named)\b", adjectives):
            article, adjectives = "a", ""
        if adjectives and rng.random() < 0.4:
            adjectives = ""
        phrase = _article(adjectives + noun)
        if name and rng.random() < 0.6:
            phrase += f" {rng.choice(['named', 'called'])} {name}"
        if rng.random() < 0.3:
            other = rng.choice(_things(text) or [noun])
            if other != noun:
                phrase += f" and {_article(other)}"
        return phrase
    name = _NAMED.search(text)
    if name and rng.random() < 0.3:
        return name[1]
    found = _things(text)
    if not found:
        return name[1] if name else None
    pick = rng.sample(found[:5], min(len(found), rng.choice([1, 1, 2])))
    return " and ".join(_article(p) for p in pick)


def _things(text):
    """Story nouns of the text, most frequent first."""
    counts = {}
    for word in re.findall(r"[a-z]+", text.lower()):
        if word in THINGS:
            counts[word] = counts.get(word, 0) + 1
    return sorted(counts, key=lambda w: (-counts[w], w))


def _request(text, rng, again=False):
    """(question, answer) for one TinyStories document."""
    draw = rng.random()
    if draw < 0.12:
        cut = [m.end() for m in re.finditer(r"[.!?]\"?\s", text)][:4]
        if len(cut) > 1:
            at = rng.choice(cut[:-1])
            return rng.choice(ASK_ON).format(text[:at].strip()), text[at:].strip()
    if draw < 0.22:
        found = _things(text)
        if len(found) >= 3:
            words = rng.sample(found[:8], 3)
            return rng.choice(ASK_WORDS).format(f"{words[0]}, {words[1]} and {words[2]}"), text
    about = subject(text, rng)
    if about is None or (draw > 0.93 and not again):
        return rng.choice(ASK_ANY), text
    return rng.choice(ASK_AGAIN if again and rng.random() < 0.7 else ASK).format(about), text


def _fable_request(doc, rng):
    field = {k.strip().lower(): v.strip() for k, v in re.findall(r"- ([A-Z][A-Za-z ]+): (.+)", doc["prompt"])}
    hero = field.get("main character") or field.get("character")
    moral = (field.get("teaching") or field.get("moral") or "").rstrip(".")
    draw = rng.random()
    if draw < 0.1 or not hero:
        return doc["prompt"], doc["text"]
    hero = hero[0].lower() + hero[1:] if hero[:2] in ("A ", "An") else hero
    if not re.match(r"(an?|the|two|three) ", hero, re.I):
        hero = _article(hero[0].lower() + hero[1:])
    hero = re.sub(r"^a (?=[aeiou])", "an ", hero)
    if moral and draw < 0.45:
        return rng.choice(ASK_MORAL).format(hero, moral[0].lower() + moral[1:]), doc["text"]
    return rng.choice(ASK_FABLE + ASK[:6]).format(hero), doc["text"]


def about(text, rng):
    """Turns with a question about the story just told, where its first sentences name the hero."""
    hero = _HERO.search(text[:600])
    if not hero or not hero[4]:
        return []
    noun, name = hero[3], hero[4]
    return [("user", rng.choice(ASK_NAME).format(noun)), ("assistant", f"The name of the {noun} is {name}.")] \
        if rng.random() < 0.5 else [("user", rng.choice(ASK_WHO)), ("assistant", f"The story is about {_article(noun)} named {name}.")]


def turns(source, docs, rng):
    """Chat turns [(role, text)] made of one document or several."""
    out = [("system", rng.choice(SYSTEM))] if rng.random() < 0.08 else []
    if rng.random() < 0.015:
        questions, answer = rng.choice(SMALL_TALK)
        out += [("user", rng.choice(questions)), ("assistant", answer)]
    for i, doc in enumerate(docs):
        if source == "fables":
            question, answer = _fable_request(doc, rng)
        else:
            question, answer = _request(vary(doc["text"], rng), rng, again=i > 0)
        out += [("user", question), ("assistant", answer)]
        if source == "tinystories" and rng.random() < 0.3:
            out += about(question + " " + answer, rng)
    return out
