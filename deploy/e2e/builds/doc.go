// Package builds tests builds on a real cluster against hostile code and
// faults: buildpacks that look for secrets and plant files, builds that use up
// what a node has, kills at every phase, a registry that is away or full, many
// builds at once. Its tests have the build tag e2e and need root on the machine
// of an embedded cluster.
package builds
