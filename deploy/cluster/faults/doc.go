// Package faults holds the tests of what goes wrong around a cluster; they
// need root and the built program: see faults_test.go.
package faults
