"""The page of a notebook, without a kernel: the slider's frames move, a guess is kept, told of and counted."""

from __future__ import annotations

import pytest

from tests.browser.driven import QUIET, WIDTHS, browser_page, moves, write_page
from tiramisu_edu.course import predictions
from tiramisu_edu.course.figures import bars
from tiramisu_edu.course.predictions import predict, predicted
from tiramisu_edu.course.widgets import slider_picture

pytestmark = QUIET
NOTHING_KEPT = "for (const call of ['getItem', 'setItem']) Storage.prototype[call] = () => { throw new Error('no'); };"


@pytest.fixture
def address(tmp_path, monkeypatch):
    """A page of what a notebook's cells put out: a slider, two questions with their answers, the count."""
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setattr(predictions, "ASKED", {})
    monkeypatch.setattr(predictions, "TALLIES", [])

    def render(value):
        return bars(["a", "b"], {"": [value, 1]}), f"two bars, the left one of height {value}", f"It is {value} high."

    asked = [predict('Which "way" is <up>?', ["< this", "that"]), predict("How many?", ["one", "two"])]
    cells = [slider_picture([0.1, 0.5, 1.0, 2.0], render, "height < 3", start=0.5), *asked]
    asked[0].reveal("< this", "It rose.")
    asked[1].reveal("two", "2 were there.")
    predicted()
    return write_page(tmp_path, "".join(cell._repr_mimebundle_()["text/html"] for cell in (*cells, *shown)))


@pytest.mark.parametrize("width", WIDTHS)
def test_the_frames_of_a_slider_move(browser, address, width):
    with browser_page(browser, width) as page:
        page.goto(address)
        shown = page.locator(".slider-picture figure:visible")
        assert shown.count() == 1 and shown.inner_text() == "It is 0.5 high."
        slider = page.get_by_label("height < 3")
        assert not moves(slider, shown.inner_text)
        slider.press("End")
        assert shown.inner_text() == "It is 2.0 high." and shown.locator("img").get_attribute("alt").endswith("2.0")
        assert page.locator(".slider-picture output").inner_text() == slider.get_attribute("aria-valuetext") == "2"
        assert page.locator(".slider-picture figure:visible").count() == 1
        page.emulate_media(media="print")
        assert slider.is_hidden() and shown.count() == 1


def read(box):
    return " ".join(box.inner_text().split())


@pytest.mark.parametrize("width", WIDTHS)
def test_a_guess_is_kept_over_a_reload_told_of_and_counted(browser, address, width):
    with browser_page(browser, width) as page:
        page.goto(address)
        count, (first, second) = page.locator(".predicted"), page.locator(".prediction-found").all()
        assert count.inner_text().startswith("0 of 2 predicted, 0 guessed")
        first.locator("summary").click()
        assert first.locator("p").inner_text() == "Make your guess above, then look here."
        assert first.locator("div").is_hidden()
        page.get_by_label("< this").tap()
        assert read(first).endswith("You guessed: < this. ✓ As predicted. < this. It rose.")
        page.get_by_label("one").focus()
        page.keyboard.press("Space")
        for _ in range(2):
            assert read(second).endswith("You guessed: one. ✗ It came otherwise. two. 2 were there.")
            assert count.inner_text().startswith("1 of 2 predicted, 2 guessed")
            assert page.get_by_label("< this").is_checked() and page.get_by_label("one").is_checked()
            page.reload()
        page.get_by_label("two").click()
        assert count.inner_text().startswith("2 of 2 predicted, 2 guessed")


def test_where_the_browser_keeps_nothing_the_page_does(browser, address):
    with browser_page(browser, 390, NOTHING_KEPT) as page:
        page.goto(address)
        page.get_by_label("two").click()
        assert page.locator(".predicted").inner_text().startswith("1 of 2 predicted, 1 guessed")
