// Model versions, going back to an earlier one, and what the ranker learned.

import { post } from "/static/api.js";
import { interval } from "/static/control-parts.js";
import { $, ago, draw, html, icon, nothing, percent, say, short, whole } from "/static/ui.js";

const day = (text) => text.slice(0, 10);
const when = (version) => new Date(version.trained_at);
const rate = (metrics, model, name) => {
  const value = metrics[model]?.[name];
  return value === undefined ? "–" : value.toFixed(3);
};

export function drawModels(place, found, problem, reload) {
  draw(html`<div class="title"><h2 id="models-title">Models</h2>
      ${found?.live ? html`<p class="soft small">live since ${found.switched_at ? ago(found.switched_at) : "–"}; a switch takes seconds and no restart</p>` : nothing}</div>
    ${!found ? (problem ? html`<p class="empty">${problem}</p>` : html`<div class="ghost" style="height:180px"></div>`) : html`
    ${found.problem ? html`<p class="notice warn">${icon("triangle-alert")}<span>${found.problem}</span></p>` : nothing}
    ${found.versions.length ? html`<div class="panel scroll" tabindex="0" role="region" aria-label="Model versions"><table>
      <thead><tr><th scope="col">version</th><th scope="col">trained</th><th scope="col">data</th><th scope="col">HR@20<small>live list</small></th><th scope="col">HR@20<small>nightly list</small></th><th scope="col">HR@20<small>best sellers</small></th><th scope="col">MRR@20<small>live list</small></th><th scope="col">gate</th><td></td></tr></thead>
      <tbody>${found.versions.map((version) => line(version, found, reload))}</tbody></table></div>`
    : html`<p class="empty">No version is published yet: the first training makes one.</p>`}`}`, place);
}

function line(version, found, reload) {
  const { metrics } = version;
  const action = version.live ? html`<span class="pill good"><i class="dot"></i>live</span>`
    : html`<button type="button" class="button slim" aria-label="${version.version === found.previous ? "Roll back to" : "Make live:"} ${version.version}" @click=${() => confirm(version, found, reload)}>${icon("rotate-ccw")}${version.version === found.previous ? "Roll back" : "Make live"}</button>`;
  return html`<tr class=${version.live ? "live" : ""} data-version=${version.version}>
    <th scope="row" class="num">${version.version}${version.parent ? html`<small>after ${version.parent.slice(0, 16)}</small>` : html`<small>the first</small>`}</th>
    <td><time datetime=${version.trained_at}>${ago(when(version).getTime())}</time></td><td class="num">${day(version.window_start)} to ${day(version.window_end)}<small>${whole(version.rows.person_lists ?? 0)} people, ${whole(version.rows.similar_lists ?? 0)} items</small></td>
    <td class="num"><b>${rate(metrics, "live", "HR@20")}</b></td><td class="num">${rate(metrics, "batch", "HR@20")}</td><td class="num">${rate(metrics, "popularity", "HR@20")}</td><td class="num">${rate(metrics, "live", "MRR@20")}</td>
    <td title=${version.sentences.join(" ")}>${version.gate || "–"}</td><td class="act">${action}</td></tr>`;
}

// Going back is asked once more, with what will change.
function confirm(version, found, reload) {
  const dialog = $("ask");
  const live = found.versions.find((one) => one.live);
  const close = () => dialog.close();
  const go = async () => {
    show(true);
    try {
      await post(`/v1/admin/models/${encodeURIComponent(version.version)}/activate`, {});
      say(`${version.version} is live`);
    } catch (problem) {
      say(`Not switched: ${problem.message}`, true);
    }
    close();
    reload();
  };
  const show = (busy) => draw(html`<h2 id="ask-title">Make ${version.version} live?</h2>
    <p>The storefront and the streaming job take it up within seconds. ${live ? html`<span class="num">${live.version}</span> stays where it is, and one can go forward again.` : ""}</p>
    <dl class="compare"><div><dt></dt><dd>live now</dd><dd>then</dd></div>
      ${["HR@20", "MRR@20"].map((name) => html`<div><dt>${name}</dt><dd class="num">${live ? rate(live.metrics, "live", name) : "–"}</dd><dd class="num"><b>${rate(version.metrics, "live", name)}</b></dd></div>`)}
      <div><dt>trained</dt><dd>${live ? ago(when(live).getTime()) : "–"}</dd><dd><b>${ago(when(version).getTime())}</b></dd></div></dl>
    <div class="choices"><button type="button" class="button" @click=${close} autofocus>Cancel</button><button type="button" class="button main" id="ask-go" ?disabled=${busy} @click=${go}>${icon("rotate-ccw")}${busy ? "Verifying …" : "Make it live"}</button></div>`, dialog);
  show(false);
  dialog.showModal();
}

let chosen;

export function drawRanker(place, found) {
  const versions = (found?.versions ?? []).filter((version) => version.terms.length);
  const version = versions.find((one) => one.version === chosen) ?? versions.find((one) => one.live) ?? versions[0];
  draw(html`<div class="title"><h2 id="ranker-title">Ranker</h2><p class="soft small">ordinary least squares inside each request: why one item is chosen and not its neighbour</p></div>
    ${!found ? html`<div class="ghost" style="height:180px"></div>` : !version ? html`<p class="empty">No ranker was fitted: lists are ordered by the item-to-item scores alone.</p>` : html`
    <div class="panel"><div class="choose"><label for="ranker-version">Version</label>
      <select class="field" id="ranker-version" @change=${(event) => { chosen = event.target.value; drawRanker(place, found); }}>${versions.map((one) => html`<option value=${one.version} ?selected=${one === version}>${one.version}${one.live ? " (live)" : ""}</option>`)}</select>
      <p class="soft small">${version.theta ? html`θ = <b class="num">${short(version.theta)}</b>: it has a say in live lists` : html`θ = <b class="num">0</b>: it did not pay, so it has no say`}${version.r_squared === null ? nothing : html`; R² within requests <b class="num">${version.r_squared.toFixed(3)}</b>`}</p></div>
    <div class="scroll" tabindex="0" role="region" aria-label="Coefficients"><table><thead><tr><th scope="col">feature</th><th scope="col">coefficient</th><th scope="col">standard error</th><th scope="col">t</th><th scope="col" class="wide-cell">95 % interval</th></tr></thead>
      <tbody>${version.terms.map(term)}</tbody></table></div></div>`}`, place);
}

function term({ name, coefficient, standard_error: error, t }) {
  const value = (number) => number.toPrecision(3).replace("-", "−");
  const weak = t !== null && Math.abs(t) < 2;
  const reach = error === null ? null : { value: coefficient, low: coefficient - 1.96 * error, high: coefficient + 1.96 * error };
  return html`<tr class=${weak ? "weak" : ""}><th scope="row">${name.replaceAll("_", " ")}</th><td class="num"><b>${value(coefficient)}</b></td><td class="num">${error === null ? "–" : value(error)}</td>
    <td class="num">${t === null ? "–" : t.toFixed(1).replace("-", "−")}${weak ? html`<span class="hush">, weak</span>` : nothing}</td><td>${reach ? interval(reach, value) : "–"}</td></tr>`;
}
