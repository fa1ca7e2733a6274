"""A prediction keeps the guess, reveals after the experiment, counts, and shows radio buttons where nothing runs."""

from __future__ import annotations

import pytest

from tiramisu_edu.course import predictions
from tiramisu_edu.course.predictions import predict, predicted
from tiramisu_edu.errors import TiramisuError


@pytest.fixture
def shown(monkeypatch):
    found = []
    monkeypatch.setattr("IPython.display.display", found.append)
    monkeypatch.setattr(predictions, "ASKED", {})
    monkeypatch.setattr(predictions, "TALLIES", [])
    return found


def test_a_guess_is_kept_and_compared_whichever_comes_first(shown):
    late, early = predict("Which <way>?", ["up", "down"]), predict("How many?", ["one", "two"])
    early.buttons.value = "two"
    early.reveal("two", "It is 2.")
    assert early.right and shown[0].value == "You guessed: two. Found: <b>two.</b> It is 2."
    late.reveal("up", "0.9 > 0.1.")
    predicted()
    assert late.right is None and shown[1].value.startswith("Make your guess")
    assert shown[2].value == "<b>1 of 2 predicted</b>, 1 guessed"
    late.buttons.value = "down"
    assert late.right is False and "You guessed: down. Found: <b>up.</b> 0.9 &gt; 0.1." in shown[1].value
    assert shown[2].value == "<b>1 of 2 predicted</b>, 2 guessed"


def test_asking_again_does_not_count_twice(shown):
    predict("Which?", ["up", "down"])
    again = predict("Which?", ["up", "down"])
    again.buttons.value = "up"
    again.reveal("up", "so.")
    predicted()
    assert shown[-1].value == "<b>1 of 1 predicted</b>, 1 guessed"


def test_a_page_without_a_kernel_has_radio_buttons_and_a_folded_answer(shown):
    asked = predict("Which <way>?", ["up", "down"])
    page = asked._repr_mimebundle_()
    assert page["text/html"].count('type="radio"') == 2 and "Which &lt;way&gt;?" in page["text/html"]
    assert page["text/plain"] == "Predict. Which <way>? (up / down)"
    asked.reveal("down", "It fell.")
    found = shown[0]._repr_mimebundle_()["text/html"]
    assert "<summary>Which &lt;way&gt;? What happened</summary><div><b>down.</b> It fell.</div>" in found
    assert 'data-answer="down"' in found and 'value="down"' in page["text/html"]
    same = 'data-question="Which &lt;way&gt;?"'  # by which the site's script finds what belongs together
    assert same in found and same in page["text/html"]
    assert "0x" not in str(page["text/html"]) + str(page["text/plain"])


def test_an_answer_that_was_no_choice_is_refused(shown):
    with pytest.raises(TiramisuError, match="none of the choices of 'Which"):
        predict("Which?", ["up", "down"]).reveal("left", "no.")
