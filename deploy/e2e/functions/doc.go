// Package functions runs the knit command against a real cluster: the scripts of
// ../testdata/script and the tour of the README. Its tests have the build tag e2e.
package functions
