#!/usr/bin/env bash
# muster beside Prometheus, VictoriaMetrics and InfluxDB: installs them when they are not here (Debian packages,
# group bench), builds, and prints a table. Five minutes on two cores.
#
#   bench/peers/run.sh [options of bench_peers]
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/setup.sh
ensure_packages build bench
configure release
build "Building" release muster
build "Building the benchmark" release bench_peers
exec build/release/bench/peers/bench_peers --muster build/release/app/muster "$@"
