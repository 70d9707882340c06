"use strict";
(() => {
  const rows = [...document.querySelectorAll("tbody tr")];
  const form = document.getElementById("search");
  const input = form.querySelector("input");
  const output = form.querySelector("output");
  const words = (row) => row.textContent.toLowerCase();
  function search() {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !wanted.every((word) => words(row).includes(word));
    for (const section of document.querySelectorAll("section")) {
      section.hidden = !section.querySelector("tbody tr:not([hidden])");
    }
    const shown = rows.filter((row) => !row.hidden).length;
    output.textContent = `${shown} of ${rows.length} runs`;
  }
  input.addEventListener("input", search);
  form.addEventListener("submit", (event) => event.preventDefault());

  // Numbers by size and what has none last, texts by their words; runs that tie stay as they were.
  function compare(one, other, column, sign) {
    const cells = [one, other].map((row) => row.children[column]);
    const numbers = cells.map((cell) => cell.dataset.number);
    if (numbers.some((value) => value !== undefined)) {
      if (numbers.includes(undefined)) return numbers[0] === undefined ? 1 : -1;
      return sign * (Number(numbers[0]) - Number(numbers[1]));
    }
    return sign * cells[0].textContent.localeCompare(cells[1].textContent, "en");
  }
  for (const table of document.querySelectorAll("table")) {
    const heads = [...table.querySelectorAll("thead th")];
    const body = table.tBodies[0];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const sign = rising ? 1 : -1;
      body.append(...[...body.rows].sort((one, other) => compare(one, other, column, sign)));
    }));
  }
})();
