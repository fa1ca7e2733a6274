"""docs/moving.md in a browser: all six pictures move, nothing is fetched, and the numbers are those of the package."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch

from studies.moving import WEAR, em_start, shapes_graph
from tests.browser.driven import QUIET, WIDTHS, browser_page, moves, moving_page
from tiramisu_edu.course.shapes import SHAPES, shapes_circuit
from tiramisu_edu.course.skyline import skyline_circuit
from tiramisu_edu.steering.evidence import Moments, PixelCodebook
from tiramisu_edu.steering.fusion import pixel_demands, weigh
from tiramisu_edu.steering.mixture import gaussian_geometric_mean, geometric_mean

pytestmark = QUIET
PICTURES = ("circuit", "shapes", "mixture", "film", "em", "fusion")
NUMBERS = """(text) => { const m = Moving.math, data = Moving.data, ask = JSON.parse(text); return {
    passes: ask.evidence.map((x) => m.passes(data.circuit, m.hard(x))),
    marginals: ask.evidence.map((x) => m.marginals(data.circuit, m.hard(x))),
    soft: ask.sigmas.map((sigma) => m.marginals(data.shapes, m.soft(ask.readings, sigma))),
    em: data.em.starts.map((start) => { const found = []; for (let k = 0; k < 6; k++) {
        const next = m.emStep(start, data.em.rows); found.push(next); start = next.circuit; } return found; }),
    rows: data.em.rows,
    fused: ask.coherences.map((c) => m.fuse(data.shapes, ask.pictures, ask.region, c)),
    geometric: m.geometric(data.pixel.dm, data.pixel.pc, 0.8), pixel: data.pixel,
    gaussian: m.gaussianMean({ mean: 0, sd: 1 }, { mean: 3, sd: 0.5 }, 0.3),
}; }"""
ASKED = {
    "evidence": [[-1] * 6, [-1, -1, -1, -1, -1, 1], [1, 0, -1, 1, 0, 0], [0, 0, 0, 1, 1, 1]],
    "readings": [0.3, 0.8, 2.7, -0.3, -0.6, -1.0, -1.6, 1.1, -2.6],
    "sigmas": [0.1, 1, 5],
    "coherences": [0, 0.3, 0.7, 0.95, 1],
    "pictures": [[int(bit) for bit in SHAPES[name].replace(" ", "")] for name in ("T", "L")],
    "region": [0, 0, 0, 1, 1, 1, 1, 1, 1],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("moving")


@pytest.mark.parametrize("width", WIDTHS)
def test_each_picture_moves_by_mouse_touch_and_keys(browser, folder, width):
    with browser_page(browser, width) as page:
        page.goto(moving_page(folder))
        for name in PICTURES:
            box = page.locator(f"[data-moving={name}]")
            failed = moves(box.locator("input[type=range]").first, box.inner_html)
            assert not failed, (name, failed)
            assert box.locator(".moving-sentence").inner_text()
            assert all(image.get_attribute("aria-label") for image in box.locator("[role=img]").all())
        for name in ("circuit", "shapes"):  # pixels are buttons
            box = page.locator(f"[data-moving={name}]")
            pixel = box.locator(".moving-pixels button").nth(3)
            for press in (pixel.click, pixel.tap, partial(pixel.press, "Space")):
                before = pixel.get_attribute("aria-label"), box.inner_html()
                press()
                assert before[0] != pixel.get_attribute("aria-label") and before[1] != box.inner_html()
        for name in ("mixture", "film", "em", "fusion"):  # choices are radio buttons
            box = page.locator(f"[data-moving={name}]")
            first, second = box.locator("fieldset").first.locator("input").all()[:2]
            by_keys = partial(second.press, "ArrowLeft")
            for choose, chosen in ((second.tap, second), (by_keys, first), (second.click, second)):
                before = box.inner_html()
                choose()
                assert chosen.is_checked() and before != box.inner_html()


def test_play_walks_to_the_end_and_readers_who_want_less_motion_have_no_such_button(browser, folder):
    with browser_page(browser, 390) as page:
        page.goto(moving_page(folder))
        box = page.locator("[data-moving=film]")
        box.locator("input[type=range]").press("End")
        box.get_by_role("button", name="Play").click()  # from the end it begins anew
        page.wait_for_function("document.querySelector('[data-moving=film] input[type=range]').value >= 1")
        box.get_by_role("button", name="Pause").click()
        assert int(box.locator("input[type=range]").input_value()) < 11
    with browser_page(browser, 390, reduced_motion="reduce") as page:
        page.goto(moving_page(folder))
        assert page.locator("[data-moving=film] input[type=range]").count() == 1
        assert page.get_by_role("button", name="Play").count() == 0


@pytest.fixture(scope="module")
def found(browser, folder):
    with browser_page(browser, 1440) as page:
        page.goto(moving_page(folder))
        return page.evaluate(NUMBERS, json.dumps(ASKED))


def test_both_passes_are_those_of_the_reference(found):
    circuit = skyline_circuit(2, 3, WEAR)
    assert circuit.num_nodes == 28
    for x, page, marginals in zip(ASKED["evidence"], found["passes"], found["marginals"]):
        log_w = circuit.evidence(x)
        log_fw = circuit.forward(log_w)
        bk = circuit.backward(log_fw)
        np.testing.assert_allclose(page["fw"], np.exp([log_fw[n] for n in circuit.nodes]), rtol=1e-12)
        np.testing.assert_allclose(page["bk"], [bk[n] for n in circuit.nodes], rtol=1e-12, atol=1e-15)
        for n, flows in circuit.edge_flows(log_fw, bk).items():
            np.testing.assert_allclose(page["flows"][circuit.nodes.index(n)], flows, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(marginals, circuit.posterior_marginals(log_w), rtol=1e-12, atol=1e-15)


def test_soft_evidence_is_that_of_the_reference(found):
    y, levels = np.array(ASKED["readings"]), np.array([-1.0, 1.0])
    for sigma, page in zip(ASKED["sigmas"], found["soft"]):
        log_w = list(-((y[:, None] - levels) ** 2) / (2 * sigma**2))
        np.testing.assert_allclose(page, shapes_graph().posterior_marginals(log_w), atol=1e-12)


def test_em_is_that_of_the_package_and_its_likelihood_climbs(found):
    for seed, page in enumerate(found["em"]):
        circuit, climbs = em_start(seed), []
        for step in page:
            circuit, log_likelihood = circuit.em_step(found["rows"])
            climbs.append(step["logLikelihood"])
            assert np.isclose(log_likelihood, step["logLikelihood"], rtol=1e-12)
            own = [p for n in circuit.nodes for p in getattr(n, "weights", getattr(n, "probabilities", ()))]
            np.testing.assert_allclose([p for n in step["circuit"]["nodes"] for p in n["p"]], own, atol=1e-12)
        assert np.all(np.diff(climbs) > 0)


def test_fusion_and_the_mixture_are_those_of_the_package(found):
    references = 2.0 * torch.tensor(ASKED["pictures"], dtype=torch.float64).view(2, 1, 3, 3) - 1
    regions = torch.stack([torch.tensor(ASKED["region"]) == r for r in range(2)]).view(2, 1, 3, 3)
    for coherence, page in zip(ASKED["coherences"], found["fused"]):
        demands = pixel_demands(PixelCodebook.grey_levels(2), references, regions, coherence)
        log_z, each = weigh(shapes_circuit(WEAR), demands)
        np.testing.assert_allclose(page["joint"], demands.joint.exp(), atol=1e-9)
        np.testing.assert_allclose([page["logZ"], *page["each"]], [log_z, *each], atol=1e-9)
        assert np.isclose(page["contradiction"], sum(each) - log_z, atol=1e-9)
    dm, pc = (torch.tensor(found["pixel"][name], dtype=torch.float64) for name in ("dm", "pc"))
    np.testing.assert_allclose(found["geometric"], geometric_mean(dm.log(), pc.log(), 0.8).exp(), rtol=1e-12)
    a, b = (Moments(torch.tensor(m).double(), torch.tensor(v).double()) for m, v in ((0.0, 1.0), (3.0, 0.25)))
    mixed = gaussian_geometric_mean(a, b, 0.3)
    np.testing.assert_allclose(found["gaussian"]["mean"], mixed.mean)
    np.testing.assert_allclose(found["gaussian"]["sd"] ** 2, mixed.variance)
