"""Writes the Unicode tables that the tokenizer embeds.

InvariantGlobalization turns string.Normalize into a silent no-op, and .NET has no script property, so both come from
Python: normalization data from the standard library's unicodedata, scripts from the third-party module "regex".

    python3 tools/unicode/generate.py src/InferenceService.Text/Tokenization/Unicode

Both files hold only unsigned LEB128 numbers after a length-prefixed version string:

normalization.bin   combining classes: count, then (gap since the last range, length, class) per range;
                    decompositions: count, then (gap since the last code point, flags, length, code points).
                    flags: 1 compatibility mapping, 2 the pair composes back (primary composite).
                    Hangul syllables are left out: they are computed.
scripts.bin         names: count, then (length, ASCII); ranges: count, then (gap, length, name index).
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
    from regex import _regex_core  # its property table lists every script name

    names = sorted({n for n in script_names(_regex_core) if n not in ("UNKNOWN",)})
    everything = "".join(map(chr, code_points()))
    owner = {}
    for name in names:
        for match in regex.finditer(r"\p{Script=%s}" % name, everything):
            owner.setdefault(ord(match.group()), name)
    used = sorted(set(owner.values()))
    index = {name: i for i, name in enumerate(used)}
    out = bytearray(text("regex " + regex.__version__))
    out += leb128(len(used))
    for name in used:
        out += text(name)
    out += write_ranges(ranges((c, index[owner[c]] if c in owner else None) for c in code_points()))
    return bytes(out)


def script_names(core):
    _, values = core.PROPERTIES["SCRIPT"]
    by_id = {}
    for name, number in values.items():
        # The longest alias is the full name ("HAN", "LATIN", "OLDITALIC"); the four-letter codes are shorter or equal.
        if number not in by_id or len(name) > len(by_id[number]):
            by_id[number] = name
    return by_id.values()


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "normalization.bin").write_bytes(normalization())
    (folder / "scripts.bin").write_bytes(scripts())


if __name__ == "__main__":
    main()
