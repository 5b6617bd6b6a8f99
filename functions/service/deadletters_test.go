package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/knit-dev/knit/functions/api/deadletter"
)

// letters answers as a store would, and fails as the test wants.
type letters struct {
	err  error
	asks []string
}

func (l *letters) note(format string, args ...any) {
	l.asks = append(l.asks, fmt.Sprintf(format, args...))
}

func (l *letters) List(_ context.Context, namespace string, s deadletter.Selection) (deadletter.List, error) {
	l.note("list %s %s", namespace, s.Values().Encode())
	return deadletter.List{Items: []deadletter.Letter{{ID: 7}}, Continue: 7}, l.err
}

func (l *letters) Get(_ context.Context, namespace string, id uint64) (deadletter.Content, error) {
	l.note("get %s %d", namespace, id)
	return deadletter.Content{Letter: deadletter.Letter{ID: id}, Content: []byte(`{}`)}, l.err
}

func (l *letters) Purge(_ context.Context, namespace string, s deadletter.Selection) (deadletter.Purged, error) {
	l.note("purge %s %s", namespace, s.Values().Encode())
	return deadletter.Purged{Purged: 3}, l.err
}

func (l *letters) Redrive(_ context.Context, namespace string, r deadletter.Redrive, report func(deadletter.Outcome)) (uint64, error) {
	l.note("redrive %s %s", namespace, r.Values().Encode())
	if l.err != nil && strings.Contains(l.err.Error(), "at once") {
		return 0, l.err
	}
	report(deadletter.Outcome{ID: 7, Result: deadletter.Delivered})
	return 8, l.err
}

func TestDeadLettersAreAskedForByNamespace(t *testing.T) {
	const base = "/apis/service.knit.dev/v1alpha1/namespaces/alice/"
	unavailable := fmt.Errorf("%w: no servers", deadletter.ErrUnavailable)
	cases := map[string]struct {
		method, path string
		err          error
		code         int
		answer       string // a part of it
		ask          string // what the store is asked, if anything
	}{
		"a list":              {"GET", "deadletters", nil, 200, `"continue":7`, "list alice "},
		"a selection":         {"GET", "deadletters?kind=Trigger&name=paid&limit=5", nil, 200, `"id":7`, "list alice kind=Trigger&limit=5&name=paid"},
		"a letter":            {"GET", "deadletters/7", nil, 200, `"content":{}`, "get alice 7"},
		"a purge":             {"DELETE", "deadletters?type=x", nil, 200, `{"purged":3}`, "purge alice type=x"},
		"a redrive":           {"POST", "redrives?rate=5&id=7", nil, 200, "\"result\":\"Delivered\"}}\n{\"end\":{\"continue\":8}}\n", "redrive alice id=7&rate=5&until=2026-01-02T15%3A04%3A05Z"},
		"an id that is none":  {"GET", "deadletters/seven", nil, 400, "is no id", ""},
		"half a target":       {"GET", "deadletters?kind=Trigger", nil, 400, "go together", ""},
		"a wrong kind":        {"GET", "deadletters?kind=Secret&name=x", nil, 400, "neither", ""},
		"a wrong time":        {"GET", "deadletters?since=yesterday", nil, 400, "is no time", ""},
		"a wrong id":          {"GET", "deadletters?id=0", nil, 400, "is no id", ""},
		"too many ids":        {"GET", "deadletters?id=" + strings.Repeat("1&id=", deadletter.MaxIDs) + "1", nil, 400, "more than", ""},
		"a rate too high":     {"POST", "redrives?rate=1e9", nil, 400, "is no number from", ""},
		"a rate that is none": {"POST", "redrives?rate=NaN", nil, 400, "is no number from", ""},
		"one letter dropped":  {"DELETE", "deadletters/7", nil, 405, "by the parameter id", ""},
		"a redrive read":      {"GET", "redrives", nil, 405, "POST", ""},
		"no such letter":      {"GET", "deadletters/7", deadletter.ErrNotFound, 404, "no such dead letter", "get alice 7"},
		"the store away":      {"GET", "deadletters", unavailable, 503, "does not answer", "list alice "},
		"a fault":             {"GET", "deadletters", errors.New("secret"), 500, "see the log", "list alice "},
		"a redrive not begun": {"POST", "redrives", fmt.Errorf("at once: %w", unavailable), 503, "does not answer", "redrive alice rate=1000&until=2026-01-02T15%3A04%3A05Z"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			store := &letters{err: c.err}
			h := &deadLetterHandler{letters: store, calls: newSlots(4), now: func() time.Time { return time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC) }}
			w := httptest.NewRecorder()
			withPaths(&api{letters: h}).ServeHTTP(w, httptest.NewRequest(c.method, base+c.path, nil))
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.answer) {
				t.Errorf("answered %d %s\nwant %d with %s", w.Code, w.Body, c.code, c.answer)
			}
			if got := strings.Join(store.asks, "\n"); got != c.ask {
				t.Errorf("the store was asked %q, want %q", got, c.ask)
			}
			if strings.Contains(w.Body.String(), "secret") {
				t.Error("the answer tells what is inside")
			}
		})
	}
}

func TestARedriveThatBreaksOffHasNoEnd(t *testing.T) {
	h := &deadLetterHandler{letters: &letters{err: errors.New("in the middle")}, calls: newSlots(4), now: time.Now}
	s := httptest.NewServer(withPaths(&api{letters: h}))
	defer s.Close()
	answer, err := http.Post(s.URL+"/apis/service.knit.dev/v1alpha1/namespaces/alice/redrives", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil || strings.Contains(string(body), `"end"`) || !strings.Contains(string(body), "Delivered") {
		t.Errorf("answer = %q, %v; want an outcome, no end, and a connection that breaks off", body, err)
	}
}

func TestAnInstallationWithoutDeadLetters(t *testing.T) {
	w := httptest.NewRecorder()
	withPaths(&api{letters: &deadLetterHandler{}}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/apis/service.knit.dev/v1alpha1/namespaces/alice/deadletters", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "keeps no dead letters") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}
