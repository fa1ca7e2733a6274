"""How the numbers of `levels` are set as text: aligned columns, every number eight characters wide at most."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
import torch

from .levels import Tensors, Textbook

PAGE_WIDTH = 118  # characters; panels wider than this together stand one below the other
FACTORS_PER_LINE = 4


@dataclass(frozen=True, repr=False)
class Page:
    """Panels of aligned text; `str` puts them beside each other, and so does a notebook.

    Attributes:
        difference: of `side_by_side`, the largest between the two panels.
    """

    heading: str
    panels: tuple[str, ...]
    footer: str = ""
    difference: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        blocks = [panel.splitlines() for panel in self.panels]
        widths = [max(map(len, lines)) for lines in blocks]
        if sum(widths) + 5 * (len(widths) - 1) > PAGE_WIDTH:
            body = "\n\n".join(self.panels)
        else:
            rows = zip_longest(*blocks, fillvalue="")
            body = "\n".join("  |  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n\n".join(part for part in (self.heading, body, self.footer) if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        style = "margin:0;padding:0.4em;overflow-x:auto;font:15px/1.35 monospace;color:#000000;background:#ffffff"
        panels = "".join(f'<pre style="{style}">{html.escape(panel)}</pre>' for panel in self.panels)
        footer = f"<p>{html.escape(self.footer)}</p>" if self.footer else ""
        heading = f"<p><b>{html.escape(self.heading)}</b></p>"
        return f'{heading}<div style="display:flex;flex-wrap:wrap;gap:1.5em 3em">{panels}</div>{footer}'


def number(value: float) -> str:
    """Four decimals, or a power of ten where they would say too little."""
    if value == 0:
        return "0.0000"  # also for −0
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e3 or not math.isfinite(value) else f"{value:.2e}"


def power(log_value: float) -> str:
    """exp(log_value) as `number`, also far below the range of floats."""
    if log_value == -math.inf or abs(log_value) < 600:
        return number(math.exp(log_value))
    exponent, fraction = divmod(log_value / math.log(10), 1)
    return f"{10**fraction:.2f}e{exponent:+03.0f}"


def matrix(rows: Sequence[Sequence[float]] | np.ndarray) -> list[str]:
    """One line per row, in brackets, its columns aligned."""
    cells = [[number(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return [f"[ {'  '.join(map(str.rjust, line, widths))} ]" for line in cells]


def beside(*blocks: Sequence[str]) -> list[str]:
    """Blocks of lines next to each other, shorter ones centred: operators stand in the middle row."""
    height = max(map(len, blocks))
    columns = []
    for block in blocks:
        above = (height - len(block)) // 2
        padded = [""] * above + list(block) + [""] * (height - len(block) - above)
        width = max(map(len, block))
        columns.append([line.ljust(width) for line in padded])
    return [" ".join(line).rstrip() for line in zip(*columns)]


def table(head: Sequence[str], lines: Iterable[Sequence[str]], right: Iterable[str]) -> list[str]:
    """Columns under their heads, the last line set apart; `right` are the heads of columns set flush right."""
    rows = [head, *lines]
    widths = [max(map(len, column)) for column in zip(*rows)]
    set_flush = [str.rjust if name in right else str.ljust for name in head]
    text = ["  ".join(f(cell, w) for f, cell, w in zip(set_flush, row, widths)).rstrip() for row in rows]
    rule = "-" * max(map(len, text))
    return [text[0], rule, *text[1:-1], rule, text[-1]]


def textbook_panel(index: int, numbers: Textbook) -> str:
    """Products, sums and flows of region `index`, each written out unit by unit."""
    is_input = not numbers.factors
    names = [f"{index}.{k}" for k in range(len(numbers.log_u))]
    lines = ["THE TEXTBOOK: unit by unit, float64", ""]
    lines += ["evidence: e_v = w(v)" if is_input else "products: e_m = Π of its children"]
    if is_input:
        lines += [f"  {name}: {power(log_e)}" for name, log_e in zip(numbers.products, numbers.log_e)]
    for name, factors in zip(numbers.products, numbers.factors):
        lines += _product(name, factors)
    lines += ["", "inputs: u_k = Σ f_k(v) w(v)" if is_input else "sums: u_k = Σ θ_km e_m"]
    for k, name in enumerate(names):
        lines += _sum(name, k, numbers)
    lines += ["", "flows: F_kv = bk_k f_k(v) w(v) / u_k" if is_input else "flows: F_km = bk_k θ_km e_m / u_k"]
    for k, name in enumerate(names):
        lines += _flows(name, k, numbers)
    return "\n".join(lines)


def _product(name: str, factors: list[tuple[str, float]]) -> list[str]:
    """`6.p0.1 = 0.1 · 3.1`, then the same in numbers."""
    symbols = [child for child, _ in factors]
    lines = _wrapped(f"  {name} = ", symbols)
    indent = " " * (len(name) + 3)
    if len(factors) > 1:
        lines += _wrapped(f"{indent}= ", [power(log_value) for _, log_value in factors])
    return [*lines, f"{indent}= {power(sum(log_value for _, log_value in factors))}"]


def _wrapped(start: str, factors: list[str]) -> list[str]:
    lines = [" · ".join(factors[i : i + FACTORS_PER_LINE]) for i in range(0, len(factors), FACTORS_PER_LINE)]
    return [start + lines[0], *(" " * (len(start) - 2) + "· " + line for line in lines[1:])]


def _sum(name: str, k: int, numbers: Textbook) -> list[str]:
    """The sum over m, one term a line, and its value."""
    theta, e = _flush(map(number, numbers.theta[k])), _flush(map(power, numbers.log_e))
    indent = " " * (len(name) + 3)
    starts = [f"  {name} = ", *[f"{indent}+ "] * (len(theta) - 1)]
    terms = [f"{s}{t} · {v}   {label}" for s, t, v, label in zip(starts, theta, e, numbers.products)]
    log_u = numbers.log_u[k]
    return [*terms, f"{indent}= {power(log_u)}   log u = {number(log_u)}"]


def _flows(name: str, k: int, numbers: Textbook) -> list[str]:
    """bk_k, and what the unit sends down each edge."""
    bk, u = number(numbers.bk[k]), power(numbers.log_u[k])
    if numbers.bk[k] == 0:
        return [f"  {name}  bk = {bk}: it sends nothing down"]
    theta, e = _flush(map(number, numbers.theta[k])), _flush(map(power, numbers.log_e))
    flows = _flush(map(number, numbers.flows[k]))
    terms = zip(theta, e, flows, numbers.products)
    return [f"  {name}  bk = {bk}", *(f"    {bk} · {t} · {v} / {u} = {flow}   {label}" for t, v, flow, label in terms)]


def _flush(cells: Iterable[str]) -> list[str]:
    cells = list(cells)
    width = max(map(len, cells))
    return [cell.rjust(width) for cell in cells]


def tensors_panel(index: int, numbers: Tensors) -> str:
    """The same as one matrix product: θ, the vector exp(x), the maximum taken out of it, and the flows."""
    R, K, M = numbers.stack
    vector = [[value] for value in np.exp(numbers.x)]
    lines = [f"THE TENSOR ENGINE: one matrix product, {dtype_name(numbers.dtype)}", ""]
    lines += [f"level {numbers.level}: {R} region{'s' if R > 1 else ''} stacked, θ has shape ({R}, {K}, {M})"]
    lines += [f"row {numbers.row} of the stack is region {index}", ""]
    lines += [f"x = log e - s,  s = max log e = {number(numbers.scale)}"]
    lines += [f"    {line}" for line in matrix(numbers.x[None])]
    lines += ["", "θ exp(x), (K_out × M) · (M)"]
    product = [matrix(numbers.theta), ["·"], matrix(vector), ["="], matrix([[u] for u in numbers.u])]
    lines += [f"    {line}" for line in beside(*product)]
    lines += ["", "log u = log(θ exp(x)) + s", *_log_lines(index, numbers)]
    lines += ["", "flows: F_km = θ_km r_k exp(x_m); s cancels in", "r_k = flow from above / θ exp(x)"]
    for k, (u, flow) in enumerate(zip(numbers.u, numbers.flows.sum(1))):
        lines += [f"  r_{k} = {number(flow)} / {number(u)} = {number(flow / u) if u > 0 else 'none'}"]
    lines += ["F", *(f"    {line}" for line in matrix(numbers.flows))]
    lines += ["sent down to the products, Σ_k F_km", *(f"    {line}" for line in matrix(numbers.flows.sum(0)[None]))]
    return "\n".join(lines)


def _log_lines(index: int, numbers: Tensors) -> list[str]:
    """log u of each unit; a star where the linear value has left the range in which floats keep their digits."""
    is_thin = (numbers.u < torch.finfo(numbers.dtype).tiny ** 0.5) & (numbers.log_u > -math.inf)
    log_linear = _flush(number(log_u - numbers.scale) for log_u in numbers.log_u)
    log_u = _flush(map(number, numbers.log_u))
    scale = f"{'-' if numbers.scale < 0 else '+'} {number(abs(numbers.scale))}"
    lines = [
        f"  {index}.{k}  {linear} {scale} = {log}{' *' if is_thin[k] else ''}"
        for k, (linear, log) in enumerate(zip(log_linear, log_u))
    ]
    note = "* too small for the matrix product:", "  terms and flows of this unit are added as logarithms"
    return [*lines, *note] if is_thin.any() else lines


def dtype_name(dtype: torch.dtype) -> str:
    """float32 rather than torch.float32."""
    return str(dtype).removeprefix("torch.")
