// Makes the code of a notebook's page foldable, cell by cell or all at once. The browser keeps the choice.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const inputs = [...document.querySelectorAll(".cell_input")].filter((cell) => !cell.closest("details"));
  if (inputs.length === 0) return;
  const folds = inputs.map((input) => {
    const fold = document.createElement("details");
    fold.className = "code";
    fold.open = true;
    const title = document.createElement("summary");
    title.textContent = "code";
    input.replaceWith(fold);
    fold.append(title, input);
    return fold;
  });
  const button = document.createElement("button");
  button.className = "fold-all";
  button.type = "button";
  const set = (open) => {
    folds.forEach((fold) => { fold.open = open; });
    button.textContent = open ? "Fold all code" : "Show all code";
    button.setAttribute("aria-expanded", String(open));
  };
  let open = true;
  try { open = localStorage.getItem("code") !== "folded"; } catch { /* a file: page may have no storage */ }
  set(open);
  button.addEventListener("click", () => {
    open = !open;
    set(open);
    try { localStorage.setItem("code", open ? "shown" : "folded"); } catch { /* nothing is kept then */ }
  });
  document.querySelector("h1").before(button);
});
