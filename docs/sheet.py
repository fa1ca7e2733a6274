"""The cheat sheet: symbols, five formulas and one picture, on one page of A4."""

from __future__ import annotations

from pathlib import Path

from formulas import FORMULAS, line_of
from notation import NOTATION

from teaching.printing import formula, page

STEP = Path(__file__).parent / "images" / "one_step.svg"
# Place and beginning of the formula -> what it says.
FIVE = {
    ("Eq. 6", "p_n(x) ="): "A circuit's value, children before parents: input, product, sum.",
    ("Section 4.2, backward pass", "bk_c"): "Flows, parents before children; at a product each child gets all.",
    ("Section 4.2, target", "p(X_i"): "Every marginal from the two passes: flow times the input's share.",
    ("Eq. 8", "p(x"): "Soft evidence: w is the noise's density at a hidden pixel, 0 or 1 at a known one.",
    ("Eq. 5", r"p \propto"): "Tiramisu: the weighted geometric mean of network and circuit, pixel by pixel.",
}
CONDITIONS = (
    "<li><b>Smooth</b>: the children of a sum are over the same variables.</li>"
    "<li><b>Decomposable</b>: the children of a product share no variable.</li>"
    "<li>With both, one pass up gives Z under any evidence, and one pass down every marginal.</li>"
)


def sheet() -> str:
    """The sheet as a page that needs no other file."""
    symbols = "".join(
        f"<tr><td>{formula(symbol.tex)}</td><td>{symbol.meaning}</td></tr>" for symbol in NOTATION if symbol.sheet
    )
    rows = []
    for number, ((place, start), words) in enumerate(FIVE.items(), 1):
        found = next(f for f in FORMULAS if f.place == place and f.formula.startswith(start))
        path, line = line_of(found)
        notebooks = f"notebook{'s' * (len(found.notebooks) > 1)} {', '.join(map(str, found.notebooks))}"
        rows.append(
            f"<div><b>{number}</b> {words}{formula(found.formula, 'block')}"
            f"<small>{place} · {notebooks} · {path}:{line}</small></div>"
        )
    body = (
        "<h1>Tiramisu on one page</h1><main><section><h2>Symbols</h2>"
        f"<table>{symbols}</table></section><section><h2>Five formulas</h2>{''.join(rows)}"
        f"<h2>Two conditions</h2><ul>{CONDITIONS}</ul></section></main>"
        f"<h2>One step</h2>{STEP.read_text(encoding='utf-8')}"
    )
    return page("Tiramisu on one page", "sheet.css", body)
