// The pages are whole without this. It filters and sorts what is already there, moves by keyboard, and copies lines.
(function () {
'use strict';
const d = document, root = d.documentElement, $ = (s, e) => (e || d).querySelector(s);
const slice = 4000; // rows that are looked at between two frames
let table, rows, chunks, find, count, said, none;

// Rows are read when they are first needed: of 100,000 most never are.
function read() {
  if (rows) return rows;
  chunks = [...table.tBodies];
  rows = [];
  for (const body of chunks) {
    for (const tr of body.rows) {
      const text = $('a', tr).textContent, dir = tr.classList.contains('dir'), name = dir ? text.slice(0, -1) : text;
      rows.push({tr, name, low: text.toLowerCase(), dir, on: true});
    }
  }
  return rows;
}

let run = 0, due = 0;
function filter() {
  clearTimeout(due);
  due = 0;
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean), me = ++run;
  const all = read();
  let i = 0, shown = 0;
  const height = all.length ? Math.max(24, all[0].tr.offsetHeight || 36) : 36;
  (function step() {
    if (me !== run) return;
    for (const end = Math.min(all.length, i + slice); i < end; i++) {
      const r = all[i], on = words.every(w => r.low.includes(w));
      shown += on;
      if (on !== r.on) r.tr.hidden = !(r.on = on);
    }
    const done = i >= all.length;
    if (done || i === slice) settle(all, height);
    count.textContent = words.length ? shown.toLocaleString('en') + (done ? ' of ' : '… of ') + (table.dataset.part ? all.length.toLocaleString('en') + ' on this page' : said) : said;
    none.hidden = !done || shown > 0 || !all.length;
    if (!done) requestAnimationFrame(step);
  })();
}

// settle tells each group of rows what it is high while it is not drawn.
function settle(all, height) {
  let i = 0;
  for (const body of chunks) {
    let n = 0;
    for (const end = i + body.rows.length; i < end; i++) n += all[i].on;
    body.hidden = !n;
    body.style.containIntrinsicBlockSize = n * height + 'px';
  }
}

const units = {B: 0, KiB: 1, MiB: 2, GiB: 3, TiB: 4, PiB: 5, EiB: 6};
const keys = {
  size(r) {
    const c = r.tr.cells[1], v = $('data', c), m = /([\d.]+) (\w+)/.exec(c.textContent);
    return v ? +v.value : m ? m[1] * 1024 ** units[m[2]] : null;
  },
  time(r) {
    const t = $('time', r.tr.cells[2]);
    return t ? t.dateTime.replace(/Z$/, '') : null;
  },
};

// natural is the order that the server gives names: digits that stand together are one number, all else goes by code unit.
const digits = /\d+/y;
function number(s, at) {
  digits.lastIndex = at;
  return digits.exec(s)[0];
}
const decimal = c => c >= 48 && c <= 57;
function natural(a, b) {
  let i = 0, j = 0;
  while (i < a.length && j < b.length) {
    const c = a.charCodeAt(i), e = b.charCodeAt(j);
    if (!decimal(c) || !decimal(e)) {
      if (c !== e) return c - e;
      i++;
      j++;
      continue;
    }
    const m = number(a, i), n = number(b, j), x = m.replace(/^0+/, ''), y = n.replace(/^0+/, '');
    if (x !== y) return x.length - y.length || (x < y ? -1 : 1);
    i += m.length;
    j += n.length;
  }
  return (a.length - i) - (b.length - j) || (a < b ? -1 : a > b ? 1 : 0);
}

function sort(by, order) {
  const all = read(), sign = order === 'desc' ? -1 : 1, key = keys[by];
  for (const r of all) if (key) r.key = key(r);
  all.sort((a, b) => {
    if (!key && a.dir !== b.dir) return a.dir ? -1 : 1;
    if (key && a.key !== b.key) {
      if (a.key === null || b.key === null) return a.key === null ? 1 : -1; // the unknown comes last either way
      return (a.key < b.key ? -1 : 1) * sign;
    }
    return key ? natural(a.name, b.name) : natural(a.name, b.name) * sign;
  });
  const size = Math.ceil(all.length / chunks.length);
  chunks.forEach((body, i) => body.append(...all.slice(i * size, (i + 1) * size).map(r => r.tr)));
  table.classList.toggle('byname', by === 'name' && sign > 0);
  settle(all, all[0].tr.offsetHeight || 36);
}

function sorting(e) {
  const f = e.target;
  if (!f.matches('.sort') || !table.dataset.whole) return; // the server knows the rows that are not here, and is quicker with very many
  e.preventDefault();
  const by = f.elements.sort.value, order = f.elements.order.value;
  if (read().length) sort(by, order);
  for (const th of table.tHead.rows[0].cells) {
    const button = $('button', th), own = button && button.form;
    th.removeAttribute('aria-sort');
    if (own === f) th.setAttribute('aria-sort', order + 'ending');
    if (own) own.elements.order.value = own === f ? (order === 'asc' ? 'desc' : 'asc') : (own.elements.sort.value === 'name' ? 'asc' : 'desc');
  }
  const q = new URLSearchParams(location.search);
  q.set('sort', by);
  q.set('order', order);
  try { history.replaceState(null, '', '?' + q); } catch (_) { /* a saved page has no history to keep */ }
}

function visible(tr, step) {
  for (let body = tr.parentElement; ;) {
    tr = step > 0 ? tr.nextElementSibling : tr.previousElementSibling;
    while (!tr) {
      do body = step > 0 ? body.nextElementSibling : body.previousElementSibling; while (body && (body.hidden || body.tagName !== 'TBODY'));
      if (!body) return null;
      tr = step > 0 ? body.firstElementChild : body.lastElementChild;
    }
    if (!tr.hidden) return tr;
  }
}

function move(step) {
  if (due) filter(); // keys may come faster than timers
  const now = d.activeElement.closest && d.activeElement.closest('tbody tr');
  const to = now ? visible(now, step) : $('tbody:not([hidden]) tr:not([hidden])', table);
  if (to) $('a', to).focus();
  else if (now && step < 0) find.focus();
}

function pressed(e) {
  if (e.ctrlKey || e.metaKey || e.altKey || $('dialog[open]')) return;
  const inRows = d.activeElement.closest && d.activeElement.closest('tbody'), typing = d.activeElement === find;
  if (typing && e.key === 'Escape') {
    find.value ? (find.value = '', filter()) : find.blur();
  } else if (table && (typing || inRows) && (e.key === 'ArrowDown' || e.key === 'ArrowUp')) {
    move(e.key === 'ArrowDown' ? 1 : -1);
  } else if (typing && e.key === 'Enter') {
    if (due) filter();
    const first = $('tbody:not([hidden]) tr:not([hidden]) a', table);
    if (first) first.click();
  } else if (typing || /^(INPUT|TEXTAREA|SELECT)$/.test(d.activeElement.tagName)) {
    return;
  } else if (e.key === '/' && find) {
    find.focus();
    find.select();
  } else if (table && (e.key === 'j' || e.key === 'k')) {
    move(e.key === 'j' ? 1 : -1);
  } else if (e.key === 'i' && inRows) {
    const b = $('button', d.activeElement.closest('tr'));
    if (b) b.click();
  } else if (e.key === 'u' || e.key === 'Backspace') {
    const up = [...d.querySelectorAll('h1 a')].pop() || $('button.mark');
    if (up) up.click();
  } else if (e.key === '?' && $('#keys')) {
    $('#keys').showModal();
  } else if (e.key === 'Escape' && find && find.value) {
    find.value = '';
    filter();
  } else {
    return;
  }
  e.preventDefault();
}

// ago is how long before now the time is, as the server words it.
function ago(t) {
  const s = (Date.now() - t) / 1000;
  for (const [n, one, many] of [[86400, 'day', 'days'], [3600, 'h', 'h'], [60, 'min', 'min']]) {
    const v = Math.floor(s / n);
    if (v >= 1) return v + ' ' + (v === 1 ? one : many) + ' ago';
  }
  return 'just now';
}

function ages() {
  for (const t of d.querySelectorAll('time.ago')) t.textContent = ago(Date.parse(t.dateTime));
}

function clicked(e) {
  const b = e.target.closest('button');
  if (!b) return;
  if (b.dataset.copy !== undefined) {
    const text = $('pre', b.parentElement).textContent;
    const done = () => { b.textContent = 'copied'; setTimeout(() => { b.textContent = 'copy'; }, 1500); };
    // Without TLS a page has no clipboard; a selection is then the next best.
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, () => {});
    else getSelection().selectAllChildren($('pre', b.parentElement));
  } else if (b.dataset.opens) {
    $(b.dataset.opens).showModal();
  } else if (b.dataset.closes !== undefined) {
    b.closest('dialog').close();
  }
}

root.className = 'js';
d.addEventListener('DOMContentLoaded', () => {
  table = $('table.list');
  find = $('#find');
  count = $('#count');
  none = $('#none');
  said = count && count.textContent;
  if (find) {
    find.addEventListener('input', () => {
      clearTimeout(due);
      due = setTimeout(filter, read().length > slice ? 120 : 0);
    });
    if (find.value) filter(); // the browser has kept it over a reload
  }
  d.addEventListener('submit', sorting);
  d.addEventListener('keydown', pressed);
  d.addEventListener('click', clicked);
  d.addEventListener('mouseover', e => {
    const t = e.target.closest && e.target.closest('td time');
    if (t && !t.title) t.title = ago(Date.parse(t.dateTime.length === 16 ? t.dateTime + 'Z' : t.dateTime));
  });
  setInterval(ages, 30000);
});
})();
