// Which gene each name is: GeneVocab of models/processing_tx1.py, line by line.
"use strict";

class Vocabulary {
  constructor(student) {
    this.tokens = new Map(Object.entries(student.tokens));
    this.symbols = new Map(Object.entries(student.symbols));
    this.columns = student.columns;
    this.naming = student.naming;
    this.capitals = this._capitals();
  }

  // Names with small letters by how they look without, where that is one name.
  _capitals() {
    const found = new Map();
    for (const name of [...this.tokens.keys(), ...this.symbols.keys()]) {
      const capital = name.toUpperCase();
      if (capital !== name) found.set(capital, (found.has(capital) ? found.get(capital) : name) === name ? name : null);
    }
    return new Map([...found].filter(([, name]) => name !== null));
  }

  // Number of a gene, -1 where unknown, and whether its name is a symbol of it.
  find(name) {
    if (this.tokens.has(name)) return [this.tokens.get(name), false];
    const bare = name.trim().replace(/^(GRCh3[78]|hg19|hg38)_+/, "");
    const capital = bare.toUpperCase(), isId = capital.startsWith("ENSG");
    for (const candidate of [name, bare, isId ? capital : bare]) {
      for (const gene of [candidate, candidate.split(".")[0]]) {
        if (this.tokens.has(gene)) return [this.tokens.get(gene), false];
      }
    }
    for (const candidate of [name, bare, this.capitals.get(bare) ?? bare, isId ? capital.split(".")[0] : bare]) {
      if (this.tokens.has(candidate)) return [this.tokens.get(candidate), false];
      const gene = this.symbols.get(candidate);
      if (gene !== undefined && this.tokens.has(gene)) return [this.tokens.get(gene), true];
    }
    return [-1, false];
  }

  // Of columns of names ({name, values}, the index with name null) the one that tells best, and each row's number.
  match(columns) {
    let best = null;
    for (const { name, values } of columns) {
      const numbers = new Int32Array(values.length);
      let known = 0, bySymbol = 0;
      values.forEach((value, row) => {
        const [number, isSymbol] = this.find(String(value));
        numbers[row] = number;
        known += number >= 0;
        bySymbol += isSymbol;
      });
      if (known === values.length && !bySymbol) return { name, numbers, known };
      const score = 2 * known - bySymbol;
      if (best === null || score > best.score) best = { name, numbers, known, score };
    }
    return best;
  }

  // Which columns of a gene table to look at beside its index.
  candidates(names) {
    return [...this.columns.ids, ...this.columns.symbols].filter((name) => names.includes(name));
  }
}
