#!/usr/bin/env bash
# Runs every test. The cluster of the end-to-end tests has its own name, state
# folder, port and address ranges, and is deleted at the end, however it ends.
set -euo pipefail
cd "$(dirname "$0")/../.."

state=${KNIT_TEST_STATE_DIR:-/var/lib/knit-test}
flags=(--state-dir "$state" --name knit-test --gateway-port 18080 --pod-cidr 100.64.0.0/16 --service-cidr 100.65.0.0/16)
export KNIT_STATE_DIR=$state KNIT_GATEWAY_PORT=18080 KNIT_BIN=$PWD/bin
begin=$SECONDS

say() { printf '=== %s (%ds)\n' "$*" "$((SECONDS - begin))"; }

cleanup() {
	status=$?
	trap - EXIT INT TERM
	say "removing the test cluster"
	bin/knit-cluster delete --state-dir "$state" || status=1
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bin/knit-cluster delete --state-dir "$state" # left by a killed run

# The tests of the builder make its parts: compiling them the first time takes
# minutes, and more beside other tests.
#
# What runs concurrently in the control plane is tested with the race detector,
# which needs cgo; the rest shares the build cache of the programs.
concurrent=(./functions/... ./eventing/... ./scheduler/... ./builder/controller/...)
say "unit tests with the race detector"
CGO_ENABLED=1 go test -race -timeout 25m "${concurrent[@]}"
say "unit tests"
go list "${concurrent[@]}" >"$KNIT_BIN/concurrent"
go list ./... | grep -vxFf "$KNIT_BIN/concurrent" | CGO_ENABLED=0 xargs go test -timeout 25m
(cd deploy/cluster && CGO_ENABLED=0 go test ./...)

say "cluster"
bin/knit-cluster up "${flags[@]}"
export KUBECONFIG=$state/kubeconfig

say "Kubernetes and Knative"
CGO_ENABLED=0 go test -tags e2e -count=1 -timeout 15m -parallel 6 ./deploy/e2e/

say "ingress conformance"
(cd deploy/cluster && CGO_ENABLED=0 go test -tags e2e -count=1 -timeout 20m ./conformance/)

say "controllers on a real API server"
KNIT_TEST_KUBECONFIG=$KUBECONFIG CGO_ENABLED=0 go test -count=1 -timeout 5m -run OnARealCluster ./functions/controller/ ./scheduler/controller/

say "functions"
bin/knit install --from .
CGO_ENABLED=0 go test -tags e2e -count=1 -timeout 30m ./deploy/e2e/functions/

say "builds"
CGO_ENABLED=0 go test -tags e2e -count=1 -timeout 15m -parallel 4 ./deploy/e2e/builds/

say "faults"
(cd deploy/cluster && CGO_ENABLED=0 go test -tags e2e -count=1 -timeout 15m ./faults/)

say "all tests passed"
