"""Writes the Unicode tables that the tokenizer embeds.

InvariantGlobalization turns string.Normalize into a silent no-op, and .NET has no script property, so both come from
Python: normalization data from the standard library's unicodedata, scripts and derived properties from the third-party
module "regex". Last run with Python 3.11.7 (Unicode 14.0) and regex 2026.5.9 (Unicode 17.0).

    python3 tools/unicode/generate.py src/InferenceService.Text/Tokenization/Unicode

The files hold only unsigned LEB128 numbers after a length-prefixed version string:

normalization.bin   combining classes: count, then (gap since the last range, length, class) per range;
                    decompositions: count, then (gap since the last code point, flags, length, code points).
                    flags: 1 compatibility mapping, 2 the pair composes back (primary composite).
                    Hangul syllables are left out: they are computed.
scripts.bin         names and aliases: count, then (length, ASCII, script number); ranges: count, then (gap, length, script number).
properties.bin      derived properties: count, then (name, ranges as above with value 1).
"""

import pathlib
import sys
import unicodedata

import regex

LAST = 0x10FFFF
HANGUL = range(0xAC00, 0xAC00 + 11172)


def leb128(value):
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        if value == 0:
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def text(value):
    data = value.encode("ascii")
    return leb128(len(data)) + data


def code_points():
    return (c for c in range(LAST + 1) if not 0xD800 <= c <= 0xDFFF)


def ranges(values):
    """(first, length, value) for runs of equal values; None is a gap."""
    found = []
    for c, value in values:
        if value is None:
            continue
        if found and found[-1][2] == value and found[-1][0] + found[-1][1] == c:
            found[-1][1] += 1
        else:
            found.append([c, 1, value])
    return found


def write_ranges(found):
    out = bytearray(leb128(len(found)))
    end = 0
    for first, length, value in found:
        out += leb128(first - end) + leb128(length) + leb128(value)
        end = first + length
    return bytes(out)


def normalization():
    out = bytearray(text(unicodedata.unidata_version))
    out += write_ranges(ranges((c, unicodedata.combining(chr(c)) or None) for c in code_points()))
    entries = []
    for c in code_points():
        mapping = unicodedata.decomposition(chr(c))
        if not mapping or c in HANGUL:
            continue
        parts = mapping.split()
        compatibility = parts[0].startswith("<")
        target = [int(p, 16) for p in parts[1 if compatibility else 0:]]
        composes = not compatibility and len(target) == 2 and unicodedata.normalize("NFC", chr(c)) == chr(c)
        entries.append((c, (1 if compatibility else 0) | (2 if composes else 0), target))
    out += leb128(len(entries))
    end = 0
    for c, flags, target in entries:
        out += leb128(c - end) + leb128(flags) + leb128(len(target))
        for t in target:
            out += leb128(t)
        end = c + 1
    return bytes(out)


def scripts():
    aliases = script_aliases()
    everything = "".join(map(chr, code_points()))
    owner = {}
    for number, names in aliases.items():
        for match in regex.finditer(r"\p{Script=%s}" % names[0], everything):
            owner.setdefault(ord(match.group()), number)
    named = [(name, number) for number, names in sorted(aliases.items()) for name in names]
    out = bytearray(text("regex " + regex.__version__))
    out += leb128(len(named))
    for name, number in named:
        out += text(name) + leb128(number)
    out += write_ranges(ranges((c, owner.get(c)) for c in code_points()))
    return bytes(out)


def script_aliases():
    """Number to names; UNKNOWN (every code point without a script) is left out."""
    from regex import _regex_core  # its property table lists every script name

    _, values = _regex_core.PROPERTIES["SCRIPT"]
    aliases = {}
    for name, number in values.items():
        aliases.setdefault(number, []).append(name)
    return {number: names for number, names in aliases.items() if "UNKNOWN" not in names}


def properties():
    everything = "".join(map(chr, code_points()))
    names = ["Alphabetic", "Uppercase", "Lowercase"]
    out = bytearray(text("regex " + regex.__version__))
    out += leb128(len(names))
    for name in names:
        members = {ord(m) for m in regex.findall(r"\p{%s}" % name, everything)}
        out += text(name) + write_ranges(ranges((c, 1 if c in members else None) for c in code_points()))
    return bytes(out)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "normalization.bin").write_bytes(normalization())
    (folder / "scripts.bin").write_bytes(scripts())
    (folder / "properties.bin").write_bytes(properties())


if __name__ == "__main__":
    main()
