package deadletters

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/knit-dev/knit/functions/api/deadletter"
)

// aServer is a real JetStream server on loopback, which keeps its port and its
// folder over a stop.
type aServer struct {
	t       *testing.T
	options server.Options
	running *server.Server
}

func newServer(t *testing.T) *aServer {
	t.Helper()
	s := &aServer{t: t, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, MaxPayload: 8 << 20,
	}}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *aServer) start() {
	s.t.Helper()
	running, err := server.NewServer(&s.options)
	if err != nil {
		s.t.Fatal(err)
	}
	running.Start()
	if !running.ReadyForConnections(10 * time.Second) {
		s.t.Fatal("the server does not start")
	}
	s.running = running
	u, err := url.Parse(running.ClientURL())
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := fmt.Sscan(u.Port(), &s.options.Port); err != nil {
		s.t.Fatal(err)
	}
}

func (s *aServer) stop() {
	s.running.Shutdown()
	s.running.WaitForShutdown()
}

func (s *aServer) connect() *Store {
	s.t.Helper()
	conn, err := nats.Connect(s.running.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	store, err := NewStore(conn, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	return store
}

func aStore(t *testing.T) *Store {
	t.Helper()
	return newServer(t).connect()
}

var began = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// aLetter is what the trigger "paid" gave up.
func aLetter(id string, change ...func(*deadletter.Letter)) deadletter.Letter {
	l := deadletter.Letter{
		Time: began, Kind: deadletter.KindTrigger, Name: "paid", Destination: "http://pay.shop.svc.cluster.local", Code: 503,
		Reason: "try later", Event: deadletter.HeadOf(id, "/test", "order.placed", ""), Size: 2,
	}
	for _, c := range change {
		c(&l)
	}
	return l
}

// keep puts letters into a namespace.
func keep(t *testing.T, store *Store, namespace string, letters ...deadletter.Letter) {
	t.Helper()
	for _, l := range letters {
		content, err := json.Marshal(map[string]any{
			"specversion": "1.0", "id": l.Event.ID, "source": l.Event.Source, "type": l.Event.Type, "data": map[string]string{"for": l.Event.ID},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Put(t.Context(), namespace, l, content, namespace+l.Event.ID+l.Name); err != nil {
			t.Fatal(err)
		}
	}
}

func ids(letters []deadletter.Letter) []string {
	var out []string
	for _, l := range letters {
		out = append(out, l.Event.ID)
	}
	return out
}

func TestASelectionOfLetters(t *testing.T) {
	store := aStore(t)
	keep(t, store, "shop",
		aLetter("a"),
		aLetter("b", func(l *deadletter.Letter) { l.Name = "paid.twice"; l.Time = began.Add(time.Minute) }),
		aLetter("c", func(l *deadletter.Letter) { l.Kind, l.Name, l.Code, l.Reason = "Subscription", "paid", 0, "" }),
		aLetter("d", func(l *deadletter.Letter) { l.Kind, l.Name = "", ""; l.Event.Type = "order.lost" }),
	)
	keep(t, store, "bank", aLetter("of another namespace"))
	cases := map[string]struct {
		selection deadletter.Selection
		want      []string
	}{
		"all, oldest first":               {deadletter.Selection{}, []string{"a", "b", "c", "d"}},
		"a trigger":                       {deadletter.Selection{Kind: "Trigger", Name: "paid"}, []string{"a"}},
		"a name with a dot":               {deadletter.Selection{Kind: "Trigger", Name: "paid.twice"}, []string{"b"}},
		"a subscription of the same name": {deadletter.Selection{Kind: "Subscription", Name: "paid"}, []string{"c"}},
		"a type":                          {deadletter.Selection{Type: "order.lost"}, []string{"d"}},
		"a status":                        {deadletter.Selection{Reason: "503"}, []string{"a", "b", "d"}},
		"a part of the reason":            {deadletter.Selection{Reason: "LATER"}, []string{"a", "b", "d"}},
		"a time":                          {deadletter.Selection{Until: began.Add(time.Second)}, []string{"a", "c", "d"}},
		"single letters":                  {deadletter.Selection{IDs: []uint64{2, 4, 99}}, []string{"b", "d"}},
		"after one":                       {deadletter.Selection{After: 2}, []string{"c", "d"}},
		"a few":                           {deadletter.Selection{Limit: 2}, []string{"a", "b"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			page, err := store.List(t.Context(), "shop", c.selection)
			if diff := cmp.Diff(c.want, ids(page.Items)); err != nil || diff != "" {
				t.Errorf("error %v; letters differ (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestPagesLeaveOutNothing(t *testing.T) {
	store := aStore(t)
	const many = 2*MaxPage + 7
	for i := range many {
		keep(t, store, "shop", aLetter(fmt.Sprint(i)))
	}
	seen, pages := map[string]bool{}, 0
	for selection := (deadletter.Selection{}); ; pages++ {
		page, err := store.List(t.Context(), "shop", selection)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids(page.Items) {
			if seen[id] {
				t.Fatalf("letter %s came twice", id)
			}
			seen[id] = true
		}
		if selection.After = page.Continue; page.Continue == 0 {
			break
		}
	}
	if len(seen) != many || pages != 2 {
		t.Errorf("%d letters on %d pages before the last, want %d on 2", len(seen), pages, many)
	}
}

func TestANamespaceWithoutLetters(t *testing.T) {
	store := aStore(t)
	page, err := store.List(t.Context(), "empty", deadletter.Selection{})
	if err != nil || len(page.Items) != 0 {
		t.Errorf("list: %v, %v; want none", page, err)
	}
	if _, err := store.Get(t.Context(), "empty", 1); !errors.Is(err, deadletter.ErrNotFound) {
		t.Errorf("get: %v, want not found", err)
	}
	if err := store.Delete(t.Context(), "empty", 1); err != nil {
		t.Errorf("delete: %v; what is gone is gone", err)
	}
}

func TestLettersOutliveTheServer(t *testing.T) {
	s := newServer(t)
	store := s.connect()
	keep(t, store, "shop", aLetter("a"), aLetter("b"))
	s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := store.List(ctx, "shop", deadletter.Selection{}); !errors.Is(err, deadletter.ErrUnavailable) {
		t.Errorf("while it is away: %v, want unavailable", err)
	}
	s.start()
	store = s.connect()
	page, err := store.List(t.Context(), "shop", deadletter.Selection{})
	if diff := cmp.Diff([]string{"a", "b"}, ids(page.Items)); err != nil || diff != "" {
		t.Errorf("error %v; letters differ (-want +got):\n%s", err, diff)
	}
	content, err := store.Get(t.Context(), "shop", page.Items[1].ID)
	if err != nil || !strings.Contains(string(content.Content), `"for":"b"`) || content.Reason != "try later" {
		t.Errorf("letter b = %+v, %v", content, err)
	}
}

func TestTheSameEventIsKeptOnce(t *testing.T) {
	store := aStore(t)
	keep(t, store, "shop", aLetter("a"), aLetter("a"), aLetter("b"))
	page, err := store.List(t.Context(), "shop", deadletter.Selection{})
	if diff := cmp.Diff([]string{"a", "b"}, ids(page.Items)); err != nil || diff != "" {
		t.Errorf("error %v; letters differ (-want +got):\n%s", err, diff)
	}
}

func TestAPurgeDropsWhatIsSelected(t *testing.T) {
	store := aStore(t)
	keep(t, store, "shop", aLetter("a"), aLetter("b", func(l *deadletter.Letter) { l.Code = 404 }), aLetter("c"))
	keep(t, store, "bank", aLetter("a"))
	done, err := store.Purge(t.Context(), "shop", deadletter.Selection{Reason: "503"})
	if err != nil || done.Purged != 2 || done.Continue != 0 {
		t.Fatalf("purged %+v, %v; want 2 and no more", done, err)
	}
	page, _ := store.List(t.Context(), "shop", deadletter.Selection{})
	if diff := cmp.Diff([]string{"b"}, ids(page.Items)); diff != "" {
		t.Errorf("what is left differs (-want +got):\n%s", diff)
	}
	if done, err = store.Purge(t.Context(), "shop", deadletter.Selection{}); err != nil || done.Purged != 1 {
		t.Errorf("purged %+v, %v; want the last", done, err)
	}
	if page, _ := store.List(t.Context(), "bank", deadletter.Selection{}); len(page.Items) != 1 {
		t.Error("the letter of another namespace is gone, too")
	}
	keep(t, store, "shop", aLetter("d"))
	if page, _ := store.List(t.Context(), "shop", deadletter.Selection{}); len(page.Items) != 1 || page.Items[0].ID != 4 {
		t.Errorf("letters = %+v, want one with the id 4: ids never return", page.Items)
	}
}

func TestOnlyOneClaimsALetter(t *testing.T) {
	store := aStore(t)
	var wins int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			mine, err := store.Claim(t.Context(), "shop", 7)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if mine {
				wins++
			}
		})
	}
	all.Wait()
	if wins != 1 {
		t.Fatalf("%d of 16 have the letter, want one", wins)
	}
	if mine, err := store.Claim(t.Context(), "bank", 7); err != nil || !mine {
		t.Errorf("the letter of another namespace: %v, %v", mine, err)
	}
	if err := store.Release(t.Context(), "shop", 7); err != nil {
		t.Fatal(err)
	}
	if mine, err := store.Claim(t.Context(), "shop", 7); err != nil || !mine {
		t.Errorf("after the release: %v, %v; want it", mine, err)
	}
}
