// Where each row of a log stands. Every row is `row` pixels high, plus what wrapping added to it, which is only
// known once it was shown. The additions are summed in a Fenwick tree, so that both questions cost log n.

export class Heights {
  constructor(row) {
    this.row = row;
    this.clear();
  }

  clear() {
    this.extra = new Map();
    this.tree = new Float64Array(1024);
  }

  // Pixels above row `index`.
  top(index) {
    let sum = 0;
    if (this.extra.size) {
      for (let i = Math.min(index, this.tree.length - 1); i > 0; i -= i & -i) sum += this.tree[i];
    }
    return index * this.row + sum;
  }

  height(index) {
    return this.row + (this.extra.get(index) ?? 0);
  }

  // Returns by how much the row grew.
  set(index, height) {
    const grown = height - this.height(index);
    if (!grown) return 0;
    if (index + 1 >= this.tree.length) this.#grow(index + 2);
    this.extra.set(index, height - this.row);
    this.#add(index, grown);
    return grown;
  }

  // The row that pixel `y` lies in; may be past the last one.
  at(y) {
    if (!this.extra.size) return Math.max(0, Math.floor(y / this.row));
    let index = 0;
    let left = y;
    for (let step = this.tree.length >> 1; step; step >>= 1) {
      const size = step * this.row + this.tree[index + step];
      if (index + step < this.tree.length && size <= left) {
        index += step;
        left -= size;
      }
    }
    return Math.max(0, index + (index === this.tree.length - 1 ? Math.floor(left / this.row) : 0));
  }

  #add(index, amount) {
    for (let i = index + 1; i < this.tree.length; i += i & -i) this.tree[i] += amount;
  }

  #grow(size) {
    this.tree = new Float64Array(2 ** Math.ceil(Math.log2(size + 1)));
    for (const [index, amount] of this.extra) this.#add(index, amount);
  }
}
