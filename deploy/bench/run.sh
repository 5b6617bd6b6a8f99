#!/usr/bin/env bash
# Measures the figures of BENCHMARKS.md on a cluster of their own.
set -euo pipefail
cd "$(dirname "$0")/../.."
CGO_ENABLED=0 go build -o bin/bench ./deploy/bench
bin/bench "$@"
