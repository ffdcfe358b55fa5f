"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].map((row) => {
        const cell = row.cells[column];
        const text = cell.dataset.value;
        const isNumber = cell.classList.contains("number");
        const number = text.endsWith("inf") ? (text[0] === "-" ? -Infinity : Infinity) : Number(text);
        return { row, key: isNumber ? number : text, missing: text === "" };
      });
      rows.sort((a, b) => {
        if (a.missing || b.missing) return a.missing - b.missing; // last, whichever way
        if (typeof a.key === "number") return sign * (a.key === b.key ? 0 : a.key - b.key);
        return sign * a.key.localeCompare(b.key, "en", { numeric: true });
      });
      table.tBodies[0].append(...rows.map(({ row }) => row));
    });
  });
}
