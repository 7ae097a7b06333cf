#!/usr/bin/env python3
"""The pictures of the READMEs, made of the tables that the benchmarks print. Nothing but Python's standard library.

    python3 benches/plots.py

docs/costs.svg       from docs/design.md, which has the table of `cargo bench --bench instructions`
mcp/docs/calls.svg   from mcp/docs/costs.md, which is what `mcp/benches/rmcp` prints
mcp/docs/faults.svg  from the same page
"""

import re
from html import escape
from math import log10
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 760
# They can be told from each other and from the page, be it light or dark.
OURS, PEER, FLOOR = "#2f81f7", "#d4772a", "#8b949e"
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #6e7781; }
.title { font-weight: 600; font-size: 15px; }
.small { font-size: 11px; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.grid { stroke: #8b949e; stroke-opacity: 0.35; }
@media (prefers-color-scheme: dark) { text { fill: #9ea7b3; } }
"""


def table(page, first, *columns):
    """Of the table whose head begins with `first`: the rows, as their name and the cells of these columns."""
    rows, at = [], None
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("**", "").replace("`", "") for cell in line.strip("| ").split(" | ")]
        if at is None:
            if line.startswith("|") and cells[0] == first:
                at = [cells.index(column) for column in columns]
        elif not line.startswith("|"):
            break
        elif not re.fullmatch(r"[|\s:-]+", line):
            rows.append((cells[0], [cells[index] for index in at]))
    assert rows, f"{page} has no table that begins with {first}"
    return rows


def number(cell):
    """`12 345` or `199 (6)`; None where there is no figure."""
    found = re.match(r"[\d ]*\d(\.\d+)?", cell)
    return float(found[0].replace(" ", "")) if found else None


def times(cell):
    """`0.24, 2.1`; None where nothing came."""
    return [float(part) for part in cell.split(", ")] if cell[0].isdigit() else None


class Picture:
    def __init__(self, title, description):
        self.title, self.description = title, description
        self.shapes = []
        self.text(16, 26, title, "title")

    def text(self, x, y, text, style="", fill=None):
        colour = f' style="fill: {fill}"' if fill else ""
        self.shapes.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{style}"{colour}>{escape(text)}</text>')

    def bar(self, x, y, width, height, colour, more=""):
        box = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}"'
        self.shapes.append(f'<rect {box} fill="{colour}"{more}/>')

    def line(self, x, y, to_x, to_y, style='class="grid"'):
        self.shapes.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" {style}/>')

    def dot(self, x, y, colour):
        self.shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')

    def legend(self, names):
        x = 16
        for name, colour in names:
            self.bar(x, 38, 11, 11, colour)
            self.text(x + 16, 48, name)
            x += 34 + 7.2 * len(name)

    def save(self, path, height):
        size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        about = f"<title>{escape(self.title)}</title>\n<desc>{escape(self.description)}</desc>"
        lines = [head, about, f"<style>{STYLE}</style>", *self.shapes, "</svg>\n"]
        (ROOT / path).write_text("\n".join(lines), encoding="utf-8")
        print(path)


def left_of(names):
    """Where the bars begin, beside the longest name."""
    return 28 + 7.1 * max(map(len, names))


def costs():
    rows = [(name, cells[0]) for name, cells in table("docs/design.md", "supervised by", "W2")]
    rows.sort(key=lambda row: number(row[1]))
    picture = Picture(
        "Instructions for one request that pends once, by what supervises it",
        "; ".join(f"{name}: {cell}" for name, cell in rows),
    )
    picture.legend([("this crate", OURS), ("another way", PEER), ("unsupervised", FLOOR)])
    left, top, pitch = left_of([name for name, _ in rows]), 66, 19
    scale = (WIDTH - left - 90) / max(number(cell) for _, cell in rows)
    for at, (name, cell) in enumerate(rows):
        y = top + pitch * at
        ours = re.match(r"(&mut lane|&?session\b)", name)
        colour = OURS if ours else FLOOR if name.startswith("nothing") else PEER
        picture.text(left - 8, y + 12, name, "end")
        picture.bar(left, y, scale * number(cell), 14, colour)
        picture.text(left + scale * number(cell) + 6, y + 12, cell)
    height = top + pitch * len(rows) + 30
    note = "In brackets: locked operations. Counted by callgrind: cargo bench --bench instructions"
    picture.text(16, height - 12, note, "small")
    picture.save("docs/costs.svg", height)


def calls():
    rows = table("mcp/docs/costs.md", "in flight", "instructions", "floor", "rmcp")
    # Those with another I/O or another configuration are in the table only.
    rows = [(name, [number(cell) for cell in cells]) for name, cells in rows if name.count(",") == 1]
    kinds = [("shared-fate-mcp", OURS), ("the floor: blocking, by hand", FLOOR), ("rmcp", PEER)]
    picture = Picture(
        "Thousands of instructions for one call of a tool, by transport and calls in flight",
        "; ".join(f"{name}: ours {ours:.0f}, rmcp {rmcp:.0f}" for name, (ours, _, rmcp) in rows),
    )
    picture.legend(kinds)
    left, y = left_of([name for name, _ in rows]), 66
    scale = (WIDTH - left - 60) / max(cells[2] for _, cells in rows)
    before = None
    for name, cells in rows:
        if before not in (None, name.split(",")[0]):
            y += 6
        before = name.split(",")[0]
        bars = [(cell, colour) for cell, (_, colour) in zip(cells, kinds) if cell is not None]
        picture.text(left - 8, y + 6.5 * len(bars) + 4.5, name, "end")
        for cell, colour in bars:
            picture.bar(left, y, scale * cell, 11, colour)
            picture.text(left + scale * cell + 5, y + 10, f"{cell / 1000:.1f}", "small")
            y += 13
        y += 9
    picture.text(16, y + 14, "Counted by callgrind, the server's and the kernel's left out: mcp/docs/costs.md", "small")
    picture.save("mcp/docs/calls.svg", y + 26)


def faults():
    rows = table("mcp/docs/costs.md", "fault", "ours", "rmcp")
    picture = Picture(
        "From a fault to the caller's error: median, and a line to the 99th percentile",
        "; ".join(f"{name}: ours {ours}, rmcp {rmcp}" for name, (ours, rmcp) in rows),
    )
    picture.legend([("shared-fate-mcp", OURS), ("rmcp", PEER)])
    # The longest name goes on two lines.
    names = [re.sub(r", until.*", ", the last", name) for name, _ in rows]
    left, top = left_of(names), 66
    figures = [[times(cell) for cell in cells] for _, cells in rows]
    known = [value for pair in figures for figure in pair if figure for value in figure]
    low, high = min(known), max(known)
    low, high = 10 ** (int(log10(low) - 1)), 10 ** (int(log10(high)) + 1)
    scale = (WIDTH - left - 40) / log10(high / low)
    place = lambda value: left + scale * log10(max(value, low) / low)
    bottom = top + 44 * len(rows)
    tick = low
    while tick <= high * 1.01:
        picture.line(place(tick), top - 4, place(tick), bottom)
        picture.text(place(tick), bottom + 16, f"{tick:g} ms", "small middle")
        tick *= 10
    for at, (name, pair) in enumerate(zip(names, figures)):
        y = top + 44 * at
        picture.text(left - 8, y + 22, name, "end")
        for figure, colour, way in zip(pair, (OURS, PEER), (11, 27)):
            if figure is None:
                picture.text(left + 6, y + way + 5, "no error within 2 s", "small", colour)
                continue
            median, late = figure
            picture.line(place(median), y + way, place(late), y + way, f'stroke="{colour}" stroke-width="2"')
            picture.dot(place(median), y + way, colour)
    picture.text(16, bottom + 38, "A logarithmic scale. The table is in mcp/docs/costs.md", "small")
    picture.save("mcp/docs/faults.svg", bottom + 50)


costs()
calls()
faults()
