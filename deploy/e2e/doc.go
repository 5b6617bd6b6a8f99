// Package e2e holds the tests that run against a real cluster, the one of
// KUBECONFIG: Kubernetes itself and Knative on it; functions and
// builds are in the folders beside. Every test has a namespace of its own and removes it. They have the build tag e2e,
// and `make test` brings up a cluster for them.
package e2e
