// What opens over the shop: a product, the cart, and who is shopping.

import { get } from "/static/api.js";
import { row, whyBars } from "/static/cards.js";
import { tile } from "/static/tiles.js";
import { calm, draw, html, icon, money, named, nothing, percent, short } from "/static/ui.js";

const closer = (close) => html`<button type="button" class="round close" aria-label="Close" @click=${close}>${icon("x")}</button>`;

export function closeOnBackdrop(dialog) {
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}

export class ProductSheet {
  constructor(dialog, { on, cart, buy, itemOf, whose }) {
    Object.assign(this, { dialog, on, cart, buy, itemOf, whose });
  }

  async open(item) {
    this.item = item;
    [this.about, this.similar, this.together, this.live] = [null, null, null, null];
    this.draw();
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
    const path = `/v1/items/${encodeURIComponent(item.item_id)}`;
    const load = async (name, address, params) => {
      const found = await get(address, params).catch(() => undefined);
      if (this.item === item) { this[name] = found; this.draw(); }
    };
    // Live features come a moment later, so that they hold this very view.
    for (const ms of [800, 2500]) setTimeout(() => load("live", `${path}/features`), ms);
    const whose = this.whose();
    await Promise.all([
      load("about", path), load("live", `${path}/features`),
      load("similar", `${path}/similar`, { n: 10, placement: "product", ...whose }), load("together", `${path}/together`, { n: 10, placement: "product", ...whose }),
    ]);
  }

  draw() {
    const item = { ...this.item, ...(this.about ?? {}) };
    const { name, detail } = named(item.title);
    const why = this.itemOf(item.item_id) ?? this.item;
    const sold = item.in_stock === false;
    const close = () => this.dialog.close();
    draw(html`<div class="sheet-body">
      ${closer(close)}
      ${tile(item, "large")}
      <p class="kind">${calm(item.category)}</p>
      <h2 id="product-title" tabindex="-1">${name}</h2>
      <p class="soft">${detail}</p>
      <div class="buy"><b class="price num">${sold ? "Sold out" : money(item.price) || "Price in store"}</b>
        <button type="button" class="button" ?disabled=${sold} @click=${() => this.on.add(item)}>${icon("plus")}Add to cart</button>
        <button type="button" class="button main" ?disabled=${sold} @click=${() => { close(); this.buy(item); }}>Buy now</button></div>
      ${this.#live()} ${whyBars(why)}
      ${this.together?.source === "together" ? this.#list("Bought together", this.together) : nothing} ${this.#list("Similar", this.similar, true)}
    </div>`, this.dialog);
  }

  #live() {
    if (!this.live) return nothing;
    const { features, trend, conversion } = this.live;
    const [hour, day] = [features["1h"], features["24h"]];
    const way = trend > 0.05 ? ["trending-up", "more wanted than usual"] : trend < -0.05 ? ["trending-down", "less wanted than usual"] : ["activity", "as wanted as usual"];
    const cell = (value, words) => html`<div><dt>${words}</dt><dd><b class="num">${value}</b></dd></div>`;
    return html`<section class="now" aria-label="What everybody does with it">
      <dl class="facts">${cell(short(hour.views), "views, last hour")}${cell(short(hour.carts), "in carts, last hour")}${cell(short(day.purchases), "bought today")}</dl>
      <p class="soft small">${icon(way[0])} ${way[1]}${day.views >= day.purchases ? ` · about ${percent(conversion, 1)} of views end in a purchase` : ""}</p></section>`;
  }

  #list(title, list, expected = false) {
    if (list === null) return expected ? html`<h3>${title}</h3><div class="ghost" style="height:190px"></div>` : nothing;
    const items = (list?.items ?? []).filter((item) => item.item_id !== this.item.item_id);
    if (!items.length) return expected ? html`<h3>${title}</h3><p class="empty">${list === undefined ? "Cannot be read now." : "The model does not know this product yet: it will after the next training."}</p>` : nothing;
    return html`<h3>${title}</h3>${row(items, { on: this.on, label: title })}`;
  }
}

export function basketSheet({ cart, beside, on, add, take, checkout, close }) {
  const lines = [...cart.lines.values()];
  return html`<div class="sheet-body">
    ${closer(close)}
    <h2 id="basket-title">Your cart</h2>
    ${lines.length ? html`<ul class="lines">${lines.map(({ item, quantity }) => html`<li>${tile(item, "small")}
        <span><b>${named(item.title).name}</b><span class="soft small">${named(item.title).detail}</span></span>
        <span class="steps"><button type="button" class="round" aria-label="One less of ${named(item.title).name}" @click=${() => take(item)}>${icon("minus")}</button><b class="num">${quantity}</b><button type="button" class="round" aria-label="One more of ${named(item.title).name}" @click=${() => add(item)}>${icon("plus")}</button></span>
        <b class="num">${money(quantity * (item.price ?? 0))}</b></li>`)}</ul>
      <div class="total"><span>Total</span><b class="num">${money(cart.total)}</b></div>
      <button type="button" class="button main full" @click=${checkout}>Buy all</button>
      ${beside.length ? html`<h3>Goes with your cart</h3>${row(beside, { on, label: "Goes with your cart" })}` : nothing}`
    : html`<p class="empty">Your cart is empty. The + on a product puts it here.</p>`}
  </div>`;
}

export function visitorMenu({ visitor, users, name, signIn, fresh, close }) {
  return html`<div class="sheet-body">
    ${closer(close)}
    <h2 id="who-title">You are ${name.toLowerCase()}</h2>
    <p class="soft">${visitor.anonymous ? "Sign in, and what you did in this visit goes with you." : "Look at the shop as somebody else."}</p>
    <form method="dialog" @submit=${(event) => { event.preventDefault(); signIn(new FormData(event.target).get("user")); }}>
      ${users.length ? html`<label for="as">${visitor.anonymous ? "Sign in as" : "Shop as"}</label>
      <div class="pair"><select class="field" id="as" name="user">${users.map((id) => html`<option value=${id} ?selected=${id === visitor.id}>Customer ${id}</option>`)}</select>
      <button type="submit" class="button main">${icon("log-in")}Go</button></div>` : html`<p class="empty">This shop names no customers to look through.</p>`}
    </form>
    <button type="button" class="button full" @click=${fresh}>${icon("user-plus")}Start as a new visitor</button>
  </div>`;
}
