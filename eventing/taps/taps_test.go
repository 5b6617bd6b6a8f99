package taps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/knit-dev/knit/functions/api/tap"
)

// deliver sends an event as Knative's dispatchers do.
func deliver(t *testing.T, taps *Taps, url, namespace, id string, header http.Header, body string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, url, strings.NewReader(body))
	r.Header.Set("Ce-Specversion", "1.0")
	r.Header.Set("Ce-Id", id)
	r.Header.Set("Ce-Source", "/s")
	r.Header.Set("Ce-Type", "t")
	r.Header.Set("Kn-Namespace", namespace)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	taps.ServeHTTP(w, r)
	if w.Code != http.StatusAccepted || w.Body.Len() > 0 {
		t.Errorf("answered %d %q, want 202 and no reply, whatever comes", w.Code, w.Body)
	}
}

// watch begins a session and returns its address and its further lines.
func watch(t *testing.T, taps *Taps, namespace string) (tap.Open, <-chan tap.Line) {
	t.Helper()
	lines := make(chan tap.Line)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = taps.Tap(ctx, namespace, func(l tap.Line) error {
			select {
			case lines <- l:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	first := <-lines
	if first.Open == nil || first.Expires == nil {
		t.Fatalf("the first line is %+v", first)
	}
	return *first.Open, lines
}

func TestATapSeesTheEventsOfItsAddress(t *testing.T) {
	taps := New("http://10.0.0.9:8090", "http://sink")
	alice, lines := watch(t, taps, "alice")
	bob, _ := watch(t, taps, "bob")
	if !strings.HasPrefix(alice.URL, "http://10.0.0.9:8090/taps/") || len(alice.URL) < 70 || alice.URL == bob.URL || alice.Nowhere != "http://sink/taps/nowhere" {
		t.Errorf("addresses %+v and %+v", alice, bob)
	}
	deliver(t, taps, bob.URL, "bob", "of another tap", nil, "")
	deliver(t, taps, alice.URL, "bob", "of another namespace", nil, "")
	deliver(t, taps, alice.Nowhere, "alice", "nowhere", nil, "")
	deliver(t, taps, alice.URL+"x", "alice", "a guess", nil, "")
	deliver(t, taps, alice.URL, "alice", "ü", http.Header{"Content-Type": {"application/json"}}, `{"n":"日本"}`)
	if got, want := string((<-lines).Event), `{"specversion":"1.0","id":"ü","source":"/s","type":"t","datacontenttype":"application/json","data":{"n":"日本"}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	deliver(t, taps, alice.URL, "alice", "2", http.Header{"Content-Type": {"application/json"}}, "\xff{")
	if got := string((<-lines).Event); !strings.Contains(got, `"data_base64":"/3s="`) {
		t.Errorf("data that is no JSON must not break the line: %s", got)
	}
}

func TestWhatCannotBeShownIsCounted(t *testing.T) {
	taps := New("http://10.0.0.9:8090", "http://sink")
	open, lines := watch(t, taps, "alice")
	for name, event := range map[string]func(){
		"too large":            func() { deliver(t, taps, open.URL, "alice", "1", nil, strings.Repeat("a", maxEvent+1)) },
		"no event":             func() { deliver(t, taps, open.URL, "alice", "1", http.Header{"Ce-Specversion": {"9"}}, "") },
		"too large, by chunks": func() { chunked(taps, open.URL, maxEvent+1) },
	} {
		event()
		if line := <-lines; line.Dropped != 1 {
			t.Errorf("%s: %+v, want dropped 1", name, line)
		}
	}
}

func chunked(taps *Taps, url string, n int) {
	r := httptest.NewRequest(http.MethodPost, url, strings.NewReader(strings.Repeat("a", n)))
	r.ContentLength = -1
	r.Header.Set("Kn-Namespace", "alice")
	taps.ServeHTTP(httptest.NewRecorder(), r)
}

// A reader that does not read at all must neither block who delivers nor fill memory.
func TestASlowReaderLosesEventsAndLearnsHowMany(t *testing.T) {
	cases := map[string]struct {
		reason, data string
		sent         int
	}{
		"many":  {"their number is bounded", "", 3 * maxWaiting},
		"large": {"so are their bytes", strings.Repeat("a", maxEvent/2), 50},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			taps := New("http://10.0.0.9:8090", "http://sink")
			open, lines := watch(t, taps, "alice")
			for i := range c.sent {
				deliver(t, taps, open.URL, "alice", fmt.Sprint(i), http.Header{"Content-Type": {"text/plain"}}, c.data)
			}
			for _, s := range taps.sessions {
				if s.count > maxWaiting || s.bytes > maxWaitingBytes {
					t.Errorf("%s: %d events and %d bytes wait", c.reason, s.count, s.bytes)
				}
			}
			seen, dropped := 0, 0
			for seen+dropped < c.sent {
				line := <-lines
				dropped += line.Dropped
				if line.Event != nil {
					seen++
				}
			}
			if dropped == 0 || seen == 0 || seen+dropped != c.sent {
				t.Errorf("%s: saw %d and dropped %d of %d", c.reason, seen, dropped, c.sent)
			}
			deliver(t, taps, open.URL, "alice", "last", nil, "")
			if line := <-lines; !strings.Contains(string(line.Event), `"id":"last"`) {
				t.Errorf("after that it goes on, but came %+v", line)
			}
		})
	}
}

func TestATapSaysUntilWhenItsObjectMayStay(t *testing.T) {
	taps := New("http://10.0.0.9:8090", "http://sink")
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	taps.now, taps.renewal = func() time.Time { return now }, time.Millisecond
	_, lines := watch(t, taps, "alice")
	if line := <-lines; line.Expires == nil || !line.Expires.Equal(now.Add(tap.Life)) {
		t.Errorf("line %+v, want until %s", line, now.Add(tap.Life))
	}
	gone := errors.New("gone")
	if err := taps.Tap(t.Context(), "alice", func(tap.Line) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("Tap = %v, want the reader's error", err)
	}
	if len(taps.sessions) != 1 {
		t.Errorf("%d sessions, want that of the other only", len(taps.sessions))
	}
}

func TestObjectsOfTapsThatAreOverAreRemoved(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	meta := func(name string, made time.Time, labels map[string]string, expires string) metav1.ObjectMeta {
		m := metav1.ObjectMeta{Namespace: "alice", Name: name, Labels: labels, CreationTimestamp: metav1.NewTime(made), UID: "1"}
		if expires != "" {
			m.Annotations = map[string]string{tap.AnnotationExpires: expires}
		}
		return m
	}
	label := map[string]string{tap.Label: "true"}
	before, after := now.Add(-time.Second).Format(time.RFC3339), now.Add(time.Second).Format(time.RFC3339)
	objects := []client.Object{
		&eventingv1.Trigger{ObjectMeta: meta("over", now, label, before)},
		&eventingv1.Trigger{ObjectMeta: meta("watched", now.Add(-time.Hour), label, after)},
		&eventingv1.Trigger{ObjectMeta: meta("somebody-elses", now, nil, before)},
		&eventingv1.Trigger{ObjectMeta: meta("garbled-old", now.Add(-time.Hour), label, "soon")},
		&eventingv1.Trigger{ObjectMeta: meta("garbled-new", now, label, "soon")},
		&messagingv1.Subscription{ObjectMeta: meta("over", now, label, before)},
		&messagingv1.Subscription{ObjectMeta: meta("watched", now, label, after)},
	}
	scheme := runtime.NewScheme()
	_, _ = eventingv1.AddToScheme(scheme), messagingv1.AddToScheme(scheme)
	c := clientfake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	s := &Sweeper{client: c, now: func() time.Time { return now }}
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	var triggers eventingv1.TriggerList
	var subscriptions messagingv1.SubscriptionList
	if err := errors.Join(c.List(t.Context(), &triggers), c.List(t.Context(), &subscriptions)); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, o := range triggers.Items {
		left = append(left, o.Name)
	}
	for _, o := range subscriptions.Items {
		left = append(left, "subscription "+o.Name)
	}
	if got, want := strings.Join(left, ", "), "garbled-new, somebody-elses, watched, subscription watched"; got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
}
