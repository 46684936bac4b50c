"use strict";

const root = document.documentElement;
const THEME = "imagepipe-theme";

// A page from a file, or in a frame, may have no storage.
function storedTheme() {
  try { return localStorage.getItem(THEME); } catch { return null; }
}

function storeTheme(theme) {
  try { localStorage.setItem(THEME, theme); } catch { /* it is chosen for this visit only */ }
}

// Before the page is drawn, so that it does not flash.
if (storedTheme()) root.dataset.theme = storedTheme();

function enableTheme() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    storeTheme(root.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
}

function enableNavigation() {
  const links = [...document.querySelectorAll("nav a")];
  const targets = links.map((link) => document.getElementById(link.hash.slice(1)));
  let current = null;
  const show = () => {
    const passed = targets.filter((one) => one.getBoundingClientRect().top < innerHeight / 3);
    const atEnd = scrollY > 0 && innerHeight + scrollY >= root.scrollHeight - 2;
    const index = atEnd ? links.length - 1 : Math.max(passed.length - 1, 0);
    if (links[index] === current) return;
    current?.removeAttribute("aria-current");
    current = links[index];
    current.setAttribute("aria-current", "true");
    const list = current.closest("ul");
    list.scrollLeft = current.offsetLeft - list.offsetLeft - list.clientWidth / 3;
  };
  addEventListener("scroll", show, { passive: true });
  addEventListener("resize", show);
  if (links.length) show();
}

// The number of a cell, its text, or null if it is empty.
function valueOf(row, column) {
  const cell = row.cells[column];
  const holder = cell.dataset.value === undefined ? cell.querySelector("[data-value]") : cell;
  const text = cell.textContent.trim();
  if (holder) return Number(holder.dataset.value);
  if (text === "" || text === "–") return null;
  return Number.isNaN(Number(text.replaceAll(",", ""))) ? text : Number(text.replaceAll(",", ""));
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}

function sortTable(table, column, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
  // Empty cells come last in both directions.
  rows.sort(([one], [other]) =>
    one === null || other === null ? (one === null) - (other === null) : direction * compare(one, other));
  body.append(...rows.map(([, row]) => row));
}

function enableSorting(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      // Numbers begin with the largest, text with A.
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? second : first;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      sortTable(table, column, order === "ascending" ? 1 : -1);
    });
  });
}

function enableFilter(holder) {
  const rows = [...holder.querySelector("tbody").rows];
  const bar = document.createElement("div");
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("span");
  bar.className = "filter";
  label.textContent = holder.dataset.filter;
  input.type = "search";
  count.setAttribute("role", "status");
  label.append(input);
  bar.append(label, count);
  holder.prepend(bar);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = `${shown} of ${rows.length} row${rows.length === 1 ? "" : "s"}`;
  });
}

// What is folded in would be missing on paper.
function enablePrinting() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));
}

document.addEventListener("DOMContentLoaded", () => {
  enableTheme();
  enableNavigation();
  document.querySelectorAll("table.sortable").forEach(enableSorting);
  document.querySelectorAll("[data-filter]").forEach(enableFilter);
  enablePrinting();
});
