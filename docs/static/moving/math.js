/* The course's formulas on small circuits, as in tiramisu_edu/circuits/reference.py; probabilities, not logarithms,
   but for log Z. Nodes stand children before parents; weights w[i][v] are the evidence. */
"use strict";

Moving.math = (() => {
  const sum = (a) => a.reduce((total, x) => total + x, 0);
  const product = (a) => a.reduce((total, x) => total * x, 1);
  const normal = (a) => a.map((x) => x / sum(a));

  /* w_i(v) = 1[v = x_i], and 1 for every v where x_i = -1. */
  const hard = (x, values = 2) => x.map((own) => [...Array(values).keys()].map((v) => Number(own < 0 || v === own)));

  /* w_i(v) = exp(-(y_i - g_v)^2 / (2 sigma^2)), the larger one scaled to 1; g = -1 dark, 1 bright. */
  const soft = (y, sigma) => y.map((own) => {
    const square = [-1, 1].map((g) => (own - g) ** 2 / (2 * sigma ** 2));
    return square.map((s) => Math.exp(Math.min(...square) - s));
  });

  /* fw_n: Σ_v f_n(v) w_i(v) at an input, Π_c fw_c at a product, Σ_c θ_{n,c} fw_c at a sum. */
  const forward = (circuit, w) => {
    const fw = [];
    for (const n of circuit.nodes) {
      if (n.kind === "input") fw.push(sum(n.p.map((p, v) => p * w[n.variable][v])));
      else if (n.kind === "product") fw.push(product(n.children.map((c) => fw[c])));
      else fw.push(sum(n.children.map((c, k) => n.p[k] * fw[c])));
    }
    return fw;
  };

  /* bk_root = 1, bk_c += F_{n,c}, with F_{n,c} = bk_n below a product and bk_n θ_{n,c} fw_c / fw_n below a sum. */
  const backward = (circuit, fw) => {
    const bk = circuit.nodes.map(() => 0), flows = circuit.nodes.map(() => []);
    bk[bk.length - 1] = 1;
    for (let n = bk.length - 1; n >= 0; n--) {
      const { kind, children = [], p } = circuit.nodes[n];
      flows[n] = children.map((c, k) => (kind === "product" || !bk[n] ? bk[n] : (bk[n] * p[k] * fw[c]) / fw[n]));
      children.forEach((c, k) => { bk[c] += flows[n][k]; });
    }
    return { bk, flows };
  };

  /* Both passes, and how often one draw of p(x | w) uses each parameter. */
  const passes = (circuit, w) => {
    const fw = forward(circuit, w), { bk, flows } = backward(circuit, fw);
    const counts = circuit.nodes.map((n, k) =>
      n.kind === "input" ? n.p.map((p, v) => (bk[k] ? (bk[k] * p * w[n.variable][v]) / fw[k] : 0)) : flows[k]);
    return { fw, bk, flows, counts, logZ: Math.log(fw[fw.length - 1]) };
  };

  /* p(X_i = v | w): the counts of the inputs of a variable together. */
  const marginals = (circuit, w) => {
    const { counts } = passes(circuit, w);
    const found = w.map((row) => row.map(() => 0));
    circuit.nodes.forEach((n, k) => n.kind === "input" && counts[k].forEach((c, v) => { found[n.variable][v] += c; }));
    return found;
  };

  /* One step of EM: θ = the expected counts over the rows, normalised. A node that no row reaches keeps its own. */
  const emStep = (circuit, rows) => {
    const total = circuit.nodes.map((n) => n.p.map(() => 0));
    let logLikelihood = 0;
    for (const row of rows) {
      const { counts, logZ } = passes(circuit, hard(row));
      circuit.nodes.forEach((n, k) => n.p.forEach((_, j) => { total[k][j] += counts[k][j]; }));
      logLikelihood += logZ / rows.length;
    }
    const nodes = circuit.nodes.map((n, k) => ({ ...n, p: sum(total[k]) > 0 ? normal(total[k]) : n.p }));
    return { circuit: { ...circuit, nodes }, logLikelihood };
  };

  /* p_DM^α p_PC^(1-α), normalised. */
  const geometric = (a, b, alpha) => normal(a.map((p, v) => p ** alpha * b[v] ** (1 - alpha)));

  /* Two Gaussians {mean, sd}: precisions add with their weights. */
  const gaussianMean = (a, b, alpha) => {
    const ofA = alpha / a.sd ** 2, ofB = (1 - alpha) / b.sd ** 2;
    return { mean: (ofA * a.mean + ofB * b.mean) / (ofA + ofB), sd: (ofA + ofB) ** -0.5 };
  };
  const density = ({ mean, sd }, x) => Math.exp(-((x - mean) ** 2) / (2 * sd ** 2)) / (sd * Math.sqrt(2 * Math.PI));

  /* Q_i ∝ p_i^power with the mean entropy (1 - coherence^2) log V that is asked; log Q. logP: rows of V values. */
  const tempered = (logP, coherence) => {
    const softmax = (row) => {
      const top = Math.max(...row), z = Math.log(sum(row.map((x) => Math.exp(x - top)))) + top;
      return row.map((x) => x - z);
    };
    if (coherence === 0) return logP.map((row) => row.map(() => -Math.log(row.length)));
    if (coherence === 1) return logP.map((row) => row.map((_, v) => (v === row.indexOf(Math.max(...row)) ? 0 : -Infinity)));
    const wanted = (1 - coherence ** 2) * Math.log(logP[0].length);
    let low = -30, high = 30, logQ = [];
    for (let k = 0; k < 50; k++) {
      const middle = (low + high) / 2;
      logQ = logP.map((row) => softmax(row.map((x) => Math.exp(middle) * x)));
      const entropy = sum(logQ.map((row) => -sum(row.map((x) => Math.exp(x) * x)))) / logQ.length;
      if (entropy > wanted) low = middle; else high = middle;
    }
    return logQ;
  };

  /* Semantic fusion, as pixel_demands and weigh of tiramisu_edu/steering/fusion.py: each picture demands its pixels in
     its region, w(v) = V Q(v). pictures: lists of bits; region: for each pixel the number of the picture that rules it. */
  const fuse = (circuit, pictures, region, coherence) => {
    const logP = region.map((r, i) => [-1, 1].map((g) => -((2 * pictures[r][i] - 1 - g) ** 2) / 2)); // levels 2 apart: width 1
    const demand = tempered(logP, coherence).map((row) => row.map((q) => 2 * Math.exp(q)));
    const each = pictures.map((_, r) => demand.map((row, i) => (region[i] === r ? row : [1, 1])));
    const logZ = (w) => Math.log(forward(circuit, w).at(-1));
    const alone = each.map(logZ);
    return { joint: demand, each: alone, logZ: logZ(demand), contradiction: sum(alone) - logZ(demand) };
  };

  return { sum, normal, hard, soft, forward, backward, passes, marginals, emStep, geometric, gaussianMean, density,
    tempered, fuse };
})();
