"""The letters of the course: one list for the page of notation and for the cheat sheet.

The capital letters are those that the docstring of `tiramisu_edu` fixes; a test compares the two.
"""

from __future__ import annotations

from typing import NamedTuple


class Symbol(NamedTuple):
    """A symbol of the course.

    Attributes:
        tex: as text and formulas write it.
        code: as the code writes it.
        meaning: in a few words.
        notebook: that introduces it.
        sheet: whether it stands on the cheat sheet.
    """

    tex: str
    code: str
    meaning: str
    notebook: int
    sheet: bool = False


NOTATION = (
    Symbol("B", "B", "batch", 5),
    Symbol("D", "D", "variables", 2, True),
    Symbol("C", "C", "categories", 2, True),
    Symbol("K", "K", "units per region", 5, True),
    Symbol("R", "R", "regions", 5),
    Symbol("T", "T", "steps", 7, True),
    Symbol(r"H, W", "H W", "pixels", 7),
    Symbol(r"X_i,\ x_i", "x[:, i]", "a variable, one pixel or code, and its value", 1, True),
    Symbol("v", "v", "a value that a variable may have", 2, True),
    Symbol(r"n,\ c", "n, c", "a node of a circuit, and a child of it", 2, True),
    Symbol(r"f_n(v)", "parameters(n)", "table of an input", 2, True),
    Symbol(r"\theta_{n,c}", "theta", "weight of a sum's edge; they sum to one", 2, True),
    Symbol(r"fw_n", "log_fw[n]", "value of a node, children first", 3, True),
    Symbol(r"bk_n", "bk[n]", "flow into a node: the share of draws that pass it", 4, True),
    Symbol(r"F_{n,c}", "edge_flows", "flow through an edge: the share of draws that take it", 4, True),
    Symbol(r"w_i(v)", "log_weights", "evidence, hard or soft: how far the value v is still allowed", 2, True),
    Symbol(r"Z(w)", "log_partition", "value of the root under soft evidence", 3, True),
    Symbol(r"\lambda", "pseudocount", "pseudocount of an EM step", 5),
    Symbol(r"\tau", "tau", "temperature: low means that evidence must be obeyed", 6),
    Symbol(r"x_0,\ x_t", "x_0, x_t", "clean picture, and noisy picture at time t", 1, True),
    Symbol(r"\tilde x_0", "x_0", "a clean picture as a sampler imagines it", 8, True),
    Symbol(r"x_0^k", "image[known]", "the known pixels", 8, True),
    Symbol(r"\bar\alpha_t", "alpha_bar", "signal level at time t: 1 is clean, 0 is noise", 1, True),
    Symbol(r"\beta_t", "beta", "variance of the noise that one step adds", 7),
    Symbol(r"\epsilon", "noise", "standard normal noise", 1),
    Symbol(r"f(x_t)", "x_0", "the network's prediction of the clean picture", 7, True),
    Symbol(r"p_{DM}", "p_DM", "what the network says, a Gaussian for each pixel", 8, True),
    Symbol(r"p_{PC},\ p_{TPM}", "p_PC", "what the circuit says, given noisy copy and known pixels", 8, True),
    Symbol(r"\alpha", "alpha", "weight of the network in the mixture", 8, True),
)


def table(symbols: tuple[Symbol, ...] = NOTATION) -> str:
    """The page's table, in Markdown."""
    rows = [
        f"| ${symbol.tex}$ | `{symbol.code}` | {symbol.meaning} | {{nb}}`{symbol.notebook}` |" for symbol in symbols
    ]
    return "\n".join(["| in formulas | in code | meaning | first in |", "|---|---|---|---|", *rows])
