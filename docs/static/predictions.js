/* Predict, then run, on a page without a kernel: keeps the guesses in the reader's own browser, tells what was found
   once a guess is made, and counts. What it works on is written by tiramisu_edu/course/predictions.py. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const questions = [...document.querySelectorAll("fieldset.prediction")];
  const place = location.pathname.split("/").pop();
  const name = (question) => `tiramisu-prediction:${place}:${question}`;
  const memory = new Map(); // for as long as the page is open, where the browser keeps nothing
  const attempt = (call) => {
    try {
      return call();
    } catch {
      return null;
    }
  };
  const guessOf = (question) => memory.get(question) ?? attempt(() => localStorage.getItem(name(question)));
  const keep = (question, guess) => {
    memory.set(question, guess);
    attempt(() => localStorage.setItem(name(question), guess));
  };
  const found = [...document.querySelectorAll("details.prediction-found")];

  const update = () => {
    let made = 0, right = 0;
    for (const details of found) {
      const guess = guessOf(details.dataset.question), told = details.querySelector("p.prediction-told");
      const came = guess === details.dataset.answer;
      if (guess !== null) {
        made += 1;
        right += came;
        told.textContent = `You guessed: ${guess}. ${came ? "✓ As predicted." : "✗ It came otherwise."}`;
      }
      details.querySelector("div").hidden = guess === null;
    }
    for (const tally of document.querySelectorAll("p.predicted")) {
      tally.textContent = "";
      const count = document.createElement("b");
      count.textContent = `${right} of ${questions.length} predicted`;
      tally.append(count, `, ${made} guessed. Your guesses stay in this browser.`);
    }
  };

  for (const details of found) {
    const told = document.createElement("p"), link = document.createElement("a");
    told.className = "prediction-told";
    link.textContent = "Make your guess above, then look here.";
    const asked = questions.findIndex((fieldset) => fieldset.dataset.question === details.dataset.question);
    link.href = `#prediction-${asked}`;
    told.append(link);
    details.querySelector("summary").after(told);
    details.open = guessOf(details.dataset.question) !== null;
  }
  questions.forEach((fieldset, k) => {
    fieldset.id = `prediction-${k}`;
    for (const input of fieldset.querySelectorAll("input")) {
      input.checked = input.value === guessOf(fieldset.dataset.question);
      input.addEventListener("change", () => {
        keep(fieldset.dataset.question, input.value);
        for (const details of found) if (details.dataset.question === fieldset.dataset.question) details.open = true;
        update();
      });
    }
  });
  if (questions.length) update();
});
