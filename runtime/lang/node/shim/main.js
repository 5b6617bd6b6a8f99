'use strict';

// The process around a Node function:
//
//     node main.js ENTRY [KIND]
//
// It reads the environment, loads the user's code from ENTRY (a path relative
// to the working folder), then serves HTTP or runs one job. KIND is "http",
// "cloudevent", or empty when each request decides. What it promises is written
// in runtime/CONTRACT.md. It needs nothing but Node itself, so that a function
// starts fast and meets no second copy of its own dependencies.

const { readSettings } = require('./settings.js');
const { Log, joinConsole } = require('./log.js');
const { loadFunction } = require('./loader.js');

const exit = {
  ok: 0,
  failed: 1, // the code cannot be loaded, the port cannot be had, or requests were cut off
  usage: 64, // a setting in the environment is wrong
  final: 65, // a job failed, and another try would not help
};

async function main(entry, kind) {
  const { settings, problems } = readSettings(process.env);
  const log = new Log(settings.logLevel);
  if (problems.length > 0) {
    log.error({ error: problems.join('\n') }, 'function not started');
    return exit.usage;
  }
  joinConsole(log);
  process.on('uncaughtException', (error) => crash(log, error));
  const stop = stopSignal();
  let loaded;
  try {
    loaded = await loadFunction(entry, kind);
    await loaded.init();
  } catch (error) {
    log.error({ error: String(error?.message ?? error), stack: error?.stack }, 'function not started');
    return exit.failed;
  }
  const telemetry = telemetryOf(process.env, log);
  if (settings.mode === 'job') {
    const { runJob } = require('./job.js');
    return runJob(loaded, process.env, settings, log, stop, exit, telemetry);
  }
  const { serve } = require('./serve.js');
  return await serve(loaded, settings, log, stop, telemetry) ? exit.ok : exit.failed;
}

// telemetryOf loads the telemetry where a collector is named, and nowhere else.
function telemetryOf(env, log) {
  if (!['', 'TRACES_', 'METRICS_'].some((signal) => env[`OTEL_EXPORTER_OTLP_${signal}ENDPOINT`])) return undefined;
  return require('./telemetry.js').startTelemetry(env, log);
}

// stopSignal resolves at the first SIGTERM or SIGINT.
function stopSignal() {
  return new Promise((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT']) process.once(name, () => resolve(name));
  });
}

// crash ends the process for what no request can answer for: an exception in a
// timer, or a rejected promise that nobody waits for. The state of the user's
// code is unknown after it.
function crash(log, error) {
  log.error({ panic: String(error?.message ?? error), stack: error?.stack }, 'function crashed');
  process.exit(exit.failed);
}

// Timers and connections that the user's code left open would keep the process
// alive; its end is decided here.
main(process.argv[2], process.argv[3]).then((code) => process.exit(code));
