/* The moving pictures of the site: what they share. Nothing is fetched: the data come with data.js. */
"use strict";

const Moving = { scenes: {}, data: {} };

/* Numbers as the course writes them: `share` with two places, `show` with one that counts where it is small. */
Moving.share = (x, places = 2) => x.toFixed(places).replace(/^(-?)0\./, "$1.");
Moving.show = (x) => (x !== 0 && Math.abs(x) < 0.01 ? x.toPrecision(1).replace(/^0\./, ".") : Moving.share(x));

/* An element with its attributes and children; `on` holds what is called on events. */
Moving.element = (create) => (tag, attributes = {}, ...children) => {
  const made = create(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, call] of Object.entries(value)) made.addEventListener(event, call);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
};
Moving.html = Moving.element((tag) => document.createElement(tag));
Moving.svg = Moving.element((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));

/* A slider over the entries of `stops` (what is written beside it); calls `moved` with the place of the stop. */
Moving.slider = (label, stops, start, moved) => {
  const { html } = Moving;
  const out = html("output");
  const input = html("input", { type: "range", min: 0, max: stops.length - 1, step: 1, autocomplete: "off" });
  const write = () => {
    out.textContent = stops[input.value];
    input.setAttribute("aria-valuetext", stops[input.value]);
  };
  input.value = start;
  input.addEventListener("input", () => {
    write();
    moved(Number(input.value));
  });
  write();
  const row = html("label", { class: "moving-slider" }, html("span", {}, label), input, out);
  row.move = (k) => {
    input.value = k;
    input.dispatchEvent(new Event("input"));
  };
  row.at = () => Number(input.value);
  row.last = stops.length - 1;
  return row;
};

/* A button that walks a slider from where it stands to its end, from the start if it is there already.
   A reader who asked for less motion gets no such button: the slider has every picture. */
Moving.play = (slider, milliseconds) => {
  if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) return "";
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "▶ Play";
  };
  const next = () => (slider.at() < slider.last ? slider.move(slider.at() + 1) : stop());
  const button = Moving.html("button", { type: "button", class: "moving-button", on: { click: () => {
    if (timer) return stop();
    if (slider.at() === slider.last) slider.move(0);
    button.textContent = "❚❚ Pause";
    timer = setInterval(next, milliseconds);
  } } }, "▶ Play");
  return button;
};

let groups = 0;
/* One of a few: radio buttons in a row. Calls `chosen` with the place of the choice. */
Moving.choice = (label, options, start, chosen) => {
  const { html } = Moving;
  const name = `moving-choice-${groups++}`;
  const buttons = options.map((option, k) =>
    html("label", {}, html("input", {
      type: "radio", name, value: k, checked: k === start, autocomplete: "off", on: { change: () => chosen(k) },
    }), html("span", {}, option)));
  return html("fieldset", { class: "moving-choice" }, html("legend", {}, label), html("div", {}, ...buttons));
};

/* A small picture: a square per pixel with its number, dark to bright. With `press`, the pixels are buttons.
   pixels: a list of {value in [0, 1], text, label, mark}; mark is a class. */
Moving.picture = (title, columns, press) => {
  const { html } = Moving;
  const grid = html("div", { class: "moving-pixels", style: `--columns:${columns}`, role: press ? "group" : "img" });
  const box = html("figure", { class: "moving-picture" }, html("figcaption", {}, title), grid);
  box.draw = (pixels) => {
    if (!grid.children.length) pixels.forEach((_, i) => grid.append(
      press ? html("button", { type: "button", on: { click: () => press(i) } }) : html("span")));
    pixels.forEach((pixel, i) => {
      const shade = Math.round(255 * Math.min(1, Math.max(0, pixel.value)));
      const own = grid.children[i];
      own.textContent = pixel.text;
      own.className = pixel.mark || "";
      own.style.background = `rgb(${shade},${shade},${shade})`;
      own.style.color = shade > 127 ? "#000" : "#fff";
      if (press) own.setAttribute("aria-label", pixel.label);
    });
    grid.setAttribute("aria-label", press ? title : `${title}: ${pixels.map((pixel) => pixel.text).join(", ")}`);
  };
  return box;
};

/* Bars that lie: a label, a bar with a hatching of its own, the number.
   rows: a list of {label, value, text, kind}; a value below 0 is drawn to the left of the zero line. */
Moving.bars = (title, low, high) => {
  const { html } = Moving;
  const body = html("div", { class: "moving-bars" });
  const box = html("figure", { class: "moving-picture moving-wide" }, html("figcaption", {}, title), body);
  const place = (value) => (100 * (Math.min(high, Math.max(low, value)) - low)) / (high - low);
  box.draw = (rows) => body.replaceChildren(...rows.map((row) => {
    const from = Math.min(place(0), place(row.value)), width = Math.abs(place(row.value) - place(0));
    const bar = html("span", { class: `moving-bar kind-${row.kind}`, style: `left:${from}%;width:${width}%` });
    const zero = html("span", { class: "moving-zero", style: `left:${place(0)}%` });
    const track = html("span", { class: "moving-track" }, bar, zero);
    return html("div", {}, html("span", {}, row.label), track, html("span", {}, row.text));
  }));
  return box;
};

/* The sentence below a picture; a screen reader reads it after each move. */
Moving.sentence = () => Moving.html("p", { class: "moving-sentence", "aria-live": "polite" });

/* Draws now, and again when the width of the page changes; `draw` gets the width in pixels. */
Moving.fitted = (box, draw) => {
  let width = 0;
  const again = () => {
    const now = Math.floor(box.clientWidth);
    if (now && now !== width) draw((width = now));
  };
  new ResizeObserver(again).observe(box);
  again();
  return () => width && draw(width);
};

document.addEventListener("DOMContentLoaded", () => {
  for (const [name, colour] of Object.entries(Moving.data.colours)) {
    document.documentElement.style.setProperty(`--${name.toLowerCase()}`, colour);
  }
  for (const root of document.querySelectorAll("[data-moving]")) {
    root.replaceChildren();
    Moving.scenes[root.dataset.moving](root, Moving.data);
  }
});
