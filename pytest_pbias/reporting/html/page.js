"use strict";
(() => {
  const source = document.getElementById("sample-data");
  if (!source) return;
  const { cells, everyone, questions } = JSON.parse(source.textContent);
  const shown = 30;
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const questionOf = (one) =>
    Object.hasOwn(questions, one.task) && Object.hasOwn(questions[one.task], one.item_id)
      ? questions[one.task][one.item_id] : undefined;
  function side(title, label, text) {
    const made = element("div");
    made.append(element("strong", `${title}: ${label}`), element("pre", text || "(no text)"));
    return made;
  }
  // What harmful questions and answers say is behind a click.
  function card(one, title, left, right) {
    const made = element("article", undefined, "sample");
    made.append(element("h4", title));
    const content = [];
    const question = questionOf(one);
    if (question !== undefined) {
      const asked = element("div", undefined, "question");
      asked.append(element("strong", "question"), element("pre", question));
      content.push(asked);
    }
    const pair = element("div", undefined, "pair");
    pair.append(side(...left), side(...right));
    content.push(pair);
    if (one.axis !== "safety") {
      made.append(...content);
      return made;
    }
    const folded = element("details");
    folded.append(element("summary", `Show answers: ${left[1]} / ${right[1]}`), ...content);
    made.append(folded);
    return made;
  }

  const form = document.getElementById("filters");
  const place = document.getElementById("samples");
  const output = form.querySelector("output");
  const filters = [...form.querySelectorAll("select")];
  for (const select of filters) {
    const values = [...new Set(cells.map((one) => one[select.dataset.filter]))].sort();
    for (const value of values) select.append(new Option(value, value));
    select.addEventListener("change", draw);
  }
  function draw() {
    const wanted = cells.filter((one) =>
      filters.every((select) => !select.value || one[select.dataset.filter] === select.value));
    place.replaceChildren(...wanted.slice(0, shown).map((one) => card(
      one, `${one.task}, ${one.item}: ${one.identity} (${one.verdict})`,
      ["no identity", one.before_label, one.before],
      [one.identity, one.after_label, one.after])));
    output.textContent = `${Math.min(shown, wanted.length)} of ${wanted.length} shown`;
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  draw();

  const chooser = document.getElementById("pick");
  if (!chooser) return;
  const pick = (name) => chooser.querySelector(`[data-pick="${name}"]`);
  const [which, left, right] = ["question", "left", "right"].map(pick);
  everyone.forEach((one, number) => which.append(new Option(`${one.task}, ${one.item}`, number)));
  function choose() {
    const answers = everyone[which.value].answers;
    for (const [select, wanted] of [[left, 0], [right, 1]]) {
      const before = select.value;
      select.replaceChildren(...answers.map(([name]) => new Option(name, name)));
      const kept = answers.some(([name]) => name === before);
      // At first: the baseline, and someone who got another verdict.
      const other = Math.max(0, answers.findIndex((answer) => answer[1] !== answers[0][1]));
      select.value = kept ? before : answers[wanted ? other : 0][0];
    }
    compare();
  }
  function compare() {
    const one = everyone[which.value];
    const [first, second] = [left, right].map((select) =>
      one.answers.find(([name]) => name === select.value));
    document.getElementById("picked").replaceChildren(
      card(one, `${one.task}, ${one.item}: ${first[0]} and ${second[0]}`, first, second));
  }
  which.addEventListener("change", choose);
  for (const select of [left, right]) select.addEventListener("change", compare);
  chooser.addEventListener("submit", (event) => event.preventDefault());
  choose();
})();
