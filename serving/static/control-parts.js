// Health of each part, rejected records, experiments.

import { ago, draw, html, icon, nothing, percent, repeat, short, whole } from "/static/ui.js";

const STATES = { ok: ["circle-check", "good"], warn: ["triangle-alert", "warn"], bad: ["circle-x", "bad"], away: ["circle-alert", ""] };
const WORDS = { ok: "well", warn: "look at it", bad: "out of order", away: "unknown" };

export function drawHealth(place, found, problem) {
  draw(html`<div class="title"><h2 id="health-title">Health</h2>${found ? html`<p class="soft small">asked ${ago(found.at)}</p>` : nothing}</div>
    ${found ? html`<ul class="health">${repeat(found.parts, (part) => part.name, ({ name, state, words, took_ms: took }) => html`<li class="panel ${state}">
      <span class="sign ${STATES[state][1]}">${icon(STATES[state][0])}</span>
      <div><h3>${name} <span class="hush">${WORDS[state]}</span></h3><p class="soft small">${words}</p></div>
      ${took === null ? nothing : html`<b class="num small soft">${short(took)} ms</b>`}</li>`)}</ul>`
    : problem ? html`<p class="empty">${problem}</p>` : html`<div class="ghost" style="height:160px"></div>`}`, place);
}

export function drawRejected(place, stream, found) {
  const reasons = Object.entries(stream?.figures ?? {}).filter(([name, value]) => name.startsWith("rejected_") && value > 0)
    .map(([name, value]) => [name.replace("rejected_", "").replaceAll("_", " "), value]).sort((a, b) => b[1] - a[1]);
  const most = reasons[0]?.[1] ?? 1;
  draw(html`<div class="title"><h2 id="rejected-title">Rejected records</h2><p class="soft small">kept on S3 with their reason, shard and sequence number</p></div>
    <div class="rejected">
      <section class="panel" aria-labelledby="reasons-title"><h3 id="reasons-title">By reason, since the job started</h3>
        ${reasons.length ? html`<ul class="steps">${reasons.map(([name, value]) => html`<li><span>${name}</span><b class="num">${whole(value)}</b><span class="bar-track"><span class="bar-fill warn" style="width:${100 * value / most}%"></span></span></li>`)}</ul>`
        : html`<p class="empty">Nothing was rejected.</p>`}</section>
      <section class="panel" aria-labelledby="samples-title"><h3 id="samples-title">Newest samples</h3>
        ${!found ? html`<div class="ghost" style="height:120px"></div>` : found.problem ? html`<p class="notice warn">${icon("triangle-alert")}<span>${found.problem}</span></p>`
        : found.records.length ? html`<ul class="samples" tabindex="0" aria-label="Newest rejected records">${found.records.slice(0, 12).map((record) => html`<li><details><summary><span class="pill warn">${record.reason.replaceAll("_", " ")}</span><span class="detail">${record.detail}</span><time class="soft small num">${ago(record.arrived_at)}</time></summary>
          <pre tabindex="0">${record.data || "(empty)"}</pre><p class="soft small num">${record.shard}, ${record.sequence}</p></details></li>`)}</ul>`
        : html`<p class="empty">No sample of today or yesterday. New ones become visible with the job's next checkpoint.</p>`}</section>
    </div>`, place);
}

const METRICS = { click_through: "click-through", conversion: "conversion", revenue_per_unit: "revenue a person", total_revenue_per_unit: "total revenue a person" };
const DECIDED = { better: ["good", "better"], worse: ["bad", "worse"], open: ["", "not decided"] };

export function drawExperiments(place, found, problem) {
  const list = found?.experiments ?? [];
  draw(html`<div class="title"><h2 id="experiments-title">Experiments</h2><p class="soft small">intervals hold however often one looks</p></div>
    ${!found ? (problem ? html`<p class="empty">${problem}</p>` : html`<div class="ghost" style="height:120px"></div>`)
    : found.problem ? html`<p class="notice warn">${icon("triangle-alert")}<span>${found.problem}</span></p>`
    : list.length ? list.map(experiment) : html`<p class="empty">No experiment is set up. The API page shows how to create one, below “admin”.</p>`}`, place);
}

function experiment({ experiment: about, results, problem }) {
  const status = { running: "good", stopped: "", draft: "warn" }[about.status ?? "draft"];
  return html`<article class="panel experiment" aria-labelledby="experiment-${about.id}">
    <header><h3 id="experiment-${about.id}">${about.id}</h3><span class="pill ${status}">${about.status ?? "draft"}</span>
      <p class="soft small">${about.description ?? ""} ${percent(about.share ?? 1)} of ${about.unit === "visitor" ? "visitors" : "people"}, since ${about.start.slice(0, 10)}</p></header>
    ${results ? outcome(results) : html`<p class="empty">${problem}</p>`}</article>`;
}

function outcome(results) {
  const { ok, p_value: p } = results.sample_ratio;
  const shown = results.comparisons.filter((one) => one.metric === results.primary);
  const rest = results.comparisons.filter((one) => one.metric !== results.primary);
  const table = (rows, caption) => html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}><table><caption class="hush">${caption}</caption>
    <thead><tr><th scope="col">metric</th><th scope="col">variant</th><th scope="col">change against ${results.control}</th><th scope="col" class="wide-cell">${percent(1 - results.alpha)} interval</th><th scope="col">p</th><th scope="col">verdict</th></tr></thead>
    <tbody>${rows.map((one) => {
      const [tone, word] = DECIDED[one.decided];
      const value = one.relative ?? one.difference;
      const say = (number) => (one.relative ? `${number > 0 ? "+" : ""}${(100 * number).toFixed(1)} %` : short(number));
      return html`<tr><th scope="row">${METRICS[one.metric] ?? one.metric}</th><td>${one.variant}</td><td class="num"><b>${say(value.value)}</b></td><td class="num">${interval(value, say)}</td><td class="num">${one.p_value < 0.001 ? "< 0.001" : one.p_value.toFixed(3)}</td><td><span class="pill ${tone}">${word}</span></td></tr>`;
    })}</tbody></table></div>`;
  return html`${ok ? nothing : html`<p class="notice">${icon("circle-alert")}<span>The people are not split as planned (p ${p.toExponential(1)}): something drops people of one variant, and no other figure here can be trusted.</span></p>`}
    <dl class="variants">${results.variants.map((one) => html`<div><dt>${one.variant}</dt><dd><b class="num">${whole(one.units)}</b> people, ${whole(one.impressions)} seen, ${whole(one.clicks)} clicks, ${whole(one.purchases)} bought</dd></div>`)}</dl>
    ${table(shown, "The metric that decides")}
    ${rest.length ? html`<details><summary>Other metrics</summary>${table(rest, "Other metrics")}</details>` : nothing}
    <p class="soft small">${results.first_day} to ${results.last_day}${results.dropped ? `; ${whole(results.dropped)} impressions did not fit their assignment` : ""}. ${results.notes.join(" ")}</p>`;
}

// A line with the interval, around zero.
export function interval({ value, low, high }, say) {
  const reach = Math.max(Math.abs(low), Math.abs(high), 1e-12) * 1.1;
  const place = (number) => 50 + 50 * number / reach;
  return html`<span class="whisker" title="${say(low)} to ${say(high)}"><i class="zero"></i><i class="reach" style="left:${place(low)}%;width:${place(high) - place(low)}%"></i><i class="at" style="left:${place(value)}%"></i></span>
    <span class="small soft">${say(low)} to ${say(high)}</span>`;
}
