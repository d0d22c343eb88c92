// What the visitor does, sent as events, with the time until a shelf reflects it.

import { postEvent, postEvents, uuid } from "/static/api.js";
import { calm, say } from "/static/ui.js";

const WORDS = { view: "Viewed", click: "Viewed", add_to_cart: "In your cart", remove_from_cart: "Taken out", purchase: "Bought" };

export class Sender {
  constructor(freshness) {
    this.freshness = freshness;
    this.session = uuid();
  }

  // `more` are further fields of the event contract: position, request_id, quantity.
  async send(visitor, type, item, more = {}) {
    const occurredAt = Date.now();
    const event = {
      event_id: uuid(),
      event_type: type,
      [visitor.anonymous ? "anonymous_id" : "user_id"]: visitor.id,
      session_id: this.session,
      item_id: item.item_id,
      occurred_at: new Date(occurredAt).toISOString(),
      schema_version: 1,
      ...more,
    };
    if (item.price !== null && item.price !== undefined) Object.assign(event, { price: item.price, currency: "USD" });
    const entry = this.freshness.sent({ id: event.event_id, occurredAt, type, label: calm(item.title) });
    return this.#post(event, entry, `${WORDS[type]}: ${calm(item.title)}`, type);
  }

  // What a shelf showed: one request, nothing waits for it, and a failure costs a figure and not the visit.
  shown(visitor, shelf) {
    const now = new Date().toISOString();
    const events = shelf.items.map((item, position) => ({
      event_id: uuid(), event_type: "impression", [visitor.anonymous ? "anonymous_id" : "user_id"]: visitor.id, session_id: this.session,
      item_id: item.item_id, occurred_at: now, schema_version: 1, request_id: shelf.request_id, position, ...(shelf.variant ? { variant: shelf.variant } : {}),
    }));
    postEvents(events).catch(() => {});
  }

  // Joins an anonymous visitor to a customer; the visit goes on under both names.
  async identify(visitor, userId) {
    const now = Date.now();
    const event = { event_id: uuid(), event_type: "identify", anonymous_id: visitor.id, user_id: userId, session_id: this.session, occurred_at: new Date(now).toISOString(), schema_version: 1 };
    await postEvent(event);
  }

  async #post(event, entry, words, type) {
    try {
      this.freshness.accepted(entry, await postEvent(event));
      if (type !== "view" && type !== "click") say(words);
      return true;
    } catch (problem) {
      this.freshness.failed(entry, problem.message);
      say(`Not taken: ${problem.message}`, true);
      return false;
    }
  }
}
