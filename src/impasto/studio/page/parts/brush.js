/** Painting into a mask: one byte a pixel, 0 kept and 255 painted. No page is needed for this. */

/** @typedef {{x: number, y: number}} Place */
/** @typedef {{size: number, softness: number, value: number}} Brush */

/**
 * Press a round brush once: whole inside, and falling off over the share ``softness`` of its radius.
 * @param {Uint8ClampedArray} mask @param {number} width @param {number} height
 * @param {Place} at @param {Brush} brush
 */
export function dab(mask, width, height, at, { size, softness, value }) {
  const radius = size / 2;
  const inner = radius * (1 - softness);
  const from = { x: Math.max(0, Math.floor(at.x - radius)), y: Math.max(0, Math.floor(at.y - radius)) };
  const to = { x: Math.min(width - 1, Math.ceil(at.x + radius)),
    y: Math.min(height - 1, Math.ceil(at.y + radius)) };
  for (let y = from.y; y <= to.y; y++) {
    for (let x = from.x; x <= to.x; x++) {
      const far = Math.hypot(x + 0.5 - at.x, y + 0.5 - at.y);
      if (far >= radius) continue;
      const share = far <= inner ? 1 : (radius - far) / (radius - inner);
      const place = y * width + x;
      // Towards the value and never away from it: strokes over one another leave no rings.
      const next = value > 127 ? value * share : 255 - (255 - value) * share;
      mask[place] = value > 127 ? Math.max(mask[place], next) : Math.min(mask[place], next);
    }
  }
}

/**
 * Draw the brush along a line, whose beginning has been pressed already.
 * @param {Uint8ClampedArray} mask @param {number} width @param {number} height
 * @param {Place} from @param {Place} to @param {Brush} brush
 */
export function strokeLine(mask, width, height, from, to, brush) {
  const far = Math.hypot(to.x - from.x, to.y - from.y);
  const count = Math.max(1, Math.ceil(far / Math.max(1, brush.size / 8)));
  for (let number = 1; number <= count; number++) {
    const share = number / count;
    const at = { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share };
    dab(mask, width, height, at, brush);
  }
}

/**
 * Give a round place a label: the whole number is put there, with a hard edge.
 * @param {Uint8ClampedArray} map @param {number} width @param {number} height
 * @param {Place} at @param {number} size @param {number} label
 */
export function stampLabel(map, width, height, at, size, label) {
  const radius = size / 2;
  for (let y = Math.max(0, Math.floor(at.y - radius)); y < Math.min(height, at.y + radius); y++) {
    for (let x = Math.max(0, Math.floor(at.x - radius)); x < Math.min(width, at.x + radius); x++) {
      if (Math.hypot(x + 0.5 - at.x, y + 0.5 - at.y) < radius) map[y * width + x] = label;
    }
  }
}

/**
 * Fill what hangs together with a place and has nearly its colour.
 * @param {Uint8ClampedArray} mask @param {Uint8ClampedArray} pixels four bytes each
 * @param {number} width @param {number} height @param {Place} at
 * @param {number} tolerance the largest difference of a channel
 */
export function fillLike(mask, pixels, width, height, at, tolerance) {
  const x = Math.min(width - 1, Math.max(0, Math.floor(at.x)));
  const y = Math.min(height - 1, Math.max(0, Math.floor(at.y)));
  const start = y * width + x;
  const color = pixels.slice(4 * start, 4 * start + 3);
  const isAlike = (/** @type {number} */ place) =>
    Math.abs(pixels[4 * place] - color[0]) <= tolerance
    && Math.abs(pixels[4 * place + 1] - color[1]) <= tolerance
    && Math.abs(pixels[4 * place + 2] - color[2]) <= tolerance;
  const seen = new Uint8Array(width * height);
  const open = [start];
  seen[start] = 1;
  while (open.length) {
    const place = /** @type {number} */ (open.pop());
    mask[place] = 255;
    const column = place % width;
    const next = [place - width, place + width];
    if (column > 0) next.push(place - 1);
    if (column < width - 1) next.push(place + 1);
    for (const each of next) {
      if (each < 0 || each >= seen.length || seen[each] || !isAlike(each)) continue;
      seen[each] = 1;
      open.push(each);
    }
  }
}
