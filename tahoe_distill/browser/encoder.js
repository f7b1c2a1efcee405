// From a cell's tokens and counts to its vector: bin_expression of models/processing_tx1.py, SetEncoder of
// models/set_encoder_tx1.py.
"use strict";

class Student {
  constructor(student) {
    Object.assign(this, student);
    this.grades = Float32Array.from(student.grades);
    this.tensors = Object.fromEntries(Object.entries(student.tensors).map(([name, packed]) => [name, unpacked(packed)]));
    this.width = student.tensors.genes.shape[1];
    this.size = student.tensors["linear.bias"].shape[0];
    this.vocabulary = new Vocabulary(student);
  }

  // Bins of counts above zero, by quantiles of the cell's own, in the float32 arithmetic of the processor.
  binned(counts) {
    const f = Math.fround, ordered = Float32Array.from(counts).sort(), last = f(ordered.length - 1);
    const edges = Array.from(this.grades, (grade) => {
      const position = f(grade * last), below = Math.floor(position), weight = f(position - below);
      const low = ordered[below], high = ordered[Math.ceil(position)], step = f(high - low);
      // Multiplied and added with one rounding, from the nearer end.
      return weight < 0.5 ? f(low + weight * step) : f(high - step * f(1 - weight));
    });
    return Float32Array.from(counts, (count) => {
      let low = 0, high = edges.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.rightBinning ? edges[middle] <= count : edges[middle] < count) low = middle + 1;
        else high = middle;
      }
      return this.rightBinning ? low : low + 1;
    });
  }

  // Unit vector of a cell, Float32Array of `size`.
  embed(tokens, counts) {
    const statistics = this._statistics(tokens, tokens.length ? this.binned(counts) : []);
    const x = this._normed("norm", statistics);
    let hidden = this._linear("in_proj", x);
    for (let block = 0; block < this.blocks; block++) {
      const up = this._linear(`blocks.${block}.up_proj`, this._normed(`blocks.${block}.norm`, hidden));
      const down = this._linear(`blocks.${block}.down_proj`, up.map(ACTIVATIONS[this.activation]));
      hidden = hidden.map((value, place) => value + down[place]);
    }
    const own = this._linear("out_proj", hidden);
    const vector = this._linear("linear", x).map((value, place) => value + own[place]);
    const length = Math.max(Math.hypot(...vector), 1e-12);
    return Float32Array.from(vector, (value) => value / length);
  }

  _statistics(tokens, bins) {
    const parts = this.pools.map((pool) => this._pooled(tokens, bins, this._weights(pool, tokens, bins)));
    return [...parts.flatMap((part) => Array.from(part)), ...this._pairs(tokens, bins)];
  }

  _weights(pool, tokens, bins) {
    if (pool === "attention") {
      const { geneScore, binScore } = this.tensors;
      const scores = Array.from(tokens, (token, place) => geneScore[token] + binScore[bins[place]]);
      const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
      return shares(scores.map((score) => Math.exp(score - top)));
    }
    return shares(Array.from(bins, (bin) => Number(pool === "mean" || bin > this.topFrom)));
  }

  _pooled(tokens, bins, weights) {
    const D = this.width, { genes, scale, shift } = this.tensors, sums = new Float64Array(D);
    for (let place = 0; place < tokens.length; place++) {
      const weight = weights[place], gene = tokens[place] * D, bin = bins[place] * D;
      if (weight === 0) continue;
      for (let d = 0; d < D; d++) sums[d] += weight * (genes[gene + d] * scale[bin + d] + shift[bin + d]);
    }
    return sums;
  }

  _pairs(tokens, bins) {
    const { genes, pairWeight } = this.tensors, total = new Float64Array(this.pairs), squares = new Float64Array(this.pairs);
    for (let place = 0; place < tokens.length && this.pairs; place++) {
      for (let r = 0; r < this.pairs; r++) {
        const value = pairWeight[bins[place]] * genes[tokens[place] * this.width + r];
        total[r] += value;
        squares[r] += value * value;
      }
    }
    const pairs = Math.max(tokens.length * (tokens.length - 1), 1);
    return Array.from(total, (value, r) => (value * value - squares[r]) / pairs);
  }

  _linear(name, x) {
    const weight = this.tensors[`${name}.weight`], bias = this.tensors[`${name}.bias`];
    return Array.from(bias, (value, row) => x.reduce((sum, part, place) => sum + weight[row * x.length + place] * part, value));
  }

  _normed(name, x) {
    const weight = this.tensors[`${name}.weight`], bias = this.tensors[`${name}.bias`];
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const spread = Math.sqrt(x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length + this.epsilon);
    return x.map((value, place) => ((value - mean) / spread) * weight[place] + bias[place]);
  }
}

// The error function to 1.2e-7 (Numerical Recipes, erfc by Chebyshev fit).
function erf(x) {
  const t = 1 / (1 + Math.abs(x) / 2);
  const terms = [-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277];
  const rest = t * Math.exp(-x * x + terms.reduceRight((sum, term) => sum * t + term, 0));
  return x >= 0 ? 1 - rest : rest - 1;
}

const ACTIVATIONS = {
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  relu: (x) => Math.max(x, 0),
  silu: (x) => x / (1 + Math.exp(-x)),
  tanh: Math.tanh,
};

// Weights that add up to 1, or to 0 where none is above 0.
function shares(weights) {
  const total = weights.reduce((a, b) => a + b, 0) || 1;
  return weights.map((weight) => weight / total);
}

function unpacked({ base64 }) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return new Float32Array(bytes.buffer);
}

// First two principal components of (n, e) vectors: [[x, y], …], by power iteration on their covariance.
function components(vectors) {
  const size = vectors[0].length, mean = new Float64Array(size);
  for (const vector of vectors) vector.forEach((value, place) => (mean[place] += value / vectors.length));
  const centred = vectors.map((vector) => Float64Array.from(vector, (value, place) => value - mean[place]));
  const covariance = Array.from({ length: size }, () => new Float64Array(size));
  for (const row of centred) {
    for (let a = 0; a < size; a++) for (let b = 0; b < size; b++) covariance[a][b] += row[a] * row[b];
  }
  const dot = (a, b) => a.reduce((sum, value, place) => sum + value * b[place], 0), axes = [];
  while (axes.length < 2) {
    let axis = Float64Array.from({ length: size }, (_, place) => Math.cos(place + axes.length));
    for (let turn = 0; turn < 300; turn++) {
      let next = Float64Array.from(covariance, (row) => dot(row, axis));
      for (const earlier of axes) {
        const share = dot(next, earlier);
        next = next.map((value, place) => value - share * earlier[place]);
      }
      const length = Math.sqrt(dot(next, next));
      if (!(length > 1e-12)) break;
      axis = next.map((value) => value / length);
    }
    axes.push(axis);
  }
  return centred.map((row) => axes.map((axis) => dot(row, axis)));
}
