/* Curves: one way to draw them, as wide as the page allows, told apart by line and marker as well as by colour. */
"use strict";

/* The series of the palette, in its order: colour, dashes, marker. */
Moving.series = [
  { colour: "var(--sky)", dash: "", marker: "●" },
  { colour: "var(--orange)", dash: "7 4", marker: "■" },
  { colour: "#000", dash: "", marker: "◆", width: 3.5 },
  { colour: "var(--purple)", dash: "2 3", marker: "▲" },
  { colour: "#707070", dash: "9 3 2 3", marker: "" },
];

/* A box with curves; `draw` takes {x: [low, high], y: [low, high], xlabel, ylabel, title, lines}, where a line is
   {label, kind, points: [[x, y], ...], markers: true where each point is drawn}. */
Moving.plot = (height) => {
  const { html, svg } = Moving;
  const body = html("div", { class: "moving-plot" }), key = html("p", { class: "moving-key" });
  const box = html("figure", { class: "moving-picture moving-grow" }, body, key);
  let plan = null;

  const ticks = ([low, high]) => {
    const raw = (high - low) / 4, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((k) => k * power >= raw) * power, first = Math.ceil(low / step - 1e-9);
    return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(6)));
  };

  const draw = (width) => {
    if (!plan) return;
    const left = 46, right = width - 10, top = 10, bottom = height - 38;
    const px = (x) => left + ((x - plan.x[0]) / (plan.x[1] - plan.x[0])) * (right - left);
    const py = (y) => bottom - ((y - plan.y[0]) / (plan.y[1] - plan.y[0])) * (bottom - top);
    const page = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": plan.title });
    for (const x of ticks(plan.x)) page.append(
      svg("line", { x1: px(x), x2: px(x), y1: bottom, y2: bottom + 4, stroke: "#000" }),
      svg("text", { x: px(x), y: bottom + 17, class: "tick" }, String(x)));
    for (const y of ticks(plan.y)) page.append(
      svg("line", { x1: left, x2: right, y1: py(y), y2: py(y), stroke: "#ddd" }),
      svg("text", { x: left - 6, y: py(y) + 4, class: "tick is-left" }, String(y)));
    page.append(svg("path", { d: `M${left} ${top}V${bottom}H${right}`, fill: "none", stroke: "#000" }),
      svg("text", { x: (left + right) / 2, y: height - 4, class: "tick" }, plan.xlabel),
      svg("text", { transform: `translate(11 ${(top + bottom) / 2}) rotate(-90)`, class: "tick" }, plan.ylabel));
    for (const line of plan.lines) {
      const { colour, dash, marker, width: thick = 2 } = Moving.series[line.kind];
      const path = line.points.map(([x, y], k) => `${k ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("");
      page.append(svg("path", { d: path, fill: "none", style: `stroke:${colour}`, "stroke-width": thick, "stroke-dasharray": dash }));
      for (const [x, y] of line.markers ? line.points : []) page.append(
        svg("text", { x: px(x), y: py(y) + 4, class: "marker", style: `fill:${colour}` }, marker));
    }
    body.replaceChildren(page);
    key.replaceChildren(...plan.lines.filter((line) => line.label).map((line) => {
      const { colour, dash, marker, width: thick = 2 } = Moving.series[line.kind];
      const sample = svg("svg", { width: 34, height: 12, "aria-hidden": "true" },
        svg("line", { x1: 0, x2: 34, y1: 6, y2: 6, style: `stroke:${colour}`, "stroke-width": thick, "stroke-dasharray": dash }));
      if (line.markers) sample.append(svg("text", { x: 17, y: 10, class: "marker", style: `fill:${colour}` }, marker));
      return html("span", {}, sample, ` ${line.label}`);
    }));
  };
  let again = () => {};
  box.draw = (next) => {
    const first = plan === null;
    plan = next;
    if (first) again = Moving.fitted(body, draw);
    else again();
  };
  return box;
};
