// Lines over time by uPlot, in the page's colours; a sentence tells a screen reader what the line shows.

import uPlot from "/static/lib/uplot/dist/uPlot.esm.js";

// `light-dark()` is resolved by an element that uses it, not by the variable.
const colour = (name) => {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};

export class LineChart {
  // `series`: [{label, tone, fill}], `unit` stands behind each number.
  constructor(place, { series, unit, form, height = 190 }) {
    Object.assign(this, { place, series, unit, form, height });
    this.data = null;
    new ResizeObserver(() => this.#size()).observe(place);
    addEventListener("themechange", () => this.#rebuild());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#rebuild());
  }

  // `data`: [seconds, …one array a series], with null where nothing is known.
  show(data) {
    this.data = data;
    this.place.setAttribute("role", "img");
    this.place.setAttribute("aria-label", this.#sentence());
    if (this.plot) this.plot.setData(data);
    else this.#build();
    this.#newest();
  }

  // Where nobody points at a moment, the legend tells the newest.
  #newest() {
    if (this.plot.cursor.idx === null || this.plot.cursor.idx === undefined) this.plot.setLegend({ idx: this.data[0].length - 1 });
  }

  #sentence() {
    return this.series.map(({ label }, at) => {
      const known = this.data[at + 1].filter((value) => value !== null && value !== undefined);
      if (!known.length) return `${label}: nothing yet`;
      const say = (value) => `${this.form(value)} ${this.unit}`;
      return `${label}: now ${say(known.at(-1))}, between ${say(Math.min(...known))} and ${say(Math.max(...known))}`;
    }).join("; ");
  }

  #rebuild() {
    if (!this.plot) return;
    this.plot.destroy();
    this.plot = null;
    this.#build();
    this.#newest();
  }

  #size() {
    const width = this.place.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
  }

  #build() {
    const soft = colour("--soft"), line = colour("--line");
    const font = "12px Inter, system-ui, sans-serif";
    const axis = { stroke: soft, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    this.plot = new uPlot({
      width: this.place.clientWidth || 400,
      height: this.height,
      padding: [12, 8, 0, 0],
      cursor: { y: false, points: { size: 7 }, drag: { setScale: false } },
      legend: { live: true },
      scales: { x: { time: true }, y: { range: (_, least, most) => [0, Math.max(most ?? 0, 1) * 1.12] } },
      axes: [{ ...axis, grid: { show: false }, space: 80, values: (chart, ticks) => ticks.map((tick) => clock(tick, chart.scales.x.max - chart.scales.x.min)) }, { ...axis, size: 52, space: 34, values: (_, ticks) => ticks.map((tick) => this.form(tick)) }],
      series: [
        { label: "at", value: "{HH}:{mm}:{ss}" },
        ...this.series.map(({ label, tone, fill, dash }) => ({
          label, stroke: colour(tone), width: 2, dash, spanGaps: true, points: { show: false },
          fill: fill ? (chart) => wash(chart, colour(tone)) : undefined,
          value: (_, value) => (value === null || value === undefined ? "–" : `${this.form(value)} ${this.unit}`),
        })),
      ],
    }, this.data, this.place);
  }
}

// Below a quarter of an hour minutes alone would repeat themselves.
const clock = (seconds, span) => new Date(seconds * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(span < 900 ? { second: "2-digit" } : {}) });

function wash(chart, tone) {
  const { top, height } = chart.bbox;
  if (!height) return tone; // the legend asks before the chart has a size
  const fill = chart.ctx.createLinearGradient(0, top, 0, top + height);
  fill.addColorStop(0, tone.replace("rgb(", "rgba(").replace(")", ", .22)"));
  fill.addColorStop(1, tone.replace("rgb(", "rgba(").replace(")", ", 0)"));
  return fill;
}
