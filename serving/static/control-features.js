// The feature browser: what the loop knows live of one person, visitor or item.

import { get } from "/static/api.js";
import { ago, calm, draw, duration, html, icon, money, nothing, percent, short } from "/static/ui.js";

const WINDOWS = [["5m", "5 min"], ["1h", "1 hour"], ["24h", "24 hours"]];
const PATHS = { user: (id) => `/v1/users/${id}/profile`, visitor: (id) => `/v1/visitors/${id}/profile`, item: (id) => `/v1/items/${id}/features` };
let kind = "user", id = "", found = null, problem = "", samples = [], timer, typed = 0;

export function browse(place) {
  const show = () => draw(page(), place);

  async function look() {
    const mine = ++typed;
    clearTimeout(timer);
    if (!id) return;
    try {
      const answer = await get(PATHS[kind](encodeURIComponent(id)));
      if (mine !== typed) return;
      [found, problem] = [answer, ""];
    } catch (error) {
      if (mine !== typed) return;
      [found, problem] = [null, error.message];
    }
    show();
    timer = setTimeout(() => { if (!document.hidden) look(); }, 4000);
  }

  const choose = (next, name) => { [kind, id, found, problem] = [next, name, null, ""]; show(); look(); };

  const page = () => html`<div class="title"><h2 id="features-title">Feature browser</h2><p class="soft small">fresh to the last event; read again every 4 s</p></div>
    <div class="panel">
      <form class="choose" @submit=${(event) => { event.preventDefault(); const data = new FormData(event.target); choose(data.get("kind"), data.get("id").trim()); }}>
        <label for="kind">Of</label><select class="field" id="kind" name="kind" .value=${kind}><option value="user" ?selected=${kind === "user"}>customer</option><option value="visitor" ?selected=${kind === "visitor"}>anonymous visitor</option><option value="item" ?selected=${kind === "item"}>item</option></select>
        <input class="field" name="id" aria-label="Id" placeholder="id" .value=${id} maxlength="128" required autocomplete="off">
        <button type="submit" class="button">${icon("search")}Look up</button>
        ${samples.length ? html`<p class="soft small">such as ${samples.map(({ kind, id, words }) => html`<button type="button" class="link" @click=${() => choose(kind, id)}>${words}</button> `)}</p>` : nothing}
      </form>
      <div aria-live="polite">${problem ? html`<p class="notice warn">${icon("triangle-alert")}<span>${problem}</span></p>` : found ? (kind === "item" ? item(found) : person(found)) : html`<p class="empty">${id ? "Looking it up …" : "Name a customer, a visitor or an item to see what is known of it right now."}</p>`}</div>
    </div>`;

  show();
  Promise.all([get("/v1/sample-users"), get("/v1/trending", { n: 3 })]).then(([{ users }, { items }]) => {
    samples = [...users.slice(0, 3).map((name) => ({ kind: "user", id: name, words: `customer ${name}` })), ...items.map((one) => ({ kind: "item", id: one.item_id, words: calm(one.title) }))];
    show();
  }).catch(() => {});
}

function windows(features) {
  const names = Object.keys(features["1h"]);
  const value = (name, number) => (name === "spend" || name === "revenue" ? money(number) : short(number));
  return html`<table><thead><tr><th scope="col">feature</th>${WINDOWS.map(([, words]) => html`<th scope="col">${words}</th>`)}</tr></thead>
    <tbody>${names.map((name) => html`<tr><th scope="row">${name.replaceAll("_", " ")}</th>${WINDOWS.map(([window]) => html`<td class="num">${value(name, features[window][name])}</td>`)}</tr>`)}</tbody></table>`;
}

const fact = (name, value, note = "") => html`<div><dt>${name}</dt><dd><b class="num">${value}</b> ${note}</dd></div>`;

function item(about) {
  return html`<div class="pair flat"><div>${windows(about.features)}</div><dl class="facts">
    ${fact("conversion", percent(about.conversion, 1), "of views, smoothed")}
    ${fact("trend", about.trend.toFixed(2).replace("-", "−"), about.trend > 0.05 ? "above usual" : about.trend < -0.05 ? "below usual" : "as usual")}
    ${fact("last bought", about.last_purchase_at ? ago(about.last_purchase_at) : "not in 24 hours")}</dl></div>`;
}

function person(about) {
  if (!about.known) return html`<p class="empty">The stream holds nothing of this person now. What is older is in the lake.</p>`;
  const taste = Object.entries(about.category_affinity).slice(0, 4).map(([name, share]) => `${calm(name)} ${percent(share)}`).join(", ");
  return html`<div class="pair flat"><div>${windows(about.features)}</div><dl class="facts">
    ${fact("visit", about.session ? `${short(about.session.depth)} actions` : "none is on", about.session ? `in ${duration(about.session.length_ms)}` : "")}
    ${fact("last seen", about.last_seen_at ? ago(about.last_seen_at) : "not in 24 hours")}
    ${taste ? fact("turns to", taste) : nothing}
    ${fact("price position", percent(about.price_affinity), "of a category is cheaper")}
    ${about.list_written_at ? fact("list written", ago(about.list_written_at)) : nothing}</dl></div>
    <h3>Last actions</h3><div class="scroll" tabindex="0" role="region" aria-label="Last actions"><table><tbody>${about.actions.slice(0, 8).map((action) => html`<tr><th scope="row">${action.event_type.replaceAll("_", " ")}</th><td class="left">${calm(action.title)}</td><td class="num soft">${ago(action.occurred_at)}</td></tr>`)}</tbody></table></div>`;
}
