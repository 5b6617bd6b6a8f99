'use strict';

// The environment of the process, checked. Its names, defaults and meanings are
// those of runtime/CONTRACT.md.

// A timer of Node cannot wait longer than this (about 24 days).
const longestTimer = 2 ** 31 - 1;

const logLevels = ['debug', 'info', 'warn', 'error'];
const modes = ['serve', 'job'];

// readSettings reports every wrong setting at once, by name. Times are in
// milliseconds.
function readSettings(env) {
  const settings = {
    host: undefined,
    port: 8080,
    timeout: 300_000,
    timeoutIsSet: false,
    bodyLimit: 10 << 20, // bytes; 0 means no limit
    drainDelay: 1000,
    logLevel: 'info',
    mode: 'serve',
  };
  const problems = [];
  const read = (name, set) => {
    const value = env[name];
    if (value === undefined || value === '') return;
    const problem = set(value);
    if (problem) problems.push(`environment variable ${name}=${JSON.stringify(value)}: ${problem}`);
  };
  read('KNIT_HOST', (v) => { settings.host = v; });
  read('PORT', (v) => {
    settings.port = wholeNumber(v, 65535);
    return Number.isNaN(settings.port) && 'want a port number from 0 (any free port) to 65535';
  });
  read('KNIT_TIMEOUT', (v) => {
    settings.timeout = duration(v);
    settings.timeoutIsSet = true;
    return !(settings.timeout >= 1) && 'want a duration of at least 1ms, such as 30s';
  });
  read('KNIT_DRAIN_DELAY', (v) => {
    settings.drainDelay = duration(v);
    return Number.isNaN(settings.drainDelay) && 'want a duration of at least 0s, such as 30s';
  });
  read('KNIT_MAX_BODY_BYTES', (v) => {
    settings.bodyLimit = wholeNumber(v, Number.MAX_SAFE_INTEGER);
    return Number.isNaN(settings.bodyLimit) && 'want a number of bytes, 0 for no limit';
  });
  read('KNIT_LOG_LEVEL', (v) => {
    const level = v.toLowerCase();
    if (!logLevels.includes(level)) return `want ${logLevels.slice(0, -1).join(', ')} or ${logLevels.at(-1)}`;
    settings.logLevel = level;
  });
  read('KNIT_MODE', (v) => {
    if (!modes.includes(v)) return `this runtime knows the modes ${modes.join(' and ')}`;
    settings.mode = v;
  });
  return { settings, problems };
}

function wholeNumber(text, most) {
  const n = /^\d+$/.test(text) ? Number(text) : NaN;
  return n <= most ? n : NaN;
}

const units = { ns: 1e-6, us: 1e-3, µs: 1e-3, μs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const part = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g;

// duration reads what Go's time.ParseDuration reads, such as 1m30s or 1.5s,
// except negative ones. NaN is no duration.
function duration(text) {
  const value = text.startsWith('+') ? text.slice(1) : text;
  if (value === '0') return 0;
  if (value === '' || value.replace(part, '') !== '') return NaN;
  let sum = 0;
  for (const [, number, unit] of value.matchAll(part)) sum += Number(number) * units[unit];
  return Math.min(sum, longestTimer);
}

module.exports = { readSettings, duration };
