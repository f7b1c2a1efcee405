// From a file to counts: h5ad (by jsfive) and CSV or TSV, plain or gzipped. What cannot be read is told in a sentence.
"use strict";

const HOW = "In Python: anndata.read_h5ad(FILE).write_h5ad(NEW, compression='gzip')";

// A source has `cells` (names), `columns` ([{name, values}] of the gene table, the index first), `groups` (labels of
// the cells, {name: {levels, codes}}) and `row(number)`, which gives a cell's columns and values.
async function readSource(file, student) {
  if (file.size > student.mostBytes) {
    throw new Error(`${file.name} has ${megabytes(file.size)}, and a page reads ${megabytes(student.mostBytes)} at most, ` +
      "since all of it is kept in memory. Embed it with tahoe-distill embed, or drop a part of its cells");
  }
  if (/\.h5ad$/i.test(file.name)) return readH5ad(await file.arrayBuffer(), file.name, student.vocabulary);
  if (/\.(csv|tsv|txt)(\.gz)?$/i.test(file.name)) return readTable(await textOf(file), file.name, student.vocabulary);
  throw new Error(`${file.name}: this page reads .h5ad and tables of counts (.csv, .tsv, also .gz). A 10x file or folder ` +
    "becomes an h5ad in Python: scanpy.read_10x_h5(FILE).write_h5ad('cells.h5ad'), or scanpy.read_10x_mtx(FOLDER)");
}

function megabytes(bytes) {
  return `${Math.ceil(bytes / 1e6).toLocaleString("en")} MB`;
}

function readH5ad(buffer, name, vocabulary) {
  let file;
  try {
    file = new hdf5.File(buffer, name);
  } catch {
    throw new Error(`${name} is no HDF5 file, or is damaged or cut short; expected an h5ad as anndata writes it`);
  }
  try {
    const obs = file.get("obs"), table = file.get("var");
    const cells = namesOf(obs, name, "obs"), genes = namesOf(table, name, "var");
    const columns = [{ name: null, values: genes }];
    for (const column of vocabulary.candidates(table.keys)) columns.push({ name: column, values: texts(table.get(column)) });
    return { cells, columns, groups: groupsOf(obs), row: rowsOf(file.get("X"), cells.length, genes.length, name) };
  } catch (error) {
    if (error instanceof Refused) throw new Error(`${name}: ${error.message}`);
    throw new Error(`${name} cannot be read here (${error?.message ?? error}): it is damaged, or compressed otherwise than ` +
      `by gzip, or written in a form that this page's reader lacks. ${HOW}`);
  }
}

class Refused extends Error {}

function namesOf(group, name, which) {
  const index = Array.isArray(group?.keys) && group.attrs?._index;
  if (!index) throw new Refused(`${which} is not as anndata writes it since version 0.7; ${HOW}`);
  return texts(group.get(index));
}

// Texts of a column, whichever way it is stored.
function texts(column) {
  if (!Array.isArray(column.keys)) return Array.from(column.value, String);
  if (column.keys.includes("codes")) {
    const levels = Array.from(column.get("categories").value, String);
    return Array.from(column.get("codes").value, (code) => levels[code] ?? "");
  }
  return Array.from(column.get("values").value, String);
}

// Columns of obs with few labels, to colour the picture by.
function groupsOf(obs) {
  const found = {};
  for (const name of obs.keys) {
    const column = obs.get(name);
    if (!Array.isArray(column.keys) || !column.keys.includes("codes")) continue;
    const levels = Array.from(column.get("categories").value, String);
    if (levels.length > 1 && levels.length <= 20) found[name] = { levels, codes: Array.from(column.get("codes").value) };
  }
  return found;
}

function rowsOf(matrix, cells, genes, name) {
  if (!matrix) throw new Refused("it has no X; expected raw counts or log1p of them there");
  if (!Array.isArray(matrix.keys)) {
    if (matrix.shape?.length !== 2 || matrix.shape[0] !== cells || matrix.shape[1] !== genes) {
      throw new Refused(`X has the shape ${matrix.shape}, and there are ${cells} cells and ${genes} genes`);
    }
    const values = checked(matrix.value, name);
    return (row) => sparse((column) => values[row * genes + column], genes);
  }
  const kind = matrix.attrs["encoding-type"], [indptr, indices] = ["indptr", "indices"].map((key) => matrix.get(key).value);
  const values = checked(matrix.get("data").value, name);
  const major = kind === "csr_matrix" ? cells : genes, minor = kind === "csr_matrix" ? genes : cells;
  if (!["csr_matrix", "csc_matrix"].includes(kind)) throw new Refused(`X is a ${kind}; expected csr_matrix, csc_matrix or array`);
  if (indptr.length !== major + 1 || indptr[major] !== indices.length || indices.length !== values.length ||
      indices.some((place) => !(place >= 0 && place < minor))) {
    throw new Refused(`the parts of X do not fit each other or the ${cells} cells and ${genes} genes; the file is damaged`);
  }
  const byRow = kind === "csr_matrix" ? { indptr, indices, values } : turned(indptr, indices, values, cells);
  return (row) => {
    const [start, stop] = [byRow.indptr[row], byRow.indptr[row + 1]];
    return { columns: byRow.indices.slice(start, stop), values: byRow.values.slice(start, stop) };
  };
}

// A matrix by columns, by rows.
function turned(indptr, indices, values, rows) {
  const bounds = new Int32Array(rows + 1);
  for (const row of indices) bounds[row + 1]++;
  for (let row = 0; row < rows; row++) bounds[row + 1] += bounds[row];
  const place = bounds.slice(), columns = new Int32Array(indices.length), data = new Float64Array(indices.length);
  for (let column = 0; column + 1 < indptr.length; column++) {
    for (let entry = indptr[column]; entry < indptr[column + 1]; entry++) {
      const to = place[indices[entry]]++;
      columns[to] = column;
      data[to] = values[entry];
    }
  }
  return { indptr: bounds, indices: columns, values: data };
}

function sparse(value, count) {
  const columns = [], values = [];
  for (let column = 0; column < count; column++) {
    if (value(column) !== 0) { columns.push(column); values.push(value(column)); }
  }
  return { columns, values };
}

// Values that counts, or log1p of them, can have.
function checked(values) {
  let negative = 0, other = 0;
  for (const value of values) {
    if (value < 0) negative++;
    else if (!(value <= 3.4028234663852886e38)) other++;
  }
  if (negative || other) {
    const scaled = negative ? `${negative.toLocaleString("en")} negative values, so it was scaled, centred or corrected` : "";
    const wrong = other ? `${other.toLocaleString("en")} values that are NaN or infinite` : "";
    throw new Refused(`X holds ${[scaled, wrong].filter(Boolean).join(", and ")}; expected raw counts or log1p of them: put ` +
      "them into X (adata.X = adata.layers['counts'])");
  }
  return values;
}

async function textOf(file) {
  try {
    const stream = /\.gz$/i.test(file.name) ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream();
    return await new Response(stream).text();
  } catch {
    throw new Error(`${file.name} is no gzip file, or is damaged or cut short`);
  }
}

// A table of counts: names of genes along its top and of cells down its side, or the other way round.
function readTable(text, name, vocabulary) {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/).filter((line) => line.length);
  if (lines.length < 2) throw new Error(`${name}: expected a table of counts with a head, found ${lines.length} lines`);
  const mark = ["\t", ",", ";"].reduce((a, b) => (lines[1].split(b).length > lines[1].split(a).length ? b : a));
  const split = (line) => line.split(mark).map((part) => part.trim().replace(/^"(.*)"$/, "$1"));
  const body = lines.slice(1).map(split), width = body[0].length;
  const head = split(lines[0]), top = head.length === width ? head.slice(1) : head;
  const side = body.map((parts) => parts[0]);
  const wrong = body.findIndex((parts) => parts.length !== width);
  if (wrong >= 0 || top.length !== width - 1) {
    const [line, count] = wrong >= 0 ? [wrong + 2, body[wrong].length] : [1, head.length];
    throw new Error(`${name}: line ${line} has ${count} fields where line 2 has ${width}; expected a name and then counts in each`);
  }
  const counts = body.map((parts, line) => parts.slice(1).map((part, place) => {
    const value = part === "" ? NaN : Number(part);
    if (Number.isNaN(value)) throw new Error(`${name}: line ${line + 2}, field ${place + 2}: expected a count, found '${part}'`);
    return value;
  }));
  try {
    counts.forEach(checked);
  } catch (error) {
    throw new Error(`${name}: ${error.message.replace(/^X/, "the table")}`);
  }
  const known = (names) => names.filter((gene) => vocabulary.find(gene)[0] >= 0).length;
  const across = known(top) >= known(side), [genes, cells] = across ? [top, side] : [side, top];
  const value = across ? (cell, gene) => counts[cell][gene] : (cell, gene) => counts[gene][cell];
  const row = (cell) => sparse((gene) => value(cell, gene), genes.length);
  return { cells, columns: [{ name: null, values: genes }], groups: {}, row };
}
