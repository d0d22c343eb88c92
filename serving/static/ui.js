// What both pages draw with: templates, icons, numbers and times in words, the theme.

import { html, nothing, render, svg } from "/static/lib/lit-html/lit-html.js";
import { repeat } from "/static/lib/lit-html/directives/repeat.js";

export { html, nothing, render, repeat, svg };

export const $ = (id) => document.getElementById(id);
export const calmly = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// Decoration: what an icon means is said in words beside it, or in the label of its button.
export const icon = (name, kind = "") =>
  html`<svg class="icon ${kind}" aria-hidden="true" focusable="false"><use href="/static/lib/icons.svg#${name}"></use></svg>`;

// Some catalogues shout: runs of capitals are shown in lower case.
export const calm = (text) =>
  text.replace(/\p{Lu}[\p{Lu}'&/\-.,: ]{2,}\p{Lu}/gu, (run) => run[0] + run.slice(1).toLowerCase());

// "Eggs - Large, own brand, 1 dz" is a name and a detail.
export function named(title) {
  const [name, ...rest] = calm(title).split(", ");
  return { name: name.replace(/\s+-\s+/g, ", "), detail: rest.join(" · ") };
}

const currency = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
export const money = (price) => (price === null || price === undefined ? "" : currency.format(price));

export function ago(ms, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - ms) / 1000));
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} d ago`;
}

export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86_400).toFixed(1)} days`;
}

export const whole = (value) => Math.round(value).toLocaleString("en-US");
export const short = (value) => Number(value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)).toLocaleString("en-US");
export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

// One toast at a time; a screen reader hears it, because its place is a live region of the page.
let toastTimer;
export function say(text, bad = false) {
  const toast = $("toast");
  toast.textContent = text;
  toast.classList.toggle("bad", bad);
  toast.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => toast.classList.remove("shown"), bad ? 5000 : 2200);
}

// A template in a place; a focused element that the drawing moved keeps the focus.
export function draw(template, place) {
  const focused = document.activeElement;
  render(template, place);
  if (focused && focused !== document.activeElement && place.contains(focused)) focused.focus({ preventScroll: true });
}

const THEMES = { "": ["sun-moon", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };

export function themeButton(place) {
  const root = document.documentElement;
  const show = () => {
    const [name, words] = THEMES[root.dataset.theme ?? ""];
    render(html`<button type="button" class="round" aria-label="Theme: ${words}" title="Theme: ${words}" @click=${next}>${icon(name)}</button>`, place);
  };
  const next = () => {
    const order = Object.keys(THEMES);
    const chosen = order[(order.indexOf(root.dataset.theme ?? "") + 1) % order.length];
    if (chosen) root.dataset.theme = chosen;
    else delete root.dataset.theme;
    try { localStorage.setItem("theme", chosen); } catch { /* not remembered, no harm */ }
    show();
    dispatchEvent(new Event("themechange"));
  };
  show();
}
