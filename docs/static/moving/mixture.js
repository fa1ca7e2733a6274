/* The mixture of the paper and its α: a geometric mean of two Gaussians, or of two rows of grey levels. */
"use strict";

Moving.scenes.mixture = (root, { pixel }) => {
  const { html, share: show, math } = Moving;
  const alphas = Array.from({ length: 21 }, (_, k) => k / 20), apart = Array.from({ length: 13 }, (_, k) => k / 2);
  const widths = [0.3, 0.5, 0.7, 1, 1.5, 2];
  let kind = 0;

  const choice = Moving.choice("factors", ["two Gaussians", "grey levels of a pixel"], 0, (k) => {
    kind = k;
    distance.hidden = width.hidden = k === 1;
    update();
  });
  const alpha = Moving.slider("α, weight of p_DM", alphas.map((a) => a.toFixed(2)), 10, () => update());
  const distance = Moving.slider("distance of the means", apart.map(String), 6, () => update());
  const width = Moving.slider("width of p_PC (p_DM: 1)", widths.map(String), 1, () => update());
  const plot = Moving.plot(270), sentence = Moving.sentence();
  root.append(choice, html("div", { class: "moving-row" }, alpha, distance, width), plot, sentence);

  const gaussians = (a) => {
    const d = apart[distance.at()], dm = { mean: 0, sd: 1 }, pc = { mean: d, sd: widths[width.at()] };
    const mixed = math.gaussianMean(dm, pc, a);
    const xs = Array.from({ length: 241 }, (_, k) => -3 + (k * (d + 6)) / 240);
    const curve = (f) => xs.map((x) => [x, f(x)]);
    const at = (p) => (x) => math.density(p, x);
    const both = (x) => a * at(dm)(x) + (1 - a) * at(pc)(x);
    const top = Math.max(...[at(dm), at(pc), at(mixed)].flatMap((f) => xs.map(f)));
    sentence.textContent = `α = ${show(a)}: the precisions add, ${show(a)} · 1 + ${show(1 - a)} · ${show(pc.sd ** -2)} = `
      + `${show(mixed.sd ** -2)}. One peak at ${show(mixed.mean)}, of width ${show(mixed.sd)}; the arithmetic mean keeps `
      + `${d > 2 && a > 0 && a < 1 ? "both peaks" : "all of both factors"}.`;
    return { x: [-3, d + 3], y: [0, 1.08 * top], xlabel: "value of the pixel", ylabel: "density", lines: [
      { label: "p_DM", kind: 0, points: curve(at(dm)) }, { label: "p_PC", kind: 1, points: curve(at(pc)) },
      { label: "mixture, the geometric mean", kind: 2, points: curve(at(mixed)) },
      { label: "arithmetic mean", kind: 3, points: curve(both) }] };
  };

  const levels = (a) => {
    const { dm, pc } = pixel, mixed = math.geometric(dm, pc, a), both = dm.map((p, v) => a * p + (1 - a) * pc[v]);
    const mean = (p) => math.sum(p.map((q, v) => q * v));
    const curve = (p) => p.map((q, v) => [v, q]);
    sentence.textContent = `α = ${show(a)}: p_DM expects grey level ${mean(dm).toFixed(1)}, p_PC ${mean(pc).toFixed(1)}, `
      + `the mixture ${mean(mixed).toFixed(1)} and the arithmetic mean ${mean(both).toFixed(1)}.`;
    return { x: [0, dm.length - 1], y: [0, 1.05 * Math.max(...dm, ...pc)], xlabel: "grey level", ylabel: "probability", lines: [
      { label: "p_DM", kind: 0, points: curve(dm), markers: true }, { label: "p_PC", kind: 1, points: curve(pc), markers: true },
      { label: "mixture, the geometric mean", kind: 2, points: curve(mixed), markers: true },
      { label: "arithmetic mean", kind: 3, points: curve(both), markers: true }] };
  };

  const update = () => {
    const plan = (kind ? levels : gaussians)(alphas[alpha.at()]);
    plot.draw({ ...plan, title: `Curves of p_DM, p_PC and their two means. ${sentence.textContent}` });
  };
  update();
};
