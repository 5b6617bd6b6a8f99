'use strict';

// The bounds that OpenTelemetry's HTTP conventions advise, in seconds.
const bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

// Callers can make the process keep no more series than this; beyond, durations
// are counted together.
const mostSeries = 1000;

const overflow = 'overflow';

// Metrics counts requests since the process began.
class Metrics {
  begun = Date.now();
  durations = new Map(); // histograms by the text of their series
  active = new Map(); // requests under way, by method

  enter(method) { this.active.set(method, (this.active.get(method) ?? 0) + 1); }

  leave(method) { this.active.set(method, this.active.get(method) - 1); }

  observe(series, seconds) {
    let key = `${series.method} ${series.protocol} ${series.status} ${series.failure}`;
    if (!this.durations.has(key) && this.durations.size >= mostSeries) key = overflow;
    let histogram = this.durations.get(key);
    if (histogram === undefined) {
      histogram = { series: key === overflow ? undefined : series, counts: new Array(bounds.length + 1).fill(0), count: 0, sum: 0, min: seconds, max: seconds };
      this.durations.set(key, histogram);
    }
    const at = bounds.findIndex((bound) => seconds <= bound);
    histogram.counts[at < 0 ? bounds.length : at]++;
    histogram.count++;
    histogram.sum += seconds;
    histogram.min = Math.min(histogram.min, seconds);
    histogram.max = Math.max(histogram.max, seconds);
  }
}

module.exports = { Metrics, bounds };
