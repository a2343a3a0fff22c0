/** Where the tiles stand: pure geometry, in CSS pixels. */

/** @typedef {{x: number, y: number, width: number, height: number}} Box */

const GAP = 12;
/** Between an upright phone and a wide camera; outside of it faces are cropped too much. */
const NARROWEST = 3 / 4;
const WIDEST = 16 / 9;

/**
 * The arrangement of equal tiles in which they are largest.
 * @param {number} count
 * @param {Box} area
 * @returns {Box[]}
 */
export function grid(count, area) {
  if (count === 0) return [];
  if (count === 1) return [area];
  let best = { size: 0, columns: 1, width: 0, height: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const cellWidth = (area.width - GAP * (columns - 1)) / columns;
    const cellHeight = (area.height - GAP * (rows - 1)) / rows;
    const width = Math.min(cellWidth, cellHeight * WIDEST);
    const height = Math.min(cellHeight, cellWidth / NARROWEST);
    const size = width * height;
    if (size > best.size) best = { size, columns, width, height };
  }
  const { columns, width, height } = best;
  const rows = Math.ceil(count / columns);
  const top = area.y + (area.height - rows * height - (rows - 1) * GAP) / 2;
  return Array.from({ length: count }, (_, at) => {
    const row = Math.floor(at / columns);
    const inRow = row === rows - 1 ? count - row * columns : columns;
    const left = area.x + (area.width - inRow * width - (inRow - 1) * GAP) / 2;
    return { x: left + (at % columns) * (width + GAP), y: top + row * (height + GAP), width, height };
  });
}

/**
 * One tile large, the others in a strip beside or below it.
 * @param {number} others
 * @param {Box} area
 * @returns {{focus: Box, strip: Box[]}}
 */
export function focused(others, area) {
  if (others === 0) return { focus: area, strip: [] };
  const beside = area.width > area.height * 1.2;
  if (beside) {
    const width = Math.min(240, area.width * 0.22);
    const height = Math.min(width / 1.5, (area.height - GAP * (others - 1)) / others);
    const focus = { ...area, width: area.width - width - GAP };
    const top = area.y + (area.height - others * height - (others - 1) * GAP) / 2;
    const strip = Array.from({ length: others }, (_, at) => ({
      x: area.x + area.width - width,
      y: top + at * (height + GAP),
      width,
      height,
    }));
    return { focus, strip };
  }
  const height = Math.min(150, area.height * 0.22);
  const width = Math.min(height, (area.width - GAP * (others - 1)) / others);
  const focus = { ...area, height: area.height - height - GAP };
  const left = area.x + (area.width - others * width - (others - 1) * GAP) / 2;
  const strip = Array.from({ length: others }, (_, at) => ({
    x: left + at * (width + GAP),
    y: area.y + area.height - height,
    width,
    height,
  }));
  return { focus, strip };
}

/**
 * The own picture, in the corner of a call between two.
 * @param {Box} area
 * @returns {Box}
 */
export function corner(area) {
  const small = area.width < 640;
  const width = small ? 104 : Math.min(256, area.width * 0.24);
  const height = small ? 148 : width / 1.6;
  const margin = 16;
  return { x: area.x + area.width - width - margin, y: area.y + area.height - height - margin, width, height };
}
