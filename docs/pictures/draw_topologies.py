"""Draws topologies.svg: run `.venv/bin/python docs/pictures/draw_topologies.py` after a change.

Colours follow the reader's light or dark setting; without one the picture is dark text on white.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 980, 512
PANEL_WIDTH, PANEL_HEIGHT = 466, 216
LEFT, TOP, GAP = 16, 52, 16
MACHINE, SPACE, CHIP, HEAD = 80, 8, 24, 26
CHIPS = {"API": "api", "etcd": "data", "pods": "pods"}

Machine = tuple[str, tuple[str, ...]]
ALL, PLANE, HEAD_ONLY, DATA, WORKER = ("API", "etcd", "pods"), ("API", "etcd"), ("API",), ("etcd",), ("pods",)

PANELS: tuple[tuple[str, str, tuple[tuple[Machine, ...], ...]], ...] = (
    ("One machine", "everything on it; for trying and testing", ((("node", ALL),),)),
    (
        "One control plane and workers",
        "workers may fail; the control plane must not",
        ((("cp", PLANE), ("worker-1", WORKER), ("worker-2", WORKER)),),
    ),
    (
        "High availability",
        "any one machine may fail",
        (
            (
                ("cp-1", PLANE),
                ("cp-2", PLANE),
                ("cp-3", PLANE),
                ("worker-1", WORKER),
                ("worker-2", WORKER),
            ),
        ),
    ),
    (
        "Separate etcd",
        "one of each kind may fail; control planes hold no data",
        (
            (("cp-1", HEAD_ONLY), ("cp-2", HEAD_ONLY), ("worker-1", WORKER), ("worker-2", WORKER)),
            (("etcd-1", DATA), ("etcd-2", DATA), ("etcd-3", DATA)),
        ),
    ),
)

STYLE = """
  text { font-family: ui-sans-serif, system-ui, sans-serif; font-size: 13px; fill: #1f2328; }
  .ground { fill: #ffffff; }
  .title { font-size: 17px; font-weight: 600; }
  .name { font-size: 15px; font-weight: 600; }
  .small { fill: #59636e; }
  .panel { fill: none; stroke: #d1d9e0; }
  .machine { fill: #f6f8fa; stroke: #818b98; }
  .api { fill: #ddf4ff; stroke: #0969da; }
  .data { fill: #fff8c5; stroke: #9a6700; }
  .pods { fill: #dafbe1; stroke: #1a7f37; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .ground { fill: #0d1117; }
    .small { fill: #9198a1; }
    .panel { stroke: #3d444d; }
    .machine { fill: #151b23; stroke: #656c76; }
    .api { fill: #121d2f; stroke: #4493f8; }
    .data { fill: #272115; stroke: #d29922; }
    .pods { fill: #12261e; stroke: #3fb950; }
  }
"""


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    """A line of text."""
    return f'<text x="{x}" y="{y}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, style: str) -> str:
    """A rounded box."""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" class="{style}"/>'


def machine(x: float, y: float, name: str, chips: tuple[str, ...]) -> Iterator[str]:
    """A machine with what runs on it."""
    yield box(x, y, MACHINE, HEAD + len(chips) * (CHIP + 4) + 4, "machine")
    yield text(x + MACHINE / 2, y + 18, name, "", "middle")
    for number, chip in enumerate(chips):
        top = y + HEAD + number * (CHIP + 4)
        yield box(x + 8, top, MACHINE - 16, CHIP, CHIPS[chip])
        yield text(x + MACHINE / 2, top + 17, chip, "", "middle")


def panel(x: float, y: float, title: str, words: str, rows: tuple[tuple[Machine, ...], ...]) -> Iterator[str]:
    """One topology."""
    yield box(x, y, PANEL_WIDTH, PANEL_HEIGHT, "panel")
    yield text(x + 14, y + 26, title, "name")
    yield text(x + 14, y + 46, words, "small")
    top = y + 64
    for row in rows:
        for number, (name, chips) in enumerate(row):
            yield from machine(x + 14 + number * (MACHINE + SPACE), top, name, chips)
        top += HEAD + max(len(chips) for _, chips in row) * (CHIP + 4) + 4 + 14


def picture() -> str:
    """The whole picture."""
    parts = [box(0, 0, WIDTH, HEIGHT, "ground")]
    title = "Four topologies, and only the roles of the pools tell them apart"
    parts.append(text(LEFT, 34, title, "title"))
    for number, (name, words, rows) in enumerate(PANELS):
        x = LEFT + (number % 2) * (PANEL_WIDTH + GAP)
        y = TOP + (number // 2) * (PANEL_HEIGHT + GAP)
        parts += panel(x, y, name, words, rows)
    about = "Four topologies: one machine; one control plane and workers; high availability; separate etcd"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="t">\n<title id="t">{about}</title>\n<style>{STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    Path(__file__).with_name("topologies.svg").write_text(picture(), encoding="utf-8")
