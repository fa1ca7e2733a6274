/* The shapes world under noise: what each pixel says alone, and what the circuit makes of all of them. */
"use strict";

Moving.scenes.shapes = (root, { shapes, noise }) => {
  const { html, share: show, math } = Moving;
  const sigmas = [0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10];
  const readings = [..."111010010"].map((bit, i) => 2 * bit - 1 + noise[i]); // a T under noise, σ = 1
  const level = [-1, 0, 1];

  const photograph = Moving.picture("the reading: click", 3, (i) => {
    readings[i] = level.find((own) => own > readings[i] + 1e-9) ?? level[0];
    update();
  });
  const alone = Moving.picture("each pixel alone", 3), together = Moving.picture("with the circuit", 3);
  const bars = Moving.bars("which shape is it?", 0, 1), sentence = Moving.sentence();
  const slider = Moving.slider("σ, noise of the sensor", sigmas.map(String), 5, () => update());
  root.append(slider, html("div", { class: "moving-row" }, photograph, alone, together, bars), sentence);

  const pixels = (values) => values.map((value) => ({ value, text: show(value) }));
  const update = () => {
    const sigma = sigmas[slider.at()], w = math.soft(readings, sigma);
    const each = w.map((row) => math.normal(row)[1]), joint = math.marginals(shapes, w).map((row) => row[1]);
    const { flows } = math.passes(shapes, w), share = flows.at(-1);
    photograph.draw(readings.map((y, i) => ({
      value: (y + 1) / 2, text: y.toFixed(1), label: `pixel ${i} reads ${y.toFixed(1)}, from -1 dark to 1 bright`,
    })));
    alone.draw(pixels(each));
    together.draw(pixels(joint));
    bars.draw(shapes.names.map((label, k) => ({ label, value: share[k], text: show(share[k]), kind: k })));
    const best = share.indexOf(Math.max(...share));
    const turned = each.map((_, i) => i).filter((i) => each[i] > 0.5 !== joint[i] > 0.5).length;
    const pixel = turned === 1 ? "1 pixel is" : `${turned} pixels are`;
    sentence.textContent = `σ = ${sigma}: most likely ${shapes.names[best]}, ${show(share[best])}. `
      + `${pixel} read otherwise with the circuit than alone.`;
  };
  update();
};
