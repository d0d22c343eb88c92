// Products as cards and rows, and why one is on the shelf.

import { calm, calmly, html, icon, money, named, nothing, percent, repeat } from "/static/ui.js";
import { tile } from "/static/tiles.js";

const VERBS = { view: "viewed", click: "viewed", add_to_cart: "put in your cart", purchase: "bought" };
const WITHOUT_TERM = { live: "fits this visit", batch: "from your earlier visits", trending: "wanted right now", popular: "popular with everybody", baked: "a best seller" };

// The strongest term that speaks for the item, as words and a share of the whole.
export function reasonOf(item, source) {
  const because = (item.because ?? []).filter((term) => term.weight > 0).sort((a, b) => b.weight - a.weight);
  const [top] = because;
  if (!top || top.item_id === "*") return { words: item.reason === "popular with all customers" ? WITHOUT_TERM.popular : WITHOUT_TERM[top ? "batch" : source] ?? "", of: "" };
  const of = named(top.title ?? top.item_id).name;
  const verb = top.event_type === "add_to_cart" ? "" : VERBS[top.event_type]; // what is in the cart is the plainest company
  return { words: verb ? `because you ${verb}` : "goes with", of };
}

function reasonLine(item, source) {
  const { words, of } = reasonOf(item, source);
  if (!words) return nothing;
  return html`<p class="reason" title=${calm(item.reason ?? "")}>${icon("sparkles")}<span>${words}${of ? html` <b>${of}</b>` : nothing}</span></p>`;
}

// `on.open(item, place)` shows the product, `on.add(item)` puts it in the cart.
export function card(item, { on, source = "", place = -1, badge = "", lead = false, inCart = false }) {
  const { name, detail } = named(item.title);
  const sold = item.in_stock === false;
  return html`<li class="card ${lead ? "lead" : ""} ${badge === "new" ? "fresh" : ""}" data-item=${item.item_id}>
    ${tile(item)}
    ${badge ? html`<span class="badge">${badge}</span>` : nothing}
    <div class="words">
      <h3><button type="button" class="cover" @click=${() => on.open(item, place)}>${name}</button></h3>
      <p class="kind">${detail || calm(item.category)}</p>
      ${source ? reasonLine(item, source) : nothing}
    </div>
    <div class="foot">
      <p class="price num">${sold ? html`<span class="soft">sold out</span>` : money(item.price) || html`<span class="soft small">price in store</span>`}</p>
      <button type="button" class="add ${inCart ? "has" : ""}" ?disabled=${sold} aria-label="${inCart ? "One more of" : "Add to cart:"} ${name}" title="Add to cart" @click=${() => on.add(item)}>${icon(inCart ? "check" : "plus")}</button>
    </div>
  </li>`;
}

export const ghosts = (count, kind = "") => Array.from({ length: count }, (_, at) => html`<li class="card ghost ${kind} ${at === 0 && kind === "" ? "lead" : ""}" aria-hidden="true"></li>`);

// Cards that change their place glide there, so that the eye can follow what a click did.
export function glide(list, redraw) {
  const from = new Map([...list.children].map((node) => [node.dataset.item, node.getBoundingClientRect()]));
  const scrolled = list.scrollLeft;
  redraw();
  list.scrollLeft = scrolled; // on a phone the row would follow the card that moved
  if (calmly()) return;
  for (const node of list.children) {
    const was = from.get(node.dataset.item);
    const now = node.getBoundingClientRect();
    if (!was || !node.dataset.item || (was.left === now.left && was.top === now.top)) continue;
    node.animate([{ transform: `translate(${was.left - now.left}px, ${was.top - now.top}px)` }, { transform: "none" }], { duration: 420, easing: "cubic-bezier(.2, .8, .2, 1)" });
  }
}

export const row = (items, options) => html`<ul class="strip" tabindex="0" role="list" aria-label=${options.label}>${repeat(items, (item) => item.item_id, (item) => card(item, options))}</ul>`;

// The terms of a score as bars: what the visitor did, and how much each of it counted.
export function whyBars(item) {
  const terms = (item.because ?? []).filter((term) => term.weight > 0).sort((a, b) => b.weight - a.weight).slice(0, 4);
  const sum = terms.reduce((total, term) => total + term.weight, 0);
  if (!sum) return nothing;
  return html`<section class="why" aria-labelledby="why-title">
    <h4 id="why-title">Why it is on your shelf</h4>
    <ul>${terms.map((term) => {
      const text = term.item_id === "*" ? "what you did before today" : `you ${VERBS[term.event_type] ?? "turned to"} ${named(term.title ?? term.item_id).name}`;
      return html`<li><span>${text}</span><b class="num">${percent(term.weight / sum)}</b><span class="bar-track"><span class="bar-fill" style="width:${100 * term.weight / sum}%"></span></span></li>`;
    })}</ul>
  </section>`;
}
