#pragma once
// Style sheet and script of the report page. Nothing is loaded: the page's content policy forbids it.

#include <string_view>

namespace thaw::report {

inline constexpr std::string_view kReportStyle = R"css(
:root {
  --paper: #fdfdfc; --ink: #1c2126; --soft: #5b6670; --rule: #dfe3e6; --wash: #f3f5f6; --accent: #0b6f7c;
  --s1: #0b6f7c; --s2: #c4501b; --s3: #5a4fb0; --s4: #96730a; --s5: #b0326f; --s6: #35762f; --s7: #2f62b3;
  --s8: #6b6b6b;
  --serif: Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, "DejaVu Serif", serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14181b; --ink: #e4e8ea; --soft: #98a3ab; --rule: #2c3338; --wash: #1c2226; --accent: #5fc2cd;
    --s1: #5fc2cd; --s2: #f09361; --s3: #a99ff0; --s4: #d9b84a; --s5: #ec85b6; --s6: #83c77b; --s7: #84aff0;
    --s8: #a8a8a8;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.6 var(--sans); }
main { max-width: 66rem; margin: 0 auto; padding: 4rem 1.5rem 6rem; }
h1, h2, h3 { font-family: var(--serif); font-weight: 600; line-height: 1.2; text-wrap: balance; }
h1 { font-size: clamp(2.1rem, 5vw, 3.1rem); letter-spacing: -0.015em; margin: 0 0 1.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.65rem; letter-spacing: -0.01em; margin: 0 0 .6rem; scroll-margin-top: 1rem; }
h3 { font-size: 1.12rem; margin: 2.5rem 0 .4rem; }
p { margin: 0 0 1rem; max-width: 42rem; }
section > p { color: var(--soft); }
section { margin-top: 4.5rem; }
b { font-weight: 600; }
a { color: var(--accent); }
figure { margin: 0; }
.eyebrow { margin: 0 0 .6rem; font-size: .8rem; letter-spacing: .09em; text-transform: uppercase;
  color: var(--accent); }
.summary { font: 1.14rem/1.62 var(--serif); max-width: 46rem; }
.origin { font-size: .84rem; color: var(--soft); max-width: none; overflow-wrap: anywhere; }
.origin span:not(:last-child)::after { content: "\00a0\00b7\00a0"; }
.notice { border-left: 3px solid var(--s2); padding-left: .8rem; }
section > p.notice { color: var(--ink); }
dl.key { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 0 2rem;
  margin: 2.2rem 0 1.6rem;
  border-top: 1px solid var(--rule); border-bottom: 1px solid var(--rule); }
dl.key > div { padding: 1.1rem 0 1.2rem; }
dl.key dt { font-size: .84rem; color: var(--soft); }
dl.key dt::first-letter, .measurements tbody th::first-letter, .stages tbody th::first-letter,
.prompts tbody th::first-letter,
.facts th::first-letter { text-transform: uppercase; }
dl.key dd { margin: 0; }
dl.key strong { display: block; font: 600 2rem/1.25 var(--serif); font-variant-numeric: lining-nums tabular-nums; }
dl.key small { display: block; font-size: .8rem; line-height: 1.45; color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; font-size: .9rem; margin-top: 1.5rem; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; text-underline-offset: .2em; }
img, video { max-width: 100%; height: auto; display: block; border-radius: 2px; background: var(--wash); }
canvas.cloud { display: block; width: 100%; border-radius: 2px; background: var(--wash); cursor: grab; touch-action: none; }
.cloud-controls { font-size: .84rem; color: var(--soft); display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; max-width: none; }
.tiny { image-rendering: pixelated; }
audio { width: 100%; min-width: 12rem; }
[data-zoom] { cursor: zoom-in; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
figcaption { font-size: .82rem; line-height: 1.4; color: var(--soft); margin-top: .4rem; }
.obeyed, .missed { display: block; font-weight: 600; }
.obeyed { color: var(--s6); }
.obeyed::before { content: "\2713\00a0"; }
.missed { color: var(--s2); }
.missed::before { content: "\2717\00a0"; }

.plot { margin: 1rem 0 0; }
.canvas { position: relative; overflow-x: auto; }
.canvas svg { display: block; width: 100%; height: auto; min-width: 34rem; overflow: visible; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem 2.5rem;
  margin-top: 1.8rem; }
.pair .canvas svg { min-width: 20rem; }
svg text { font: 11.5px var(--sans); fill: var(--soft); font-variant-numeric: tabular-nums; }
.full svg text { font-size: 10.5px; }
svg .rule { stroke: var(--rule); }
svg .tick, svg .base { stroke: var(--soft); stroke-opacity: .7; }
.series { color: var(--s1); }
.s2 { color: var(--s2); } .s3 { color: var(--s3); } .s4 { color: var(--s4); } .s5 { color: var(--s5); }
.s6 { color: var(--s6); } .s7 { color: var(--s7); } .s8 { color: var(--s8); }
.series .line { fill: none; stroke: currentColor; stroke-width: 1.9; stroke-linejoin: round; stroke-linecap: round; }
.faint .line { stroke-width: 1; stroke-opacity: .38; }
.age1 { opacity: .62; } .age2 { opacity: .42; } .age3 { opacity: .26; }
.marks > * { fill: currentColor; stroke: var(--paper); stroke-width: 1; }
.marks > .interval { stroke: currentColor; stroke-width: 1.4; stroke-opacity: .6; }
.cursor line { stroke: var(--soft); stroke-dasharray: 2 3; }
.cursor circle { fill: none; stroke: var(--ink); stroke-width: 1.6; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: 0 0 .5rem; padding: 0; list-style: none;
  font-size: .84rem; color: var(--soft); }
.key svg, svg.key { vertical-align: -1px; margin-right: .4rem; }
.readout { position: absolute; top: 1.5rem; left: 0; margin: 0; padding: .4rem .65rem; white-space: pre;
  pointer-events: none;
  font-size: .8rem; line-height: 1.45; font-variant-numeric: tabular-nums; background: var(--paper);
  border: 1px solid var(--rule);
  border-radius: 4px; box-shadow: 0 2px 10px rgb(0 0 0 / .12); }

.viewer { display: grid; gap: .9rem; justify-items: start; margin-bottom: 1.2rem; }
.viewer[hidden], [hidden] { display: none; }
.stage { width: 100%; }
.stage audio { max-width: 42rem; }
.stage img, .stage video { display: block; max-height: 32rem; width: auto; min-width: min(20rem, 100%);
  object-fit: contain; }
.stage img.tiny { width: min(100%, 24rem); }
.stage img.strip { width: 100%; }
.control { display: flex; align-items: center; gap: .9rem; width: min(100%, 42rem); font-size: .9rem; }
.control input { flex: 1; min-width: 5rem; accent-color: var(--accent); }
.control output { flex: 0 1 16rem; color: var(--soft); font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
button { font: inherit; min-width: 4.2rem; padding: .15rem .8rem; color: var(--ink); background: none;
  border: 1px solid var(--rule); border-radius: 4px; cursor: pointer; }
button:hover { border-color: var(--soft); }
.media { list-style: none; margin: 1.2rem 0 0; padding: 0; display: grid; gap: 1.1rem .9rem; }
.media.tiles { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
.media.tiles.prompted { grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); }
.media.clouds { grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.media.sounds { grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.media.wide-ones { gap: .3rem; }
.media img, .media video { width: 100%; }
.group { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr)); gap: .5rem; }
.sounding audio { display: block; min-width: 0; height: 1.9rem; margin-top: .15rem; }
.sounding img { width: 100%; cursor: pointer; }
.media.couples li { display: grid; grid-template-columns: 1fr 1fr; gap: .9rem; }
.wide-ones:not(.frames) figure { display: grid; grid-template-columns: 8rem 1fr; align-items: center; }
.wide-ones.short:not(.frames) figure { grid-template-columns: 2.6rem 1fr; }
.wide-ones:not(.frames) figcaption { order: -1; margin: 0; padding-right: .8rem; overflow-wrap: anywhere; }
.frames.tiles { grid-template-columns: repeat(auto-fill, minmax(5.2rem, 1fr)); }
.frames.wide-ones { grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: .8rem .9rem; }
.frames img { cursor: pointer; }
.frames figcaption { font-size: .75rem; line-height: 1.3; overflow-wrap: anywhere; }
.frames [aria-current] img { outline: 2px solid var(--accent); outline-offset: 2px; }

.wide { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.45; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .45rem 1.4rem .45rem 0; }
thead th { font-weight: 400; font-size: .82rem; color: var(--soft); border-bottom: 1px solid var(--soft);
  white-space: nowrap; }
tbody th { font-weight: 500; }
tbody tr + tr > * { border-top: 1px solid var(--rule); }
.measurements, .stages, .prompts { min-width: 100%; }
.beside th { font-weight: 400; color: var(--soft); padding-left: 1.2rem; }
tbody tr.beside > * { border-top: 0; padding-top: 0; }
td.value, .measurements td:nth-child(3) { white-space: nowrap; }
.protocol { color: var(--soft); max-width: 24rem; min-width: 12rem; }
.facts th { white-space: nowrap; font-weight: 400; color: var(--soft); }
.facts td { overflow-wrap: anywhere; }
.share { width: 50%; vertical-align: middle; }
.share span { display: block; min-width: 2px; height: .5rem; background: var(--accent); opacity: .75;
  border-radius: 1px; }
.compare th[scope=row] { position: sticky; left: 0; background: var(--paper); padding-right: 1.2rem;
  padding-top: 1rem; }
.compare { table-layout: fixed; width: 100%; }
.compare thead th:first-child { width: 7.5rem; }
.compare th[scope=row] { overflow-wrap: anywhere; }
.compare td { padding: 1rem 1.2rem 1rem 0; }
.compare td img, .compare td video { width: 100%; max-width: 15rem; }
.compare dl { margin: .55rem 0 0; font-size: .8rem; }
.compare dl div { display: flex; flex-wrap: wrap; gap: 0 .5rem; justify-content: space-between; max-width: 15rem; }
.compare dt { color: var(--soft); }
.compare dd { margin: 0; text-align: right; }
.compare .lead { display: block; margin-bottom: .25rem; }
.compare .lead dd { text-align: left; }
.compare .lead dd > data { font: 600 1.2rem/1.3 var(--serif); margin-right: .3rem; }
.compare small { font-size: .74rem; color: var(--soft); white-space: nowrap; }
.compare .refused, .compare .none { font-size: .82rem; color: var(--soft); font-style: italic; }
pre { overflow-x: auto; margin: .6rem 0; padding: .9rem 1.1rem; background: var(--wash); border-radius: 4px;
  font: .84rem/1.55 var(--mono); }
pre.command { user-select: all; white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin-top: 1.8rem; }
summary { cursor: pointer; color: var(--accent); }
.left-out { border-top: 1px solid var(--rule); padding-top: 1.5rem; font-size: .9rem; color: var(--soft); }
.left-out h2 { font-size: 1.12rem; color: var(--ink); }
.left-out ul { margin: 0; padding-left: 1.1rem; }
dialog.zoom { border: 0; padding: 0; background: none; max-width: 96vw; max-height: 96vh; cursor: zoom-out; }
dialog.zoom::backdrop { background: rgb(0 0 0 / .8); }
dialog.zoom img { display: block; width: min(92vw, 92vh); max-height: 94vh; object-fit: contain; }

@media (max-width: 40rem) {
  main { padding: 2.2rem 1.1rem 4rem; }
  section { margin-top: 3.2rem; }
  .control { flex-wrap: wrap; }
  .control output { flex-basis: 100%; order: -1; }
  .wide-ones:not(.frames, .short) figure { grid-template-columns: 5.4rem 1fr; }
  .full svg text { font-size: 14.5px; }
  .compare th[scope=row] { position: static; }
}
@media print {
  :root { --paper: #fff; --ink: #000; --soft: #444; --rule: #ccc; --wash: #f4f4f4; }
  body { font-size: 10.5pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  section { margin-top: 2.2rem; }
  nav, .viewer, .readout, .cursor { display: none; }
  figure, tr, .plot, dl.key { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .wide, .canvas { overflow: visible; }
  .pair { grid-template-columns: 1fr 1fr; }
  .canvas svg, .pair .canvas svg { min-width: 0; }
  .frames [aria-current] img { outline: 0; }
  dl.key strong { font-size: 1.5rem; }
  .compare { min-width: 0 !important; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
}
)css";

/// Runs before anything else on the page, so that no error is missed.
inline constexpr std::string_view kReportErrorCounter = R"js(
window.thawErrors = [];
window.addEventListener('error', event => window.thawErrors.push(event.message || 'a resource failed'), true);
window.addEventListener('unhandledrejection', event => window.thawErrors.push(String(event.reason)));
document.addEventListener('securitypolicyviolation', event => window.thawErrors.push(event.violatedDirective));
)js";

inline constexpr std::string_view kReportScript = R"js(
(() => {
'use strict';
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

for (const stepper of all('[data-stepper]')) {
  const viewer = stepper.querySelector('.viewer'), stage = stepper.querySelector('.stage');
  const slider = stepper.querySelector('input'), caption = stepper.querySelector('output');
  const button = stepper.querySelector('button'), frames = all('.frames > li', stepper);
  const medium = frame => frame.querySelector('img, audio, video, canvas');
  let timer = 0;
  const show = index => {
    const shown = medium(frames[index]).cloneNode(true);
    if (frames[index].parentNode.classList.contains('wide-ones')) shown.classList.add('strip');
    stage.replaceChildren(shown);
    if (shown.tagName === 'CANVAS') window.thawClouds.show(shown, medium(frames[index]));
    caption.textContent = frames[index].querySelector('figcaption').textContent;
    for (const frame of frames) frame.removeAttribute('aria-current');
    frames[index].setAttribute('aria-current', 'true');
  };
  const stop = () => { clearInterval(timer); timer = 0; button.textContent = 'Play'; };
  slider.addEventListener('input', () => { stop(); show(+slider.value); });
  frames.forEach((frame, i) => {
    if (medium(frame).tagName === 'IMG')
      medium(frame).addEventListener('click', () => { stop(); slider.value = i; show(i); });
  });
  button.addEventListener('click', () => {
    if (timer) return stop();
    if (+slider.value === frames.length - 1) { slider.value = 0; show(0); }
    button.textContent = 'Pause';
    timer = setInterval(() => {
      slider.value = +slider.value + 1;
      show(+slider.value);
      if (+slider.value === frames.length - 1) stop();
    }, Math.max(120, Math.min(600, 4000 / frames.length)));
  });
  viewer.hidden = false;
  show(+slider.value);
}

for (const svg of all('[data-plot]')) {
  const points = all('[data-points]', svg).flatMap(series => {
    const color = getComputedStyle(series).color;
    return JSON.parse(series.dataset.points).map(([x, y, label]) => ({x, y, label, color}));
  }).sort((a, b) => a.x - b.x);
  if (!points.length) continue;
  const byX = svg.dataset.plot === 'x', cursor = svg.querySelector('.cursor');
  const line = cursor.querySelector('line'), dot = cursor.querySelector('circle');
  const readout = svg.parentNode.querySelector('.readout');
  let current = -1;
  const hide = () => { cursor.setAttribute('visibility', 'hidden'); readout.hidden = true; };
  const show = index => {
    const point = points[current = index], scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const same = byX ? points.filter(other => Math.abs(other.x - point.x) < .5) : [point];
    line.setAttribute('x1', point.x); line.setAttribute('x2', point.x);
    dot.setAttribute('cx', point.x); dot.setAttribute('cy', point.y);
    cursor.setAttribute('visibility', 'visible');
    readout.textContent = same.map(other => other.label).join('\n');
    readout.hidden = false;
    const at = point.x * scale, width = readout.offsetWidth;
    const isRoom = at + 14 + width <= svg.getBoundingClientRect().width;
    readout.style.left = Math.max(0, isRoom ? at + 14 : at - 14 - width) + 'px';
  };
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    const away = point => byX ? Math.abs(point.x - x) : Math.hypot(point.x - x, point.y - y);
    show(points.reduce((best, point, i) => away(point) < away(points[best]) ? i : best, 0));
  });
  svg.addEventListener('pointerleave', hide);
  svg.addEventListener('blur', hide);
  svg.addEventListener('keydown', event => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    event.preventDefault();
    show(Math.max(0, Math.min(points.length - 1, current + (event.key === 'ArrowRight' ? 1 : -1))));
  });
}

for (const sounding of all('.sounding')) {
  const sound = sounding.querySelector('audio');
  sounding.querySelector('img').addEventListener('click', () => { sound.currentTime = 0; sound.play(); });
}

const zoom = document.querySelector('dialog.zoom');
zoom.addEventListener('click', () => zoom.close());
for (const image of all('.tiles:not(.frames) figure > img, .compare img')) {
  const open = () => { zoom.replaceChildren(image.cloneNode(true)); zoom.showModal(); };
  image.dataset.zoom = ''; image.tabIndex = 0; image.setAttribute('role', 'button');
  image.addEventListener('click', open);
  image.addEventListener('keydown', event => { if (event.key === 'Enter') open(); });
}
addEventListener('beforeprint', () => all('details').forEach(details => details.open = true));

// The page checks itself where its address ends in #selftest; body then carries the counts.
async function selftest() {
  const result = document.body.dataset;
  const played = await Promise.all(all('audio, video').map(medium => new Promise(done => {
    medium.muted = true;
    medium.addEventListener('timeupdate', () => { if (medium.currentTime > 0) done(true); });
    medium.play().catch(() => done(false));
    setTimeout(() => done(medium.currentTime > 0), 5000);
  })));
  const steppers = all('[data-stepper]');
  const moved = steppers.filter(stepper => {
    const slider = stepper.querySelector('input'), seen = new Set();
    for (const value of [slider.min, slider.max]) {
      slider.value = value;
      slider.dispatchEvent(new Event('input'));
      seen.add((stepper.querySelector('.stage').firstElementChild.src || '') + stepper.querySelector('output').textContent);
    }
    return seen.size === 2;
  });
  const plots = all('[data-plot]'), read = plots.filter(svg => {
    const box = svg.getBoundingClientRect();
    const middle = {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2};
    svg.dispatchEvent(new PointerEvent('pointermove', middle));
    const readout = svg.parentNode.querySelector('.readout'), isShown = !readout.hidden && readout.textContent !== '';
    svg.dispatchEvent(new PointerEvent('pointerleave'));
    return isShown;
  });
  await Promise.allSettled([...document.images].map(image => image.decode()));
  const images = [...document.images];
  const clouds = window.thawClouds;
  result.clouds = clouds ? clouds.count : 0; result.cloudsTurned = clouds ? clouds.selftest() : 0;
  result.images = images.length;
  result.imagesDecoded = images.filter(image => image.complete && image.naturalWidth > 0).length;
  result.media = played.length; result.mediaPlayed = played.filter(Boolean).length;
  result.sliders = steppers.length; result.slidersMoved = moved.length;
  result.plots = plots.length; result.plotsRead = read.length;
  result.errors = window.thawErrors.length; result.errorText = window.thawErrors.join('; ');
  result.selftest = 'done';
}
if (location.hash === '#selftest') addEventListener('load', selftest);
})();
)js";

}  // namespace thaw::report
