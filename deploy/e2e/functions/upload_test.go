//go:build e2e

package functions

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// TestAnInterruptedUploadGoesOn ends an upload through the API server and its
// registry in the middle; the next one sends the rest.
func TestAnInterruptedUploadGoesOn(t *testing.T) {
	p := newProject(t, "hello")
	noise := make([]byte, 60<<20)
	_, _ = rand.Read(noise)
	if err := os.WriteFile(filepath.Join(p.folder, "noise.bin"), noise, 0o644); err != nil {
		t.Fatal(err)
	}
	digest := field(p.knit("deploy", p.folder, "--dry-run", "-o", "json"), "digest")
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	admin := tenant{config: rest.CopyConfig(config)}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	first := exec.CommandContext(ctx, filepath.Join(os.Getenv("KNIT_BIN"), "knit"), "deploy", p.folder, "-n", p.namespace)
	var said strings.Builder
	first.Stderr = &said
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	for {
		code, body := admin.ask(t, "GET", p.namespace+"/sources/"+digest)
		if strings.Contains(body, "UploadOffset") {
			break
		}
		if code == 200 || ctx.Err() != nil {
			t.Fatalf("no part of an upload was seen: %d %s", code, body)
		}
	}
	if err := first.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err == nil || !strings.Contains(said.String(), "interrupted; nothing was changed in the cluster") {
		t.Fatalf("%v: %s", err, said.String())
	}
	if code, body := admin.ask(t, "GET", p.namespace+"/sources/"+digest); code != 404 || !strings.Contains(body, "bytes came so far") {
		t.Fatalf("%d %s, want what came so far", code, body)
	}
	p.knit("deploy", p.folder)
	if code, body := admin.ask(t, "GET", p.namespace+"/sources/"+digest); code != 200 {
		t.Errorf("%d %s, want the whole", code, body)
	}
}
