// Numbers as people read them. Every formatter takes null for "not known" and gives a dash.

const MIB = 1024 * 1024;
const UNKNOWN = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const hundredths = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

const known = (format) => (value) => (value === null || value === undefined ? UNKNOWN : format(value));

export const count = known((value) => whole.format(value));
export const mib = known((value) => (Math.abs(value) < 1000 ? hundredths : tenths).format(value));
export const mibOfBytes = known((bytes) => mib(bytes / MIB));
export const ratio = known((value) => `${hundredths.format(value)}×`);
export const percent = known((value) => `${tenths.format(value)} %`);
export const rate = known((value) => (value > 0 && value < 10 ? tenths : whole).format(value));

export const seconds = known((value) => {
  if (value < 0.001) return `${whole.format(value * 1e6)} µs`;
  if (value < 1) return `${(value < 0.01 ? hundredths : tenths).format(value * 1e3)} ms`;
  return `${hundredths.format(value)} s`;
});

const UNITS = { "": 1, b: 1, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 };

/** Bytes in the largest unit that says them exactly. */
export const exactBytes = known((bytes) => {
  for (const unit of ["TiB", "GiB", "MiB", "KiB"]) {
    const size = UNITS[unit.toLowerCase()];
    if (bytes >= size && bytes % size === 0) return `${bytes / size} ${unit}`;
  }
  return String(bytes);
});

/** The bytes that "512 MiB", "3.5 GiB" or "1048576" say; NaN for anything else. */
export function parseBytes(text) {
  const match = /^([0-9]+(?:\.[0-9]+)?)\s*(|b|[kmgt]ib)$/i.exec(text.trim().replaceAll(",", ""));
  return match ? Math.round(Number(match[1]) * UNITS[match[2].toLowerCase()]) : NaN;
}

/** A whole number, thousands separated or not; NaN for anything else. */
export function parseCount(text) {
  const plain = text.trim().replaceAll(",", "");
  return /^-?[0-9]+$/.test(plain) ? Number(plain) : NaN;
}
