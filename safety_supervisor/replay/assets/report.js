"use strict";
// Everything shown comes from the JSON below as text nodes and numbers; nothing of it is ever parsed as markup.
const D = JSON.parse(document.getElementById("data").textContent);
const S = D.summary;
let T = [], F = []; // times and pictures, once they are unpacked
const COLORS = {
  INIT: "#8b95a5", NOMINAL: "#1f9d63", SPEED_CAP: "#c79a0a", COMFORT_STOP: "#e07b16", FIRM_STOP: "#d9531e",
  EMERGENCY_STOP: "#d12b2b", UNABLE: "#8e2bb8", STANDSTILL: "#3b6fc9",
};
const byId = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const nice = (text) => text.replaceAll("m/s^2", "m/s²");
const fixed = (v, digits, unit) => (v === null || v === undefined ? "–" : v.toFixed(digits) + (unit ? " " + unit : ""));

function element(tag, text, attributes) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  return made;
}

function pill(mode) {
  const made = element("span", mode.replaceAll("_", " "), { class: "pill" });
  made.style.background = COLORS[mode];
  return made;
}

function dot(mode) {
  const made = element("span", null, { class: "dot" }), mark = element("i");
  mark.style.background = COLORS[mode];
  made.append(mark, document.createTextNode(mode.replaceAll("_", " ")));
  return made;
}

function table(id, head, rows, empty) {
  const made = byId(id);
  if (!rows.length) {
    made.append(element("caption", empty, { class: "none", style: "text-align:left" }));
    return;
  }
  const top = made.createTHead().insertRow();
  for (const [name, kind] of head) top.append(element("th", name, { class: kind || "" }));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.cells.forEach((cell, i) => {
      const td = element("td", cell instanceof Node ? null : cell, { class: head[i][1] || "" });
      if (cell instanceof Node) td.append(cell);
      line.append(td);
    });
    if (row.at !== undefined) {
      line.className = row.phase ? "link phase" : "link";
      line.tabIndex = 0;
      line.dataset.at = row.at;
      line.dataset.end = row.end === undefined ? row.at : row.end;
      line.addEventListener("click", () => { seek(row.at); byId("view").scrollIntoView({ behavior: "smooth", block: "start" }); });
      line.addEventListener("keydown", (e) => { if (e.key === "Enter") { e.preventDefault(); seek(row.at); } });
    }
  }
}

// --- head and tables ------------------------------------------------------------------------------------------

function tile(value, label) {
  const made = element("div", null, { class: "tile" });
  made.append(element("b", value), element("span", label));
  byId("tiles").append(made);
}

const plainMode = (mode) => mode.replaceAll("_", " ").toLowerCase();

function story() {
  // What happened, in a sentence or two.
  const all = S.interventions, total = all.length + D.left_out.interventions;
  if (!S.ticks) return "There is no tick in it.";
  if (!total && !S.modes.NOMINAL) {
    const waiting = D.lanes.filter((lane) => lane.runs.some((r) => r[1] >= S.duration_s)).map((lane) => lane.name);
    return `It never began to supervise: no plan was passed, and nothing was braked.${waiting.length ? ` Wanting until the end: ${waiting.join(", ")}.` : ""}`;
  }
  if (!total) return "The policy's plan was passed in every tick after start-up.";
  const order = ["SPEED_CAP", "STANDSTILL", "COMFORT_STOP", "FIRM_STOP", "UNABLE", "EMERGENCY_STOP"];
  const worst = all.reduce((a, b) => (order.indexOf(b.mode) > order.indexOf(a.mode) ? b : a));
  const which = total === 1 ? "One intervention" : `${total} interventions, the strongest`;
  return `${which}: ${plainMode(worst.mode)} from ${fixed(worst.decided_s ?? worst.start_s, 2, "s")} on${worst.reason ? `: ${nice(worst.reason)}.` : "."}`;
}

function head() {
  byId("title").textContent = S.bag;
  byId("lead-line").textContent =
    `Replay of ${fixed(S.duration_s, 1)} s in ${S.ticks} ticks, ${S.grouping}. Plan judged: ${S.plan_source || "none"}.`;
  for (const [key, who] of [["unsupervised", "Without the supervisor"], ["supervised", "With it"]]) {
    const run = S.scenario && S.scenario[key];
    if (!run || typeof run.collision !== "boolean") continue;
    const hit = `collision after ${fixed(run.collision_time, 1, "s")} at ${fixed(run.impact_speed, 1, "m/s")}`;
    const miss = `no collision, ${fixed(run.final_distance, 1, "m")} left at the end`;
    byId("scenario-line").append(element("span", `${who}: ${run.collision ? hit : miss}. `, { class: run.collision ? "hit" : "miss" }));
  }
  byId("story").textContent = story();
  const quiet = (S.modes.NOMINAL || 0) / Math.max(1, S.ticks), total = S.interventions.length + D.left_out.interventions;
  tile((100 * quiet).toFixed(1) + " %", "of ticks NOMINAL");
  tile(total, total === 1 ? "intervention" : "interventions");
  const order = ["INIT", "NOMINAL", "SPEED_CAP", "STANDSTILL", "COMFORT_STOP", "FIRM_STOP", "UNABLE", "EMERGENCY_STOP"];
  const strongest = order.filter((m) => S.modes[m]).pop();
  if (strongest) tile(plainMode(strongest), "strongest mode");
  if (S.lead_confirmed_share !== null) tile((100 * S.lead_confirmed_share).toFixed(1) + " %", "of ticks with a lead");
  if (S.margin_min_m !== null) tile(fixed(S.margin_min_m, 2, "m"), "smallest margin");
  if (S.agreement) tile((100 * S.agreement.same_mode_share).toFixed(1) + " %", "as the vehicle decided");
  if (S.processing.tick_ms) tile(fixed(S.processing.tick_ms.p99, 1, "ms"), "per tick, 99 %");
  const notices = S.notes.slice();
  if (S.recovered) notices.unshift("The recording is damaged or has no index; what could be read was replayed.");
  if (S.plan_source === "extrapolation") notices.unshift("No usable plan: the physical extrapolation of the present motion was judged.");
  if (!S.certificate) notices.push("No certificate matches this parameter set: a vehicle with it would run in shadow mode.");
  if (!notices.length) return;
  const list = element("ul", null, { class: "notice" });
  for (const text of new Set(notices)) list.append(element("li", text));
  byId("notices").append(list);
}

function findings() {
  // What had not arrived yet when the recording began is one line.
  const early = S.findings.filter((f) => f.code.endsWith("_MISSING") && f.start_s < 0.01 && f.end_s < 1);
  const rest = early.length > 2 ? S.findings.filter((f) => !early.includes(f)) : S.findings;
  const rows = rest.map((f) => ({ at: f.start_s, end: f.end_s, cells: [fixed(f.start_s, 2, "s"), fixed(f.end_s, 2, "s"), f.code, f.source, f.text] }));
  if (early.length > 2) {
    const last = Math.max(...early.map((f) => f.end_s));
    rows.unshift({ at: 0, end: last, cells: [fixed(0, 2, "s"), fixed(last, 2, "s"), "start-up", `${early.length} inputs`,
      `not received yet: ${early.map((f) => f.source).join(", ")}`] });
  }
  return rows;
}

function tables() {
  table("interventions",
    [["from", "number"], ["to", "number"], ["mode"], ["reason", "wide"], ["code"], ["track", "number"], ["ego", "number"], ["margin", "number"]],
    S.interventions.flatMap((i) => {
      const whole = {
        at: i.start_s, end: i.end_s,
        cells: [fixed(i.start_s, 2, "s"), fixed(i.end_s, 2, "s"), pill(i.mode), nice(i.reason || "–"), i.codes.join(", "),
          i.track === null ? "–" : i.track, fixed(i.speed, 1, "m/s"), fixed(i.margin_min_m, 2, "m")],
      };
      if (!i.phases || i.phases.length < 2) return [whole];
      return [whole, ...i.phases.map((p) => ({
        at: p.start_s, phase: true, cells: [fixed(p.start_s, 2, "s"), "", dot(p.mode), nice(p.reason), p.code, "", "", ""],
      }))];
    }), "None: the plan was passed in every tick.");
  table("findings", [["from", "number"], ["to", "number"], ["finding"], ["input", "name"], ["what", "wide"]], findings(),
    "None: every expected input was there, fresh and sound.");
  for (const [name, left] of Object.entries(D.left_out)) if (left) byId(`more-${name}`).textContent = `... and ${left} more in summary.json`;
  const inputs = S.inputs.found.map((f) => ({ cells: [f.topic, f.used_as, f.type, f.count] }));
  inputs.push(...S.inputs.missing.map((m) => ({ cells: [m.topic, `${m.input}: missing`, m.why, 0] })));
  inputs.push(...S.inputs.ignored.map((f) => ({ cells: [f.topic, `ignored: ${f.why}`, f.type, f.count] })));
  table("inputs", [["topic", "name"], ["used as", "name"], ["type", "name"], ["messages", "number"]], inputs, "None.");
  table("margins", [["rule"], ["margin", "number"], ["at", "number"]],
    Object.entries(S.margins_min).map(([rule, m]) => ({ at: m.at_s, cells: [rule, fixed(m.margin_m, 2, "m"), fixed(m.at_s, 2, "s")] })),
    "No rule had anything in the way.");
  if (S.agreement) agreement(S.agreement);
  if (S.scenario) {
    byId("scenario").append(element("h2", "Scenario"), element("pre", JSON.stringify(S.scenario, null, 2)));
  }
  const facts = {
    source: D.config.source, digest: D.config.digest, certificate: S.certificate || "none",
    versions: Object.entries(S.versions).map(([k, v]) => `${k} ${v}`).join(", "),
  };
  for (const [name, value] of Object.entries(facts)) byId("identity").append(element("dt", name), element("dd", value));
  const flat = (values, prefix) => Object.entries(values).flatMap(([k, v]) =>
    (v !== null && typeof v === "object" ? flat(v, `${prefix}${k}.`) : [{ cells: [prefix + k, String(v)] }]));
  table("parameters", [["parameter", "name"], ["value"]], flat(D.config.values, ""), "None.");
}

function agreement(a) {
  const list = element("dl", null, { id: "identity-agreement" });
  const facts = [
    ["ticks", a.ticks], ["the same mode", a.same_mode], ["the same margin", a.same_margin], ["identical to the letter", a.identical],
    ["parameter set", a.same_config ? "the same" : "another"],
  ];
  if (a.first_difference) {
    const d = a.first_difference;
    facts.push(["first difference", `${fixed(d.at_s, 2, "s")}: ${d.recorded} recorded, ${d.replayed} now`]);
  }
  for (const [name, value] of facts) list.append(element("dt", name), element("dd", value));
  list.style.cssText = "display:grid;grid-template-columns:auto 1fr;gap:1px 14px;margin:0";
  byId("agreement").append(element("h2", "Against the recorded decisions"), list);
}

// --- bird's-eye view ------------------------------------------------------------------------------------------

const canvas = byId("canvas"), pen = canvas.getContext("2d");
let index = 0, playing = false, zoomed = 45, shift = 0, labels = [];

function scale() { return 2.2 * Math.pow(34 / 2.2, zoomed / 100); } // pixels per metre

function draw() {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!F.length) return;
  labels = [];
  const f = F[index], k = scale(), x0 = width * 0.2 + shift, y0 = height / 2;
  const at = (x, y) => [x0 + x * k, y0 - y * k];
  grid(f, k, width, height, x0, y0);
  corridor(f, at, k);
  polyline(f.p, at, css("--path"), 2);
  polyline(f.f, at, css("--fallback"), 2, [6, 5]);
  stop(f.f, at);
  trail(f, at);
  ghost(f, at);
  f.u.forEach((arc) => sector(arc, at, k));
  f.t.forEach((t) => ellipse(t, at, k));
  f.t.slice().reverse().forEach((t) => object(f, t, at, k));
  box(at, 0, 0, 0, css("--ego"), true);
  ruler(k, width, height);
}

function grid(f, k, width, height, x0, y0) {
  const step = k > 14 ? 5 : k > 5 ? 10 : 50, [ex, ey, yaw] = f.e;
  const reach = Math.hypot(width, height) / k;
  const c = Math.cos(yaw || 0), s = Math.sin(yaw || 0);
  pen.strokeStyle = css("--grid");
  pen.lineWidth = 1;
  pen.beginPath();
  const put = (gx, gy, move) => {
    const dx = gx - (ex || 0), dy = gy - (ey || 0);
    const px = x0 + (c * dx + s * dy) * k, py = y0 - (c * dy - s * dx) * k;
    move ? pen.moveTo(px, py) : pen.lineTo(px, py);
  };
  for (let gx = Math.floor(((ex || 0) - reach) / step) * step; gx <= (ex || 0) + reach; gx += step) {
    put(gx, (ey || 0) - reach, true); put(gx, (ey || 0) + reach, false);
  }
  for (let gy = Math.floor(((ey || 0) - reach) / step) * step; gy <= (ey || 0) + reach; gy += step) {
    put((ex || 0) - reach, gy, true); put((ex || 0) + reach, gy, false);
  }
  pen.stroke();
}

function polyline(flat, at, color, width, dash) {
  if (flat.length < 4) return;
  pen.strokeStyle = color;
  pen.lineWidth = width;
  pen.setLineDash(dash || []);
  pen.lineJoin = "round";
  pen.beginPath();
  for (let i = 0; i < flat.length; i += 2) {
    const [x, y] = at(flat[i], flat[i + 1]);
    i ? pen.lineTo(x, y) : pen.moveTo(x, y);
  }
  pen.stroke();
  pen.setLineDash([]);
}

function stop(flat, at) {
  // The end of the fallback: where ego would stand.
  if (flat.length < 4) return;
  const n = flat.length, half = D.vehicle.width / 2;
  const dx = flat[n - 2] - flat[n - 4], dy = flat[n - 1] - flat[n - 3], length = Math.hypot(dx, dy) || 1;
  const nx = -dy / length * half, ny = dx / length * half;
  polyline([flat[n - 2] + nx, flat[n - 1] + ny, flat[n - 2] - nx, flat[n - 1] - ny], at, css("--fallback"), 3);
}

function corridor(f, at, k) {
  if (f.p.length < 4 || !f.w) return;
  const points = [];
  for (let i = 0; i < f.p.length; i += 2) points.push([f.p[i], f.p[i + 1]]);
  const left = [], right = [];
  points.forEach((p, i) => {
    const a = points[Math.max(0, i - 1)], b = points[Math.min(points.length - 1, i + 1)];
    const length = Math.hypot(b[0] - a[0], b[1] - a[1]) || 1, nx = -(b[1] - a[1]) / length * f.w, ny = (b[0] - a[0]) / length * f.w;
    left.push([p[0] + nx, p[1] + ny]);
    right.push([p[0] - nx, p[1] - ny]);
  });
  pen.fillStyle = css("--corridor");
  pen.beginPath();
  left.concat(right.reverse()).forEach((p, i) => { const [x, y] = at(p[0], p[1]); i ? pen.lineTo(x, y) : pen.moveTo(x, y); });
  pen.closePath();
  pen.fill();
}

function relative(f, x, y) {
  const dx = x - f.e[0], dy = y - f.e[1], c = Math.cos(f.e[2]), s = Math.sin(f.e[2]);
  return [c * dx + s * dy, c * dy - s * dx];
}

function trail(f, at) {
  if (f.e[0] === null) return;
  const flat = [];
  for (let i = index; i >= 0 && T[index] - T[i] < 4; i -= 1) if (F[i].e[0] !== null) flat.push(...relative(f, F[i].e[0], F[i].e[1]));
  polyline(flat, at, css("--soft"), 1.5, [2, 4]);
}

function ghostAt(t) {
  const G = D.ghost;
  if (!G.length || t < G[0][0]) return null;
  let low = 0, high = G.length - 1;
  while (low < high) { const middle = (low + high + 1) >> 1; G[middle][0] <= t ? (low = middle) : (high = middle - 1); }
  return G[low];
}

function ghost(f, at) {
  const g = ghostAt(T[index]);
  if (!g || f.e[0] === null) return;
  const [x, y] = relative(f, g[1], g[2]);
  box(at, x, y, g[3] - f.e[2], css("--ghost"), false);
  const [px, py] = at(x, y);
  label("without supervisor", px, py - 22, css("--ghost"));
}

function box(at, x, y, yaw, color, filled) {
  const v = D.vehicle, c = Math.cos(yaw), s = Math.sin(yaw), half = v.width / 2;
  const corners = [[v.front, half], [v.front, -half], [-v.rear, -half], [-v.rear, half]];
  pen.beginPath();
  corners.forEach(([a, b], i) => { const [px, py] = at(x + c * a - s * b, y + s * a + c * b); i ? pen.lineTo(px, py) : pen.moveTo(px, py); });
  pen.closePath();
  pen.lineWidth = 2;
  pen.strokeStyle = color;
  if (filled) { pen.fillStyle = COLORS[D.modes[F[index].m]]; pen.fill(); }
  pen.stroke();
}

function shade(existence, moved) {
  // Unlikely objects are pale, confirmed ones strong; what never moved is grey.
  const p = Math.max(0, Math.min(1, existence || 0));
  return moved ? `hsla(${200 - 200 * Math.pow(p, 6)}, 80%, 48%, ${0.35 + 0.65 * p})` : `hsla(215, 12%, 52%, ${0.35 + 0.65 * p})`;
}

function ellipse(t, at, k) {
  // Where the reflection is with two standard deviations.
  const [, x, y, , , existence, moved, long, short, angle] = t, [px, py] = at(x, y);
  if (!long || existence < 0.1 || long * k < 3 || long > 30) return;
  pen.beginPath();
  pen.ellipse(px, py, long * k, Math.max(short * k, 0.5), -angle, 0, 2 * Math.PI);
  pen.globalAlpha = 0.14;
  pen.fillStyle = shade(existence, moved);
  pen.fill();
  pen.globalAlpha = 0.75;
  pen.lineWidth = 1;
  pen.strokeStyle = shade(existence, moved);
  pen.stroke();
  pen.globalAlpha = 1;
}

function object(f, t, at, k) {
  const [id, x, y, vx, vy, existence, moved, , , , suspect] = t, [px, py] = at(x, y);
  if (px < -50 || px > canvas.clientWidth + 50 || py < -50 || py > canvas.clientHeight + 50) return;
  const color = shade(existence, moved), r = Math.max(4, Math.min(10, 0.5 * k));
  const speed = Math.hypot(vx, vy);
  if (speed > 0.5) {
    const [qx, qy] = at(x + vx, y + vy), angle = Math.atan2(qy - py, qx - px);
    pen.strokeStyle = pen.fillStyle = color;
    pen.lineWidth = 1.6;
    pen.beginPath(); pen.moveTo(px, py); pen.lineTo(qx, qy); pen.stroke();
    pen.beginPath(); pen.moveTo(qx, qy);
    pen.lineTo(qx - 7 * Math.cos(angle - 0.45), qy - 7 * Math.sin(angle - 0.45));
    pen.lineTo(qx - 7 * Math.cos(angle + 0.45), qy - 7 * Math.sin(angle + 0.45));
    pen.closePath(); pen.fill();
  }
  pen.beginPath(); pen.arc(px, py, r, 0, 2 * Math.PI);
  if (suspect) { // looks like a reflection of another object
    pen.lineWidth = 1.6; pen.strokeStyle = color; pen.setLineDash([2, 2]); pen.stroke(); pen.setLineDash([]);
  } else { pen.fillStyle = color; pen.fill(); }
  const deciding = id === f.k, lead = id === f.l;
  if (deciding || lead) {
    pen.lineWidth = 2.5;
    pen.strokeStyle = deciding ? COLORS.EMERGENCY_STOP : css("--path");
    pen.beginPath(); pen.arc(px, py, r + 4, 0, 2 * Math.PI); pen.stroke();
  }
  if (existence > 0.5 || deciding) label(deciding ? `${id} decides` : lead ? `${id} lead` : String(id), px, py - r - 8, css("--ink"));
}

function label(text, x, y, color) {
  pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
  pen.textAlign = "center";
  // Labels give way upwards to those already there.
  const half = pen.measureText(text).width / 2 + 2;
  while (labels.some((l) => Math.abs(l.y - y) < 13 && Math.abs(l.x - x) < l.half + half)) y -= 13;
  labels.push({ x, y, half });
  pen.lineWidth = 3;
  pen.strokeStyle = css("--road");
  pen.strokeText(text, x, y);
  pen.fillStyle = color;
  pen.fillText(text, x, y);
}

function sector(arc, at, k) {
  const [, x, y, yaw, half, range, echo, confirmed] = arc, [px, py] = at(x, y), r = Math.max(0, (range || 0) * k);
  const clear = echo === "clear";
  pen.beginPath();
  pen.moveTo(px, py);
  pen.arc(px, py, r, -yaw - half, -yaw + half);
  pen.closePath();
  pen.fillStyle = clear ? "rgba(31, 157, 99, .08)" : "rgba(209, 43, 43, .14)";
  pen.fill();
  pen.beginPath();
  pen.arc(px, py, Math.max(r, 3), -yaw - half, -yaw + half);
  pen.lineWidth = clear ? 1 : confirmed ? 4 : 2;
  pen.strokeStyle = clear ? "rgba(31, 157, 99, .5)" : COLORS.EMERGENCY_STOP;
  pen.stroke();
}

function ruler(k, width, height) {
  const metres = [1, 2, 5, 10, 20, 50, 100].find((m) => m * k > 60) || 100;
  const x = width - 16, y = 30;
  pen.strokeStyle = css("--soft");
  pen.lineWidth = 2;
  pen.beginPath(); pen.moveTo(x - metres * k, y); pen.lineTo(x, y); pen.stroke();
  label(`${metres} m`, x - metres * k / 2, y - 6, css("--soft"));
}

// --- the moment -----------------------------------------------------------------------------------------------

function moment() {
  const f = F[index], box = byId("now");
  box.replaceChildren();
  const mode = D.modes[f.m], badge = element("span", mode.replaceAll("_", " "), { class: "mode" });
  badge.style.background = COLORS[mode];
  const list = element("dl");
  const lead = f.t.find((t) => t[0] === f.l);
  const facts = [
    ["verdict", f.v], ["margin", f.g === null ? "nothing in the way, or not evaluated" : fixed(f.g, 2, "m")],
    ["ego", fixed(f.e[3], 2, "m/s")], ["speed cap", f.c === null ? "none" : fixed(f.c, 2, "m/s")],
    ["demand", fixed(f.a, 2, "m/s²")], ["lead", f.l === null ? "none" : `track ${f.l}` + (lead ? `, ${fixed(lead[1] - D.vehicle.front, 1, "m")} ahead` : "")],
    ["plan", f.s],
  ];
  for (const [name, value] of facts) list.append(element("dt", name), element("dd", value));
  box.append(badge, list);
  if (f.o.length) {
    const made = element("table"), top = made.createTHead().insertRow(), body = made.createTBody();
    for (const name of ["in the corridor", "gap", "closing", "margin"]) top.append(element("th", name, { class: name.startsWith("in") ? "" : "number" }));
    for (const [name, gap, closing, margin, demand] of f.o) {
      const row = body.insertRow(), first = element("td");
      first.append(D.modes[demand] === "NOMINAL" ? document.createTextNode(name) : dot(D.modes[demand]));
      if (D.modes[demand] !== "NOMINAL") first.firstChild.lastChild.textContent = name;
      row.append(first, element("td", fixed(gap, 1, "m"), { class: "number" }), element("td", fixed(closing, 1, "m/s"), { class: "number" }),
        element("td", margin === null ? "–" : fixed(margin, 1, "m"), { class: "number" }));
    }
    box.append(made);
  }
  for (const [title, entries] of [["Why", f.r], ["Health", f.h]]) {
    if (!entries.length) continue;
    const lines = element("ul");
    for (const [code, text] of entries) {
      const item = element("li");
      item.append(element("span", code, { class: "code" }), document.createTextNode(nice(text)));
      lines.append(item);
    }
    box.append(element("h2", title), lines);
  }
}

function show(next) {
  if (!F.length) return;
  index = Math.max(0, Math.min(F.length - 1, next));
  byId("slider").value = index;
  byId("slider").setAttribute("aria-valuetext", `${fixed(T[index], 2)} seconds, ${D.modes[F[index].m]}`);
  byId("clock").textContent = fixed(T[index], 2, "s");
  draw();
  moment();
  cursor();
  for (const row of document.querySelectorAll("#interventions tr.link:not(.phase)")) {
    row.classList.toggle("current", Number(row.dataset.at) <= T[index] && T[index] <= Number(row.dataset.end));
  }
}

function nearest(t) {
  let low = 0, high = T.length - 1;
  while (low < high) { const middle = (low + high) >> 1; T[middle] < t - 1e-6 ? (low = middle + 1) : (high = middle); }
  return low;
}

function seek(t) { if (F.length) show(nearest(t)); }

let clock = 0;
function play(on) {
  playing = on;
  byId("play").textContent = on ? "Pause" : "Play";
  if (!on) return;
  if (index >= F.length - 1) show(0);
  clock = T[index];
  let last = performance.now();
  const tick = (now) => {
    if (!playing) return;
    clock += (now - last) / 1000 * Number(byId("rate").value);
    last = now;
    if (index < F.length - 1 && T[index + 1] <= clock) show(nearest(clock));
    index >= F.length - 1 ? play(false) : requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

function jump(direction) {
  const starts = S.interventions.map((i) => i.start_s), now = T[index];
  const next = direction > 0 ? starts.find((t) => t > now + 0.01) : starts.filter((t) => t < now - 0.01).pop();
  if (next !== undefined) seek(next);
}

function keys(event) {
  if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) && event.target.type !== "range") return;
  const steps = {
    ArrowLeft: () => (event.shiftKey ? seek(T[index] - 1) : show(index - 1)),
    ArrowRight: () => (event.shiftKey ? seek(T[index] + 1) : show(index + 1)),
    "+": () => zoom(zoomed + 6), "=": () => zoom(zoomed + 6), "-": () => zoom(zoomed - 6), t: () => theme(true),
    Home: () => show(0), End: () => show(F.length - 1), " ": () => play(!playing), n: () => jump(1), p: () => jump(-1),
  };
  const step = event.ctrlKey || event.metaKey || event.altKey ? null : steps[event.key] || steps[event.key.toLowerCase()];
  if (!step || !F.length || (event.target.tagName === "BUTTON" && event.key === " ")) return;
  event.preventDefault();
  if (!" +=-tT".includes(event.key)) play(false);
  step();
}

// --- timeline -------------------------------------------------------------------------------------------------

const plots = element("div");
const LANE = 15; // pixels

function bars(traces, name, runs, row, color, tip, thick) {
  if (!runs.length) return;
  traces.push({
    type: "bar", orientation: "h", name, base: runs.map((r) => r[0]), x: runs.map((r) => Math.max(r[1] - r[0], S.duration_s / 2000)),
    y: runs.map(() => row), marker: { color, line: { width: 0 } }, width: thick, xaxis: "x", yaxis: "y", showlegend: false,
    customdata: runs.map((r) => r[1]), hovertemplate: `${tip}<br>%{base:.2f} s to %{customdata:.2f} s<extra></extra>`,
  });
}

const HEALTH = { OK: "--ok", SUSPECT: "--suspect", DEGRADED: "--bad", WAITING: "--static", BLIND: "--bad" };

function lanes(traces) {
  // The first row is the mode; below it one row per input: green where nothing was wrong with it.
  const names = ["mode"];
  for (const mode of D.modes) bars(traces, mode, D.runs.filter((r) => D.modes[r[2]] === mode), 0, COLORS[mode], mode.replaceAll("_", " "), 1.5);
  D.lanes.forEach((lane, i) => {
    const row = -1.7 - i;
    names.push(lane.name);
    bars(traces, lane.name, [[0, S.duration_s]], row, css("--ok"), `${lane.name}: no finding`, 0.6);
    for (const severity of new Set(lane.runs.map((r) => r[2]))) {
      const level = D.severities[severity];
      bars(traces, lane.name, lane.runs.filter((r) => r[2] === severity), row, css(HEALTH[level]), `${lane.name}: ${level.toLowerCase()}`, 0.75);
    }
  });
  return names;
}

function shortened(name, narrow) {
  const most = narrow ? 11 : 26;
  return name.length <= most ? name : name.slice(0, most / 2 - 1) + "…" + name.slice(-most / 2);
}

function figure() {
  const C = D.curves, ink = css("--ink"), soft = css("--soft"), line = css("--line"), narrow = innerWidth < 640;
  const traces = [], names = lanes(traces), dark = document.documentElement.dataset.theme === "dark";
  const colors = dark ? ["#7eb0ff", "#ff9b6b", "#4fd39a", "#c99bff", "#e8c34a", "#5ed0e0"] : ["#1f5fc0", "#d9531e", "#178a55", "#8e2bb8", "#a97b00", "#0f8b9d"];
  const curve = (name, shown, axis, color, more) => {
    if (!C.values[name]) return;
    traces.push({
      type: "scatter", mode: "lines", name: shown, x: C.t, y: C.values[name], xaxis: "x", yaxis: axis, connectgaps: false,
      line: { color, width: 1.6, ...(more || {}) }, hovertemplate: `${shown} %{y:.2f}<extra></extra>`,
    });
  };
  Object.keys(C.values).filter((n) => n.startsWith("margin ")).forEach((name, i) => curve(name, name.replaceAll("_", " "), "y2", colors[i % colors.length]));
  curve("speed", "ego speed", "y3", ink);
  curve("cap", "speed cap", "y3", COLORS.SPEED_CAP, { dash: "dot" });
  curve("acceleration", "demand", "y4", COLORS.COMFORT_STOP);
  // Heights in pixels from the top: lanes, margins, speed, demand.
  const top = LANE * (names.length + 1.4), parts = [top, 26, 170, 22, 110, 22, 90], total = parts.reduce((a, b) => a + b, 0);
  const domain = (from, to) => { const at = (n) => 1 - parts.slice(0, n).reduce((a, b) => a + b, 0) / total; return [at(to), at(from)]; };
  const axis = (range, title, more) => ({
    domain: range, title: { text: title, font: { size: 11 } }, gridcolor: line, zerolinecolor: soft, tickfont: { size: 10 }, automargin: true, nticks: 5, ...(more || {}),
  });
  const finite = Object.entries(C.values).filter(([n]) => n.startsWith("margin ")).flatMap(([, v]) => v).filter((v) => v !== null);
  const near = Object.entries(C.values).filter(([n]) => n.startsWith("margin ") && n !== "margin clear_distance").flatMap(([, v]) => v).filter((v) => v !== null);
  const high = Math.min(80, Math.max(10, 1.15 * (near.length ? near : finite).reduce((a, v) => Math.max(a, v), 0)));
  const low = finite.length ? Math.min(0, finite.reduce((a, v) => Math.min(a, Math.max(v, -30)), 0)) - 2 : -1;
  return {
    traces,
    layout: {
      barmode: "overlay", showlegend: true, hovermode: "x", dragmode: narrow ? "pan" : "zoom", paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: 'system-ui, "DejaVu Sans", sans-serif', size: 11 }, margin: { l: 62, r: 12, t: 4, b: 84 }, height: total + 92,
      hoverlabel: { bgcolor: css("--card"), bordercolor: line, font: { color: ink } },
      legend: { orientation: "h", y: 0, yref: "container", yanchor: "bottom", font: { size: 11 } },
      xaxis: { title: { text: "seconds", font: { size: 11 }, standoff: 4 }, gridcolor: line, zeroline: false, anchor: "y4", range: [0, Math.max(S.duration_s, 0.1)], tickfont: { size: 10 } },
      yaxis: axis(domain(0, 1), "", { fixedrange: true, showgrid: false, zeroline: false, nticks: undefined, range: [-1.7 - D.lanes.length + 0.4, 0.9],
        tickmode: "array", tickvals: names.map((_, i) => (i ? -0.7 - i : 0)), ticktext: names.map((n) => shortened(n, narrow)) }),
      yaxis2: axis(domain(2, 3), "margin [m]", { range: [low, high] }),
      yaxis3: axis(domain(4, 5), "speed [m/s]", { rangemode: "tozero" }),
      yaxis4: axis(domain(6, 7), "demand [m/s²]"),
    },
  };
}

function timeline() {
  if (!plots.isConnected) byId("plots").prepend(plots);
  if (typeof Plotly === "undefined") {
    byId("plots").replaceChildren(element("p", "The timeline needs plotly, which was not installed when this page was made.", { class: "none" }));
    return undefined;
  }
  const { traces, layout } = figure();
  const kept = plots._fullLayout && plots._fullLayout.xaxis.range; // a zoom outlives a change of colours
  if (kept) layout.xaxis.range = kept.slice();
  const drawn = Plotly.react(plots, traces, layout, { displayModeBar: false, responsive: true, doubleClick: false, scrollZoom: false }).then(cursor);
  if (plots.dataset.wired) return drawn;
  plots.dataset.wired = "1";
  plots.on("plotly_click", (event) => {
    const p = event.points[0];
    seek(p.data.type === "bar" ? p.data.base[p.pointIndex] : p.x);
  });
  plots.on("plotly_doubleclick", () => Plotly.relayout(plots, { "xaxis.range": [0, Math.max(S.duration_s, 0.1)] }));
  plots.on("plotly_afterplot", cursor);
  plots.on("plotly_relayout", cursor);
  return drawn;
}

function chips() {
  for (const mode of D.modes.filter((m) => S.modes[m])) {
    const made = element("span"), mark = element("i");
    mark.style.background = COLORS[mode];
    made.append(mark, document.createTextNode(`${plainMode(mode)} ${(100 * S.modes[mode] / Math.max(1, S.ticks)).toFixed(1)} %`));
    byId("modes").append(made);
  }
  const states = [["--ok", "input without finding"], ["--suspect", "suspect"], ["--bad", "lost"], ["--static", "not there yet"]];
  for (const [variable, text] of states) {
    const made = element("span"), mark = element("i");
    mark.style.background = `var(${variable})`;
    made.append(mark, document.createTextNode(text));
    byId("states").append(made);
  }
}

function cursor() {
  const layout = plots._fullLayout, mark = byId("cursor");
  if (!layout || !layout.xaxis || !mark || !F.length) return;
  const x = layout.xaxis.l2p(T[index]);
  mark.style.display = x < 0 || x > layout.xaxis._length ? "none" : "block";
  mark.style.left = layout.margin.l + (layout._size.l - layout.margin.l) + x + "px";
  mark.style.top = layout._size.t + "px";
  mark.style.height = layout._size.h + "px";
}

// --- start ----------------------------------------------------------------------------------------------------

function legend() {
  const entries = [["--path", "judged path, corridor"], ["--fallback", "emergency fallback"], [null, "object, sure (ring: 2 sd)", "hsl(0,80%,48%)"],
    [null, "object, unlikely", "hsla(190,80%,48%,.6)"], ["--static", "never moved"]];
  if (D.sensors.some((s) => s[1] === "ultrasonic")) entries.push(["--bad", "echo"]);
  if (D.ghost.length) entries.push(["--ghost", "ego without supervisor"]);
  for (const [variable, text, color] of entries) {
    const made = element("span"), mark = element("i");
    mark.style.background = color || `var(${variable})`;
    made.append(mark, document.createTextNode(text));
    byId("legend").append(made);
  }
}

// --- light and dark, paper ------------------------------------------------------------------------------------

const system = matchMedia("(prefers-color-scheme: dark)");
let wish = "auto";

function theme(next) {
  if (next) wish = { auto: "light", light: "dark", dark: "auto" }[wish];
  byId("theme").textContent = wish[0].toUpperCase() + wish.slice(1);
  paint(wish === "auto" ? (system.matches ? "dark" : "light") : wish);
}

function paint(colours) {
  if (document.documentElement.dataset.theme === colours) return;
  document.documentElement.dataset.theme = colours;
  if (!F.length) return;
  draw();
  timeline();
}

function paper(on) {
  if (on) { play(false); paint("light"); byId("all").open = false; } else theme(false);
  if (F.length) draw();
}

// --- start ----------------------------------------------------------------------------------------------------

async function unpacked(id) {
  const text = byId(id).textContent;
  byId(id).remove();
  if (!text) return "";
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

function zoom(value) {
  zoomed = Math.max(0, Math.min(100, value));
  byId("zoom").value = zoomed;
  draw();
}

function hands() {
  // A finger or the mouse moves the picture along; the wheel and two fingers zoom.
  const down = new Map();
  let apart = 0;
  canvas.addEventListener("pointerdown", (e) => { down.set(e.pointerId, e); canvas.setPointerCapture(e.pointerId); apart = 0; });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (e) => { down.delete(e.pointerId); apart = 0; });
  canvas.addEventListener("pointermove", (e) => {
    const before = down.get(e.pointerId);
    if (!before) return;
    down.set(e.pointerId, e);
    const [a, b] = [...down.values()];
    if (b) {
      const now = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
      if (apart) zoom(zoomed + (now - apart) / 3);
      apart = now;
    } else {
      const width = canvas.clientWidth;
      shift = Math.max(-width, Math.min(width * 0.7, shift + e.clientX - before.clientX));
      draw();
    }
  });
  canvas.addEventListener("dblclick", () => { shift = 0; draw(); });
  canvas.addEventListener("wheel", (e) => { e.preventDefault(); zoom(zoomed - Math.sign(e.deltaY) * 4); }, { passive: false });
}

function wire() {
  byId("slider").max = Math.max(0, F.length - 1);
  byId("zoom").value = zoomed;
  byId("slider").addEventListener("input", (e) => { play(false); show(Number(e.target.value)); });
  byId("zoom").addEventListener("input", (e) => zoom(Number(e.target.value)));
  byId("play").addEventListener("click", () => play(!playing));
  byId("previous").addEventListener("click", () => { play(false); jump(-1); });
  byId("next").addEventListener("click", () => { play(false); jump(1); });
  hands();
  document.addEventListener("keydown", keys);
  window.addEventListener("resize", () => { draw(); setTimeout(cursor, 300); });
  window.addEventListener("beforeprint", () => paper(true));
  window.addEventListener("afterprint", () => paper(false));
  matchMedia("print").addEventListener("change", (e) => paper(e.matches));
  new ResizeObserver(() => draw()).observe(byId("stage"));
  window.addEventListener("hashchange", () => { const t = named(); if (t !== null) seek(t); });
}

function named() {
  // A link may name a moment: report.html#t=12.5
  const found = /^#t=([0-9.]+)$/.exec(location.hash);
  return found ? Number(found[1]) : null;
}

function held() {
  // Whoever waits for the load event (a screenshot, a print from the command line) shall see the whole page: a frame that
  // is still being written keeps it back until the pictures are unpacked.
  const frame = element("iframe", null, { hidden: "", "aria-hidden": "true" });
  document.body.append(frame);
  frame.contentDocument.open();
  return () => { frame.contentDocument.close(); frame.remove(); };
}

async function start() {
  const release = held();
  try { await fill(); } finally { release(); }
}

async function fill() {
  theme(false);
  byId("theme").addEventListener("click", () => theme(true));
  byId("print").addEventListener("click", () => print());
  system.addEventListener("change", () => theme(false));
  head();
  tables();
  legend();
  chips();
  if (typeof DecompressionStream === "undefined") {
    byId("stage").replaceChildren(element("p", "The pictures need a browser of 2023 or newer (DecompressionStream).", { class: "none", style: "padding:16px" }));
    document.body.dataset.ready = "tables";
    return;
  }
  const frames = JSON.parse(await unpacked("frames"));
  [T, F] = [frames.t, frames.v];
  if (F.length && F.every((f) => f.e[3] === null || Math.abs(f.e[3]) < 5)) zoomed = 90;
  wire();
  const first = S.interventions.find((i) => i.mode !== "INIT"), at = named();
  seek(at !== null ? at : first ? first.decided_s ?? first.start_s : 0);
  const library = await unpacked("plotly");
  if (library) document.head.append(element("script", library));
  await timeline();
  document.body.dataset.ready = "all";
}

start();
