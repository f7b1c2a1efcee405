// What the page shows, and what is done with a file that is dropped on it.
"use strict";

// Cells embedded between two looks at the page.
const STEP = 64;
const COLOURS = ["#2f74c8", "#c77a2a", "#1f9d62", "#b3261e", "#7a5cc0", "#87919e", "#c2a100", "#d25aa0", "#2aa5b5", "#6b4a2f"];
const element = (selector) => document.querySelector(`#cells ${selector}`);

const page = {
  student: new Student(JSON.parse(document.getElementById("student").textContent)),
  result: null,

  // Embed the cells of a file and show them; what is wrong with it is told on the page.
  async open(file) {
    element("#found").hidden = true;
    page.result = null;
    try {
      tell("plain", `Reading ${file.name}`);
      await shown();
      const source = await readSource(file, page.student);
      page.result = await embedAll(source, file.name);
      show(page.result);
    } catch (error) {
      tell("bad", "This file cannot be embedded", error.message);
    }
  },

  csv() {
    const { cells, vectors } = page.result, quoted = (name) => (/[",\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name);
    const head = ["cell", ...Array.from(vectors[0], (_, place) => place)];
    const lines = vectors.map((vector, row) => [quoted(cells[row]), ...vector].join(","));
    return [head.join(","), ...lines, ""].join("\n");
  },

  // Version 1.0 of NumPy's format: (cells, width) float32.
  npy() {
    const { vectors } = page.result, size = vectors[0].length;
    const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${vectors.length}, ${size}), }`;
    const head = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n";
    const bytes = new Uint8Array(10 + head.length + 4 * size * vectors.length), view = new DataView(bytes.buffer);
    bytes.set([0x93, ..."NUMPY"].map((sign) => (typeof sign === "string" ? sign.charCodeAt(0) : sign)));
    bytes.set([1, 0], 6);
    view.setUint16(8, head.length, true);
    bytes.set(new TextEncoder().encode(head), 10);
    vectors.forEach((vector, row) => vector.forEach((value, place) => {
      view.setFloat32(10 + head.length + 4 * (row * size + place), value, true);
    }));
    return bytes;
  },
};

async function embedAll(source, name) {
  const { student } = page, total = source.cells.length;
  const matched = student.vocabulary.match(source.columns);
  if (!total || !matched.numbers.length) throw new Error(`${name} has ${total} cells and ${matched.numbers.length} genes; expected some of both`);
  if (!matched.known) {
    const examples = source.columns[0].values.slice(0, 3).join(", ");
    throw new Error(`none of the ${matched.numbers.length} genes of ${name} is known to the student (they start with ${examples}); ` +
      `it knows ${student.vocabulary.naming}: expected such names, or their symbols or ids`);
  }
  const sums = new Float64Array(student.tensors.genes.length / student.width), vectors = [];
  let empty = 0;
  for (let row = 0; row < total; row++) {
    if (row % STEP === 0) {
      tell("plain", `Embedding: ${row.toLocaleString("en")} of ${total.toLocaleString("en")} cells`);
      await shown();
    }
    const [tokens, counts] = knownCounts(source.row(row), matched.numbers, sums);
    empty += !tokens.length;
    vectors.push(student.embed(tokens, counts));
  }
  return { name, cells: source.cells, groups: source.groups, matched, empty, vectors };
}

// Tokens and counts of a cell; counts of columns of one gene are added, in `sums`, which is left as it was.
function knownCounts({ columns, values }, numbers, sums) {
  const tokens = [];
  for (let place = 0; place < columns.length; place++) {
    const token = numbers[columns[place]];
    if (token < 0 || values[place] === 0) continue;
    if (sums[token] === 0) tokens.push(token);
    sums[token] += Math.fround(values[place]);
  }
  const counts = Float32Array.from(tokens, (token) => sums[token]);
  for (const token of tokens) sums[token] = 0;
  return [tokens, counts];
}

function show(result) {
  const { matched, cells, vectors, empty } = result, total = matched.numbers.length;
  const share = `${matched.known.toLocaleString("en")} of ${total.toLocaleString("en")} genes are known to the student`;
  const where = matched.name === null ? "" : `, by the column ${matched.name}`;
  const notes = [`${share}${where}. Each vector has ${vectors[0].length} coordinates and the length 1.`];
  if (empty) notes.push(`${empty.toLocaleString("en")} cells express none of them; they all got the vector of an empty cell.`);
  if (2 * matched.known < total) notes.push("That is less than half: are these human cells, and are the genes named by id or symbol?");
  tell(empty || 2 * matched.known < total ? "unsure" : "good", `${cells.length.toLocaleString("en")} cells of ${result.name} embedded`, ...notes);
  result.points = components(vectors);
  const choice = element("#colours select"), names = Object.keys(result.groups);
  choice.replaceChildren(...["", ...names].map((name) => new Option(name || "none", name)));
  choice.value = names[0] ?? "";
  element("#colours").hidden = !names.length;
  element("#found").hidden = false;
  draw();
}

function draw() {
  const { points, groups } = page.result, canvas = element("canvas"), pen = canvas.getContext("2d");
  const group = groups[element("#colours select").value];
  const spans = [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]), low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
    return { low, width: high - low || 1 };
  });
  pen.clearRect(0, 0, canvas.width, canvas.height);
  points.forEach((point, row) => {
    const [x, y] = point.map((value, axis) => 0.04 + (0.92 * (value - spans[axis].low)) / spans[axis].width);
    pen.fillStyle = COLOURS[(group?.codes[row] ?? 0) % COLOURS.length];
    pen.globalAlpha = 0.75;
    pen.beginPath();
    pen.arc(x * canvas.width, (1 - y) * canvas.height, 5, 0, 2 * Math.PI);
    pen.fill();
  });
  element("#legend").replaceChildren(...(group?.levels ?? []).map((level, code) => {
    const label = document.createElement("span"), dot = document.createElement("i");
    dot.style.background = COLOURS[code % COLOURS.length];
    label.append(dot, level);
    return label;
  }));
}

function tell(kind, head, ...sentences) {
  const box = document.createElement("div"), strong = document.createElement("strong");
  box.className = `notice ${kind}`;
  strong.textContent = head;
  box.append(strong, ...sentences.map((sentence) => Object.assign(document.createElement("p"), { textContent: sentence })));
  element("#told").replaceChildren(box);
}

// Lets the browser draw what was told.
function shown() {
  return new Promise((resolve) => setTimeout(resolve));
}

function save(content, name, type) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([content], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

element("#limits").textContent = `.h5ad, .csv or .tsv of raw counts or log1p of them, ${megabytes(page.student.mostBytes)} at most`;
element("#drop input").addEventListener("change", (event) => event.target.files.length && page.open(event.target.files[0]));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    element("#drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) page.open(event.dataTransfer.files[0]);
  });
}
element("#csv").addEventListener("click", () => save(page.csv(), "vectors.csv", "text/csv"));
element("#npy").addEventListener("click", () => save(page.npy(), "vectors.npy", "application/octet-stream"));
element("#colours select").addEventListener("change", draw);
