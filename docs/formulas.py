"""Where is formula N? Each formula of the paper, the line of code that computes it, and its notebooks.

`FORMULAS` names a function and a piece of the line. File and line number are looked up when the site is built.
A function that was renamed, or a line that no longer has the piece, is an error.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Formula(NamedTuple):
    """A formula of the paper.

    Attributes:
        place: where the paper has it, "Eq. 5" or "Section 4.2".
        formula: the formula, in TeX.
        target: "module:name" below `tiramisu_edu`; a name may be a method, as in "steering.guide:Guide.steer".
        piece: of the line that computes it, or of its docstring's formula.
        notebooks: that teach it.
    """

    place: str
    formula: str
    target: str
    piece: str
    notebooks: tuple[int, ...]

    @property
    def dotted(self) -> str:
        """The target's full name."""
        return f"tiramisu_edu.{self.target.replace(':', '.')}"


FORMULAS = (
    Formula(
        "Section 2",
        r"q(x_t \mid x_0) = N(\sqrt{\bar\alpha_t}\,x_0,\,1-\bar\alpha_t)",
        "diffusion.schedule:Schedule.add_noise",
        "signal * x_0 + spread * noise",
        (1, 7),
    ),
    Formula(
        "Section 2",
        r"q(x_{t-1} \mid x_t, \tilde x_0)",
        "diffusion.schedule:Schedule.posterior",
        "c_1 * x_0 + c_2 * x_t",
        (7,),
    ),
    Formula(
        "Eq. 3",
        r"p(x_{t-1} \mid x_t, x_0^k) = \sum_{\tilde x_0} q(x_{t-1} \mid x_t, \tilde x_0) p(\tilde x_0 \mid x_t, x_0^k)",
        "diffusion.schedule:Schedule.ddim_step",
        "math.sqrt(previous) * x_0",
        (7, 8),
    ),
    Formula(
        "Eq. 4",
        r"\prod_i q(x_t^i \mid \tilde x_0^i)\,1[\tilde x_0^k = x_0^k]",
        "steering.evidence:PixelCodebook.log_noisy",
        "levels) ** 2) / (2 * (1 - ",
        (6, 8),
    ),
    Formula(
        "Eq. 4",
        r"p_{TPM}(\tilde x_0 \mid x_t, x_0^k)",
        "steering.guide:CircuitGuide.posterior",
        "posterior_marginals(",
        (6, 8),
    ),
    Formula(
        "Eq. 5",
        r"p \propto p_{DM}^{\alpha}\,p_{TPM}^{1-\alpha}",
        "steering.mixture:geometric_mean",
        "alpha * log_a + (1 - alpha) * log_b",
        (8,),
    ),
    Formula(
        "Eq. 5",
        r"1/\sigma^2 = \alpha/\sigma_{DM}^2 + (1-\alpha)/\sigma_{TPM}^2\text{ for Gaussians}",
        "steering.mixture:gaussian_geometric_mean",
        "1 / (of_a + of_b)",
        (8,),
    ),
    Formula(
        "Definition 1",
        r"\text{input, product, sum}",
        "circuits.nodes:Sum",
        "p_n(x) = Σ_c θ_{n,c} p_c(x)",
        (2,),
    ),
    Formula(
        "Eq. 6",
        r"p_n(x) = f_n(x),\ \prod_c p_c(x),\ \sum_c \theta_{n,c}\,p_c(x)",
        "circuits.reference:ReferenceCircuit.forward",
        "fw_n = Σ_c θ_{n,c} fw_c",
        (2, 3),
    ),
    Formula(
        "Eq. 7",
        r"\frac{1}{N}\sum_{x \in D} \log p(x)",
        "circuits.learning:mean_log_likelihood",
        "circuit.log_likelihood(rows)",
        (5,),
    ),
    Formula(
        "Eq. 8",
        r"p(x \mid w) = \frac{1}{Z}\,p(x) \prod_i w_i(x_i)",
        "circuits.reference:ReferenceCircuit.forward",
        "fw_n = Σ_v f_n(v) w_i(v)",
        (6,),
    ),
    Formula(
        "Section 4.2, backward pass",
        r"bk_c = \sum_n bk_n\,\theta_{n,c}\,fw_c / fw_n",
        "circuits.reference:ReferenceCircuit._flows_below",
        "F_{n,c} = bk_n θ_{n,c} fw_c / fw_n",
        (4,),
    ),
    Formula(
        "Section 4.2, target",
        r"p(X_i = v \mid w) = \sum_n bk_n\,f_n(v)\,w_i(v) / fw_n",
        "circuits.reference:ReferenceCircuit.posterior_marginals",
        "bk_n f_n(v) w_i(v) / fw_n",
        (4, 6),
    ),
    Formula(
        "Section 4.2, on tensors",
        r"p(X_i = v \mid w)\text{ for a batch}",
        "circuits.circuit:Circuit.posterior_marginals",
        "p(X_i = v | w)",
        (6, 11),
    ),
    Formula(
        "Section 5",
        r"w_j(z) \propto q_j(z)^{1/\tau}",
        "steering.latent:LatentGuide.evidence",
        "torch.log_softmax(log_q / tau",
        (10,),
    ),
    Formula(
        "Section 6.3, appendix F",
        r"Q_j \propto q_j^{\text{power}}",
        "steering.fusion:tempered",
        "log_softmax(math.exp(middle) * log_p",
        (12,),
    ),
    Formula(
        "Appendix B",
        r"\alpha(t) = a + (b - a)\,e^{-\text{decay}\;t/T}",
        "steering.mixture:AlphaSchedule",
        "math.exp(-self.decay * ",
        (8,),
    ),
    Formula(
        "Appendix C.1",
        r"\theta_{n,c} = (F_{n,c} + \lambda/m) / (\sum_c F_{n,c} + \lambda)",
        "circuits.reference:ReferenceCircuit.em_step_soft",
        "pseudocount / len(count)",
        (5,),
    ),
)


def line_of(formula: Formula) -> tuple[str, int]:
    """The file, as a path below the checkout, and the number of the formula's line.

    Raises:
        LookupError: the target has no line with the piece.
    """
    module, _, names = formula.target.partition(":")
    found = import_module(f"tiramisu_edu.{module}")
    for name in names.split("."):
        found = getattr(found, name)
    found = inspect.unwrap(found)
    lines, first = inspect.getsourcelines(found)
    for number, line in enumerate(lines, start=first):
        if formula.piece in line:
            return Path(inspect.getsourcefile(found)).relative_to(ROOT).as_posix(), number
    raise LookupError(f"{formula.place}: no line of {formula.target} has {formula.piece!r}; change docs/formulas.py")


def formula_table() -> str:
    """The table of docs/paper.md."""
    rows = ["| in the paper | formula | function | line | notebooks |", "|---|---|---|---|---|"]
    for formula in FORMULAS:
        path, line = line_of(formula)
        name = formula.target.partition(":")[2]
        notebooks = ", ".join(f"{{nb}}`{number}`" for number in formula.notebooks)
        tex = formula.formula.replace("|", r"\|")
        rows.append(
            f"| {formula.place} | ${tex}$ | {{py:obj}}`{name} <{formula.dotted}>` | `{path}:{line}` | {notebooks} |"
        )
    return "\n".join(rows)
