// Package conformance holds every language's runtime to CONTRACT.md. Its tests
// start the real process of each language and see it from the outside only:
// over HTTP, by signals, environment, log and exit code. There is one list of
// cases; a language brings functions that behave alike (testdata/LANGUAGE) and
// says, as data, in what it rightly differs (languages_test.go). What only one
// language promises is tested beside its runtime.
package conformance
