// "What the shop knows about you": the live values, as a person would want to read them.

import { ago, calm, duration, html, icon, money, named, nothing, percent } from "/static/ui.js";

const ACTS = {
  view: ["eye", "viewed"], click: ["eye", "viewed"], add_to_cart: ["shopping-cart", "put in the cart"],
  remove_from_cart: ["trash-2", "took out"], purchase: ["check", "bought"],
};
const NAMES = { views: "viewed", carts: "put in cart", purchases: "bought", spend: "spent", cart_removals: "taken out" };
const WINDOWS = [["5m", "5 min"], ["1h", "1 hour"], ["24h", "24 hours"]];

export function knownPanel(profile, problem) {
  if (problem) return html`<p class="notice warn">${icon("triangle-alert")}<span>Live values cannot be read now: ${problem}</span></p>`;
  if (!profile) return html`<div class="ghost" style="height:220px"></div>`;
  if (!profile.known) {
    return html`<p class="empty">Nothing yet. All it will ever know comes from what you do here, and you can watch it learn.</p>`;
  }
  return html`
    ${profile.known_as ? html`<p class="pill good">${icon("user")}signed in as customer ${profile.known_as}</p>` : nothing}
    ${visit(profile)} ${affinities(profile)} ${actions(profile)} ${counts(profile)}`;
}

function visit({ session, last_seen_at: seen }) {
  const cell = (name, value, unit) => html`<div><dt>${name}</dt><dd><b class="num">${value}</b> ${unit}</dd></div>`;
  if (!session) return html`<p class="soft small">No visit is on${seen ? html`; last seen ${ago(seen)}` : nothing}.</p>`;
  const [length, unit] = duration(session.length_ms).split(" ");
  return html`<dl class="facts">${cell("this visit", session.depth, session.depth === 1 ? "action" : "actions")}${cell("over", length, unit)}</dl>`;
}

function affinities({ category_affinity: share, price_affinity: price }) {
  const top = Object.entries(share).slice(0, 5);
  if (!top.length) return nothing;
  const most = top[0][1];
  return html`<section aria-labelledby="taste-title">
    <h3 id="taste-title">Taste</h3>
    <ul class="bars">${top.map(([name, part]) => html`<li><span>${calm(name)}</span><b class="num">${percent(part)}</b>
      <span class="bar-track"><span class="bar-fill" style="width:${100 * part / most}%"></span></span></li>`)}</ul>
    <div class="scale" role="img" aria-label="Prices: ${percent(price)} of a category is cheaper than what you turn to">
      <span>cheap</span><span class="line"><i style="left:${100 * price}%"></i></span><span>dear</span></div>
  </section>`;
}

function actions({ actions: list }) {
  if (!list.length) return nothing;
  return html`<section aria-labelledby="acts-title"><h3 id="acts-title">Last actions</h3>
    <ol class="acts">${list.slice(0, 6).map((action) => {
      const [name, verb] = ACTS[action.event_type] ?? ["activity", action.event_type];
      return html`<li>${icon(name)}<span title=${calm(action.title)}>${verb} <b>${named(action.title).name}</b></span><time class="num">${ago(action.occurred_at)}</time></li>`;
    })}</ol></section>`;
}

function counts({ features }) {
  const value = (name, window) => (name === "spend" ? money(features[window][name]) : String(Math.round(features[window][name])));
  const names = Object.keys(features["24h"]).filter((name) => NAMES[name]);
  return html`<details class="counts"><summary>Live features</summary>
    <table><thead><tr><td></td>${WINDOWS.map(([, words]) => html`<th scope="col">${words}</th>`)}</tr></thead>
      <tbody>${names.map((name) => html`<tr><th scope="row">${NAMES[name]}</th>${WINDOWS.map(([window]) => html`<td class="num">${value(name, window)}</td>`)}</tr>`)}</tbody></table>
    <p class="soft small">Sums of 5-minute buckets, fresh to the last event.</p></details>`;
}

// The newest clicks, each with the milliseconds until a shelf showed it.
export function freshnessPanel(freshness) {
  const { measured, missed } = freshness.counts;
  const latest = freshness.entries.filter((entry) => entry.ms !== undefined).slice(0, 24).reverse();
  const most = Math.max(1, ...latest.map((entry) => entry.ms));
  return html`
    <dl class="facts">
      <div><dt>last click</dt><dd><b class="num" id="fresh-last">${freshness.last ?? "–"}</b> ms</dd></div>
      <div><dt>median</dt><dd><b class="num" id="fresh-median">${freshness.median ?? "–"}</b> ms</dd></div>
    </dl>
    ${latest.length > 1 ? html`<div class="spark" role="img" aria-label="The last ${latest.length} clicks, ${Math.min(...latest.map((e) => e.ms))} to ${most} ms">
      ${latest.map((entry) => html`<i style="height:${Math.max(6, 100 * entry.ms / most)}%" title="${entry.ms} ms"></i>`)}</div>` : nothing}
    <p class="soft small">${measured || missed
      ? html`From the collector's answer to the first shelf that reflects it: ${measured} measured${missed ? `, ${missed} not seen within 15 s` : ""}.`
      : "Click a product: this measures the milliseconds until your shelf reflects it."}</p>`;
}
