//go:build e2e

package functions

import (
	"strings"
	"testing"
)

// TestAClusterLocalFunctionIsCalledThroughTheAPI calls a function that has no
// address outside of the cluster, and one that does by both ways.
func TestAClusterLocalFunctionIsCalledThroughTheAPI(t *testing.T) {
	p := newProject(t, "hello")
	p.replace("knit.yaml", "  language: go\n", "  language: go\n  visibility: cluster-local\n")
	url := p.knit("deploy", p.folder)
	if !strings.Contains(url, ".svc.cluster.local") {
		t.Fatalf("URL %s, want one inside of the cluster", url)
	}
	if answer := p.knit("invoke", "hello"); !strings.Contains(answer, "Hello from Knit!") {
		t.Errorf("answer %q", answer)
	}
	// A CloudEvent goes the same way, and so does what the function says to it.
	p.knit("invoke", "hello", "--event-type", "dev.knit.hello", "--event-id", "through-the-api", "--data", "{}")
	if logs := p.knit("logs", "hello"); !strings.Contains(logs, "through-the-api") {
		t.Errorf("the function has not seen the event:\n%s", logs)
	}
	p = newProject(t, "hello")
	p.knit("deploy", p.folder)
	for _, way := range []string{"api", "url", "auto"} {
		if answer := p.knit("invoke", "hello", "--via", way); !strings.Contains(answer, "Hello from Knit!") {
			t.Errorf("by %s: %q", way, answer)
		}
	}
}
