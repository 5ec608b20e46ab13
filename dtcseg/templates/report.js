"use strict";
(() => {
const root = document.documentElement;
root.classList.add("js");
const $ = id => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const { times, patients } = data;
const unknown = new Set(data.unknown);
const DASH = "\u2013", NARROW = "\u202f";

// --- building blocks: everything that comes from data goes in as text -------------------------------------------
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  return fill(node, attributes, children);
}
function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  return fill(node, attributes, children);
}
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  for (const child of children.flat(9)) {
    if (child !== null && child !== undefined && child !== false) node.append(child instanceof Node ? child : String(child));
  }
  return node;
}
const figure = v => v === null || v === undefined ? DASH : v && Math.abs(v) < 0.01 ? Number(v.toPrecision(2)).toString() : Math.abs(v) < 100 ? v.toFixed(2) : v.toFixed(0);
const count = v => String(v).replace(/\B(?=(\d{3})+(?!\d))/g, NARROW);
const percent = v => v === null ? DASH : v > 0 && v < 0.01 ? "< 1" : v < 1 && v > 0.99 ? "> 99" : (100 * v).toFixed(0);
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
const rateText = s => !s.rate ? (s.dtc ? "DTC detected, no rate" : "not assessable") : s.dtc ? `${figure(s.rate[0])} (${figure(s.rate[1])}${DASH}${figure(s.rate[2])})` : `< ${figure(s.rate[3])}`;
const wordClass = word => "w-" + (word.includes(" ") ? "cannot" : word);
const timeName = t => times[t] || "no time point";
const cut = (text, pixels) => text.length * 7.2 <= pixels ? text : text.slice(0, Math.max(3, Math.floor(pixels / 7.2) - 1)) + "\u2026";
const ratioText = v => v === null ? "> 10\u2076" : v < 0.001 ? "< 0.001" : v > 1e3 ? "> 1000" : figure(v);
const million = n => n >= 1e7 ? (n / 1e6).toFixed(0) + " M" : n >= 1e6 ? (n / 1e6).toFixed(1) + " M" : count(n);

function ticks(most, pixels) {
  const chosen = [0];
  const scale = v => Math.sqrt(v / most) * pixels;
  for (const v of [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000]) {
    if (v <= most * 1.0001 && scale(v) - scale(chosen[chosen.length - 1]) > 22) chosen.push(v);
  }
  return chosen;
}
const wanted = s => s.rate ? (s.dtc ? s.rate[2] : s.rate[3]) : 0;

// --- the overview plot -------------------------------------------------------------------------------------------
function ratesPlot(width) {
  const panels = times.map((name, t) => ({ name, t, own: [] }));
  patients.forEach((p, i) => p.specimens.forEach(s => { if (s.rate) panels[s.t].own.push({ s, i }); }));
  const shown = panels.filter(panel => panel.own.length);
  if (!shown.length) return el("p", { class: "soft" }, "Nothing could be judged.");
  const right = 6, gap = 18, top = 12, height = 200, below = 52;
  const tops = shown.flatMap(panel => panel.own.map(({ s }) => wanted(s))).sort((a, b) => a - b);
  const most = Math.max(tops[tops.length - 1] || 1, 0.5);
  const marks = ticks(most, height);
  const left = Math.max(40, 12 + 7.5 * String(marks[marks.length - 1]).length);
  const room = Math.max(width, left + right + shown.length * 104);
  const each = (room - left - right - gap * (shown.length - 1)) / shown.length;
  const y = v => top + height * (1 - Math.sqrt(v / most));
  const picture = svg("svg", { width: room, height: top + height + below, viewBox: `0 0 ${room} ${top + height + below}`, role: "img", "aria-label": "DTC rates of all patients by time point" });
  for (const v of marks) {
    picture.append(svg("line", { class: "grid", x1: left, x2: room - right, y1: y(v), y2: y(v) }));
    picture.append(svg("text", { x: left - 7, y: y(v) + 4, "text-anchor": "end" }, v));
  }
  shown.forEach((panel, at) => {
    const x0 = left + at * (each + gap);
    panel.own.sort((a, b) => b.s.dtc * 1e6 / b.s.mnc[0] - a.s.dtc * 1e6 / a.s.mnc[0] || b.s.rate[3] - a.s.rate[3]);
    const step = Math.min(each / panel.own.length, 26);
    const thick = step < 2.5 ? step * 1.03 : Math.min(3, step * 0.6); // so many patients make an area, not a pattern
    let bars = "", dots = "", falls = "", caps = "";
    panel.own.forEach(({ s }, k) => {
      const x = (x0 + (k + 0.5) * step).toFixed(1);
      if (s.dtc) {
        bars += `M${x} ${y(s.rate[1]).toFixed(1)}V${y(s.rate[2]).toFixed(1)}`;
        const r = Math.max(1.1, Math.min(3.6, step * 0.45));
        dots += `M${(x - r).toFixed(1)} ${y(s.rate[0]).toFixed(1)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
      } else {
        const w = Math.max(0.6, Math.min(5, step * 0.4)), yl = y(s.rate[3]);
        falls += `M${x} ${yl.toFixed(1)}V${y(0)}`;
        caps += `M${(x - w).toFixed(1)} ${yl.toFixed(1)}h${2 * w}` + (step > 9 ? `M${(x - 3.2).toFixed(1)} ${(y(0) - 6).toFixed(1)}l3.2 5l3.2 -5` : "");
      }
    });
    picture.append(
      svg("path", { d: falls, class: "free", "stroke-width": thick, "stroke-opacity": 0.28, fill: "none" }),
      svg("path", { d: caps, class: "free", "stroke-width": 1.3, style: "fill:none" }),
      svg("path", { d: bars, class: "dtc", "stroke-width": thick, "stroke-opacity": 0.42, fill: "none" }),
      svg("path", { d: dots, class: "dtc", stroke: "none", style: "stroke:none" }));
    const positive = panel.own.filter(({ s }) => s.dtc).length, n = panel.own.length, [low, high] = data.shares[panel.t];
    const yb = top + height;
    picture.append(...[
      svg("text", { x: x0, y: yb + 18, class: "strong" }, cut(panel.name || "no time point", each), svg("title", {}, panel.name, unknown.has(panel.t) ? ": its place in time is not known" : "")),
      each > 215 ? svg("text", { x: x0, y: yb + 34 }, `${positive} of ${n} with DTC, ${percent(positive / n)} % (${percent(low)}${DASH}${percent(high)})`)
        : [svg("text", { x: x0, y: yb + 33 }, `${positive} of ${n} with DTC`), svg("text", { x: x0, y: yb + 47 }, `${percent(positive / n)} % (${percent(low)}${DASH}${percent(high)})`)]].flat());
    const hint = svg("title", {});
    picture.append(svg("rect", { class: "hit", x: x0, y: top, width: Math.max(step * n, 1), height, on: {
      mousemove: event => { const one = under(event); hint.textContent = one ? `${patients[one.i].name}: ${rateText(one.s)} per 10^6` : ""; },
      click: event => { const one = under(event); if (one) location.hash = "p" + one.i; } } }, hint));
    function under(event) {
      const box = picture.getBoundingClientRect();
      return panel.own[Math.floor(((event.clientX - box.left) * room / box.width - x0) / step)];
    }
  });
  return picture;
}

// --- the table of patients ---------------------------------------------------------------------------------------
const judged = p => p.specimens.filter(s => s.rate);
patients.forEach((p, i) => {
  const own = judged(p);
  p.i = i;
  p.latest = own[own.length - 1] || null;
  p.word = !p.latest || !p.latest.first ? "" : p.dtc ? p.latest.first.word : "no DTC at any time";
  p.text = [p.name, p.arm, p.word, p.reviewed, p.dtc ? "dtc detected" : "not detected", p.latest ? "" : "not assessable",
    ...p.specimens.map(s => times[s.t])].join("\n").toLowerCase();
});
const WORDS = ["cleared", "reduced", "unchanged", "cannot be told", "risen", "no DTC at any time", ""];
const keys = {
  name: null, arm: p => p.arm, course: p => Math.max(-1, ...judged(p).map(s => s.rate[0])), dtc: p => p.dtc, mnc: p => p.mnc,
  latest: p => !p.latest ? -2 : p.latest.dtc ? p.latest.rate[0] : -1 + 1e-9 * p.latest.rate[3],
  change: p => WORDS.indexOf(p.word), reviewed: p => ["no", "in progress", "yes", "signed off"].indexOf(p.reviewed),
};
const hasArms = !!document.querySelector('th[data-sort="arm"]');
let sorting = ["name", 1], all = false;
const FIRST = 100;

function course(p) {
  const step = 17, width = Math.max(1, times.length) * step + 4;
  const picture = svg("svg", { width, height: 22, viewBox: `0 0 ${width} 22`, "aria-hidden": "true" });
  const xs = judged(p).map(s => 10 + s.t * step);
  if (xs.length > 1) picture.append(svg("path", { d: `M${xs[0]} 11H${xs[xs.length - 1]}`, class: "grid" }));
  for (const s of judged(p)) {
    const x = 10 + s.t * step;
    picture.append(s.dtc
      ? svg("circle", { cx: x, cy: 11, r: Math.min(8, 3.2 + 1.1 * Math.sqrt(s.rate[0])).toFixed(1), class: "dtc", style: "stroke:none" })
      : svg("circle", { cx: x, cy: 11, r: 3.4, class: "free", style: "fill:var(--sheet)", "stroke-width": 1.6 }));
  }
  return picture;
}
function row(p) {
  const change = p.word ? el("span", { class: wordClass(p.word) }, p.word) : "";
  return el("tr", { class: "open", "data-patient": p.i, on: { click: () => open(p.i) } },
    el("td", { class: "name" }, el("button", { class: "link" }, p.name)),
    hasArms && el("td", {}, p.arm),
    el("td", {}, course(p)),
    el("td", {}, p.latest ? [el("span", { class: p.latest.dtc ? "found" : "" }, rateText(p.latest)), " ", el("span", { class: "soft" }, times[p.latest.t])] : el("span", { class: "unknown" }, p.dtc ? "DTC detected, no rate" : "not assessable")),
    el("td", { class: "nowrap" }, change),
    el("td", { class: "n" }, p.dtc), el("td", { class: "n" }, count(p.mnc)), el("td", { class: "nowrap" }, p.reviewed));
}
const collator = new Intl.Collator("en", { numeric: true });
const body = document.querySelector("#patients tbody");
function drawTable() {
  if (!body) return;
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const on = [...document.querySelectorAll(".chip[aria-pressed=true]")].map(chip => chip.dataset.filter);
  const passes = { dtc: p => p.dtc > 0, cleared: p => p.word === "cleared", cannot: p => p.word === "cannot be told", open: p => p.reviewed === "no" || p.reviewed === "in progress" };
  const found = patients.filter(p => words.every(w => p.text.includes(w)) && on.every(name => passes[name](p)));
  const [column, way] = sorting, key = keys[column];
  found.sort((a, b) => way * (key ? (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) : collator.compare(a.name, b.name)) || a.i - b.i);
  const shown = all ? found : found.slice(0, FIRST);
  body.replaceChildren(...shown.map(row));
  if (!found.length) body.append(el("tr", {}, el("td", { colspan: 8, class: "soft" }, "No patient matches.")));
  $("shown").textContent = found.length === patients.length ? plural(found.length, "patient") : `${count(found.length)} of ${plural(patients.length, "patient")}`;
  $("more").hidden = shown.length === found.length;
  $("more").textContent = `Show all ${count(found.length)}`;
  $("rest").hidden = true;
}
if (body) {
  document.querySelectorAll("#patients th[data-sort]").forEach(th => {
    const button = el("button", { on: { click: () => {
      const column = th.dataset.sort;
      sorting = [column, sorting[0] === column ? -sorting[1] : column === "name" || column === "arm" || column === "change" ? 1 : -1];
      document.querySelectorAll("#patients th").forEach(other => other.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", sorting[1] > 0 ? "ascending" : "descending");
      drawTable();
    } } });
    button.append(...th.childNodes);
    th.append(button);
  });
  $("search").addEventListener("input", drawTable);
  $("more").addEventListener("click", () => { all = true; drawTable(); });
  document.querySelectorAll(".chip").forEach(chip => chip.addEventListener("click", () => {
    chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") !== "true");
    drawTable();
  }));
}

// --- one patient -------------------------------------------------------------------------------------------------
function timeline(p, block, width, height) {
  const lanes = [...new Set(block.assays.map(a => a[1]))];
  const used = [...new Set([...p.specimens.map(s => s.t), ...block.assays.map(a => a[0])])].sort((a, b) => a - b);
  const left = 96, right = 30, top = 34, lane = 40;
  const bottom = top + height + 28;
  const total = bottom + lanes.length * lane + (lanes.length ? 8 : 0);
  const most = Math.max(0.5, ...p.specimens.map(wanted)) * 1.04;
  const y = v => top + height * (1 - Math.sqrt(v / most));
  const step = (width - left - right) / Math.max(used.length, 2);
  const x = t => left + (used.indexOf(t) + 0.5) * step;
  const picture = svg("svg", { width, height: total, viewBox: `0 0 ${width} ${total}`, role: "img", "aria-label": "DTC per million cells by time point" });
  for (const v of ticks(most, height)) {
    picture.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }), svg("text", { x: left - 9, y: y(v) + 4, "text-anchor": "end" }, v));
  }
  picture.append(svg("text", { x: 0, y: top - 16 }, "DTC per 10\u2076, 95 %"));
  const own = judged(p);
  const way = own.filter(s => s.dtc).map(s => `${x(s.t)} ${y(s.rate[0])}`);
  if (way.length > 1) picture.append(svg("path", { class: "path", d: "M" + way.join("L") }));
  for (const s of own) {
    const at = x(s.t);
    if (s.limits && s.limits[0] > 0) picture.append(svg("path", { class: "grid", d: `M${at - 26} ${y(s.limits[0])}h52`, "stroke-dasharray": "2 3", style: "stroke:var(--soft)" }, svg("title", {}, `limit of blank ${figure(s.limits[0])} per 10^6`)));
    if (s.dtc) {
      fill(picture, {}, [
        svg("line", { class: "dtc", x1: at, x2: at, y1: y(s.rate[1]), y2: y(s.rate[2]), "stroke-width": 9, "stroke-opacity": 0.3, "stroke-linecap": "round" }),
        svg("circle", { class: "dtc", cx: at, cy: y(s.rate[0]), r: 6, style: "stroke:var(--sheet)", "stroke-width": 1.5 }),
        svg("text", { class: "strong halo", x: at + 13, y: y(s.rate[0]) + 4 }, figure(s.rate[0])),
        step > 125 && svg("text", { class: "halo", x: at + 13, y: y(s.rate[0]) + 18 }, plural(s.dtc, "cell"), ` in ${million(s.mnc[0])}`)]);
    } else {
      const yl = y(s.rate[3]);
      fill(picture, {}, [
        svg("path", { class: "free", d: `M${at - 11} ${yl}h22M${at} ${yl}V${y(0) - 2}M${at - 5} ${y(0) - 9}l5 7l5 -7`, "stroke-width": 2.2, style: "fill:none", "stroke-linecap": "round", "stroke-linejoin": "round" }),
        svg("text", { class: "strong halo", x: at + 15, y: yl + 4 }, `< ${figure(s.rate[3])}`),
        step > 125 && svg("text", { class: "halo", x: at + 15, y: yl + 18 }, `none in ${million(s.mnc[0])}`)]);
    }
  }
  own.forEach((s, k) => {
    if (!s.previous) return;
    const middle = (x(s.previous.from) + x(s.t)) / 2;
    picture.append(svg("text", { x: middle, y: top - 16, "text-anchor": "middle", class: "strong " + wordClass(s.previous.word), style: "fill:currentColor" },
      step < 112 && s.previous.word === "cannot be told" ? "?" : s.previous.word, svg("title", {}, s.previous.word)));
  });
  for (const t of used) {
    picture.append(svg("text", { class: "strong", x: x(t), y: top + height + 18, "text-anchor": "middle" }, cut(times[t] || "no time point", step), svg("title", {}, times[t])));
    if (!p.specimens.some(s => s.t === t && s.rate)) picture.append(svg("text", { x: x(t), y: y(0) - 8, "text-anchor": "middle" }, p.specimens.some(s => s.t === t) ? "not assessable" : "no marrow"));
  }
  lanes.forEach((name, k) => {
    const yl = bottom + k * lane + 22;
    picture.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: yl, y2: yl }), svg("text", { class: "ink", x: 0, y: yl + 4 }, name.length > 14 ? name.slice(0, 13) + "\u2026" : name, svg("title", {}, name)));
    for (const [t, assay, value, unit, detected] of block.assays) {
      if (assay !== name) continue;
      const at = x(t);
      picture.append(svg("path", { d: `M${at} ${yl - 7}l7 7l-7 7l-7 -7z`, class: detected ? "dtc" : "free", style: detected ? "" : "fill:var(--sheet)", "stroke-width": 1.8 }),
        svg("text", { x: at + 13, y: yl - 5 }, value === null ? (detected ? "detected" : "not detected") : `${value} ${unit}${detected ? "" : ", not detected"}`));
    }
  });
  return picture;
}
function sentence(p) {
  const last = p.latest;
  if (!last && p.dtc) return "DTC were found, but nothing else of the slides could be judged: there is no rate.";
  if (!last) return "No marrow sample of this patient could be judged: there is no result, neither positive nor negative.";
  const when = times[last.t] ? ` at ${times[last.t]}` : "";
  const now = last.dtc ? `${plural(last.dtc, "DTC").replace("DTCs", "DTC")} among ${count(last.mnc[0])} cells screened${when}: ${rateText(last)} per 10\u2076.`
    : `No DTC among ${count(last.mnc[0])} cells screened${when}: ${rateText(last)} per 10\u2076 (95 %).`;
  const blank = last.dtc && last.limits && last.rate[0] <= last.limits[0] ? ` This is not above the limit of blank (${figure(last.limits[0])}).` : "";
  if (!last.first) return now + blank;
  if (!p.dtc) return `${now} None was found at any time point.`;
  const [ratio, low, high] = last.first.ratio, since = times[last.first.from] || "the first sample";
  const luck = last.dtc || !p.specimens.some(s => s.t === last.first.from && s.dtc) ? ""
    : ` An unchanged patient would show none with a probability of ${percent(last.first.p[2])} %.`;
  const words = last.first.word === "cannot be told" ? `Whether the rate has changed since ${since} cannot be told` : `Since ${since}: ${last.first.word}`;
  return `${now}${blank} ${words} (rate ratio ${ratioText(ratio)}, 95 % ${ratioText(low)} to ${ratioText(high)}).${luck}`;
}
function specimenTable(p) {
  const controlled = p.specimens.some(s => s.isotype), limited = p.specimens.some(s => s.limits);
  return el("div", { class: "sheet" }, el("table", { class: "dense" },
    el("thead", {}, el("tr", {}, el("th", {}, "Time point"), el("th", { class: "n" }, "Cells screened (95 %)"), el("th", { class: "n" }, "DTC"), el("th", { class: "n" }, "per 10\u2076 (95 %)"),
      controlled && el("th", { class: "n" }, "Isotype control"), limited && el("th", { class: "n", title: "limit of blank, limit of detection, per 10\u2076" }, "Blank, detection"),
      el("th", { class: "n" }, "Ratio (95 %)"), el("th", { class: "n" }, "P(reduced)"), el("th", { class: "n" }, "P(\u2265 80 %)"), el("th", { class: "n", title: "probability that an unchanged patient shows no DTC" }, "Luck"), el("th", {}, "Change"), el("th", {}, "Reviewed"))),
    el("tbody", {}, p.specimens.map(s => {
      const c = s.previous, notes = [s.bad && plural(s.bad, "slide") + " not assessable", s.failed && s.failed + " failed", s.uic && `${s.uic} uninterpr.`, s.unsettled && `${s.unsettled} not settled`, s.unread && `${s.unread} by the program alone`, s.probable && `${s.probable} probable: ${s.gate}`].filter(Boolean).join("; ");
      return el("tr", {}, el("td", {}, timeName(s.t), notes && el("div", { class: "small soft", style: "min-width:7em" }, notes)),
        el("td", { class: "n" }, s.rate ? [count(s.mnc[0]), el("div", { class: "small soft" }, `${count(s.mnc[1])}${DASH}${count(s.mnc[2])}`)] : DASH),
        el("td", { class: "n" + (s.dtc ? " found" : "") }, s.dtc), el("td", { class: "n" + (s.dtc ? " found" : "") }, rateText(s), s.corrected && el("div", { class: "small soft", style: "font-weight:400", title: "had the program missed none, by its recall on slides of known truth" }, `none missed: ${figure(s.corrected[0])} (${figure(s.corrected[1])}${DASH}${figure(s.corrected[2])})`)),
        controlled && el("td", { class: "n" }, s.isotype ? [`${s.isotype[0]} in ${million(s.isotype[1])}`, s.dtc && s.isotype[2] !== null ? el("div", { class: "small soft" }, `p ${s.isotype[2] < 0.001 ? "< 0.001" : s.isotype[2].toFixed(3)}`) : ""] : DASH),
        limited && el("td", { class: "n" }, s.limits ? `${figure(s.limits[0])}, ${figure(s.limits[1])}` : DASH),
        el("td", { class: "n" }, c ? `${ratioText(c.ratio[0])} (${ratioText(c.ratio[1])}${DASH}${ratioText(c.ratio[2])})` : ""),
        el("td", { class: "n" }, c ? percent(c.p[0]) + " %" : ""), el("td", { class: "n" }, c ? percent(c.p[1]) + " %" : ""), el("td", { class: "n" }, c ? percent(c.p[2]) + " %" : ""),
        el("td", { class: "nowrap" }, c ? [el("span", { class: wordClass(c.word) }, c.word), el("div", { class: "small soft" }, `since ${timeName(c.from)}`)] : ""), el("td", { class: "nowrap" }, s.reviewed));
    }))));
}
function slideTable(block) {
  return el("div", { class: "sheet" }, el("table", {},
    el("thead", {}, el("tr", {}, ...["Slide", "Time point", "Role", "Stain"].map(w => el("th", {}, w)), ...["mm\u00b2", "Cells screened", "DTC", "Probable", "Uninterp.", "per 10\u2076 (95 %)"].map(w => el("th", { class: "n" }, w)), el("th", {}, "Quality"), el("th", {}, "Reviewed"))),
    el("tbody", {}, block.slides.map(s => el("tr", {}, el("td", { class: "name" }, s.name), el("td", {}, s.t < 0 ? "" : times[s.t]), el("td", { class: "nowrap" }, s.role), el("td", {}, s.stain),
      el("td", { class: "n" }, s.area.toFixed(1)), el("td", { class: "n", title: `95 % interval ${count(s.mnc[1])} to ${count(s.mnc[2])}` }, count(s.mnc[0])),
      el("td", { class: "n" + (s.n[0] ? " found" : "") }, s.n[0]), el("td", { class: "n" }, s.n[1]), el("td", { class: "n" }, s.n[2]), el("td", { class: "n" }, s.rate || DASH),
      el("td", {}, s.remarks.length ? el("span", { class: "unknown" }, s.remarks.join("; ")) : el("span", { class: "soft" }, "no remark")),
      el("td", {}, s.reviewed, s.readers.length ? el("div", { class: "small soft" }, s.readers.join(", ")) : ""))),
      block.failed.map(([name, reason]) => el("tr", {}, el("td", { class: "name" }, name), el("td", { colspan: 11 }, el("span", { class: "unknown" }, "failed: "), reason))))));
}
const LABELS = { diameter_um: ["Diameter", "\u00b5m", 1], area_um2: ["Area", "\u00b5m\u00b2", 0], nucleus_area_um2: ["Nucleus", "\u00b5m\u00b2", 0], nucleus_ratio: ["Nucleus ratio", "\u00d7", 2], ck_od: ["CK density", "", 2], ck_over_nucleus: ["CK over nucleus", "%", 0], ck_granularity: ["CK granularity", "", 2], cd45_ring: ["CD45 ring", "", 2], neighbours: ["Neighbours", "", 0] };
function cellCard(slide, cell) {
  const [id, word, call, read, score, x, y] = cell, evidence = cell.slice(7, 7 + data.evidence.length), picture = cell[7 + data.evidence.length];
  const facts = data.evidence.map((name, k) => {
    const [label, unit, decimals] = LABELS[name] || [name, "", 2];
    let value = evidence[k];
    if (value === null || value === undefined) return null;
    if (name === "cd45_ring" && !value) return null; // none, or none stained
    if (name === "nucleus_ratio" && !value) return [el("dt", {}, label), el("dd", {}, DASH)]; // no ordinary nuclei around it
    if (unit === "%") value *= 100;
    return [el("dt", {}, label), el("dd", {}, value.toFixed(decimals), unit && NARROW + unit)];
  });
  return el("figure", { class: `cell ${word}` },
    el("div", { class: "picture" }, picture ? el("img", { src: picture, alt: `cell ${id}, ${word}; the bar is 20 \u00b5m` }) : "no picture in this page"),
    el("figcaption", {}, el("b", { class: word }, word), read ? ` by readers${call !== word ? `, program: ${call || "not found"}` : ""}` : " by the program",
      el("div", { class: "soft" }, `cell ${id}, score ${score === null ? DASH : score.toFixed(4)}`), el("div", { class: "soft" }, slide.name),
      el("dl", {}, facts, x !== null && [el("dt", {}, "x, y"), el("dd", {}, `${x.toFixed(0)}, ${y.toFixed(0)}${NARROW}\u00b5m`)])));
}
function gallery(block, onlyCounting) {
  const order = { tumour: 0, probable: 1, unsettled: 2, uninterpretable: 3, haematopoietic: 4, artefact: 5 };
  const cells = block.slides.flatMap(slide => slide.cells.map(cell => [slide, cell]))
    .filter(([, cell]) => !onlyCounting || order[cell[1]] < 3)
    .sort((a, b) => (order[a[1][1]] ?? 9) - (order[b[1][1]] ?? 9) || b[1][4] - a[1][4]);
  if (!cells.length) return null;
  const first = onlyCounting ? 10 : 24, sheet = el("div", { class: "sheet" }), grid = el("div", { class: "cells" });
  const show = list => grid.append(...list.map(([slide, cell]) => cellCard(slide, cell)));
  show(cells.slice(0, first));
  sheet.append(grid);
  if (cells.length > first && !onlyCounting) {
    const more = el("button", { class: "more", on: { click: () => { show(cells.slice(first)); more.remove(); } } }, `Show ${cells.length - first} more`);
    sheet.append(more);
  }
  const found = block.slides.reduce((sum, slide) => sum + slide.candidates, 0);
  return [el("h2", {}, "Cells ", el("span", { class: "soft small" }, `${cells.length} of ${plural(found, "candidate")}; tumour cells first, the bar in each picture is 20 \u00b5m; all are in cells.csv`)), sheet];
}
function maps(block) {
  const own = block.slides.filter(slide => slide.map);
  if (!own.length) return null;
  const legend = el("div", { class: "legend", style: "margin:0 0 8px" }, data.codes.map(([name, colour]) => el("span", {}, el("i", { class: "square", style: `background:${colour}` }), name)));
  return [el("h2", {}, "What could be judged"), legend, el("div", { class: "sheet maps" }, own.map(slide => el("figure", {}, el("img", { src: slide.map, alt: `quality map of ${slide.name}` }), slide.name, el("br"), slide.remarks.join("; "))))];
}
function patientView(p, width, forPrint) {
  const block = JSON.parse($("p" + p.i).textContent);
  return [
    el("h2", {}, p.name, p.arm && el("span", { class: "soft" }, ` arm ${p.arm}`), p.word && [" ", el("span", { class: "tag " + wordClass(p.word) }, p.word)]),
    el("p", { class: "said" }, sentence(p)),
    el("div", { class: "sheet plot" }, timeline(p, block, width, forPrint ? 150 : 210),
      el("div", { class: "legend" }, p.specimens.some(s => s.limits && s.limits[0] > 0) && el("span", {}, "\u22ef limit of blank, from the negative controls"),
        block.assays.length > 0 && el("span", {}, "\u25c6 detected \u25c7 not detected by the other assay"))),
    el("h2", {}, "Time points ", p.pooled && p.specimens.length > 1 ? el("span", { class: "soft small" }, `all together ${p.pooled} per 10\u2076`) : ""), specimenTable(p),
    p.latest && p.latest.advice && el("p", { class: "small" }, el("b", {}, "More slides? "), `${timeName(p.latest.t)}: ${p.latest.advice}.`),
    forPrint ? gallery(block, true) : [gallery(block, false), el("h2", {}, "Slides"), slideTable(block), maps(block)],
    forPrint && [el("h3", { style: "margin-top:10px" }, "Slides"), slideTable(block)],
  ];
}
const width = () => Math.max(560, (document.querySelector("main").clientWidth || 1200) - 80);
let scrolled = 0;
function open(i) { location.hash = "p" + i; }
function show() {
  const start = performance.now(), match = /^#p(\d+)$/.exec(location.hash), p = match && patients[Number(match[1])], view = $("view");
  if (!p) {
    view.hidden = true; view.replaceChildren(); $("overview").hidden = false; document.title = "DTC report";
    window.scrollTo(0, scrolled);
    return;
  }
  if (!$("overview").hidden) scrolled = window.scrollY;
  const go = (step, label) => { const to = patients[p.i + step]; return to && el("button", { class: "back", on: { click: () => open(to.i) } }, label); };
  view.replaceChildren(el("div", { class: "tools" }, el("button", { class: "back", id: "back", on: { click: () => { location.hash = ""; } } }, "\u2190 All patients"), go(-1, "Previous"), go(1, "Next")), ...patientView(p, width()).flat(9).filter(Boolean));
  $("overview").hidden = true; view.hidden = false; window.scrollTo(0, 0);
  document.title = `${p.name} \u2013 DTC report`;
  requestAnimationFrame(() => setTimeout(() => { document.body.dataset.drawnMs = (performance.now() - start).toFixed(1); }));
}
window.addEventListener("hashchange", show);
window.addEventListener("keydown", event => { if (event.key === "Escape" && location.hash) location.hash = ""; });

// --- the arms ----------------------------------------------------------------------------------------------------
const armColour = a => `var(--arm${a % 6})`;
const DASHES = ["", "7 4", "2 3", "10 3 2 3", "1 4", "12 5"];
function armLegend() {
  return el("div", { class: "legend" }, data.arms.names.map((name, a) => el("span", { style: `color:${armColour(a)}` }, el("i", {}), el("span", { class: "soft" }, name, a === data.arms.control ? " (control)" : "", `, ${data.arms.patients[a]} patients`))));
}
function freePlot(w) {
  const { names, times: own, free } = data.arms, left = 38, top = 12, height = 190, right = 10;
  const picture = svg("svg", { width: w, height: top + height + 30, viewBox: `0 0 ${w} ${top + height + 30}` });
  const step = (w - left - right) / own.length, y = v => top + height * (1 - v);
  for (const v of [0, 0.25, 0.5, 0.75, 1]) picture.append(svg("line", { class: "grid", x1: left, x2: w - right, y1: y(v), y2: y(v) }), svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, `${100 * v} %`));
  names.forEach((name, a) => {
    const points = free.filter(f => f[0] === a), x = t => left + (t + 0.5) * step + (a - (names.length - 1) / 2) * 13;
    picture.append(svg("path", { d: "M" + points.map(f => `${x(f[1])} ${y(f[4])}`).join("L"), style: `fill:none;stroke:${armColour(a)}`, "stroke-width": 1.6, "stroke-dasharray": DASHES[a % 6] }));
    for (const [, t, k, n, value, low, high] of points) picture.append(
      svg("line", { x1: x(t), x2: x(t), y1: y(low), y2: y(high), style: `stroke:${armColour(a)}`, "stroke-width": 5, "stroke-opacity": 0.35, "stroke-linecap": "round" }),
      svg("circle", { cx: x(t), cy: y(value), r: 4.5, style: `fill:${armColour(a)}` }, svg("title", {}, `${name}, ${own[t]}: ${k} of ${n} without DTC`)));
  });
  own.forEach((name, t) => picture.append(svg("text", { class: "strong", x: left + (t + 0.5) * step, y: top + height + 20, "text-anchor": "middle" }, name)));
  return picture;
}
function forest(w) {
  const { effects, names, control } = data.arms;
  if (!effects.length) return null;
  const left = 130, right = 20, line = 46, height = effects.length * line + 34, lows = effects.map(e => e[2]);
  const least = Math.max(-1.5, Math.min(-0.1, ...lows)), x = v => left + (w - left - right) * (Math.max(v, least) - least) / (1 - least);
  const picture = svg("svg", { width: w, height, viewBox: `0 0 ${w} ${height}` });
  for (const v of [-1, -0.5, 0, 0.5, 0.8, 1]) if (v >= least) picture.append(svg("line", { class: "grid", x1: x(v), x2: x(v), y1: 4, y2: height - 26, style: v === 0 ? "stroke:var(--soft)" : "" }), svg("text", { x: x(v), y: height - 10, "text-anchor": "middle" }, `${100 * v} %`));
  effects.forEach(([a, value, low, high, p, p80], k) => {
    const yl = k * line + 28;
    picture.append(svg("text", { class: "strong", x: 0, y: yl + 4 }, names[a]),
      svg("line", { x1: x(low), x2: x(high), y1: yl, y2: yl, style: `stroke:${armColour(a)}`, "stroke-width": 9, "stroke-opacity": 0.35, "stroke-linecap": "round" }),
      svg("circle", { cx: x(value), cy: yl, r: 6, style: `fill:${armColour(a)};stroke:var(--sheet)` }),
      svg("text", { x: x(value), y: yl - 12, "text-anchor": "middle", class: "ink" }, `${(100 * value).toFixed(0)} %`));
  });
  return picture;
}
function waterfallPlot(w, t) {
  const bars = data.arms.bars[t] || [], left = 46, top = 10, height = 200, right = 8;
  if (!bars.length) return el("p", { class: "soft" }, "No patient had DTC at the first time point and a sample here.");
  const CAP = 150, y = v => top + height * (CAP - Math.min(v, CAP)) / (CAP + 100), step = (w - left - right) / bars.length;
  const picture = svg("svg", { width: w, height: top + height + 12, viewBox: `0 0 ${w} ${top + height + 12}` });
  for (const v of [-100, -80, 0, 100]) picture.append(svg("line", { class: "grid", x1: left, x2: w - right, y1: y(v), y2: y(v), style: v === 0 ? "stroke:var(--soft)" : "", "stroke-dasharray": v === -80 ? "3 3" : null }), svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, `${v > 0 ? "+" : ""}${v} %`));
  bars.forEach(([name, a, change, allowed], k) => {
    const x = left + k * step, thick = Math.max(0.7, Math.min(26, step * 0.84)), sure = Math.min(allowed, CAP);
    const rect = (from, to, opacity) => svg("rect", { x, width: thick, y: Math.min(y(from), y(to)), height: Math.max(Math.abs(y(from) - y(to)), 0.5), style: `fill:${armColour(a)};fill-opacity:${opacity}` }, svg("title", {}, `${name}, ${data.arms.names[a]}: ${change === -100 ? `not detected, limit ${allowed.toFixed(0)} %` : `${change.toFixed(0)} %`}`));
    if (change === -100) { // what the depth excludes is solid, what only "not detected" says is pale
      picture.append(rect(Math.min(0, sure), -100, 0.28), sure < 0 ? rect(0, sure, 0.95) : "");
    } else picture.append(rect(0, change, 0.95), change > CAP ? svg("path", { d: `M${x} ${top}h${thick}l${-thick / 2} -6z`, style: `fill:${armColour(a)}` }) : "");
  });
  return picture;
}
function spaghettiPlot(w) {
  const { names, times: own, lines } = data.arms, left = 34, top = 8, height = 190, gap = 16;
  const each = (w - left - gap * (names.length - 1)) / names.length;
  const tops = lines.flatMap(line => line[2].map(point => point[1])).sort((a, b) => a - b), most = Math.max(tops[Math.floor((tops.length - 1) * 0.995)] || 1, 0.5);
  const y = v => top + height * (1 - Math.sqrt(Math.min(v, most * 1.05) / most));
  const picture = svg("svg", { width: w, height: top + height + 40, viewBox: `0 0 ${w} ${top + height + 40}` });
  for (const v of ticks(most, height)) picture.append(svg("line", { class: "grid", x1: left, x2: w, y1: y(v), y2: y(v) }), svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, v));
  names.forEach((name, a) => {
    const x0 = left + a * (each + gap), x = t => x0 + (own.length > 1 ? 6 + t * (each - 12) / (own.length - 1) : each / 2);
    let ways = "", dots = "", free = "";
    for (const [, arm, points] of lines) {
      if (arm !== a) continue;
      points.slice(1).forEach(([t, v, seen], k) => {
        const [t0, v0, seen0] = points[k], line = `M${x(t0).toFixed(1)} ${y(v0).toFixed(1)}L${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
        if (seen || seen0) ways += line; // from limit to limit nothing is known
      });
      for (const [t, v, seen] of points) if (seen) dots += `M${(x(t) - 1.6).toFixed(1)} ${y(v).toFixed(1)}a1.6 1.6 0 1 0 3.2 0a1.6 1.6 0 1 0 -3.2 0`; else free += `M${(x(t) - 2).toFixed(1)} ${y(v).toFixed(1)}h4l-2 3.4z`;
    }
    const many = lines.filter(line => line[1] === a).length;
    picture.append(svg("path", { d: ways, style: `fill:none;stroke:${armColour(a)}`, "stroke-width": 1, "stroke-opacity": Math.max(0.1, Math.min(0.7, 14 / many)) }), svg("path", { d: dots, style: `fill:${armColour(a)}`, "fill-opacity": 0.75 }), svg("path", { d: free, style: `fill:none;stroke:${armColour(a)}`, "stroke-width": 0.9, "stroke-opacity": many > 60 ? 0.35 : 0.7 }),
      svg("text", { class: "strong", x: x0, y: top + height + 34 }, name));
    own.forEach((t, k) => (k === 0 || k === own.length - 1 || each / own.length > 62) && picture.append(svg("text", { x: x(k), y: top + height + 16, "text-anchor": k === 0 ? "start" : k === own.length - 1 ? "end" : "middle" }, t)));
  });
  return picture;
}
function drawArms() {
  const place = $("arms");
  if (!place || !data.arms) return;
  const w = Math.max(400, Math.min(620, (document.querySelector("main").clientWidth - 62) / 2 - 28));
  const card = (title, hint, ...inside) => el("div", { class: "sheet plot" }, el("h3", {}, title, " ", el("span", { class: "soft small", style: "font-weight:400" }, hint)), inside);
  const fall = el("div", {}), last = data.arms.times.length - 1;
  const draw = t => fall.replaceChildren(waterfallPlot(w, t));
  const choice = el("select", { class: "screen-only", "aria-label": "Time point of the waterfall", on: { change: event => draw(Number(event.target.value)) } }, data.arms.times.map((name, t) => t > 0 && el("option", { value: t, selected: t === last ? "" : null }, name)));
  draw(last);
  const reduction = forest(w);
  place.replaceChildren(
    reduction ? card("Reduction against the control arm", "median and 95 % interval", reduction) : "",
    card("Without DTC", "share of patients, 95 % interval", armLegend(), freePlot(w)),
    card("Change since the first", "patients with DTC at first; pale: below what the depth can show", armLegend(), choice, fall),
    card("Each patient", "DTC per 10\u2076; \u25bd upper limit where not detected", spaghettiPlot(w)));
}

// --- on paper: the overview, then the patients that hold DTC -------------------------------------------------------
const MOST_PRINTED = 150;
function preparePrint() {
  all = true;
  drawTable();
  const held = patients.filter(p => p.dtc > 0), shown = held.slice(0, MOST_PRINTED);
  $("print").replaceChildren(...shown.map(p => el("section", { class: "patient-block" }, ...patientView(p, 680, true).flat(9).filter(Boolean))),
    held.length > shown.length ? el("p", {}, `${held.length - shown.length} more patients hold DTC; all are in patients.csv.`) : "");
  if ($("rates")) $("rates").replaceChildren(ratesPlot(690));
}
function afterPrint() { all = false; drawTable(); $("print").replaceChildren(); drawRates(); }
window.addEventListener("beforeprint", preparePrint);
window.addEventListener("afterprint", afterPrint);

function drawRates() { if ($("rates")) $("rates").replaceChildren(ratesPlot(document.querySelector("main").clientWidth - 80)); }
let waiting = 0;
window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => { if (!window.matchMedia("print").matches) { drawRates(); drawArms(); if (location.hash) show(); } }, 150); });
drawTable();
drawRates();
drawArms();
if (location.hash) show();
document.body.dataset.ready = performance.now().toFixed(0);
})();
