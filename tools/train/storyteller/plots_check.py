"""Checks the story grammar: every plot tells many sound stories, nothing of the evaluation's prompts is asked for or told.

`python3 tools/train/storyteller/plots_check.py [stories]` prints what was checked, or fails with an AssertionError.
"""
import os
import random
import re
import sys

if __package__ in (None, ""):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from storyteller import evaluation, plots, prompts

BROKEN = [
    (r"[\[\]{}<>|_]", "a slot was left open"),
    (r"  | [.,!?]|\n ", "a stray space"),
    (r"\b(a|A) [aeio]|\ban [bcdfgjklmnpqrstvwxyz]", "a wrong article"),
    (r"\b(\w+) \1\b(?<!very very)(?<!had had)", "a doubled word"),
    (r"(?<!\.)\.\.(?!\.)|,\.|\?\.|!\.|\.,", "doubled punctuation"),
    (r"(?<![a-z]\")[.!?] [a-z]", "a small letter at the beginning of a sentence"),
    (r"[^\x20-\x7e\n]", "a character that the prose does not have"),
    (r"^Then|\bA ([a-z ]+)(?: (?:named|called) [A-Z][a-z]+)? was an? \1\b", "a poor beginning"),
    (r"\bthe the\b|\b(his|my|the) an? ", "a doubled determiner"),
]


def sound(text, title):
    """The first thing that is wrong with the text, or None."""
    for pattern, what in BROKEN:
        m = re.search(pattern, text)
        if m and m[0].lower() not in ALLOWED:
            return f"{title}: {what}: ...{text[max(0, m.start() - 50):m.end() + 40]!r}"
    return "odd number of quotation marks: " + text if text.count('"') % 2 else None


ALLOWED = {"that that", "on on", "up up", "no no"}


def check_plots(each):
    """Each plot many times: sound text, of fitting length, with what its requests name."""
    distinct, vocabulary = set(), set()
    for plot in plots.plots():
        texts = set()
        for seed in range(each):
            story = plots.Story(plot, random.Random(f"{plot.title}/{seed}"), {})
            problem = sound(story.text, plot.title)
            assert not problem, problem
            assert 55 <= len(story.text.split()) <= 290, (plot.title, len(story.text.split()), story.text)
            for question, answer in story.questions:
                assert question.endswith("?"), (plot.title, question)
                problem = sound(question.rstrip() + " " + answer, plot.title)
                assert not problem, problem
            for about in story.abouts:
                assert not re.search(r"[\[\]{}<>|]|  ", about), (plot.title, about)
                names = set(re.findall(r"(?:named|called) ([A-Z][a-z]+)", about))
                assert all(re.search(rf"\b{n}\b", story.text) for n in names), (plot.title, about)
            if story.moral:
                assert "moral" in story.used, plot.title
            assert story.used & {"h.a", "h.bare"}, (plot.title, "the hero is not introduced", story.text)
            texts.add(story.text)
            vocabulary |= set(re.findall(r"[a-z']+", story.text.lower()))
        assert len(texts) == each, f"{plot.title}: the same text twice"
        distinct |= texts
    return len(distinct), len(vocabulary)


def check_requests(count):
    """Conversations: what is asked for is in the answer, no prompt of the evaluation is among the requests."""
    kept = {q.lower().strip(" .") for questions in evaluation.CONVERSATIONS for q in questions} - \
        {q.lower().strip(" .") for asked, _ in prompts.SMALL_TALK for q in asked}
    kept |= {plots.tidy(q, False).lower() for q in kept}
    for seed in range(count):
        told = plots.example(random.Random(seed))
        again = plots.example(random.Random(seed))
        assert told == again, f"seed {seed} is not reproducible"
        if isinstance(told, str):
            continue
        assert told[-1][0] == "assistant" and all(text.strip() for _, text in told), seed
        for (role, question), (_, answer) in zip(told, told[1:]):
            if role != "user" or len(answer) < 200:
                continue
            assert question.lower().strip(" .") not in kept and not plots.banned(question), question
            if (m := re.search(r"words:? (.+?)(?: in it| in a short story)?\.?$", question)) and len(question) < 120:
                for word in re.split(r", | and ", m[1]):
                    assert re.search(rf"\b{re.escape(word.strip())}", answer.lower()), (question, answer)
            for name in re.findall(r"(?:named|called) ([A-Z][a-z]+)", question):
                assert name in answer or len(question) > 120, (question, answer)


def main():
    each = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    texts, vocabulary = check_plots(each)
    check_requests(each * 25)
    lines = sum(len(beat) for p in plots.plots() for beat in p.beats)
    beats = sum(len(p.beats) for p in plots.plots())
    kinds = {}
    for p in plots.plots():
        kinds[p.kind] = kinds.get(p.kind, 0) + 1
    print(f"{len(plots.plots())} plots {kinds}, {beats} beats, {lines} alternatives; {texts} stories, all different, "
          f"{vocabulary} distinct words; {each * 25} conversations")


if __name__ == "__main__":
    main()
