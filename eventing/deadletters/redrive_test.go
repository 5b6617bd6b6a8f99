package deadletters

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/deadletter"
	"github.com/knit-dev/knit/functions/reconcile"
)

// aSubscriber counts how often it got each event, by its id.
type aSubscriber struct {
	*httptest.Server
	mu      sync.Mutex
	got     map[string]int
	headers []http.Header
	answer  func(http.ResponseWriter, *http.Request)
}

func newSubscriber(t *testing.T, answer func(http.ResponseWriter, *http.Request)) *aSubscriber {
	s := &aSubscriber{got: map[string]int{}, answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		s.mu.Lock()
		s.got[r.Header.Get("Ce-Id")]++
		s.headers = append(s.headers, r.Header.Clone())
		s.mu.Unlock()
		if s.answer != nil {
			s.answer(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *aSubscriber) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, n := range s.got {
		ids = append(ids, fmt.Sprintf("%s×%d", id, n))
	}
	slices.Sort(ids)
	return ids
}

func aRedriver(store letters, objects ...client.Object) *redriver {
	local := reconcile.Egress(5*time.Second, func(netip.Addr) bool { return false })
	return &redriver{store: store, ways: ways{aCluster(objects...)}, client: local, time: 30 * time.Second}
}

// redrive runs to the end and returns "id result: message", sorted.
func redrive(t *testing.T, r *redriver, request deadletter.Redrive) []string {
	t.Helper()
	if request.Rate == 0 {
		request.Rate = deadletter.MaxRate
	}
	var lines []string
	next, err := r.redrive(t.Context(), "shop", request, func(o deadletter.Outcome) {
		lines = append(lines, strings.TrimSuffix(fmt.Sprintf("%s %s: %s", o.Event.ID, o.Result, o.Message), ": "))
	})
	if err != nil || next != 0 {
		t.Fatalf("redrive: %v, go on after %d", err, next)
	}
	slices.Sort(lines)
	return lines
}

func left(t *testing.T, store *Store) []string {
	t.Helper()
	page, err := store.List(t.Context(), "shop", deadletter.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	return ids(page.Items)
}

func TestARedriveGoesToWhoFailedAndItsAnswerOn(t *testing.T) {
	store, trace := aStore(t), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	subscriber := newSubscriber(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Ce-Specversion", "1.0")
		w.Header().Set("Ce-Id", "answer to "+r.Header.Get("Ce-Id"))
		w.Header().Set("Ce-Source", "/pay")
		w.Header().Set("Ce-Type", "order.paid")
		w.WriteHeader(http.StatusOK)
	})
	broker := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	other := newSubscriber(t, nil)
	mine := aTrigger("mine", subscriber.URL)
	mine.Spec.Broker = "mine"
	r := aRedriver(store, mine, aBroker("mine", broker.URL), aTrigger("other", other.URL))
	keep(t, store, "shop", aLetter("a", func(l *deadletter.Letter) { l.Name = "mine"; l.Traceparent = trace }))
	if got := redrive(t, r, deadletter.Redrive{}); !slices.Equal(got, []string{"a Delivered"}) {
		t.Fatalf("outcomes = %q", got)
	}
	if got := subscriber.ids(); !slices.Equal(got, []string{"a×1"}) || subscriber.headers[0].Get("Traceparent") != trace {
		t.Errorf("the subscriber got %q with trace %q", got, subscriber.headers[0].Get("Traceparent"))
	}
	if got := broker.ids(); !slices.Equal(got, []string{"answer to a×1"}) {
		t.Errorf("the broker got %q, want the answer", got)
	}
	if got := other.ids(); len(got) != 0 {
		t.Errorf("another subscriber got %q", got)
	}
	if got := left(t, store); len(got) != 0 {
		t.Errorf("still kept: %q", got)
	}
}

func TestWhatIsNotTakenStays(t *testing.T) {
	refuses := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "still\nbroken", 500) })
	redirects := newSubscriber(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, refuses.URL, http.StatusFound) })
	malformed := newSubscriber(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Ce-Specversion", "1.0") })
	cases := map[string]struct {
		letter deadletter.Letter
		via    string
		want   string
	}{
		"refused":             {aLetter("a", func(l *deadletter.Letter) { l.Name = "refuses" }), "", "answered 500 Internal Server Error: still broken"},
		"redirected":          {aLetter("a", func(l *deadletter.Letter) { l.Name = "redirects" }), "", "answered 302"},
		"malformed answer":    {aLetter("a", func(l *deadletter.Letter) { l.Name = "malformed" }), "", "its answer is no event"},
		"the trigger is gone": {aLetter("a", func(l *deadletter.Letter) { l.Name = "gone" }), "", "the Trigger gone is gone"},
		"not certain":         {aLetter("a", func(l *deadletter.Letter) { l.Kind, l.Name = "", "" }), "", "--via"},
		"via another":         {aLetter("a", func(l *deadletter.Letter) { l.Kind, l.Name = "", "" }), "Trigger/refuses", "does not send to"},
		"without data":        {aLetter("a", func(l *deadletter.Letter) { l.DataLost = true }), "", "too large to be kept"},
		"forbidden address":   {aLetter("a", func(l *deadletter.Letter) { l.Name = "metadata" }), "", "link-local"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			store := aStore(t)
			r := aRedriver(store, aTrigger("refuses", refuses.URL), aTrigger("redirects", redirects.URL), aTrigger("malformed", malformed.URL),
				aTrigger("metadata", "http://169.254.169.254/latest"))
			if name == "forbidden address" {
				r.client = reconcile.Egress(5*time.Second, reconcile.Forbidden)
			}
			keep(t, store, "shop", c.letter)
			got := redrive(t, r, deadletter.Redrive{Via: c.via})
			if len(got) != 1 || !strings.HasPrefix(got[0], "a Failed: ") || !strings.Contains(got[0], c.want) {
				t.Errorf("outcomes = %q, want a failure with %q", got, c.want)
			}
			if got := left(t, store); !slices.Equal(got, []string{"a"}) {
				t.Errorf("kept = %q, want the letter", got)
			}
			// It is not held: the next redrive may try again at once.
			if mine, err := store.Claim(t.Context(), "shop", 1); err != nil || !mine {
				t.Errorf("the letter is still claimed: %v, %v", mine, err)
			}
		})
	}
}

func TestALetterIsSentByTheOneThatIsNamed(t *testing.T) {
	store, subscriber := aStore(t), newSubscriber(t, nil)
	r := aRedriver(store, aSubscription("s", subscriber.URL, "http://127.0.0.1:1"), aSubscription("t", subscriber.URL, ""))
	keep(t, store, "shop", aLetter("a", func(l *deadletter.Letter) { l.Kind, l.Name, l.Destination = "", "", subscriber.URL }))
	if got := redrive(t, r, deadletter.Redrive{Via: "Subscription/t"}); !slices.Equal(got, []string{"a Delivered"}) {
		t.Errorf("outcomes = %q", got)
	}
}

func TestTwoRedrivesSendEachLetterOnce(t *testing.T) {
	store, subscriber := aStore(t), newSubscriber(t, nil)
	r := aRedriver(store, aTrigger("mine", subscriber.URL))
	const many = 200
	for i := range many {
		keep(t, store, "shop", aLetter(fmt.Sprint(i), func(l *deadletter.Letter) { l.Name = "mine" }))
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { redrive(t, r, deadletter.Redrive{}) })
	}
	all.Wait()
	got := subscriber.ids()
	if len(got) != many || slices.ContainsFunc(got, func(s string) bool { return !strings.HasSuffix(s, "×1") }) {
		t.Errorf("%d events arrived, want %d, each once: %q", len(got), many, got)
	}
	if got := left(t, store); len(got) != 0 {
		t.Errorf("still kept: %q", got)
	}
}

func TestARedriveEndsInTimeAndSaysWhereToGoOn(t *testing.T) {
	store, subscriber := aStore(t), newSubscriber(t, nil)
	r := aRedriver(store, aTrigger("mine", subscriber.URL))
	r.time = 300 * time.Millisecond
	for i := range 20 {
		keep(t, store, "shop", aLetter(fmt.Sprint(i), func(l *deadletter.Letter) { l.Name = "mine" }))
	}
	rounds := 0
	for request := (deadletter.Redrive{Rate: 20}); ; rounds++ {
		next, err := r.redrive(t.Context(), "shop", request, func(deadletter.Outcome) {})
		if err != nil {
			t.Fatal(err)
		}
		if request.After = next; next == 0 {
			break
		}
	}
	if got := subscriber.ids(); len(got) != 20 || rounds < 2 {
		t.Errorf("%d events in %d rounds and the last, want 20 in at least 2: 20/s for 0.3 s are about 6", len(got), rounds)
	}
}

// dying is a store whose caller is gone after the delivery.
type dying struct {
	*Store
	died bool
}

func (d *dying) Delete(ctx context.Context, namespace string, id uint64) error {
	if d.died {
		return d.Store.Delete(ctx, namespace, id)
	}
	d.died = true
	return errors.New("killed")
}

func TestALetterThatWasDeliveredButNotDroppedIsHeld(t *testing.T) {
	store, subscriber := aStore(t), newSubscriber(t, nil)
	r := aRedriver(&dying{Store: store}, aTrigger("mine", subscriber.URL))
	keep(t, store, "shop", aLetter("a", func(l *deadletter.Letter) { l.Name = "mine" }))
	if got := redrive(t, r, deadletter.Redrive{}); len(got) != 1 || !strings.Contains(got[0], "it was delivered, but could not be dropped") {
		t.Errorf("outcomes = %q", got)
	}
	if got := redrive(t, r, deadletter.Redrive{}); len(got) != 1 || !strings.HasPrefix(got[0], "a Skipped") {
		t.Errorf("at once again: %q, want it skipped", got)
	}
	if got := subscriber.ids(); !slices.Equal(got, []string{"a×1"}) {
		t.Errorf("arrived: %q", got)
	}
}
