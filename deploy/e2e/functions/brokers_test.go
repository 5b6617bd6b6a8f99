//go:build e2e

package functions

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// TestABrokerGoesAndComesBackOnACluster: the function says that its broker is
// gone, goes on answering, and gets events again from another of the same name.
func TestABrokerGoesAndComesBackOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.broker("orders")
	s.create(s.receiver("sink", "- broker: orders"))
	s.ready("sink")
	s.open("sink", "before", "--broker", "orders")
	if err := s.api.Delete(t.Context(), &eventingv1.Broker{ObjectMeta: s.named("orders")}); err != nil {
		t.Fatal(err)
	}
	s.within(time.Minute, "the missing Broker is named", func() (bool, string) {
		c := s.read("sink").Status.Conditions
		return strings.Contains(fmt.Sprint(c), v1alpha1.ReasonBrokerNotFound), fmt.Sprint(c)
	})
	if len(s.received("sink")) == 0 {
		t.Error("without its broker the function no longer answers")
	}
	s.broker("orders")
	s.ready("sink")
	s.open("sink", "after", "--broker", "orders")
}

// TestWiringChangesUnderLoadOnACluster: while filters come and go, no event that
// all of them let pass is lost.
func TestWiringChangesUnderLoadOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.broker("default")
	s.create(s.receiver("sink", "- filters: [{exact: {type: kept}}]"))
	s.ready("sink")
	s.open("sink", "kept")
	send := s.toDefaultBroker()
	const events = 300
	for n := range events {
		if n%50 == 25 {
			s.change("sink", func(fn *v1alpha1.Function) {
				group := v1alpha1.FilterGroup{FilterMatch: v1alpha1.FilterMatch{Exact: map[string]string{"type": "kept"}}}
				other := v1alpha1.FilterGroup{FilterMatch: v1alpha1.FilterMatch{Exact: map[string]string{"type": fmt.Sprintf("other-%d", n)}}}
				fn.Spec.Events[0].Filters = []v1alpha1.Filter{{Any: []v1alpha1.FilterGroup{group, other}}}
			})
		}
		if code := send(map[string]string{"Ce-Id": fmt.Sprintf("n-%d", n), "Ce-Type": "kept"}, nil); code/100 != 2 {
			t.Fatalf("event %d: %d", n, code)
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.within(time.Minute, "all events have come", func() (bool, string) {
		got := s.counts("sink")
		return len(got) == events, fmt.Sprint(len(got))
	})
}

// toDefaultBroker returns a function that posts an event to the default broker, in the
// form that the headers say, past every command, and returns the status.
func (s *stage) toDefaultBroker() func(headers map[string]string, body []byte) int {
	s.t.Helper()
	ingress, err := s.kube.CoreV1().Services("knative-eventing").Get(s.t.Context(), "broker-ingress", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	url := "http://" + ingress.Spec.ClusterIP + "/" + s.namespace + "/default"
	return func(headers map[string]string, body []byte) int {
		s.t.Helper()
		req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Ce-Specversion", "1.0")
		req.Header.Set("Ce-Source", "/e2e")
		for name, value := range headers {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
}

// TestOddEventsOnACluster: what is an event by the specification arrives as it
// is, and what is none is refused.
func TestOddEventsOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.broker("default")
	s.create(s.receiver("sink", "- {}"))
	s.ready("sink")
	s.open("sink", "open")
	send := s.toDefaultBroker()
	many := map[string]string{"Ce-Id": "many", "Ce-Type": "t"}
	for n := range 100 {
		many[fmt.Sprintf("Ce-Ext%d", n)] = "v"
	}
	structured := func(id, version, data string) []byte {
		return fmt.Appendf(nil, `{"specversion":%q,"id":%q,"type":"t","source":"/e2e"%s}`, version, id, data)
	}
	cases := []struct {
		name    string
		headers map[string]string
		body    []byte
		refused bool
	}{
		{"empty", map[string]string{"Ce-Id": "empty", "Ce-Type": "t"}, nil, false},
		{"many", many, []byte("x"), false},
		{"unicode", map[string]string{"Content-Type": "application/cloudevents+json"}, structured("unicode", "1.0", `,"subject":"größe ☃","datacontenttype":"application/json","data":{"ä":"☃"}`), false},
		{"old version", map[string]string{"Ce-Id": "old", "Ce-Type": "t", "Ce-Specversion": "0.2"}, []byte("x"), true},
		{"no such version", map[string]string{"Content-Type": "application/cloudevents+json"}, structured("new", "9.9", ""), true},
		{"no type", map[string]string{"Ce-Id": "untyped"}, []byte("x"), true},
		{"broken", map[string]string{"Content-Type": "application/cloudevents+json"}, []byte(`{"specversion":"1.0",`), true},
	}
	want := map[string]bool{}
	for _, c := range cases {
		code := send(c.headers, c.body)
		if refused := code/100 == 4; refused != c.refused {
			t.Errorf("%s: answer %d, want a refusal: %v", c.name, code, c.refused)
		}
		if !c.refused {
			want[c.name] = true
		}
	}
	s.within(time.Minute, "the events of the specification have come", func() (bool, string) {
		got := s.counts("sink")
		return len(got) >= len(want), fmt.Sprint(got)
	})
	for id, n := range s.counts("sink") {
		if !want[id] || n != 1 {
			t.Errorf("event %q came %d times", id, n)
		}
	}
	for _, e := range s.received("sink") {
		if e.ID == "unicode" && e.Data != `{"ä":"☃"}` {
			t.Errorf("unicode came as %q", e.Data)
		}
	}
}

// TestASubscriberThatHangsOnACluster: its events become dead letters in the time
// that its delivery says, and its neighbour notices nothing.
func TestASubscriberThatHangsOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.broker("default")
	s.create(s.receiver("neighbour", "- filters: [{exact: {type: order}}]"), s.receiver("dead", ""), s.receiver("hangs", `
- filters: [{exact: {type: order}}]
  delivery: {retry: 1, backoffPolicy: linear, backoffDelay: PT0.1S, timeout: PT1S, deadLetterSink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: dead}}}`, "WAIT=60s"))
	for _, name := range []string{"neighbour", "dead", "hangs"} {
		s.ready(name)
	}
	s.open("neighbour", "order")
	s.open("dead", "order")
	s.send("late", "order")
	s.within(time.Minute, "the neighbour has the event, and the dead letters, too", func() (bool, string) {
		got := fmt.Sprint(s.counts("neighbour"), s.counts("dead"))
		return s.counts("neighbour")["late"] == 1 && s.counts("dead")["late"] == 1, got
	})
	if tries := s.counts("hangs")["late"]; tries != 2 {
		t.Errorf("it was tried %d times, want 2", tries)
	}
}
