"""The style sheet of a report: light, dark, print, any width; nothing is fetched."""

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #f6f6f3; --panel: #fff; --ink: #1d2321; --soft: #59635f; --line: #e0e2dd; --edge: #8a938f;
  --accent: #0f766e; --wash: #e3f2ef; --bad: #b3261e; --bad-wash: #fce8e6; --gold: #92600a; --shade: #0002;
  --live: #0f766e; --incumbent: #b45309; --batch: #3b62c4; --popularity: #6b7280; --other: #9333a8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #141817; --panel: #1d2321; --ink: #e9edeb; --soft: #a0aca7; --line: #323a37; --edge: #77827d;
    --accent: #5cc9bb; --wash: #173a35; --bad: #ff9d94; --bad-wash: #442220; --gold: #f2c66b; --shade: #0008;
    --live: #5cc9bb; --incumbent: #f2a65a; --batch: #8fb0ff; --popularity: #a8b0ba; --other: #d19be0;
  }
}
*, ::before, ::after { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header, main, footer { max-width: 1080px; margin-inline: auto; padding-inline: 20px; }
header { padding-block: 26px 14px; }
h1, h2, h3, h4, p, ul, dl, dd, figure { margin: 0; }
h1 { font-size: 1.5rem; line-height: 1.2; letter-spacing: -.015em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; letter-spacing: -.01em; }
h4 { font-size: .92rem; font-weight: 600; }
a { color: var(--accent); }
code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 12px; top: 12px; padding: 8px 12px; background: var(--panel); }
.soft, .lead, figure p { color: var(--soft); }
.about { display: flex; flex-wrap: wrap; gap: 2px 20px; margin-top: 8px; color: var(--soft); font-size: .9rem; }
.about b { color: var(--ink); font-weight: 600; overflow-wrap: anywhere; }

.verdict { padding: 18px 22px; border: 1px solid var(--line); border-left: 6px solid var(--edge);
  border-radius: 12px; background: var(--panel); }
.verdict.good { border-left-color: var(--accent); background: var(--wash); }
.verdict.bad { border-left-color: var(--bad); background: var(--bad-wash); }
.verdict .title { display: block; font-size: 1.35rem; line-height: 1.3; letter-spacing: -.01em; }
.verdict.good .title { color: var(--accent); } .verdict.bad .title { color: var(--bad); }
.verdict ul { margin-top: 10px; padding-left: 20px; }
.verdict ul + p { margin-top: 8px; }
.verdict li + li { margin-top: 3px; }
.verdict .soft { margin-top: 10px; font-size: .87rem; color: var(--ink); opacity: .8; }

.tiles { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 12px; margin-top: 14px; }
.tiles > div { padding: 13px 16px; border: 1px solid var(--line); border-radius: 12px; background: var(--panel); }
.tiles dt { font-size: .83rem; color: var(--soft); }
.tiles b { display: block; font-size: 1.5rem; line-height: 1.35; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.tiles .gold b { color: var(--gold); }
.tiles .bad b { color: var(--bad); }
.tiles span { display: block; font-size: .83rem; color: var(--soft); }

nav { margin-top: 18px; }
nav ul { display: flex; flex-wrap: wrap; gap: 6px 18px; padding: 0; list-style: none; font-size: .9rem; }
.part { margin-top: 22px; padding: 20px 22px 22px; border: 1px solid var(--line); border-radius: 12px;
  background: var(--panel); }
.part > .lead { margin-top: 4px; max-width: 74ch; }
.part > * + * { margin-top: 14px; }
.part p, .told { max-width: 84ch; }
.told { padding-left: 20px; }
.part > .soft, .part p.soft { font-size: .87rem; }

.scroll { overflow-x: auto;
  background: linear-gradient(90deg, var(--panel) 40%, transparent) 0 0 / 44px 100% no-repeat local,
    linear-gradient(270deg, var(--panel) 40%, transparent) 100% 0 / 44px 100% no-repeat local,
    linear-gradient(90deg, var(--shade), transparent) 0 0 / 14px 100% no-repeat scroll,
    linear-gradient(270deg, var(--shade), transparent) 100% 0 / 14px 100% no-repeat scroll; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { padding-bottom: 6px; text-align: left; font-size: .92rem; font-weight: 600; }
caption span { display: inline-block; position: sticky; left: 0; max-width: min(100%, calc(100vw - 62px)); }
th, td { padding: 6px 0 6px 18px; border-top: 1px solid var(--line); text-align: right; vertical-align: top;
  font-weight: 400; white-space: nowrap; }
thead th { border-top: 0; color: var(--soft); font-size: .83rem; }
th:first-child { padding-left: 0; }
th.words, td.words { text-align: left; }
td.words:last-child { white-space: normal; min-width: 11rem; }
td small { display: block; color: var(--soft); font-size: .78rem; }
.name { white-space: nowrap; }
.name::before { content: ""; display: inline-block; width: 9px; height: 9px; margin-right: 8px; border-radius: 50%;
  background: var(--other); }
.name.live::before { background: var(--live); } .name.incumbent::before { background: var(--incumbent); }
.name.batch::before { background: var(--batch); } .name.popularity::before { background: var(--popularity); }
.pill { display: inline-block; padding: 0 8px; border: 1px solid; border-radius: 99px; font-size: .8rem;
  white-space: nowrap; }
.pill.gold { color: var(--gold); font-weight: 600; }
.pill.good { color: var(--accent); } .pill.bad { color: var(--bad); font-weight: 600; }
.terms { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 3px 16px; font-size: .87rem;
  color: var(--soft); }
.terms dt { color: var(--ink); }
.groups { columns: 2 400px; column-gap: 34px; }
.groups > .scroll { break-inside: avoid; margin-bottom: 18px; }
.groups td { white-space: normal; overflow-wrap: anywhere; }

.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 20px 34px;
  align-items: start; }
.charts:empty { display: none; }
figure { max-width: 500px; }
figure p { margin-top: 6px; font-size: .83rem; }
figcaption { margin-bottom: 6px; }
.chart { display: block; width: 100%; height: auto; overflow: visible; }
.chart text { fill: var(--ink); font-size: 12px; font-variant-numeric: tabular-nums; }
.chart .tick { fill: var(--soft); font-size: 11px; }
.chart .value { font-weight: 600; }
.grid { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--edge); stroke-width: 1.2; } .dashed { stroke-dasharray: 4 4; }
.whisker { stroke-width: 3; stroke-linecap: round; opacity: .55; } .error { stroke-width: 1.4; opacity: .7; }
.curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.mark { stroke: var(--panel); stroke-width: 1; }
.live { --tone: var(--live); } .incumbent { --tone: var(--incumbent); } .batch { --tone: var(--batch); }
.popularity { --tone: var(--popularity); } .other { --tone: var(--other); } .bad { --tone: var(--bad); }
.mark, .bar { fill: var(--tone); } .whisker, .error, .curve { stroke: var(--tone); }
.slice { fill: var(--accent); stroke: var(--panel); stroke-width: .5; }
.key { display: flex; flex-wrap: wrap; gap: 2px 16px; margin-bottom: 4px; padding: 0; list-style: none;
  font-size: .83rem; }
.key svg { vertical-align: -2px; margin-right: 5px; }
footer { padding-block: 26px 40px; color: var(--soft); font-size: .85rem; }

@media (max-width: 760px) {
  header, main, footer { padding-inline: 14px; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
  .tiles > div { padding: 10px 12px; }
  .tiles b { font-size: 1.25rem; }
  .verdict, .part { padding: 16px; }
  .terms { grid-template-columns: minmax(0, 1fr); gap: 0; } .terms dd { margin-bottom: 5px; }
  th, td { padding-left: 14px; }
  tbody th { white-space: normal; min-width: 6.2rem; }
  td.words:last-child { min-width: 17rem; }
  .chart text { font-size: 13px; }
  .chart .tick { font-size: 12px; }
}
@media print {
  :root {
    color-scheme: light;
    --page: #fff; --panel: #fff; --ink: #000; --soft: #444; --line: #ccc; --edge: #777;
    --accent: #0f766e; --wash: #fff; --bad: #b3261e; --bad-wash: #fff; --gold: #92600a; --shade: #0000;
    --live: #0f766e; --incumbent: #b45309; --batch: #3b62c4; --popularity: #6b7280; --other: #9333a8;
  }
  body { font-size: 10.5pt; }
  nav, .skip { display: none; }
  .part { padding: 12px 0; border-width: 1px 0 0; border-radius: 0; }
  figure, tr, .tiles > div, .verdict { break-inside: avoid; }
  h2, .lead, caption { break-after: avoid; }
  .scroll { overflow: visible; }
  .mark, .bar, .slice, .verdict { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""
