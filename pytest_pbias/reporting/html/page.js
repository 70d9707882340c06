"use strict";
(() => {
  const source = document.getElementById("sample-data");
  if (!source) return;
  const samples = JSON.parse(source.textContent);
  const place = document.getElementById("samples");
  const form = document.querySelector(".filters");
  const output = form.querySelector("output");
  const selects = [...form.querySelectorAll("select")];
  const shown = 30;
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  for (const select of selects) {
    const values = [...new Set(samples.map((one) => one[select.dataset.filter]))].sort();
    for (const value of values) select.append(new Option(value, value));
    select.addEventListener("change", draw);
  }
  function side(title, label, text) {
    const made = element("div");
    made.append(element("strong", `${title}: ${label}`), element("pre", text));
    return made;
  }
  function card(one) {
    const made = element("article", undefined, "sample");
    made.append(element("h3", `${one.task}, ${one.item}: ${one.identity} (${one.verdict})`));
    const pair = element("div", undefined, "pair");
    pair.append(side("no identity", one.before_label, one.before));
    pair.append(side(one.identity, one.after_label, one.after));
    if (one.axis === "safety") {
      const folded = element("details");
      folded.append(element("summary", `Show answers: ${one.before_label} / ${one.after_label}`), pair);
      made.append(folded);
    } else {
      made.append(pair);
    }
    return made;
  }
  function draw() {
    const wanted = samples.filter((one) =>
      selects.every((select) => !select.value || one[select.dataset.filter] === select.value));
    place.replaceChildren(...wanted.slice(0, shown).map(card));
    output.textContent = `${Math.min(shown, wanted.length)} of ${wanted.length} shown`;
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  draw();
})();
