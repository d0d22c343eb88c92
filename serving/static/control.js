// The control room: asks every few seconds, shows what came, and says what is away.

import { get } from "/static/api.js";
import { browse } from "/static/control-features.js";
import { drawModels, drawRanker } from "/static/control-models.js";
import { drawNow } from "/static/control-now.js";
import { drawExperiments, drawHealth, drawRejected } from "/static/control-parts.js";
import { $, draw, html, icon, themeButton } from "/static/ui.js";

const FAST_MS = 4000, SLOW_MS = 15_000;
const parts = {};

// One source of the page: what it last said stays, with a word of when, while it does not answer.
async function ask(name, path, show) {
  try {
    parts[name] = { value: await get(`/v1/admin/control/${path}`), problem: "" };
  } catch (problem) {
    parts[name] = { value: parts[name]?.value, problem: problem.message };
  }
  show(parts[name].value, parts[name].problem);
  tell();
}

function tell() {
  const away = Object.values(parts).filter((part) => part.problem);
  $("state").dataset.state = away.length ? "away" : "live";
  draw(away.length ? html`<i class="dot"></i>not answering` : html`<i class="dot"></i>live`, $("state"));
  const locked = away.some((part) => /key/i.test(part.problem));
  draw(away.length ? html`<p class="notice">${icon("circle-alert")}<span>${locked ? html`This page needs a key with the scope “admin”: <a href="/sign-in">sign in</a>.`
    : `${away[0].problem}. The figures below are the last that came.`}</span></p>` : html``, $("problem"));
}

const stream = () => ask("stream", "stream", (value, problem) => {
  drawNow($("now"), value, problem);
  if (value?.dashboard) Object.assign($("flink"), { href: value.dashboard, hidden: false });
  drawRejected($("rejected"), value, parts.rejected?.value);
});
const health = () => ask("health", "health", (value, problem) => drawHealth($("health"), value, problem));
const rejected = () => ask("rejected", "rejected", (value) => drawRejected($("rejected"), parts.stream?.value, value));
const experiments = () => ask("experiments", "experiments", (value, problem) => drawExperiments($("experiments"), value, problem));
const models = () => ask("models", "models", (value, problem) => {
  drawModels($("models"), value, problem, models);
  drawRanker($("ranker"), value);
});

// The next question waits for the last answer, and a hidden page asks nothing.
function every(ms, ...works) {
  const turn = async () => {
    if (!document.hidden) await Promise.all(works.map((work) => work()));
    setTimeout(turn, ms);
  };
  turn();
}

themeButton($("theme"));
browse($("features"));
every(FAST_MS, stream, health);
every(SLOW_MS, models, rejected, experiments);
document.addEventListener("visibilitychange", () => { if (!document.hidden) { stream(); health(); } });

// The tab of the section in view is marked.
function mark() {
  const sections = [...document.querySelectorAll("main > section")];
  const at = sections.findLast((section) => section.getBoundingClientRect().top < 160) ?? sections[0];
  for (const tab of document.querySelectorAll(".tabs a")) {
    if (tab.hash === `#${at.id}`) tab.setAttribute("aria-current", "true");
    else tab.removeAttribute("aria-current");
  }
}

addEventListener("scroll", mark, { passive: true });
mark();
