document.documentElement.className = "js";
addEventListener("DOMContentLoaded", () => {
  for (const input of document.querySelectorAll("input[data-filters]")) {
    const rows = [...document.getElementById(input.dataset.filters).rows].map((row) => [row, row.textContent.toLowerCase()]);
    const told = document.getElementById(input.id + "-told");
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/);
      let shown = 0;
      for (const [row, text] of rows) {
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      told.textContent = shown + " of " + rows.length;
    };
    input.addEventListener("input", filter);
    filter();
  }
});
