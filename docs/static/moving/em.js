/* EM step by step: a mixture of four parts learns the worn shapes from chance. */
"use strict";

Moving.scenes.em = (root, { em, shapes }) => {
  const { html, share: show, math } = Moving;
  const steps = 20, parts = "ABCD";
  const film = em.starts.map((start) => {
    const found = [];
    for (let k = 0, circuit = start; k <= steps; k++) {
      const next = math.emStep(circuit, em.rows);
      found.push({ circuit, logLikelihood: next.logLikelihood });
      circuit = next.circuit;
    }
    return found;
  });
  const truth = math.emStep(shapes, em.rows).logLikelihood;
  let start = 0;

  const choice = Moving.choice("start", film.map((_, k) => `chance ${k + 1}`), 0, (k) => {
    start = k;
    update();
  });
  const slider = Moving.slider("steps of EM", Array.from({ length: steps + 1 }, (_, k) => String(k)), 4, () => update());
  const pictures = [...parts].map((part) => Moving.picture(`part ${part}`, 3));
  const notes = pictures.map((picture) => picture.appendChild(html("span", { class: "moving-note" })));
  const rows = html("div", { class: "moving-rows", role: "img" });
  const plot = Moving.plot(230), sentence = Moving.sentence();
  root.append(choice, html("div", { class: "moving-row" }, slider, Moving.play(slider, 450)),
    html("div", { class: "moving-frames" }, ...pictures), plot, sentence,
    html("figure", { class: "moving-picture moving-wide" },
      html("figcaption", {}, `the ${em.rows.length} pictures, each with the part that most likely drew it and the part's share`), rows));

  const small = (bits) => html("span", { class: "moving-bits" }, ...bits.map((bit) => html("i", { class: bit ? "is-bright" : "" })));
  const update = () => {
    const k = slider.at(), { circuit } = film[start][k], { nodes } = circuit, products = nodes.filter((n) => n.kind === "product");
    pictures.forEach((picture, j) => {
      picture.draw(products[j].children.map((c) => ({ value: nodes[c].p[1], text: show(nodes[c].p[1]) })));
      notes[j].textContent = `weight ${show(nodes.at(-1).p[j])}`;
    });
    const claims = em.rows.map((row) => math.passes(circuit, math.hard(row)).flows.at(-1));
    rows.replaceChildren(...em.rows.map((row, i) => {
      const best = claims[i].indexOf(Math.max(...claims[i]));
      return html("span", {}, small(row), html("b", {}, parts[best]), ` ${show(claims[i][best])}`);
    }));
    const now = film[start][k].logLikelihood, before = k ? film[start][k - 1].logLikelihood : null;
    sentence.textContent = `After ${k === 1 ? "1 step" : `${k} steps`}: ${now.toFixed(3)} nats per picture`
      + `${k ? `, ${(now - before).toFixed(4)} more than a step before` : ""}. The true circuit has ${truth.toFixed(3)} on these pictures.`;
    rows.setAttribute("aria-label", `Pictures with their most likely part. ${sentence.textContent}`);
    const all = film.flatMap((one) => one.map((step) => step.logLikelihood));
    plot.draw({
      x: [0, steps], y: [Math.min(...all), Math.max(...all, truth) + 0.15], xlabel: "steps of EM", ylabel: "log-likelihood",
      title: `Log-likelihood over the steps of EM. ${sentence.textContent}`,
      lines: [
        { label: "the true circuit", kind: 4, points: [[0, truth], [steps, truth]] },
        { label: `all ${steps} steps`, kind: 0, points: film[start].map((step, j) => [j, step.logLikelihood]) },
        { label: "so far", kind: 2, points: film[start].slice(0, k + 1).map((step, j) => [j, step.logLikelihood]) },
        { label: "now", kind: 1, points: [[k, now]], markers: true }],
    });
  };
  update();
};
