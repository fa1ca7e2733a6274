// Turns the slides: arrow keys, space, Home and End, a click on the right or left half, a swipe. No other file is needed.
"use strict";
const main = document.querySelector("main");
const slides = [...document.querySelectorAll("section")];
let now = 0;

function fit(slide) {
  const inside = slide.querySelector("div");
  let size = parseFloat(getComputedStyle(slide).fontSize);
  while (size > 13 && (slide.scrollHeight > slide.clientHeight || inside.scrollHeight > inside.clientHeight + 1 ||
                       inside.scrollWidth > inside.clientWidth + 1)) {
    size -= 1;
    slide.style.fontSize = `${size}px`;
  }
}

function turn(to) {
  now = Math.max(0, Math.min(slides.length - 1, to));
  slides.forEach((slide, k) => slide.classList.toggle("now", k === now));
  history.replaceState(null, "", `#${now + 1}`);
}

function scale() {
  const by = Math.min(innerWidth / 1280, innerHeight / 720);
  main.style.transform = `scale(${by}) translate(-50%, -50%)`;
}

const steps = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1,
                Home: -Infinity, End: Infinity };
addEventListener("keydown", (event) => {
  if (event.key in steps && event.target.tagName !== "INPUT" && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    turn(now + steps[event.key]);
  }
});
addEventListener("click", (event) => {
  if (!event.target.closest("a, input, label")) turn(now + (event.clientX < innerWidth / 2 ? -1 : 1));
});
let start = null;
addEventListener("touchstart", (event) => { start = event.changedTouches[0].clientX; }, { passive: true });
addEventListener("touchend", (event) => {
  const moved = event.changedTouches[0].clientX - start;
  if (Math.abs(moved) > 40) turn(now - Math.sign(moved));
}, { passive: true });
addEventListener("resize", scale);
addEventListener("hashchange", () => turn((parseInt(location.hash.slice(1), 10) || 1) - 1));

slides.forEach((slide, k) => { slide.dataset.number = `${k + 1} / ${slides.length}`; fit(slide); });
document.body.classList.add("turning");
scale();
turn((parseInt(location.hash.slice(1), 10) || 1) - 1);
