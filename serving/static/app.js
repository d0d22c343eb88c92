// The storefront: who is shopping, what they do, and the shelf that follows.

import { follow, get, postEvent, uuid } from "/static/api.js";
import { Freshness } from "/static/freshness.js";
import { calm, card, drawFreshness, drawProfile, drawShelf, drawSource, drawTrend, element, skeletons } from "/static/view.js";

const SHELF = 12, PAGE = 24, TREND = 6;
const LABELS = { view: "View", click: "View", add_to_cart: "Cart", purchase: "Buy" };
const $ = (id) => document.getElementById(id);

const session = uuid();
const freshness = new Freshness(() => drawFreshness(
  { chip: $("fresh-chip"), last: $("fresh-last"), median: $("fresh-median"), note: $("fresh-note"), log: $("log") }, freshness));
let visitor, stopFollowing = () => {}, shown = [], offset = 0, searching, profileTimer;

// ---- the visitor

function remembered() {
  try { return JSON.parse(sessionStorage.getItem("visitor")); } catch { return null; }
}

const newVisitor = () => ({ anonymous: true, id: `visitor-${uuid()}` });
const pathOf = ({ anonymous, id }) => `/v1/${anonymous ? "visitors" : "users"}/${encodeURIComponent(id)}`;

function become(next) {
  visitor = next;
  sessionStorage.setItem("visitor", JSON.stringify(visitor));
  const select = $("visitor");
  const value = JSON.stringify(visitor);
  if (![...select.options].some((option) => option.value === value)) {
    const label = visitor.anonymous ? `New visitor ${visitor.id.slice(-4)}` : `Customer ${visitor.id}`;
    select.prepend(element("option", { value }, label));
  }
  select.value = value;
  shown = [];
  $("shelf").replaceChildren(...skeletons(SHELF));
  $("shelf").setAttribute("aria-busy", "true");
  $("know").replaceChildren();
  stopFollowing();
  stopFollowing = follow(`${pathOf(visitor)}/recommendations/stream?explain=true&n=${SHELF}`, { onShelf, onState });
  loadProfile();
}

async function loadVisitors() {
  const { users } = await get("/v1/sample-users");
  const group = element("optgroup", { label: "Known customers" },
    ...users.map((id) => element("option", { value: JSON.stringify({ anonymous: false, id }) }, `Customer ${id}`)));
  if (users.length) $("visitor").append(group);
}

// ---- the shelf

function onShelf(shelf, at) {
  freshness.shelf(shelf.based_on, at);
  drawShelf($("shelf"), shelf, shown, (type, item, button) => act(type === "view" ? "click" : type, item, button));
  drawSource($("source"), shelf);
  shown = shelf.items.map((item) => item.item_id);
  $("shelf").hidden = !shown.length;
  $("shelf-empty").hidden = shown.length > 0;
  clearTimeout(profileTimer);
  profileTimer = setTimeout(loadProfile, 150);
}

function onState(state) {
  const texts = { live: "live", reconnecting: "reconnecting…" };
  $("state").dataset.state = state;
  $("state").textContent = texts[state];
  if (state === "live") hideAlert();
  else alertWith("The shop does not answer right now. The shelf shows what was last known; this page tries again by itself.");
}

async function loadProfile() {
  const asked = visitor;
  try {
    const profile = await get(`${pathOf(asked)}/profile`);
    if (asked === visitor) drawProfile($("know"), profile);
  } catch (problem) {
    $("know").replaceChildren(element("p", { class: "note" }, `Cannot be read now: ${problem.message}`));
  }
}

// ---- what the visitor does

async function act(type, item, button) {
  const occurredAt = Date.now();
  const event = {
    event_id: uuid(),
    event_type: type,
    [visitor.anonymous ? "anonymous_id" : "user_id"]: visitor.id,
    session_id: session,
    item_id: item.item_id,
    occurred_at: new Date(occurredAt).toISOString(),
    schema_version: 1,
  };
  if (item.price !== null) Object.assign(event, { price: item.price, currency: "USD" });
  const place = type === "click" ? shown.indexOf(item.item_id) : -1;
  if (place >= 0) event.position = place;
  const entry = freshness.sent({ id: event.event_id, occurredAt, label: `${LABELS[type]} · ${item.title}` });
  mark(button);
  try {
    freshness.accepted(entry, await postEvent(event));
    say(`${LABELS[type]} sent: ${calm(item.title)}`);
  } catch (problem) {
    freshness.failed(entry, problem.message);
    say(`Not taken: ${problem.message}`, true);
  }
}

function mark(button) {
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 900);
}

let toastTimer;
function say(text, bad = false) {
  const toast = $("toast");
  toast.textContent = text;
  toast.classList.toggle("bad", bad);
  toast.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => toast.classList.remove("shown"), bad ? 5000 : 1800);
}

function alertWith(text) { $("alert").textContent = text; $("alert").hidden = false; }
function hideAlert() { $("alert").hidden = true; }

// ---- the products

async function search({ more = false } = {}) {
  searching?.abort();
  const mine = (searching = new AbortController());
  offset = more ? offset + PAGE : 0;
  const params = { query: $("query").value.trim(), category: $("category").value, offset, limit: PAGE };
  if (!more) $("grid").setAttribute("aria-busy", "true");
  try {
    const page = await get("/v1/items", params, mine.signal);
    const cards = page.items.map((item) => card(item, { act, sold: !item.in_stock }));
    if (more) $("grid").append(...cards);
    else $("grid").replaceChildren(...cards);
    $("more").hidden = !page.more;
    emptyGrid(page.items.length || more ? "" : params.query || params.category ? "No product matches. Try fewer words or all categories." : "The catalogue is not loaded yet; this page tries again.");
    if (!page.items.length && !params.query && !params.category) setTimeout(search, 3000);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (more) offset -= PAGE;
    else { $("grid").replaceChildren(); setTimeout(search, 3000); }
    emptyGrid(`Products cannot be read now: ${problem.message}`);
  } finally {
    if (searching === mine) $("grid").removeAttribute("aria-busy");
  }
}

function emptyGrid(text) { $("grid-empty").textContent = text; $("grid-empty").hidden = !text; }

async function loadCategories() {
  const { categories } = await get("/v1/categories");
  const options = categories.map(({ category, items }) => element("option", { value: category }, `${calm(category)} (${items.toLocaleString("en")})`));
  $("category").append(...options);
  if (!options.length) setTimeout(() => loadCategories().catch(() => {}), 3000);
}

// ---- what everybody does, and the state of the system

async function loadSurroundings() {
  if (document.hidden) return;
  const [trend, status] = await Promise.all([get("/v1/trending", { n: TREND }), get("/v1/status")]);
  drawTrend($("trend"), $("trend-note"), trend);
  $("model").textContent = status.model.version ? `Model ${status.model.version}, ${status.catalogue.items.toLocaleString("en")} products.` : "No model is published yet.";
  if (status.flink_url) { $("flink").href = status.flink_url; $("flink").hidden = false; }
}

// ---- begin

function begin() {
  let typing;
  $("find").addEventListener("submit", (event) => { event.preventDefault(); search(); });
  $("query").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(search, 180); });
  $("category").addEventListener("change", () => search());
  $("more").addEventListener("click", () => search({ more: true }));
  $("visitor").addEventListener("change", (event) => become(JSON.parse(event.target.value)));
  $("new-visitor").addEventListener("click", () => become(newVisitor()));
  $("grid").replaceChildren(...skeletons(PAGE));
  const quietly = (work) => work().catch(() => {});
  become(remembered() ?? newVisitor());
  search();
  for (const load of [loadVisitors, loadCategories, loadSurroundings]) quietly(load);
  setInterval(() => quietly(loadSurroundings), 5000);
}

begin();
