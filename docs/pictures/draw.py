"""Draws flow.svg, the picture of the flow: run `.venv/bin/python docs/pictures/draw.py` after a change.

Colours follow the reader's light or dark setting; without one the picture is dark text on white.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 980, 372
BOX, GAP, LEFT, TOP = 164, 32, 16, 56

STAGES = (
    ("spec", "what is wanted", ("spec/", "objectfile.py"), True),
    ("observe", "what is: reads only", ("observe/", "facts/ (pure)"), False),
    ("plan", "what to do, and why", ("plan/", "content/ addons/"), True),
    (
        "execute",
        "do it: all that writes",
        ("execute/ transports/", "providers/ artifacts/", "pki/ kube/"),
        False,
    ),
    ("state", "what to remember", ("state/",), False),
)
PHASES = (
    ("artifacts", "software, verified"),
    ("provision", "machines, network"),
    ("bootstrap", "components on nodes"),
    ("addons", "objects in the cluster"),
)

STYLE = """
  text { font-family: ui-sans-serif, system-ui, sans-serif; font-size: 14px; fill: #1f2328; }
  .ground { fill: #ffffff; }
  .title { font-size: 17px; font-weight: 600; }
  .small { font-size: 12.5px; fill: #59636e; }
  .room { font-family: ui-monospace, monospace; font-size: 12px; }
  .pure { fill: #ddf4ff; stroke: #0969da; }
  .effect { fill: #fff8c5; stroke: #9a6700; }
  .phase { fill: none; stroke: #818b98; }
  .arrow { stroke: #59636e; stroke-width: 1.6; fill: none; marker-end: url(#head); }
  .head { fill: #59636e; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .ground { fill: #0d1117; }
    .small { fill: #9198a1; }
    .pure { fill: #121d2f; stroke: #4493f8; }
    .effect { fill: #272115; stroke: #d29922; }
    .phase { stroke: #656c76; }
    .arrow { stroke: #9198a1; }
    .head { fill: #9198a1; }
  }
"""


def text(x: float, y: float, words: str, style: str = "", anchor: str = "middle") -> str:
    """A line of text."""
    return f'<text x="{x}" y="{y}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, style: str) -> str:
    """A rectangle with round corners."""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" class="{style}"/>'


def arrow(path: str) -> str:
    """A line that ends in a head."""
    return f'<path d="{path}" class="arrow"/>'


def stages() -> list[str]:
    """The five stations of the flow, and the rooms that belong to each."""
    parts: list[str] = []
    for number, (name, meaning, rooms, pure) in enumerate(STAGES):
        x = LEFT + number * (BOX + GAP)
        middle = x + BOX / 2
        parts += [box(x, TOP, BOX, 132, "pure" if pure else "effect"), text(middle, TOP + 28, name, "title")]
        parts.append(text(middle, TOP + 48, meaning, "small"))
        parts += [text(middle, TOP + 76 + 19 * line, room, "room") for line, room in enumerate(rooms)]
        if number:
            parts.append(arrow(f"M {x - GAP + 3} {TOP + 66} H {x - 5}"))
    return parts


def loop() -> list[str]:
    """The way back: once for each phase."""
    observe = LEFT + (BOX + GAP) + BOX / 2
    execute = LEFT + 3 * (BOX + GAP) + BOX / 2
    bottom = TOP + 132
    return [
        arrow(f"M {execute} {bottom} V {bottom + 36} H {observe} V {bottom + 6}"),
        text(
            (observe + execute) / 2, bottom + 29, "workflow.py: once for each phase, in this order", "small"
        ),
    ]


def phases() -> list[str]:
    """The four phases of apply."""
    parts: list[str] = []
    width, y = 212, TOP + 190
    for number, (name, meaning) in enumerate(PHASES):
        x = LEFT + number * (width + GAP)
        parts += [box(x, y, width, 60, "phase"), text(x + width / 2, y + 26, name, "title")]
        parts.append(text(x + width / 2, y + 46, meaning, "small"))
        if number:
            parts.append(arrow(f"M {x - GAP + 3} {y + 30} H {x - 5}"))
    return parts


def legend() -> list[str]:
    """What the colours mean."""
    y = HEIGHT - 34
    return [
        box(LEFT, y, 18, 14, "pure"),
        text(LEFT + 26, y + 12, "pure: values in, values out, no input or output", "small", "start"),
        box(LEFT + 330, y, 18, 14, "effect"),
        text(LEFT + 356, y + 12, "touches the world", "small", "start"),
    ]


def picture() -> str:
    """The whole picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'role="img" aria-labelledby="t">',
        '<title id="t">The flow of anykube: spec, observe, plan, execute, state; once for each phase</title>',
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M 0 0 L 10 5 L 0 10 z" class="head"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" class="ground"/>',
        text(LEFT, 34, "One way: an object and facts become a plan; the plan is what runs", "title", "start"),
        *stages(),
        *loop(),
        *phases(),
        *legend(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("flow.svg").write_text(picture(), encoding="utf-8")
