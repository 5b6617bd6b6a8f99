package service

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func (r *testRegistry) sweeper(t *testing.T, now time.Time, objects ...client.Object) *Sweeper {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return &Sweeper{store: r.store(), reader: reconciletest.Fake(t, scheme, nil, objects...), now: func() time.Time { return now }}
}

// pushed stores a source at a time and returns its digest.
func (r *testRegistry) pushed(t *testing.T, namespace string, at time.Time) v1.Hash {
	t.Helper()
	content, digest := gzipped(t, 100)
	hash, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.store().put(t.Context(), namespace, hash, int64(len(content)), bytes.NewReader(content), at); err != nil {
		t.Fatal(err)
	}
	return hash
}

func (r *testRegistry) has(t *testing.T, namespace string, digest v1.Hash) bool {
	t.Helper()
	_, err := r.store().find(t.Context(), namespace, digest)
	if err != nil && !errors.Is(err, errUnknownSource) {
		t.Fatal(err)
	}
	return err == nil
}

func functionOf(namespace, name string, digest v1.Hash) *v1alpha1.Function {
	return &v1alpha1.Function{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.FunctionSpec{Source: v1alpha1.Source{Archive: &v1alpha1.Archive{Digest: digest.String()}}},
	}
}

func buildOf(namespace, name string, digest v1.Hash) *v1alpha1.Build {
	return &v1alpha1.Build{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.BuildSpec{Function: "f", Source: v1alpha1.BuildSource{Archive: v1alpha1.Archive{Digest: digest.String()}}},
	}
}

func TestSweepKeepsWhatSomebodyNeeds(t *testing.T) {
	r := newRegistry(t)
	old, young := noon.Add(-2*time.Hour), noon.Add(-30*time.Minute)
	ofFunction, ofBuild, unused := r.pushed(t, "alice", old), r.pushed(t, "alice", old), r.pushed(t, "alice", old)
	justPushed, elsewhere := r.pushed(t, "alice", young), r.pushed(t, "gone", old)
	git := &v1alpha1.Function{ObjectMeta: metav1.ObjectMeta{Namespace: "alice", Name: "git"}, Spec: v1alpha1.FunctionSpec{Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://x/y"}}}}
	// Another namespace's Function of the same digest keeps nothing here.
	s := r.sweeper(t, noon, functionOf("alice", "f", ofFunction), buildOf("alice", "b", ofBuild), functionOf("bob", "f", unused), git)
	if dropped, err := s.sweep(t.Context()); err != nil || dropped != 2 {
		t.Errorf("%d dropped, %v", dropped, err)
	}
	for name, c := range map[string]struct {
		namespace string
		digest    v1.Hash
		want      bool
	}{
		"named by a Function":           {"alice", ofFunction, true},
		"named by a Build":              {"alice", ofBuild, true},
		"pushed a moment ago":           {"alice", justPushed, true},
		"named by nobody":               {"alice", unused, false},
		"of a namespace without any":    {"gone", elsewhere, false},
		"of a namespace that has no it": {"bob", unused, false},
	} {
		if got := r.has(t, c.namespace, c.digest); got != c.want {
			t.Errorf("%s: kept %v, want %v", name, got, c.want)
		}
	}
	if dropped, err := s.sweep(t.Context()); err != nil || dropped != 0 {
		t.Errorf("again: %d dropped, %v", dropped, err)
	}
}

// Whoever is told that the cluster has a source does not send it: it stays until
// a Function can name it.
func TestWhatWasAskedForStays(t *testing.T) {
	r := newRegistry(t)
	digest := r.pushed(t, "alice", noon.Add(-48*time.Hour))
	h := &sourceHandler{store: r.store(), now: func() time.Time { return noon.Add(-time.Minute) }, max: 1 << 20, uploads: newSlots(1)}
	if _, err := h.known(t.Context(), "alice", digest); err != nil {
		t.Fatal(err)
	}
	if dropped, err := r.sweeper(t, noon).sweep(t.Context()); err != nil || dropped != 0 || !r.has(t, "alice", digest) {
		t.Errorf("%d dropped, %v", dropped, err)
	}
	before := r.count("PUT /v2/team/alice/sources/manifests")
	if _, err := h.known(t.Context(), "alice", digest); err != nil || r.count("PUT /v2/team/alice/sources/manifests") != before {
		t.Errorf("every question is a write: %v", err)
	}
	if dropped, err := r.sweeper(t, noon.Add(2*time.Hour)).sweep(t.Context()); err != nil || dropped != 1 {
		t.Errorf("later: %d dropped, %v", dropped, err)
	}
}

// The one that sweeps has read the old manifest, then somebody asks: the tag has
// a new one, and only the old one goes.
func TestAskingWhileASweepGoesOn(t *testing.T) {
	r := newRegistry(t)
	digest := r.pushed(t, "alice", noon.Add(-48*time.Hour))
	s := r.sweeper(t, noon)
	asked := false
	s.now = func() time.Time { // called between reading and dropping
		if f, err := s.store.find(t.Context(), "alice", digest); err != nil || s.store.touch(t.Context(), "alice", digest, f, noon) != nil {
			t.Error(err)
		}
		asked = true
		return noon
	}
	if _, err := s.sweep(t.Context()); err != nil || !asked || !r.has(t, "alice", digest) {
		t.Errorf("asked %v, kept %v, %v", asked, r.has(t, "alice", digest), err)
	}
}

func TestARegistryThatDeletesNothing(t *testing.T) {
	r := newRegistry(t)
	r.pushed(t, "alice", noon.Add(-48*time.Hour))
	s := r.sweeper(t, noon)
	s.store.transport = refuseDeletes{s.store.transport}
	if dropped, err := s.sweep(t.Context()); dropped != 0 || err == nil || !strings.Contains(err.Error(), "drop source") {
		t.Errorf("%d dropped, %v", dropped, err)
	}
}

type refuseDeletes struct{ http.RoundTripper }

func (d refuseDeletes) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodDelete {
		return &http.Response{StatusCode: http.StatusMethodNotAllowed, Body: http.NoBody, Request: r, Header: http.Header{}}, nil
	}
	return d.RoundTripper.RoundTrip(r)
}

func TestTagsOfSources(t *testing.T) {
	for tag, want := range map[string]bool{
		"sha256-" + strings.Repeat("a", 64): true, "latest": false, "build-1": false, "sha256-" + strings.Repeat("a", 64) + ".sig": false, "sha256-aa": false,
	} {
		if _, ok := digestOfTag(tag); ok != want {
			t.Errorf("%s: %v", tag, ok)
		}
	}
}
