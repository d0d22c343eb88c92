// The cart of a visitor, kept in this tab; every change is also an event.

export class Cart {
  constructor(onChange) {
    this.onChange = onChange;
    this.lines = new Map(); // item_id → {item, quantity}
    this.owner = "";
  }

  // The cart of another visitor: each has their own.
  of(owner) {
    this.owner = owner;
    try {
      this.lines = new Map(JSON.parse(sessionStorage.getItem(`cart ${owner}`)) ?? []);
    } catch {
      this.lines = new Map();
    }
    this.onChange();
  }

  has = (itemId) => this.lines.has(itemId);
  get count() { return [...this.lines.values()].reduce((sum, line) => sum + line.quantity, 0); }
  get total() { return [...this.lines.values()].reduce((sum, line) => sum + line.quantity * (line.item.price ?? 0), 0); }
  get ids() { return [...this.lines.keys()]; }

  change(item, by) {
    const quantity = (this.lines.get(item.item_id)?.quantity ?? 0) + by;
    if (quantity > 0) this.lines.set(item.item_id, { item, quantity });
    else this.lines.delete(item.item_id);
    this.#keep();
  }

  empty() {
    const lines = [...this.lines.values()];
    this.lines.clear();
    this.#keep();
    return lines;
  }

  #keep() {
    try { sessionStorage.setItem(`cart ${this.owner}`, JSON.stringify([...this.lines])); } catch { /* it lives as long as the page */ }
    this.onChange();
  }
}
