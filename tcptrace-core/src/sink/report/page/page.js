
"use strict";
(function () {
  var table = document.getElementById("rows");
  addEventListener("beforeprint", function () {
    document.querySelectorAll("details.example").forEach(function (it) { it.open = true; });
  });
  if (!table) return;
  var body = table.tBodies[0];
  var rows = Array.from(body.rows);
  var texts = rows.map(function (row) { return row.textContent.toLowerCase(); });
  var shown = document.getElementById("shown");
  var search = document.getElementById("search");
  var heads = Array.from(table.tHead.rows[0].cells);
  var timer = 0;
  function filter() {
    var words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    var count = 0;
    rows.forEach(function (row, place) {
      var match = words.every(function (word) { return texts[place].includes(word); });
      row.hidden = !match;
      if (match) count += 1;
    });
    shown.textContent = count + " of " + rows.length + " rows";
  }
  function sort(head, column) {
    var up = head.getAttribute("aria-sort") === (head.className === "n" ? "descending" : "none");
    heads.forEach(function (it) { it.setAttribute("aria-sort", "none"); });
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    var value = function (row) {
      var text = row.cells[column].textContent;
      if (head.className !== "n") return text;
      var number = parseFloat(text);
      return isNaN(number) ? -1 : number;
    };
    var keyed = rows.map(function (row, place) { return [value(row), place, row]; });
    keyed.sort(function (a, b) {
      var order = a[0] === b[0] ? a[1] - b[1] : a[0] < b[0] === up ? -1 : 1;
      return order;
    });
    body.append.apply(body, keyed.map(function (it) { return it[2]; }));
  }
  heads.forEach(function (head, column) {
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", function () { sort(head, column); });
  });
  search.addEventListener("input", function () {
    clearTimeout(timer);
    timer = setTimeout(filter, 120);
  });
  document.getElementById("tools").hidden = false;
  filter();
})();
