// The catalogue: categories as chips, search, and a grid that grows.

import { get } from "/static/api.js";
import { card, ghosts } from "/static/cards.js";
import { kindOf } from "/static/tiles.js";
import { calm, draw, html, icon, nothing, repeat, whole } from "/static/ui.js";

const PAGE = 24, CHIPS = 14;

export class Products {
  constructor(place, chips, { on, has }) {
    Object.assign(this, { place, chips, on, has });
    this.items = null;
    this.categories = this.wanted = [];
    this.query = this.category = this.problem = "";
    this.more = false;
  }

  begin() {
    this.draw();
    this.load();
    this.#loadCategories();
  }

  look(query) {
    if (query.trim() === this.query) return;
    this.query = query.trim();
    this.load();
  }

  show() { this.place.scrollIntoView({ block: "start" }); }

  choose(category) {
    this.category = category;
    this.load();
    this.#drawChips();
    this.show();
  }

  async load(further = false) {
    this.asking?.abort();
    const mine = (this.asking = new AbortController());
    const params = { query: this.query, category: this.category, offset: further ? this.items.length : 0, limit: PAGE };
    clearTimeout(this.again);
    try {
      const page = await get("/v1/items", params, mine.signal);
      this.items = further ? [...this.items, ...page.items] : page.items;
      if (!this.query && !this.category && !further) this.#noteWanted();
      this.more = page.more;
      this.problem = "";
      if (!this.items.length && !this.query && !this.category) this.again = setTimeout(() => this.load(), 3000);
    } catch (problem) {
      if (problem.name === "AbortError") return;
      this.problem = problem.message;
      this.again = setTimeout(() => this.load(), 3000);
    }
    this.draw();
  }

  async #loadCategories() {
    try {
      this.categories = (await get("/v1/categories")).categories;
    } catch { /* tried again below */ }
    if (!this.categories.length) setTimeout(() => this.#loadCategories(), 3000);
    this.#drawChips();
    this.draw();
  }

  // The page of all products begins with the most popular ones: their categories come first.
  #noteWanted() {
    this.wanted = [...new Set(this.items.map(({ category }) => category).filter(Boolean))];
    this.#drawChips();
  }

  #drawChips() {
    const chip = (category, words, sign) => html`<li><button type="button" class="chip" aria-pressed=${this.category === category} @click=${() => this.choose(category)}>${sign ? icon(sign) : nothing}${words}</button></li>`;
    const top = [...new Set([...this.wanted, ...this.categories.map(({ category }) => category)])].slice(0, CHIPS);
    if (this.category && !top.includes(this.category)) top.unshift(this.category);
    draw(html`${chip("", "Everything", "shopping-basket")}${repeat(top, (name) => name, (name) => chip(name, calm(name), kindOf("", name).name || "tag"))}`, this.chips);
  }

  draw() {
    draw(html`<div class="head">
      <h2 id="products-title">${this.query ? `“${this.query}”` : this.category ? calm(this.category) : "All products"}</h2>
      <select class="field" aria-label="Category" .value=${this.category} @change=${(event) => this.choose(event.target.value)}>
        <option value="">All categories</option>
        ${this.categories.map(({ category, items }) => html`<option value=${category} ?selected=${category === this.category}>${calm(category)} (${whole(items)})</option>`)}
      </select></div>
    ${this.#body()}`, this.place);
  }

  #body() {
    if (this.problem && !this.items?.length) return html`<p class="empty" role="status">Products cannot be read now: ${this.problem}. This page tries again.</p>`;
    if (!this.items) return html`<ul class="cards">${ghosts(12, "plain")}</ul>`;
    if (!this.items.length) {
      return html`<p class="empty" role="status">${this.query || this.category ? "No product matches. Try fewer words, or all categories." : "The catalogue is not loaded yet; this page tries again."}</p>`;
    }
    return html`<ul class="cards" id="grid" role="list" aria-label="Products">${repeat(this.items, (item) => item.item_id, (item) => card(item, { on: this.on, inCart: this.has(item.item_id) }))}</ul>
      ${this.more ? html`<p class="more"><button type="button" class="button" @click=${() => this.load(true)}>Show more</button></p>` : nothing}`;
  }
}
