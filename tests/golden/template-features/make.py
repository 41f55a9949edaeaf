"""Writes cases.jsonl: small templates, one feature each, with what Jinja2 prints.

The environment is the one in which Hugging Face renders chat templates: the immutable sandbox, trim_blocks and lstrip_blocks,
loop controls, tojson without HTML escaping. `do` is added. Run from this folder: python3 make.py (Jinja2 3.1.6, Python 3.11).
"""
import datetime
import json

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

CONTEXT = {
    "s": "Hello, World",
    "uni": "h\u00e9llo \U0001f600 \u4e16\u754c",
    "n": 7,
    "neg": -7,
    "f": 2.5,
    "big": 18446744073709551615,
    "t": True,
    "no": False,
    "nothing": None,
    "l": [1, 2, 3, 4, 5],
    "words": ["banana", "Apple", "cherry", "apple"],
    "d": {"b": 1, "a": 2, "items": 3, "nested": {"x": [10, 20, {"y": "deep"}]}},
    "users": [
        {"name": "Bob", "age": 30, "city": "Rome"},
        {"name": "alice", "age": 25, "city": "Oslo"},
        {"name": "Carl", "age": 30, "city": "rome"},
    ],
    "text": "first line\n\n  second line\nthird",
    "html": "<b>\"it's\" & more</b>",
}


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_print"), [], [], body).set_lineno(line)

    def _print(self, caller):
        return caller()


class Raised(jinja2.exceptions.TemplateError):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    extensions = [Generation, jinja2.ext.loopcontrols, jinja2.ext.do]
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: datetime.datetime(2025, 7, 10, 12, 0, 0).strftime(f)
    return env


def result(env, source, context):
    try:
        return {"expected": env.from_string(source).render(**context)}
    except Raised as e:
        return {"raised": e.message}
    except Exception:
        return {"fails": True}


def main():
    env = environment()
    feature = ""
    with open("cases.jsonl", "w", encoding="utf-8") as out:
        out.write(json.dumps({"context": CONTEXT}, ensure_ascii=False) + "\n")
        with open("cases.txt", encoding="utf-8") as cases:
            for line in cases:
                line = line.rstrip("\n")
                if line.startswith("## "):
                    feature = line[3:]
                elif line:
                    source = line.replace("\u23ce", "\n")
                    out.write(json.dumps({"feature": feature, "source": source, **result(env, source, CONTEXT)}, ensure_ascii=False) + "\n")


main()
