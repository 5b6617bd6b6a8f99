//go:build e2e

package functions

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const (
	oldAnswer = "Hello from Knit!"
	newAnswer = "The second"
)

// twoRevisions deploys a function twice and returns its URL.
func twoRevisions(t *testing.T) (project, string) {
	t.Helper()
	p := newProject(t, "hello")
	p.replace("knit.yaml", "source:\n    path: .", "source:\n    path: .\n  scale: {min: 1}")
	p.knit("deploy", p.folder)
	p.replace("hello.go", oldAnswer, newAnswer)
	return p, p.knit("deploy", p.folder)
}

// ask returns the answer, or why there was none.
func ask(ctx context.Context, url string) (string, error) {
	r, err := request(ctx, url)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, body)
	}
	return strings.TrimSpace(string(body)), nil
}

func TestRequestsAreSharedOut(t *testing.T) {
	p, url := twoRevisions(t)
	p.knit("traffic", "hello", "hello-00001=10", "latest=90")
	const all, want = 2000, 200
	var old, failed atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range all / 4 {
				switch answer, err := ask(t.Context(), url); {
				case err != nil:
					failed.Add(1)
					t.Logf("a request failed: %v", err)
				case strings.Contains(answer, oldAnswer):
					old.Add(1)
				}
			}
		})
	}
	group.Wait()
	// Five standard deviations of 2,000 draws at 10 %: one wrong alarm in a
	// million runs.
	if n := old.Load(); failed.Load() > 0 || n < want-67 || n > want+67 {
		t.Errorf("%d of %d requests reached the revision with 10 %%, %d failed", n, all, failed.Load())
	}
}

func TestRollbackUnderLoadFailsNoRequest(t *testing.T) {
	p, url := twoRevisions(t)
	ctx, stop := context.WithCancel(t.Context())
	var asked, failed atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for ctx.Err() == nil {
				if _, err := ask(context.WithoutCancel(ctx), url); err != nil {
					failed.Add(1)
					t.Logf("a request failed: %v", err)
				}
				asked.Add(1)
			}
		})
	}
	p.knit("rollback", "hello")
	for range 50 {
		if answer, err := ask(t.Context(), url); err != nil || !strings.Contains(answer, oldAnswer) {
			t.Errorf("after the rollback: %q %v", answer, err)
		}
	}
	stop()
	group.Wait()
	if failed.Load() > 0 || asked.Load() < 50 {
		t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
	}
}
