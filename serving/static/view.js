// Drawing: small functions from data to elements. Text is only ever set as text.

const VERBS = { view: "viewed", click: "viewed", add_to_cart: "put in cart", purchase: "bought" };
const SOURCES = {
  live: ["live", "follows every click"],
  batch: ["last training", "from what you did before"],
  trending: ["trending", "what is wanted right now, then what is popular"],
  popular: ["popular", "what most customers buy"],
};

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Some catalogues shout: runs of capitals are shown in lower case.
export const calm = (text) =>
  text.replace(/\p{Lu}[\p{Lu}'&/\-.,: ]{2,}\p{Lu}/gu, (run) => run[0] + run.slice(1).toLowerCase());

export const money = (price) => (price === null || price === undefined ? "" : `$${price.toFixed(2)}`);

export function ago(ms) {
  const seconds = Math.max(0, Math.round((Date.now() - ms) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} d ago`;
}

function tile(category) {
  let hash = 0;
  for (const letter of category) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  const words = category.match(/[\p{L}\p{N}]+/gu) ?? ["?"];
  const node = element("div", { class: "tile", "aria-hidden": "true" }, words.slice(0, 2).map((word) => word[0]).join("").toUpperCase());
  node.style.setProperty("--hue", hash % 360);
  return node;
}

// `act(type, item, button)` sends the event.
export function card(item, { act, reason, badge, sold = false }) {
  const title = calm(item.title);
  const button = (type, text) =>
    element("button", { type: "button", "aria-label": `${text}: ${title}`, disabled: sold && type !== "view", onclick: (event) => act(type, item, event.currentTarget) }, text);
  return element("li", { class: "card", "data-item": item.item_id },
    tile(item.category || item.title),
    badge ? element("span", { class: "badge" }, badge) : null,
    element("h3", { title }, title),
    element("p", { class: "kind" }, item.category ? calm(item.category) : " "),
    reason ? element("p", { class: "reason", title: calm(reason) }, calm(reason)) : null,
    element("p", { class: "price" }, sold ? "sold out" : money(item.price)),
    element("div", { class: "acts" }, button("view", "View"), button("add_to_cart", "Cart"), button("purchase", "Buy")),
  );
}

export function skeletons(count) {
  return Array.from({ length: count }, () => element("li", { class: "card ghost", "aria-hidden": "true" }));
}

export function drawShelf(list, shelf, before, act) {
  const places = new Map(before.map((id, place) => [id, place]));
  list.replaceChildren(...shelf.items.map((item, place) => {
    const was = places.get(item.item_id);
    const fresh = before.length > 0 && was === undefined;
    const risen = was !== undefined && was - place >= 2;
    const node = card(item, { act, reason: item.reason, badge: fresh ? "new" : risen ? `▲ ${was - place}` : null });
    if (fresh) node.classList.add("fresh");
    else if (risen) node.classList.add("risen");
    return node;
  }));
  list.removeAttribute("aria-busy");
}

export function drawSource(node, shelf) {
  const [name, meaning] = SOURCES[shelf.source] ?? ["", ""];
  node.dataset.source = shelf.source;
  node.replaceChildren(...(name ? [element("b", {}, name), ` ${meaning}`] : []));
  const store = { redis: "Redis", dynamodb: "DynamoDB" }[shelf.store] ?? "";
  node.title = [store && `read from ${store}`, shelf.model_version && `model ${shelf.model_version}`].filter(Boolean).join(", ");
}

export function drawFreshness({ chip, last, median, note, log }, freshness) {
  chip.textContent = freshness.last === undefined ? "" : `, in ${freshness.last} ms`;
  last.textContent = freshness.last ?? "–";
  median.textContent = freshness.median ?? "–";
  const { measured, missed } = freshness.counts;
  if (measured || missed) {
    note.textContent = `From the collector's answer to the first shelf that reflects your event: ${measured} measured` +
      (missed ? `, ${missed} not seen within 15 s.` : ".");
  }
  log.replaceChildren(...freshness.entries.slice(0, 6).map((entry) => {
    const [text, kind] = entry.failed ? ["not taken", "bad"]
      : entry.ms !== undefined ? [`${entry.ms} ms`, "good"]
      : entry.missed ? ["not seen", "bad"] : ["waiting…", "wait"];
    return element("li", { title: entry.failed }, element("span", {}, calm(entry.label)), element("b", { class: kind }, text));
  }));
}

export function drawTrend(list, note, trend) {
  list.replaceChildren(...trend.items.map((item) =>
    element("li", {}, element("span", { title: calm(item.title) }, calm(item.title)), element("b", {}, money(item.price)))));
  note.textContent = { trending: "by views, carts and purchases of the last hour", popular: "nothing happened in the last hour: popular with all customers", none: "nothing yet" }[trend.source];
}

function visitSentence(profile) {
  const { session, category_affinity: share, price_affinity: price } = profile;
  const visit = session ? `This visit: ${session.depth} actions in ${Math.ceil(session.length_ms / 60000)} min.` : "No visit is on.";
  const categories = Object.entries(share).slice(0, 3).map(([name, part]) => `${calm(name)} ${Math.round(100 * part)} %`);
  const priced = price < 1 / 3 ? "cheaper" : price > 2 / 3 ? "dearer" : "middle-priced";
  const taste = categories.length ? ` Turns to ${categories.join(", ")}, to ${priced} items.` : "";
  return visit + taste;
}

export function drawProfile(node, profile) {
  if (!profile.known) {
    node.replaceChildren(element("p", { class: "note" }, "Nothing live yet. Everything it will know comes from what you do here."));
    return;
  }
  const names = Object.keys(profile.features["1h"]);
  const cell = (name, value) => (name === "spend" ? money(value) : String(Math.round(value * 100) / 100));
  const table = element("table", {},
    element("thead", {}, element("tr", {}, element("td"), ...["5 min", "1 h", "24 h"].map((window) => element("th", { scope: "col" }, window)))),
    element("tbody", {}, ...names.map((name) => element("tr", {}, element("th", { scope: "row" }, name.replace("_", " ")),
      ...["5m", "1h", "24h"].map((window) => element("td", {}, cell(name, profile.features[window][name])))))),
  );
  const actions = element("ul", { class: "actions" }, ...profile.actions.slice(0, 8).map((action) =>
    element("li", {}, element("span", { title: calm(action.title) }, `${VERBS[action.event_type] ?? action.event_type} ${calm(action.title)}`), element("time", {}, ago(action.occurred_at)))));
  const known = profile.known_as ? element("p", { class: "note" }, `Signed in as customer ${profile.known_as}.`) : null;
  node.replaceChildren(...[known, table, element("p", { class: "note" }, visitSentence(profile)), actions].filter(Boolean));
}
