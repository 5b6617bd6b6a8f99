//go:build e2e

package functions

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// project writes a knit.yaml with probes, each "name VARIABLE=value …", and
// further documents.
func (s *stage) project(probes []string, documents string) (folder string) {
	s.t.Helper()
	var text strings.Builder
	for _, probe := range probes {
		fields := strings.Fields(probe)
		fmt.Fprintf(&text, "apiVersion: knit.dev/v1alpha1\nkind: Function\nmetadata: {name: %s}\nspec:\n  source: {image: %q}\n  scale: {min: 1, max: 1}\n  env: [", fields[0], s.probe())
		for _, variable := range fields[1:] {
			name, value, _ := strings.Cut(variable, "=")
			fmt.Fprintf(&text, "{name: %s, value: %q},", name, value)
		}
		text.WriteString("]\n---\n")
	}
	folder = s.t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "knit.yaml"), []byte(text.String()+documents), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return folder
}

func (s *stage) deploy(folder string) {
	s.t.Helper()
	if code, _, errs := s.knit("deploy", folder, "--timeout", "5m"); code != 0 {
		s.t.Fatalf("deploy: %s", errs)
	}
}

// data waits until a receiver has an event with the data, and returns all data
// that came.
func (s *stage) data(name, want string) (all []string) {
	s.t.Helper()
	s.within(time.Minute, name+" gets "+want, func() (bool, string) {
		all = nil
		for _, e := range s.received(name) {
			all = append(all, e.Data)
		}
		return slices.Contains(all, want), fmt.Sprint(all)
	})
	return all
}

// flow sends data to the broker until the receiver has what becomes of it: each
// channel on the way opens by itself.
func (s *stage) flow(data, receiver, want string) {
	s.t.Helper()
	s.within(2*time.Minute, "the way to "+receiver+" is open", func() (bool, string) {
		s.send("open", "order.placed", "--data", data)
		got := fmt.Sprint(s.received(receiver))
		return strings.Contains(got, want), got
	})
}

// TestASequenceFromAManifestOnACluster: three functions one after another, and
// an event that the one in the middle never takes.
func TestASequenceFromAManifestOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.deploy(s.project([]string{"first REPLY_TYPE=a SUFFIX=-1", "middle REPLY_TYPE=b SUFFIX=-2 STATUS=503 ONLY=poison", "last REPLY_TYPE=c SUFFIX=-3", "result", "dead"}, `
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default}
---
apiVersion: flows.knative.dev/v1
kind: Sequence
metadata: {name: shipping}
spec:
  steps:
  - ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: first}
  - ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: middle}
    delivery: {retry: 1, backoffPolicy: linear, backoffDelay: PT0.1S, deadLetterSink: {ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: dead}}}
  - ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: last}
  reply: {ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: result}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: placed}
spec:
  broker: default
  filters: [{exact: {type: order.placed}}]
  subscriber: {ref: {apiVersion: flows.knative.dev/v1, kind: Sequence, name: shipping}}
`))
	s.flow("open", "result", "open-1-2-3")
	s.send("healthy", "order.placed", "--data", "tea")
	s.data("result", "tea-1-2-3")
	s.send("poisoned", "order.placed", "--data", "poison")
	s.data("dead", "poison-1")
	tries := 0
	for _, data := range s.data("middle", "poison-1") {
		if data == "poison-1" {
			tries++
		}
	}
	if tries != 2 {
		t.Errorf("the step in the middle was asked %d times, want 2", tries)
	}
	if after := fmt.Sprint(s.received("last"), s.received("result")); strings.Contains(after, "poison") {
		t.Errorf("what the middle did not take went on: %s", after)
	}
}

// TestAParallelFromAManifestOnACluster: each branch takes what its filter answers
// to, and the answers of all come together.
func TestAParallelFromAManifestOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.deploy(s.project([]string{
		"is-large REPLY_TYPE=large ONLY=large", "is-small REPLY_TYPE=small ONLY=small",
		"review REPLY_TYPE=reviewed SUFFIX=-reviewed", "accept REPLY_TYPE=accepted SUFFIX=-accepted", "result",
	}, `
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default}
---
apiVersion: flows.knative.dev/v1
kind: Parallel
metadata: {name: choice}
spec:
  branches:
  - filter: {ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: is-large}}
    subscriber: {ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: review}}
  - filter: {ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: is-small}}
    subscriber: {ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: accept}}
  reply: {ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: result}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: placed}
spec:
  broker: default
  subscriber: {ref: {apiVersion: flows.knative.dev/v1, kind: Parallel, name: choice}}
`))
	s.flow("open-large", "result", "open-large-reviewed")
	s.flow("open-small", "result", "open-small-accepted")
	s.send("large", "order.placed", "--data", "a large order")
	s.send("small", "order.placed", "--data", "a small order")
	s.data("result", "a large order-reviewed")
	for _, data := range s.data("result", "a small order-accepted") {
		if large := strings.Contains(data, "large"); large == strings.HasSuffix(data, "-accepted") {
			t.Errorf("%q went through the wrong branch", data)
		}
	}
}
