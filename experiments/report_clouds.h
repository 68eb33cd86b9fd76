#pragma once
// Script of the report page that shows point clouds: canvas.cloud with a PLY file in data-ply, which turn under the
// mouse. One WebGL context draws all of them, since browsers give a page few; each result is copied onto its canvas.

#include <string_view>

namespace thaw::report {

/// Defines window.thawClouds; runs before kReportScript. A PLY has vertices of little-endian floats and bytes, among
/// them x, y, z (y is up), and may have nx, ny, nz, red, green, blue and "object", which tells clouds of one file apart
/// that are shown side by side. All clouds of a page turn alike, so that they can be compared.
inline constexpr std::string_view kReportClouds = R"js(
window.thawClouds = (() => {
'use strict';
const view = {yaw: .6, pitch: .35, zoom: 1, size: 1, colour: 'height', turns: !matchMedia('(prefers-reduced-motion)').matches};
const bytes = {char: 1, uchar: 1, int8: 1, uint8: 1, short: 2, ushort: 2, int16: 2, uint16: 2, int: 4, uint: 4, int32: 4,
  uint32: 4, float: 4, float32: 4, double: 8, float64: 8};
let gl = null, surface = null, place = {};
const shown = new Map();  // canvas -> cloud

const vertexShader = `
attribute vec3 position, normal, given;
uniform mat3 turn; uniform vec3 middle, span; uniform float scale, size, mode;
varying vec3 tint;
void main() {
  vec3 p = turn * (position - middle) * scale;
  float height = clamp((position.y - middle.y) / max(span.y, 1e-6) + .5, 0., 1.);
  vec3 low = vec3(.10, .30, .60), half_way = vec3(.12, .62, .55), high = vec3(.95, .72, .25);
  vec3 by_height = height < .5 ? mix(low, half_way, 2. * height) : mix(half_way, high, 2. * height - 1.);
  vec3 base = mode < .5 ? by_height : mode < 1.5 ? normal * .5 + .5 : given;
  tint = base * clamp(.78 + .45 * p.z, .35, 1.1);
  gl_Position = vec4(p.xy, -.4 * p.z, 1. - .25 * p.z);
  gl_PointSize = size * (1. + .4 * p.z);
}`;
const fragmentShader = `
precision mediump float;
varying vec3 tint;
void main() {
  if (length(gl_PointCoord - .5) > .5) discard;
  gl_FragColor = vec4(tint, 1.);
}`;

const start = () => {
  surface = document.createElement('canvas');
  gl = surface.getContext('webgl', {antialias: true, alpha: true});
  if (!gl) throw new Error('this browser has no WebGL');
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertexShader], [gl.FRAGMENT_SHADER, fragmentShader]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  ['position', 'normal', 'given'].forEach((name, i) => gl.bindAttribLocation(program, i, name));
  gl.linkProgram(program);
  gl.useProgram(program);
  for (const name of ['turn', 'middle', 'span', 'scale', 'size', 'mode']) place[name] = gl.getUniformLocation(program, name);
  gl.enable(gl.DEPTH_TEST);
  gl.enable(gl.SCISSOR_TEST);
};

// Nine numbers a point (place, normal, colour), and the parts that are clouds of their own.
const parse = base64 => {
  const text = atob(base64), end = text.indexOf('end_header\n') + 11;
  const lines = text.slice(0, end).split('\n'), at = {};
  let stride = 0, count = 0;
  for (const line of lines) {
    const word = line.trim().split(/\s+/);
    if (word[0] === 'element' && word[1] === 'vertex') count = +word[2];
    if (word[0] === 'property') { at[word[2]] = [stride, word[1]]; stride += bytes[word[1]]; }
  }
  const data = new DataView(Uint8Array.from(text.slice(end), c => c.charCodeAt(0)).buffer);
  const value = (i, name) => {
    const [offset, type] = at[name], place = i * stride + offset;
    return bytes[type] === 1 ? data.getUint8(place) : bytes[type] === 8 ? data.getFloat64(place, true)
      : type.startsWith('f') ? data.getFloat32(place, true) : data.getInt32(place, true);
  };
  const points = new Float32Array(9 * count), objects = [];
  for (let i = 0; i < count; ++i) {
    ['x', 'y', 'z', 'nx', 'ny', 'nz'].forEach((name, k) => points[9 * i + k] = at[name] ? value(i, name) : 0);
    ['red', 'green', 'blue'].forEach((name, k) => points[9 * i + 6 + k] = at[name] ? value(i, name) / 255 : .5);
    const object = at.object ? value(i, 'object') : 0;
    if (!objects.length || objects.at(-1).name !== object) objects.push({name: object, first: i, count: 0});
    ++objects.at(-1).count;
  }
  for (const object of objects) {
    const low = [1e30, 1e30, 1e30], high = [-1e30, -1e30, -1e30];
    for (let i = object.first; i < object.first + object.count; ++i)
      for (let k = 0; k < 3; ++k) {
        low[k] = Math.min(low[k], points[9 * i + k]);
        high[k] = Math.max(high[k], points[9 * i + k]);
      }
    object.middle = low.map((value, k) => (value + high[k]) / 2);
    object.span = low.map((value, k) => high[k] - value);
    object.radius = Math.hypot(...object.span) / 2 || 1;
  }
  const buffer = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, points, gl.STATIC_DRAW);
  return {buffer, objects, hasNormals: !!at.nx, hasColours: !!at.red};
};

const draw = canvas => {
  const cloud = shown.get(canvas), n = cloud.objects.length;
  const across = Math.min(n, +canvas.dataset.columns || 4), down = Math.ceil(n / across);
  const width = Math.max(1, Math.round(canvas.clientWidth * Math.min(2, devicePixelRatio || 1)));
  const cell = Math.floor(width / across), height = cell * down;
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  if (surface.width !== width || surface.height !== height) { surface.width = width; surface.height = height; }
  gl.bindBuffer(gl.ARRAY_BUFFER, cloud.buffer);
  for (let i = 0; i < 3; ++i) {
    gl.enableVertexAttribArray(i);
    gl.vertexAttribPointer(i, 3, gl.FLOAT, false, 36, 12 * i);
  }
  gl.clearColor(0, 0, 0, 0);
  gl.scissor(0, 0, width, height);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  const [cy, sy, cp, sp] = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
  // By columns: first about the vertical axis, then towards the eye.
  gl.uniformMatrix3fv(place.turn, false, [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy]);
  gl.uniform1f(place.mode, view.colour === 'normal' && cloud.hasNormals ? 1 : view.colour === 'colour' && cloud.hasColours ? 2 : 0);
  cloud.objects.forEach((object, i) => {
    const x = (i % across) * cell, y = height - (Math.floor(i / across) + 1) * cell;
    gl.viewport(x, y, cell, cell);
    gl.scissor(x, y, cell, cell);
    gl.uniform3fv(place.middle, object.middle);
    gl.uniform3fv(place.span, object.span);
    gl.uniform1f(place.scale, .95 * view.zoom / object.radius);
    gl.uniform1f(place.size, Math.max(1.5, view.size * cell * .9 / Math.sqrt(object.count)));
    gl.drawArrays(gl.POINTS, object.first, object.count);
  });
  const target = canvas.getContext('2d');
  target.clearRect(0, 0, width, height);
  target.drawImage(surface, 0, 0);
};

const isSeen = canvas => {
  const box = canvas.getBoundingClientRect();
  return canvas.isConnected && box.bottom > 0 && box.top < innerHeight && box.width > 0;
};
let isStale = true, last = 0;
const redraw = () => { isStale = true; };
const drawAll = () => { for (const canvas of shown.keys()) if (canvas.isConnected) draw(canvas); };
const tick = now => {
  if (view.turns && now - last < 200) { view.yaw += (now - last) * 5e-4; isStale = true; }
  last = now;
  if (isStale) for (const canvas of shown.keys()) if (isSeen(canvas)) draw(canvas);
  isStale = false;
  requestAnimationFrame(tick);
};

const setTurning = turns => {
  view.turns = turns;
  for (const box of document.querySelectorAll('.cloud-controls input[type=checkbox]')) box.checked = turns;
};

const listen = canvas => {
  let from = null;
  canvas.addEventListener('pointerdown', event => {
    from = [event.clientX, event.clientY];
    setTurning(false);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener('pointermove', event => {
    if (!from) return;
    view.yaw += (event.clientX - from[0]) * .01;
    view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + (event.clientY - from[1]) * .01));
    from = [event.clientX, event.clientY];
    redraw();
  });
  for (const name of ['pointerup', 'pointercancel']) canvas.addEventListener(name, () => { from = null; });
  canvas.addEventListener('wheel', event => {
    event.preventDefault();
    view.zoom = Math.max(.3, Math.min(8, view.zoom * Math.exp(-event.deltaY * .001)));
    redraw();
  }, {passive: false});
  canvas.addEventListener('keydown', event => {
    const step = {ArrowLeft: [-.1, 0], ArrowRight: [.1, 0], ArrowUp: [0, -.1], ArrowDown: [0, .1]}[event.key];
    if (!step) return;
    event.preventDefault();
    setTurning(false);
    view.yaw += step[0]; view.pitch += step[1];
    redraw();
  });
};

// `like`: a canvas shown before whose points this one shares (of a copied element).
const show = (canvas, like) => {
  shown.set(canvas, like && shown.get(like) || parse(canvas.dataset.ply));
  for (const other of shown.keys()) if (!other.isConnected && other !== canvas && !other.closest('li')) shown.delete(other);
  canvas.tabIndex = 0;
  listen(canvas);
  redraw();
};

const controls = () => {
  const bar = document.createElement('p');
  bar.className = 'cloud-controls';
  bar.innerHTML = '<label>Points <input type="range" min=".3" max="3" step=".1" value="1"></label> ' +
    '<label>Colour <select><option value="height">height</option><option value="normal">normal</option>' +
    '<option value="colour">own</option></select></label> <label><input type="checkbox"> Turn</label> ' +
    '<span>Drag to turn, wheel to zoom.</span>';
  const [size, turns] = bar.querySelectorAll('input');
  turns.checked = view.turns;
  size.addEventListener('input', () => { view.size = +size.value; redraw(); });
  turns.addEventListener('change', () => setTurning(turns.checked));
  bar.querySelector('select').addEventListener('change', event => { view.colour = event.target.value; redraw(); });
  return bar;
};

const canvases = [...document.querySelectorAll('canvas.cloud')];
if (canvases.length) {
  start();
  canvases.forEach(canvas => show(canvas));
  const sections = new Set(canvases.map(canvas => canvas.closest('section')).filter(Boolean));
  for (const section of sections) {
    const first = section.querySelector('canvas.cloud');
    (first.closest('.stepper') || first.closest('ol') || first).before(controls());
  }
  requestAnimationFrame(tick);
}

// How many clouds on the page look different from two sides.
const selftest = () => canvases.filter(canvas => {
  const look = yaw => { view.yaw = yaw; draw(canvas); return canvas.toDataURL(); };
  view.turns = false;
  const before = look(.3), after = look(1.5);
  return before !== after;
}).length;
return {show, selftest, draw: drawAll, count: canvases.length};
})();
)js";

}  // namespace thaw::report
