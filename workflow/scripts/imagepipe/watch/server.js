"use strict";

{
  const SECONDS_BETWEEN_LOOKS = 2;
  const SVG = "http://www.w3.org/2000/svg";
  // A plot: room for numbers on the left and below, and for labels on the right, in its units.
  const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [370, 210, 40, 84, 12, 24];
  const LABEL_HEIGHT = 16;
  let shown = null;

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function drawn(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function drawPlot(plot) {
    const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img" });
    const labels = plot.curves.map((curve) => curve.label);
    svg.setAttribute("aria-label", `${plot.title}: ${labels.join(", ")}`);
    const [right, bottom] = [WIDTH - RIGHT, HEIGHT - BOTTOM];
    const x = (epoch) => LEFT + ((epoch - 1) / (plot.last_epoch - 1)) * (right - LEFT);
    const [low, high] = [plot.ticks[0], plot.ticks.at(-1)];
    const y = (value) => TOP + ((high - value) / (high - low)) * (bottom - TOP);
    for (const value of plot.ticks) {
      svg.append(
        drawn("line", { class: "grid", x1: LEFT, x2: right, y1: y(value), y2: y(value) }),
        drawn("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, Number(value.toPrecision(3))),
      );
    }
    svg.append(
      drawn("text", { x: LEFT, y: HEIGHT - 4, "text-anchor": "middle" }, "1"),
      drawn("text", { x: right, y: HEIGHT - 4, "text-anchor": "end" }, `${plot.last_epoch} epochs`),
    );
    const heights = [];
    for (const { name, label, dashed, points } of plot.curves) {
      const places = points.map(([epoch, value]) => [x(epoch), y(value)]);
      const [lastX, lastY] = places.at(-1);
      // Of labels that would cover each other, the lower one moves down, or up at the bottom.
      let height = lastY;
      for (const other of heights) {
        if (Math.abs(height - other) < LABEL_HEIGHT) height = other + (height < other ? -1 : 1) * LABEL_HEIGHT;
      }
      height = Math.min(Math.max(height, TOP), bottom);
      heights.push(height);
      svg.append(
        drawn("polyline", { class: dashed ? `${name} dashed` : name, points: places.join(" ") }),
        drawn("circle", { class: name, cx: lastX, cy: lastY, r: 3.5 }),
        drawn("text", { class: name, x: right + 8, y: height + 4 }, label),
      );
    }
    return svg;
  }

  function drawTraining(training) {
    const holder = element("section", undefined, "plotted");
    holder.append(element("h3", training.name), element("p", training.doing));
    if (training.fraction !== null) {
      const bar = element("progress");
      bar.max = 1;
      bar.value = training.fraction;
      bar.setAttribute("aria-label", `Progress of ${training.name}`);
      holder.append(bar);
    }
    const plots = element("div", undefined, "figures");
    for (const plot of training.plots) {
      const figure = element("figure");
      figure.append(element("h4", plot.title), drawPlot(plot));
      plots.append(figure);
    }
    if (!training.plots.length) plots.append(element("p", "Its curves begin after the first epoch.", "muted"));
    holder.append(plots);
    return holder;
  }

  function drawRow(training, columns) {
    const row = element("tr");
    for (const { name, number } of columns) {
      const cell = element("td", training.cells[name] ?? "", number ? "number" : "");
      if (name === "state") cell.className = `state-${training.state}`;
      row.append(cell);
    }
    return row;
  }

  function drawNote(training) {
    const note = element("li");
    note.append(element("strong", `${training.name}: `), training.note);
    return note;
  }

  function show(found) {
    const byId = (id) => document.getElementById(id);
    const table = document.querySelector("table");
    const heads = element("tr");
    heads.append(...found.columns.map(({ name, number }) => {
      const head = element("th", name, number ? "number" : "");
      head.scope = "col";
      return head;
    }));
    table.tHead.replaceChildren(heads);
    table.tBodies[0].replaceChildren(...found.trainings.map((one) => drawRow(one, found.columns)));
    byId("notes").replaceChildren(...found.trainings.filter((one) => one.note).map(drawNote));
    byId("plots").replaceChildren(...found.trainings.filter((one) => one.plots).map(drawTraining));
    byId("no-curves").hidden = found.trainings.some((one) => one.plots);
    if (byId("tally").textContent !== found.tally) byId("tally").textContent = found.tally;
  }

  async function look() {
    const [seen, lost] = ["seen", "lost"].map((id) => document.getElementById(id));
    try {
      const answer = await fetch("trainings.json", { cache: "no-store" });
      const found = await answer.json();
      const text = JSON.stringify(found.trainings);
      if (text !== shown) show(found);
      shown = text;
      lost.textContent = "";
      seen.textContent = `At ${found.time} in`;
    } catch {
      lost.textContent = "The connection is lost: `imagepipe watch` has ended, or the tunnel to it.";
    }
  }

  document.addEventListener("DOMContentLoaded", async () => {
    for (;;) {
      if (!document.hidden) await look();
      await new Promise((resolve) => setTimeout(resolve, 1000 * SECONDS_BETWEEN_LOOKS));
    }
  });
}
