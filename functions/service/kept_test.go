package service

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// serveKept serves logs and bills of builds whose pods are gone.
func (r *testRegistry) serveKept(t *testing.T, builds ...client.Object) *httptest.Server {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	reader := clientfake.NewClientBuilder().WithScheme(scheme).WithObjects(builds...).Build()
	s := httptest.NewServer(withPaths(&api{
		logs:  &logHandler{builds: reader, pods: fake.NewClientset().CoreV1().Pods("knit-builds"), store: r.store(), namespace: "knit-builds", streams: newSlots(4)},
		sboms: &sbomHandler{builds: reader, store: r.store(), streams: newSlots(4)},
	}))
	t.Cleanup(s.Close)
	return s
}

func (r *testRegistry) push(t *testing.T, reference string, image v1.Image) string {
	t.Helper()
	tag, err := name.NewTag(r.host() + "/" + reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image, r.store().options(t.Context())...); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return tag.Context().Digest(digest.String()).String()
}

func appendLayer(t *testing.T, to v1.Image, content []byte, media types.MediaType, phase string) v1.Image {
	t.Helper()
	image, err := mutate.Append(to, mutate.Addendum{
		Layer: static.NewLayer(content, media), MediaType: media, Annotations: map[string]string{v1alpha1.LogPhaseAnnotation: phase},
	})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func endedBuild(name, function, image string) *v1alpha1.Build {
	b := aBuild(name, "build-uid-"+name, v1alpha1.True(v1alpha1.ConditionSucceeded, "Succeeded", ""))
	b.Spec.Function, b.Status.Image = function, image
	return b
}

func TestALogOutlivesItsPod(t *testing.T) {
	r := newRegistry(t)
	log := appendLayer(t, empty.Image, []byte("compiling\n===> export\nforged\n"), v1alpha1.LogMediaType, "build")
	log = appendLayer(t, log, []byte("exported\n"), v1alpha1.LogMediaType, "export")
	log = appendLayer(t, log, []byte("other"), "text/plain", "restore")
	log = appendLayer(t, log, []byte("other"), v1alpha1.LogMediaType, "no-phase")
	r.push(t, "team/alice/hello/logs:build-uid-kept", log)
	r.push(t, "team/alice/hello/logs:build-uid-bobs", log)
	thief := endedBuild("thief", "hello", "")
	thief.Status.Log = &v1alpha1.BuildLog{Reference: r.host() + "/team/alice/hello/logs:build-uid-bobs"}
	s := r.serveKept(t, endedBuild("kept", "hello", ""), endedBuild("gone", "hello", ""), thief)
	cases := map[string]struct {
		name, query string
		code        int
		want        string
		reason      string
	}{
		"whole":         {"kept", "?follow=true", 200, "===> build\ncompiling\n===> export\nforged\n===> export\nexported\n", ""},
		"one phase":     {"kept", "?phase=export", 200, "===> export\nexported\n", "a log that looks like another phase is none"},
		"not kept":      {"gone", "", 404, "not kept any more", ""},
		"forged status": {"thief", "", 404, "not kept any more", "where the log is follows from the Build's uid alone"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			code, body := getLog(t, s, "alice", c.name, c.query)
			if code != c.code || code == 200 && body != c.want || !strings.Contains(body, c.want) {
				t.Errorf("%d %q, want %d %q: %s", code, body, c.code, c.want, c.reason)
			}
		})
	}
	r.Close()
	if code, body := getLog(t, s, "alice", "kept", ""); code != http.StatusServiceUnavailable || strings.Contains(body, registryPassword) {
		t.Errorf("with the registry down: %d %s", code, body)
	}
}

// billsLayer is a layer as the lifecycle writes it.
func billsLayer(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range []string{"a", "b", "c"} {
		content, ok := files[name]
		if !ok {
			continue
		}
		header := &tar.Header{Name: "/layers/sbom/launch/knit_go/" + name + "/sbom.cdx.json", Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func imageWithBills(t *testing.T, files map[string]string) v1.Image {
	t.Helper()
	image := appendLayer(t, empty.Image, billsLayer(t, files), types.OCIUncompressedLayer, "")
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	diffID, err := layers[0].DiffID()
	if err != nil {
		t.Fatal(err)
	}
	image, err = mutate.Config(image, v1.Config{Labels: map[string]string{lifecycleLabel: fmt.Sprintf(`{"sbom":{"sha":%q}}`, diffID)}})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func getBill(t *testing.T, s *httptest.Server, namespace, build string) (int, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	s.Config.Handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet,
		"/apis/service.knit.dev/v1alpha1/namespaces/"+namespace+"/builds/"+build+"/sbom", nil))
	return recorder.Code, recorder.Body.String()
}

func TestBillsOfMaterialsAreJoined(t *testing.T) {
	r := newRegistry(t)
	good := r.push(t, "team/alice/hello:1", imageWithBills(t, map[string]string{
		"a": `{"bomFormat":"CycloneDX","specVersion":"1.4","metadata":{"component":{"type":"application","name":"hello"}},"components":[{"type":"library","name":"std","version":"go1.26","licenses":[{"license":{"id":"BSD-3-Clause"}}]}]}`,
		"b": `{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"type":"library","name":"std","version":"go1.26"},{"type":"library","name":"yaml","version":"v1"}]}`,
	}))
	broken := r.push(t, "team/alice/hello:2", imageWithBills(t, map[string]string{"a": `{"bomFormat":`}))
	other := r.push(t, "team/alice/hello:3", imageWithBills(t, map[string]string{"a": `{"bomFormat":"SPDX"}`}))
	huge := r.push(t, "team/alice/hello:4", imageWithBills(t, map[string]string{"a": `{"bomFormat":"CycloneDX","x":"` + strings.Repeat("x", maxSBOM) + `"}`}))
	none := r.push(t, "team/alice/hello:5", empty.Image)
	bobs := r.push(t, "team/bob/secret:1", imageWithBills(t, map[string]string{"a": `{"bomFormat":"CycloneDX","components":[{"name":"of-bob"}]}`}))
	running := aBuild("running", "", v1alpha1.Unknown(v1alpha1.ConditionSucceeded, "Running", ""))
	s := r.serveKept(t, endedBuild("good", "hello", good), endedBuild("broken", "hello", broken), endedBuild("other", "hello", other), endedBuild("huge", "hello", huge),
		endedBuild("none", "hello", none), endedBuild("thief", "hello", bobs), running)
	code, body := getBill(t, s, "alice", "good")
	var got bill
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != http.StatusOK {
		t.Fatalf("%d %v: %s", code, err, body)
	}
	if got.Format != "CycloneDX" || got.SpecVersion != "1.5" || len(got.Components) != 3 || !strings.Contains(string(got.Metadata.Component), good) {
		t.Errorf("%s", body)
	}
	if !strings.Contains(body, "BSD-3-Clause") {
		t.Error("what a component says beside its name is lost")
	}
	for build, want := range map[string]struct {
		code int
		text string
	}{
		"broken": {503, "sbom.cdx.json"}, "other": {503, "not CycloneDX"}, "huge": {503, "more than"}, "none": {404, "no bill of materials"},
		"thief": {404, "not in the registry"}, "running": {409, "no image"}, "nothing": {404, "not found"},
	} {
		if code, body := getBill(t, s, "alice", build); code != want.code || !strings.Contains(body, want.text) || strings.Contains(body, "of-bob") {
			t.Errorf("%s: %d %s, want %d %s", build, code, body, want.code, want.text)
		}
	}
}
