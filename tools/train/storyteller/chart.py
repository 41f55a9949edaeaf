"""Draws a loss curve as a PNG, with nothing but NumPy and zlib: axes, ticks with numbers, one line per series."""
import csv
import struct
import zlib

import numpy as np

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 800, 440, 50, 20, 30, 40
COLOURS = [(120, 150, 200), (200, 60, 40)]
# 3 x 5 dots per sign, a row per octal-like digit (4 = left dot, 2 = middle, 1 = right)
GLYPHS = {"0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757", "7": "71222",
          "8": "75757", "9": "75717", ".": "00002", "-": "00700", " ": "00000", "a": "07577", "d": "11757", "e": "07747",
          "h": "44755", "i": "20222", "k": "45655", "l": "22222", "m": "07775", "n": "07555", "o": "07557", "r": "07444",
          "s": "03636", "t": "27223", "u": "05557", "g": "07717", "w": "05577", "f": "32722", "p": "07574", "M": "57755"}


def _text(image, x, y, text, colour=(60, 60, 60), size=2):
    for c in text:
        for row, bits in enumerate(GLYPHS[c]):
            for column in range(3):
                if int(bits) >> (2 - column) & 1:
                    image[y + row * size:y + row * size + size, x + column * size:x + column * size + size] = colour
        x += 4 * size


def _line(image, x0, y0, x1, y1, colour, thick=1):
    n = int(max(abs(x1 - x0), abs(y1 - y0), 1)) + 1
    for x, y in zip(np.linspace(x0, x1, n).round().astype(int), np.linspace(y0, y1, n).round().astype(int)):
        image[y:y + thick, x:x + thick] = colour


def _png(path, image):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = np.concatenate([np.zeros((image.shape[0], 1), np.uint8), image.reshape(image.shape[0], -1)], 1)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, 2, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b""))


def draw(csv_path, png_path):
    """The columns `loss` and `held_out_stories` over `tokens` of a loss curve."""
    with open(csv_path, newline="") as f:
        rows = list(csv.DictReader(f))
    series = [("loss", [(int(r["tokens"]), float(r["loss"])) for r in rows]),
              ("held out stories", [(int(r["tokens"]), float(r["held_out_stories"])) for r in rows if r["held_out_stories"]])]
    points = [p for _, s in series for p in s]
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = np.floor(min(p[1] for p in points) * 2) / 2, np.ceil(max(p[1] for p in points) * 2) / 2
    place_x = lambda v: LEFT + (v - x0) / max(1, x1 - x0) * (WIDTH - LEFT - RIGHT)
    place_y = lambda v: HEIGHT - BOTTOM - (v - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for v in np.arange(y0, y1 + 0.01, 0.5):
        _line(image, LEFT, place_y(v), WIDTH - RIGHT, place_y(v), (225, 225, 225))
        _text(image, 12, int(place_y(v)) - 5, f"{v:.1f}")
    spacing = max(1, round((x1 - x0) / 8 / 250_000)) * 250_000
    for v in range(-(-x0 // spacing) * spacing, x1 + 1, spacing):
        _line(image, place_x(v), HEIGHT - BOTTOM, place_x(v), HEIGHT - BOTTOM + 5, (60, 60, 60))
        _text(image, int(place_x(v)) - 16, HEIGHT - BOTTOM + 10, f"{v / 1e6:.2f}")
    _text(image, WIDTH // 2 - 40, HEIGHT - 14, "M tokens")
    for k, (name, line) in enumerate(series):
        for a, b in zip(line, line[1:]):
            _line(image, place_x(a[0]), place_y(a[1]), place_x(b[0]), place_y(b[1]), COLOURS[k], 1 + k)
        _text(image, WIDTH - 330 + 90 * k, 10, name, COLOURS[k])
    _png(png_path, image)
