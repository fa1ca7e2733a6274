/* Semantic fusion of two shapes: each demands its pixels in its region, log Z says how much they contradict each other. */
"use strict";

Moving.scenes.fusion = (root, { shapes }) => {
  const { html, share: show, math } = Moving;
  const levels = Array.from({ length: 20 }, (_, k) => k / 20), chosen = [0, 1];
  const region = [0, 0, 0, 1, 1, 1, 1, 1, 1]; // the first picture rules the top row, the second the others
  const bits = shapes.bits.map((row) => [...row].map(Number));

  const choices = ["the top row is to be that of", "the two lower rows are to be those of"].map((label, r) =>
    Moving.choice(label, shapes.names, chosen[r], (k) => {
      chosen[r] = k;
      update();
    }));
  const slider = Moving.slider("coherence", levels.map((c) => c.toFixed(2)), 14, () => update());
  const asked = Moving.picture("what is asked", 3), fused = Moving.picture("the fused picture", 3);
  const weighed = Moving.bars("log Z and contradiction, in nats", -2, 5), sentence = Moving.sentence();
  const bars = Moving.bars("which shape is it?", 0, 1);
  root.append(...choices, slider, html("div", { class: "moving-row" }, asked, fused, bars), weighed, sentence);

  const update = () => {
    const coherence = levels[slider.at()], found = math.fuse(shapes, chosen.map((k) => bits[k]), region, coherence);
    const nats = (x) => x.toFixed(2).replace(/^-0\.00$/, "0.00");
    asked.draw(region.map((r, i) => ({
      value: bits[chosen[r]][i], text: shapes.names[chosen[r]][0], mark: r ? "is-second" : "is-first",
    })));
    fused.draw(math.marginals(shapes, found.joint).map((row) => ({ value: row[1], text: show(row[1]) })));
    const share = math.passes(shapes, found.joint).flows.at(-1);
    bars.draw(shapes.names.map((label, k) => ({ label, value: share[k], text: show(share[k]), kind: k })));
    weighed.draw([
      { label: "top alone", value: found.each[0], text: nats(found.each[0]), kind: 0 },
      { label: "lower alone", value: found.each[1], text: nats(found.each[1]), kind: 1 },
      { label: "both", value: found.logZ, text: nats(found.logZ), kind: 2 },
      { label: "contradiction", value: found.contradiction, text: nats(found.contradiction), kind: 3 }]);
    const says = Math.abs(found.contradiction) < 0.005 ? "say nothing of each other"
      : found.contradiction > 0 ? "contradict each other" : "support each other";
    sentence.textContent = `Coherence ${coherence.toFixed(2)}: alone the demands weigh ${nats(found.each[0])} and ${nats(found.each[1])} nats, `
      + `together ${nats(found.logZ)}. They ${says}: ${nats(found.contradiction)} nats.`;
  };
  update();
};
