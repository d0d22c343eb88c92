// The storefront: who is shopping, what they do, and the shelf that follows.

import { follow, get, uuid } from "/static/api.js";
import { card, ghosts, glide, reasonOf, row } from "/static/cards.js";
import { Cart } from "/static/cart.js";
import { Freshness } from "/static/freshness.js";
import { freshnessPanel, knownPanel } from "/static/known.js";
import { Products } from "/static/products.js";
import { Sender } from "/static/sender.js";
import { basketSheet, closeOnBackdrop, ProductSheet, visitorMenu } from "/static/sheets.js";
import { $, calm, draw, html, icon, named, nothing, repeat, say, themeButton, whole } from "/static/ui.js";

const SHELF = 11, TREND = 12;
const SOURCES = {
  batch: "from your earlier visits", trending: "what is wanted right now", popular: "what most customers buy",
  baked: "what sold well before", none: "nothing yet",
};

const freshness = new Freshness(() => { draw(freshnessPanel(freshness), $("freshness")); drawHead(); });
const sender = new Sender(freshness);
const cart = new Cart(() => { drawTools(); drawShelf(); drawBasket(); products?.draw(); });
const on = { open, add };
let visitor, users = [], shelf = null, before = [], connection = "connecting", profile = null, problem = "";
let stopFollowing = () => {}, profileTimer, seen = new Set();
const products = new Products($("products"), $("chips"), { on, has: cart.has });
const sheet = new ProductSheet($("product"), { on, cart, buy, itemOf, whose });

// ---- who is shopping

function remembered() {
  try { return JSON.parse(sessionStorage.getItem("visitor")); } catch { return null; }
}

const newVisitor = () => ({ anonymous: true, id: `visitor-${uuid()}` });
const nameOf = ({ anonymous, id }) => (anonymous ? `Visitor ${id.slice(-4)}` : `Customer ${id}`);
function whose() {
  return { [visitor.anonymous ? "anonymous_id" : "user_id"]: visitor.id };
}
const pathOf = ({ anonymous, id }) => `/v1/${anonymous ? "visitors" : "users"}/${encodeURIComponent(id)}`;

function become(next) {
  visitor = next;
  try { sessionStorage.setItem("visitor", JSON.stringify(visitor)); } catch { /* asked again after a reload */ }
  [shelf, before, profile, problem, seen] = [null, [], null, "", new Set()];
  $("shelf").setAttribute("aria-busy", "true");
  cart.of(pathOf(visitor));
  drawKnown();
  stopFollowing();
  stopFollowing = follow(`${pathOf(visitor)}/recommendations`, { explain: true, n: SHELF, placement: "home" }, { onShelf, onState });
  loadProfile();
}

async function signIn(id) {
  $("who").close();
  if (visitor.anonymous) {
    try {
      await sender.identify(visitor, id);
      say(`Signed in as customer ${id}: what you did goes with you`);
    } catch (problem) {
      return say(`Not signed in: ${problem.message}`, true);
    }
  }
  become({ anonymous: false, id });
}

function drawTools() {
  if (!visitor) return;
  draw(html`
    <button type="button" class="button who" @click=${openMenu} aria-haspopup="dialog">${icon("user")}<span>${nameOf(visitor)}</span></button>
    <span id="theme"></span>
    <button type="button" class="round cart" @click=${openBasket} aria-label="Cart, ${cart.count} ${cart.count === 1 ? "item" : "items"}">${icon("shopping-basket")}${cart.count ? html`<b class="num">${cart.count}</b>` : nothing}</button>`, $("tools"));
  if (!$("theme").firstElementChild) themeButton($("theme"));
}

function openMenu() {
  draw(visitorMenu({ visitor, users, name: nameOf(visitor), signIn, fresh: () => { $("who").close(); become(newVisitor()); }, close: () => $("who").close() }), $("who"));
  $("who").showModal();
}

// ---- the shelf

function onShelf(next, at) {
  freshness.shelf(next.based_on, at);
  before = shelf ? shelf.items.map((item) => item.item_id) : [];
  shelf = next;
  $("shelf").removeAttribute("aria-busy");
  drawShelf();
  drawHead();
  announce();
  noteImpressions();
  clearTimeout(profileTimer);
  profileTimer = setTimeout(loadProfile, 120);
}

function onState(state) {
  connection = state;
  const away = state === "reconnecting";
  draw(away ? html`<p class="notice">${icon("circle-alert")}<span>The shop does not answer right now. You see what was last known; this page tries again by itself.</span></p>` : nothing, $("alert"));
  drawHead();
}

function drawHead() {
  const ms = freshness.last;
  const degraded = shelf && shelf.source !== "live";
  const top = shelf?.items[0] && reasonOf(shelf.items[0], shelf.source);
  draw(html`<div class="head">
    <h1 id="shelf-title">${!visitor || visitor.anonymous ? "Picked for you, as you go" : "Welcome back. Picked for you"}</h1>
    <p class="sub" data-state=${connection}>
      ${shelf ? html`<span class="pill ${shelf.source === "live" ? "good" : ""}" id="source" data-source=${shelf.source} title=${origin()}>
        ${shelf.source === "live" ? html`<i class="dot"></i>live` : SOURCES[shelf.source]}</span>` : nothing}
      ${connection === "reconnecting" ? html`<span class="pill bad">reconnecting…</span>` : nothing}
      ${ms !== undefined && !degraded ? html`<span class="small soft">changed <b class="num" id="fresh-chip">${ms} ms</b> after your click</span>`
        : html`<span class="small soft">${degraded || !top?.of ? "Open a product, and this shelf follows within a moment." : html`led by ${top.of}`}</span>`}
    </p></div>`, $("hero-head"));
}

const origin = () => [
  shelf.store && `read from ${{ redis: "Redis", dynamodb: "DynamoDB", postgresql: "PostgreSQL" }[shelf.store] ?? shelf.store}`,
  shelf.model_version && `model ${shelf.model_version}`,
].filter(Boolean).join(", ");

function drawShelf() {
  const list = $("shelf");
  if (!shelf) return draw(ghosts(SHELF), list);
  const places = new Map(before.map((id, place) => [id, place]));
  const badge = (item, place) => {
    if (!before.length) return "";
    const was = places.get(item.item_id);
    return was === undefined ? "new" : was - place >= 2 ? `▲ ${was - place}` : "";
  };
  glide(list, () => draw(repeat(shelf.items, (item) => item.item_id, (item, place) =>
    card(item, { on, source: shelf.source, place, badge: badge(item, place), lead: place === 0, inCart: cart.has(item.item_id) })), list));
  list.hidden = !shelf.items.length;
  $("shelf-empty").hidden = shelf.items.length > 0;
}

// A screen reader hears that the shelf changed, and of what, without its twelve items.
function announce() {
  const fresh = shelf.items.filter((item) => !before.includes(item.item_id));
  if (before.length && fresh.length) $("news").textContent = `Your shelf changed: ${fresh.length} new, first ${named(shelf.items[0].title).name}.`;
}

// What was shown is an event too, once for each answer that has a request id to attribute it to.
function noteImpressions() {
  if (!shelf.request_id || seen.has(shelf.request_id)) return;
  seen.add(shelf.request_id);
  sender.shown(visitor, shelf);
}

// ---- what the shop knows

async function loadProfile() {
  const asked = visitor;
  try {
    const found = await get(`${pathOf(asked)}/profile`);
    if (asked === visitor) [profile, problem] = [found, ""];
  } catch (error) {
    if (asked === visitor) [profile, problem] = [null, error.message];
  }
  drawKnown();
}

const drawKnown = () => draw(knownPanel(profile, problem), $("know"));

// ---- what the visitor does

function itemOf(itemId) {
  return shelf?.items.find((item) => item.item_id === itemId);
}

const clicked = (place) => ({ position: place, ...(shelf?.request_id ? { request_id: shelf.request_id } : {}), ...(shelf?.variant ? { variant: shelf.variant } : {}) });

function open(item, place = -1) {
  const onShelf = place >= 0 && shelf?.items[place]?.item_id === item.item_id;
  sender.send(visitor, onShelf ? "click" : "view", item, onShelf ? clicked(place) : {});
  if ($("basket").open) $("basket").close();
  sheet.open(onShelf ? { ...item, source: shelf.source } : item);
}

async function add(item) {
  cart.change(item, 1);
  if (!(await sender.send(visitor, "add_to_cart", item, { quantity: 1 }))) cart.change(item, -1);
}

async function take(item) {
  cart.change(item, -1);
  await sender.send(visitor, "remove_from_cart", item, { quantity: 1 });
}

async function buy(item, quantity = 1) {
  return sender.send(visitor, "purchase", item, { quantity });
}

async function checkout() {
  const lines = cart.empty();
  const taken = await Promise.all(lines.map(({ item, quantity }) => buy(item, quantity)));
  taken.forEach((ok, at) => { if (!ok) cart.change(lines[at].item, lines[at].quantity); });
  if (taken.every(Boolean)) {
    $("basket").close();
    say("Bought. Thank you: the shelf knows already");
  }
}

// ---- the cart

let beside = [];

function drawBasket() {
  if ($("basket").open) draw(basketSheet({ cart, beside, on, add, take, checkout, close: () => $("basket").close() }), $("basket"));
}

async function openBasket() {
  beside = [];
  $("basket").showModal();
  drawBasket();
  await loadBeside().catch(() => {}); // the cart is whole without it
}

async function loadBeside() {
  if (!cart.count) return;
  const asked = new URLSearchParams({ n: 8, placement: "cart", ...whose() });
  for (const id of cart.ids) asked.append("item_id", id);
  beside = (await get("/v1/cart/recommendations", asked)).items;
  drawBasket();
}

// ---- what everybody does

async function loadSurroundings() {
  if (document.hidden) return;
  const [trend, status] = await Promise.all([get("/v1/trending", { n: TREND, placement: "trending", ...whose() }), get("/v1/status")]);
  const words = { trending: "by what everybody viewed, put in carts and bought in the last hour", popular: "nothing happened in the last hour: popular with all customers" }[trend.source];
  draw(trend.items.length ? html`<div class="head"><h2 id="trend-title">Wanted right now</h2><p class="soft small">${words}</p></div>
    ${row(trend.items, { on, label: "Wanted right now", inCart: false })}` : nothing, $("trending"));
  $("model").textContent = status.model.version ? `${whole(status.catalogue.items)} products, model ${status.model.version}.` : "No model is published yet.";
}

// ---- begin

for (const id of ["product", "basket", "who"]) closeOnBackdrop($(id));
$("find").addEventListener("submit", (event) => { event.preventDefault(); products.look($("query").value); products.show(); });
let typing;
$("query").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => products.look($("query").value), 180); });
become(remembered() ?? newVisitor());
freshness.onChange();
products.begin();
const quietly = (work) => work().catch(() => {});
quietly(async () => { users = (await get("/v1/sample-users")).users; });
quietly(loadSurroundings);
setInterval(() => quietly(loadSurroundings), 5000);
setInterval(() => { if (!document.hidden && profile) drawKnown(); }, 5000);
