// Draws every figure of the page, in the page's colours and as wide as there is room.
"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const charts = [...document.querySelectorAll(".chart")].map((place) => {
    const holder = place.querySelector("script");
    const controls = place.appendChild(document.createElement("div"));
    controls.className = "controls";
    const view = place.appendChild(document.createElement("div"));
    return { place, controls, view, spec: unpacked(JSON.parse(holder.textContent)), drawn: null, width: 0 };
  });

  // Tables travel by columns, texts as numbers in a list of them.
  function unpacked(spec) {
    for (const [name, columns] of Object.entries(spec.datasets ?? {})) {
      const names = Object.keys(columns);
      const first = columns[names[0]] ?? { values: [] };
      spec.datasets[name] = Array.from({ length: (first.codes ?? first.values).length }, (_, row) =>
        Object.fromEntries(names.map((column) => {
          const { levels, codes, values } = columns[column];
          return [column, levels ? levels[codes[row]] : values[row]];
        })));
    }
    return spec;
  }

  function colours(width) {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim();
    const soft = style.getPropertyValue("--soft").trim();
    const line = style.getPropertyValue("--line").trim();
    return {
      background: "transparent",
      font: "system-ui, 'Segoe UI', Roboto, Arial, sans-serif",
      view: { stroke: "transparent" },
      axis: { labelColor: ink, titleColor: soft, gridColor: line, domainColor: line, tickColor: line, labelLimit: width < 420 ? 120 : 200 },
      legend: { labelColor: ink, titleColor: soft, labelLimit: 170 },
      title: { color: ink, subtitleColor: soft, anchor: "start" },
      text: { color: ink },
      rule: { color: ink },
    };
  }

  // A chart of one view takes the width itself; of linked views each gets its share, or all of it on a narrow screen.
  function fitted(spec, width) {
    if (!spec.concat) {
      return { ...spec, width: "container" };
    }
    const columns = width < 600 ? 1 : Math.min(2, spec.concat.length);
    const each = Math.floor(width / columns) - 24;
    const height = Math.min(each, 440);
    const legend = { columns: Math.max(1, Math.floor(width / 210)) };
    const views = spec.concat.map((view) => ({ ...view, width: each, height }));
    return { ...spec, columns, concat: views, config: { legend } };
  }

  async function draw(chart) {
    const width = chart.view.clientWidth;
    const spec = fitted(chart.spec, width);
    const theme = colours(width);
    const config = { ...theme, legend: { ...theme.legend, ...spec.config?.legend } };
    const actions = { export: true, source: false, compiled: false, editor: false };
    chart.width = width;
    chart.drawn?.finalize();
    chart.controls.replaceChildren();
    chart.drawn = await vegaEmbed(chart.view, { ...spec, config }, {
      actions, bind: chart.controls, renderer: spec.concat ? "canvas" : "svg", tooltip: { theme: dark.matches ? "dark" : "light" },
    });
    chart.place.dataset.drawn = "yes";
  }

  async function drawAll() {
    for (const chart of charts) {
      try {
        await draw(chart);
      } catch (error) {
        console.error(error);
        chart.view.textContent = `This figure could not be drawn: ${error.message}`;
      }
    }
    document.documentElement.dataset.figures = charts.filter((chart) => chart.place.dataset.drawn).length;
  }

  // A phone reports a new size whenever its address bar comes or goes; only another width matters.
  const widths = new ResizeObserver(() => {
    charts.filter((chart) => chart.spec.concat && chart.drawn && chart.width !== chart.view.clientWidth)
      .forEach((chart) => draw(chart));
  });
  charts.forEach((chart) => widths.observe(chart.place));
  dark.addEventListener("change", drawAll);
  window.figures = charts;
  drawAll();
})();
