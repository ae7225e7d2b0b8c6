// One sign a state, beside its colour and its word: paths in a square of 16, stroked 2 wide, for SVG and canvas alike.

/** @type {Record<string, string>} */
export const signs = {
  waiting: 'M5 8h.01M8 8h.01M11 8h.01',
  running: 'M6 4l6 4-6 4z',
  succeeded: 'M3.5 8.5l3 3 6-7',
  failed: 'M4 4l8 8M12 4l-8 8',
  unreachable: 'M3 8h3M10 8h3M7 5l2 6',
  timed_out: 'M5 3h6l-6 10h6z',
  unknown: 'M5.5 6a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.5M8 12.6h.01',
  cancelled: 'M8 3a5 5 0 1 0 .01 0M4.6 11.4l6.8-6.8',
  skipped: 'M4 4l4 4-4 4M9 4l4 4-4 4',
  paused: 'M6 4v8M10 4v8',
  halting: 'M4.5 4.5h7v7h-7z',
  halted: 'M4.5 4.5h7v7h-7zM6 6l4 4',
  cancelling: 'M8 3a5 5 0 1 0 .01 0M4.6 11.4l6.8-6.8',
};

/** Name of the state whose colours a state has. @param {string} state */
export const hue = (state) => ({halting: 'halted', cancelling: 'cancelled'})[state] ?? state;
