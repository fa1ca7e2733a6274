/* A circuit whose evidence is clicked: both passes node by node, flows as the width of the edges. */
"use strict";

Moving.scenes.circuit = (root, { circuit }) => {
  const { html, svg, show, share, math } = Moving;
  const nodes = circuit.nodes, N = nodes.length;
  const seen = [-1, -1, -1, -1, -1, 1]; // -1 hidden, 0 dark, 1 bright
  const says = ["hidden", "dark", "bright"];
  const all = (way) => nodes.map((_, k) => `${way} ${k + 1} of ${N}`);
  const stops = ["nothing yet", ...all("up"), ...all("down")];

  const picture = Moving.picture("the picture: click", 3, (i) => {
    seen[i] = seen[i] === 1 ? -1 : seen[i] + 1;
    update();
  });
  const slider = Moving.slider("the passes", stops, 2 * N, () => update());
  const drawing = html("div", { class: "moving-drawing" });
  const sentence = Moving.sentence();
  const key = html("p", { class: "moving-key" }, "+ sum · × product · square: an input, of the pixel whose number it bears, "
    + "drawn dark or bright · number: fw on the way up, bk on the way down · thick blue edge: much flow");
  root.append(html("div", { class: "moving-row" }, picture, html("div", { class: "moving-grow" }, sentence)),
    html("div", { class: "moving-row" }, slider, Moving.play(slider, 350)), drawing, key);
  let found = null, redraw = () => {};

  const update = () => {
    found = math.passes(circuit, math.hard(seen));
    const bright = math.marginals(circuit, math.hard(seen)).map((row) => row[1]);
    picture.draw(seen.map((own, i) => ({
      value: own < 0 ? bright[i] : own,
      text: own < 0 ? `${i}: ${share(bright[i])}` : `${i}: ${says[own + 1]}`,
      label: `pixel ${i}, ${says[own + 1]}, bright with probability ${share(bright[i])}`,
      mark: own < 0 ? "is-hidden" : "is-known",
    })));
    sentence.textContent = tell(slider.at());
    redraw();
  };

  /* What the step that the slider stands on computes. */
  const tell = (step) => {
    if (step === 0) return "No node is computed yet. Move the slider: first every node upwards, then every node downwards.";
    const down = step > N, k = down ? 2 * N - step : step - 1, n = nodes[k];
    if (step === 2 * N) {
      return `p(evidence) = ${show(found.fw[N - 1])}. Every node has its flow, and the inputs of a pixel add up to its marginal.`;
    }
    if (down) {
      const from = nodes.flatMap((m, j) => (m.children || []).map((c, e) => (c === k ? found.flows[j][e] : null)))
        .filter((flow) => flow !== null);
      return `Down: bk of “${n.name}” is ${from.length ? from.map(show).join(" + ") : "1 at the root"} = ${show(found.bk[k])}.`;
    }
    const terms = n.kind === "input" ? [`${show(found.fw[k])}, the part of its table that the evidence allows`]
      : n.kind === "product" ? [n.children.map((c) => show(found.fw[c])).join(" · ")]
        : [n.children.map((c, e) => `${show(n.p[e])} · ${show(found.fw[c])}`).join(" + ")];
    return `Up: fw of “${n.name}” is ${terms}${n.kind === "input" ? "" : ` = ${show(found.fw[k])}`}.`;
  };

  const xs = nodes.map((n) => n.at[0]), ys = nodes.map((n) => n.at[1]);
  const left = Math.min(...xs), right = Math.max(...xs), low = Math.min(...ys);

  const draw = (width) => {
    const step = slider.at(), unit = (width - 60) / (right - left), rise = 62;
    const at = (k) => [24 + (xs[k] - left) * unit, 26 - ys[k] * rise];
    const height = 26 - low * rise + 34, down = step > N;
    const page = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": tell(step) });
    const edges = svg("g"), signs = svg("g"), numbers = svg("g");
    nodes.forEach((n, k) => (n.children || []).forEach((c, e) => {
      const [x, y] = at(k), [u, v] = at(c), flow = down && 2 * N - step <= k ? found.flows[k][e] : null;
      const style = flow === null ? "stroke:#777;stroke-width:1"
        : flow > 0.005 ? `stroke:var(--blue);stroke-width:${1 + 8 * flow}` : "stroke:#bbb;stroke-width:1;stroke-dasharray:3 3";
      edges.append(svg("line", { x1: x, y1: y, x2: u, y2: v, style }));
    }));
    nodes.forEach((n, k) => {
      const [x, y] = at(k), own = down ? step === 2 * N - k : step === k + 1;
      const known = down ? (2 * N - step <= k ? found.bk[k] : found.fw[k]) : step > k ? found.fw[k] : null;
      const place = svg("g", { transform: `translate(${x} ${y})`, role: "presentation" }, svg("title", {}, n.name));
      const dark = n.kind === "input" && n.p[1] < 0.5, box = (fill, w, h) =>
        svg("rect", { x: -w / 2, y: -h / 2, width: w, height: h, fill, stroke: "#000" });
      if (n.kind === "sum") place.append(svg("circle", { r: 11, fill: "var(--orange)", stroke: "#000" }));
      else place.append(n.kind === "product" ? box("var(--sky)", 20, 20) : box(dark ? "#333" : "#fff", 22, 18));
      const letter = n.kind === "sum" ? "+" : n.kind === "product" ? "×" : n.variable;
      place.append(svg("text", { y: 4.5, class: "sign", fill: dark ? "#fff" : "#000" }, letter));
      if (own && step < 2 * N) place.append(svg("circle", { r: 18, class: "ring" }));
      signs.append(place);
      const beside = { x: x + 13, y: y + (n.kind === "input" ? 20 : -10), class: "number" };
      if (down && 2 * N - step <= k) beside.class += " is-bk";
      if (known !== null) numbers.append(svg("text", beside, show(known)));
    });
    page.append(edges, signs, numbers);
    drawing.replaceChildren(page);
  };
  update();
  redraw = Moving.fitted(drawing, draw);
};
