/* One repair step by step: what the network, the circuit and their mixture expect, and the noisy picture. */
"use strict";

Moving.scenes.film = (root, { film }) => {
  const { html, share } = Moving;
  const rows = { x_t: "x_t, the noisy picture", denoiser: "p_DM, the network", circuit: "p_PC, the circuit", guided: "the mixture" };
  const names = Object.keys(rows), steps = film[0].signal.length, columns = steps + 2;
  const folder = document.querySelector('script[src$="film.js"]').src.replace(/film\.js$/, "");
  let mask = 0;

  const choice = Moving.choice("mask", film.map((one) => one.title), 0, (k) => {
    mask = k;
    update();
  });
  const stops = film[0].signal.map((a, k) => `${k + 1} of ${steps}, ᾱ = ${share(a)}`);
  const slider = Moving.slider("step, from noise to picture", stops, 3, () => update());
  const frame = (title) => {
    const picture = html("div", { class: "moving-face", role: "img" }), note = html("span", { class: "moving-note" });
    const box = html("figure", { class: "moving-picture" }, html("figcaption", {}, title), picture, note);
    return { picture, note, box };
  };
  const shown = names.map((name) => frame(rows[name])), sides = ["given", "truth"].map(frame);
  const sentence = Moving.sentence();
  root.append(choice, html("div", { class: "moving-row" }, slider, Moving.play(slider, 700)),
    html("div", { class: "moving-frames" }, ...shown.map((one) => one.box)), sentence,
    html("div", { class: "moving-frames" }, ...sides.map((one) => one.box)));

  const place = (own, column, row, label) => {
    own.picture.style.backgroundImage = `url("${folder}${film[mask].file}")`;
    own.picture.style.backgroundSize = `${columns * 100}% ${names.length * 100}%`;
    own.picture.style.backgroundPosition = `${(100 * column) / (columns - 1)}% ${(100 * row) / (names.length - 1)}%`;
    own.picture.setAttribute("aria-label", label);
  };
  const update = () => {
    const k = slider.at(), { title, signal, alpha, error } = film[mask];
    names.forEach((name, row) => {
      const wrong = name === "x_t" ? "" : `error ${share(error[name][k], 3)}`;
      place(shown[row], k, row, `${rows[name]} at step ${k + 1} of ${steps}, ${title}${wrong && `, ${wrong}`}`);
      shown[row].note.textContent = wrong || `signal ${share(signal[k])}`;
    });
    sides.forEach((own, row) => place(own, steps + row, 0, row ? "the true face" : `what is given: ${title}, the rest is hatched`));
    const nearer = error.denoiser[k] < error.circuit[k] ? "network" : error.denoiser[k] > error.circuit[k] ? "circuit" : "";
    sentence.textContent = `Step ${k + 1}, ${title}: α = ${share(alpha[k])}. Squared error of the hidden pixels `
      + `${share(error.denoiser[k], 3)} by the network, ${share(error.circuit[k], 3)} by the circuit, ${share(error.guided[k], 3)} by the mixture. `
      + (nearer ? `The ${nearer} is nearer to this truth.` : "Network and circuit are equally near.");
  };
  update();
};
