// "Now": the figures one looks at first, their last half hour, and where the time goes.

import { LineChart } from "/static/charts.js";
import { draw, duration, html, icon, nothing, percent, short, whole } from "/static/ui.js";

let charts;

const figure = (name, value, unit, note, tone = "") => html`<div class="figure ${tone}"><dt>${name}</dt>
  <dd><b class="num">${value}</b>${unit ? html` <span class="unit">${unit}</span>` : nothing}<small>${note}</small></dd></div>`;

const split = (ms) => (ms === undefined || ms === null ? ["–", ""] : duration(ms).split(" "));

export function drawNow(place, now, problem) {
  if (!now) return draw(html`<h2 id="now-title">Now</h2>${problem ? html`<p class="empty">${problem}</p>` : html`<div class="figures">${[1, 2, 3, 4, 5].map(() => html`<div class="figure ghost"></div>`)}</div>`}`, place);
  draw(html`<div class="title"><h2 id="now-title">Now</h2>${job(now)}</div>
    ${now.problem ? html`<p class="notice warn">${icon("triangle-alert")}<span>${now.problem}</span></p>` : nothing}
    <dl class="figures">${figures(now)}</dl>
    <div class="pair">
      <figure class="panel"><figcaption><h3>Events a second</h3><span class="soft small">counted by the job, last half hour</span></figcaption><div class="chart" id="chart-events"></div></figure>
      <figure class="panel"><figcaption><h3>Freshness</h3><span class="soft small">from the collector's stamp to the list written</span></figcaption><div class="chart" id="chart-fresh"></div></figure>
    </div>
    <div class="pair">${distribution(now.freshness)} ${steps(now)}</div>`, place);
  lines(now.history);
}

function job({ job: about, checkpoints, source }) {
  if (!about) return html`<p class="soft small">no stream</p>`;
  const tone = about.state === "RUNNING" ? "good" : "bad";
  return html`<p class="soft small meta"><span class="pill ${tone}"><i class="dot"></i>${about.state.toLowerCase()}</span>
    ${about.started_at ? html`<span>for ${duration(Date.now() - about.started_at)}</span>` : nothing}
    ${about.restarts === null ? nothing : html`<span>${about.restarts} ${about.restarts === 1 ? "restart" : "restarts"}</span>`}
    ${checkpoints.newest_ms === null ? nothing : html`<span>checkpoint ${duration(checkpoints.newest_ms)}${checkpoints.newest_bytes ? `, ${short(checkpoints.newest_bytes / 1048576)} MiB` : ""}${checkpoints.failed ? `, ${checkpoints.failed} failed` : ""}</span>`}
    <span>by ${source === "cloudwatch" ? "CloudWatch, a minute late" : "Flink"}</span></p>`;
}

function figures({ figures: job, history, accepted, refused }) {
  const rate = history.findLast((point) => point.events_per_s !== null)?.events_per_s;
  const rejected = Object.entries(job).filter(([name]) => name.startsWith("rejected_")).reduce((sum, [, value]) => sum + value, 0);
  const share = job.events_in ? rejected / job.events_in : 0;
  const duplicates = Math.max(0, (job.accepted ?? 0) - (job.counted ?? 0));
  const [lag, lagUnit] = split(job.millisBehindLatest);
  const [p50, p50Unit] = split(job.freshness_p50_ms);
  const behind = (job.millisBehindLatest ?? 0) > 60_000;
  return html`
    ${figure("Events a second", rate === undefined ? "–" : short(rate), "", `${whole(job.counted ?? 0)} counted, ${whole(duplicates)} repeats dropped`)}
    ${figure("Lag", lag, lagUnit, behind ? "the job does not keep up" : "behind the stream's end", behind ? "warn" : "")}
    ${figure("Freshness, median", p50, p50Unit, job.freshness_p99_ms === undefined ? "no list was written yet" : `p95 ${duration(job.freshness_p95_ms ?? 0)}, p99 ${duration(job.freshness_p99_ms)}, last minute`, "lead")}
    ${figure("Live lists", whole(job.lists_written ?? 0), "", `${job.scoring_us_per_list === undefined ? "–" : whole(job.scoring_us_per_list)} µs to score one`)}
    ${figure("Rejected", percent(share, share && share < 0.01 ? 2 : 1).split(" ")[0], "%", `${whole(rejected)} by the job, ${whole(refused)} of ${whole(accepted + refused)} by this collector`, share > 0.01 ? "warn" : "")}`;
}

function lines(history) {
  if (!charts) {
    charts = {
      events: new LineChart(document.getElementById("chart-events"), { series: [{ label: "events a second", tone: "--accent", fill: true }], unit: "/s", form: short }),
      fresh: new LineChart(document.getElementById("chart-fresh"), {
        series: [{ label: "p50", tone: "--accent", fill: true }, { label: "p95", tone: "--gold" }, { label: "p99", tone: "--warm", dash: [5, 4] }], unit: "ms", form: whole }),
    };
  }
  const at = history.map((point) => point.at / 1000);
  const column = (name) => history.map((point) => point[name] ?? null);
  charts.events.show([at, column("events_per_s")]);
  charts.fresh.show([at, column("p50_ms"), column("p95_ms"), column("p99_ms")]);
}

function distribution({ edges_ms: edges, counts, samples, missed, p50_ms: p50, p95_ms: p95, p99_ms: p99 }) {
  const most = Math.max(1, ...counts);
  const name = (at) => (at === edges.length ? `over ${duration(edges.at(-1))}` : `${at ? `${edges[at - 1]}–` : "under "}${edges[at]} ms`);
  const tone = (at) => (at >= 8 ? "slow" : at >= 6 ? "late" : "");
  const said = samples ? `${samples} events followed: median ${duration(p50)}, p95 ${duration(p95)}, p99 ${duration(p99)}` : "none yet: events are followed from now on, while this page is open";
  return html`<figure class="panel"><figcaption><h3>Freshness, as this service measures it</h3><span class="soft small">from its answer to the list in Redis that reflects the event</span></figcaption>
    <div class="histogram" role="img" aria-label=${said}>${counts.map((count, at) => html`<div class=${tone(at)} title="${name(at)}: ${count}"><span style="height:${count ? Math.max(3, 100 * count / most) : 0}%"></span><small class="num">${at === edges.length ? `>${edges.at(-1) / 1000} s` : edges[at] < 1000 ? edges[at] : `${edges[at] / 1000} s`}</small></div>`)}</div>
    <p class="soft small">${said}${missed ? html`; <b class="bad-text">${missed} not seen within 10 s</b>` : nothing}.</p></figure>`;
}

function steps({ operators }) {
  operators = operators.filter(({ name, busy }) => !/: Writer$/.test(name) || busy > 0.02); // files of the sinks: idle by nature
  const word = (share) => (share > 0.9 ? "bad" : share > 0.7 ? "warn" : "");
  return html`<section class="panel" aria-labelledby="steps-title"><h3 id="steps-title">Where the time goes</h3><p class="soft small">Share of the time the busiest instance of each step works, and is held up by the next.</p>
    ${operators.length ? html`<ul class="steps">${operators.map(({ name, busy, held_up: held }) => html`<li><span title=${name}>${name.replace(/^Source: /, "").replace(/\s*->.*/s, " …")}</span><b class="num">${percent(busy)}</b>
      <span class="bar-track"><span class="bar-fill ${word(busy)}" style="width:${100 * Math.min(1, busy)}%"></span><span class="bar-held" style="width:${100 * Math.min(1, held)}%"></span></span></li>`)}</ul>`
    : html`<p class="empty">Told by Flink alone; in the managed service its dashboard shows it.</p>`}</section>`;
}
