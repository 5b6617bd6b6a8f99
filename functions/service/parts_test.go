package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// replica is one of several function services before the same registry.
func replica(t *testing.T, r *testRegistry, now func() time.Time) *httptest.Server {
	t.Helper()
	a := &api{sources: &sourceHandler{store: r.store(), now: now, max: 256 << 20, uploads: newSlots(8)}}
	s := httptest.NewServer(withPaths(a))
	t.Cleanup(s.Close)
	return s
}

// sendPart sends content as the part at first; a header overrides.
func sendPart(t *testing.T, s *httptest.Server, digest string, content io.Reader, length, first, total int, sum [32]byte) (int, metav1.Status) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+sourcePath("alice", digest), content)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(length)
	place := fmt.Sprintf("%d-%d", first, first+length-1)
	if length == 0 {
		place, r.Body = "*", http.NoBody
	}
	r.Header.Set("Content-Range", fmt.Sprintf("bytes %s/%d", place, total))
	r.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	answer, err := s.Client().Do(r)
	if err != nil {
		return 0, metav1.Status{Message: err.Error()}
	}
	defer answer.Body.Close()
	var status metav1.Status
	_ = json.NewDecoder(answer.Body).Decode(&status)
	return answer.StatusCode, status
}

func part(t *testing.T, s *httptest.Server, digest string, whole []byte, first, last int) (int, metav1.Status) {
	t.Helper()
	content := whole[first:last]
	return sendPart(t, s, digest, bytes.NewReader(content), len(content), first, len(whole), sha256.Sum256(content))
}

// offsetOf is where an error says that an upload goes on.
func offsetOf(status metav1.Status) string {
	if status.Details == nil || len(status.Details.Causes) != 1 {
		return ""
	}
	return status.Details.Causes[0].Message
}

func askSource(t *testing.T, s *httptest.Server, digest string) (int, metav1.Status) {
	t.Helper()
	answer, err := s.Client().Get(s.URL + sourcePath("alice", digest))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var status metav1.Status
	_ = json.NewDecoder(answer.Body).Decode(&status)
	return answer.StatusCode, status
}

func TestAnUploadGoesOnAtAnotherReplica(t *testing.T) {
	r := newRegistry(t)
	one, two := replica(t, r, time.Now), replica(t, r, time.Now)
	whole, digest := gzipped(t, 5<<20)
	const size = 2 << 20
	if code, status := part(t, one, digest, whole, 0, size); code != 202 {
		t.Fatalf("first part: %d %s", code, status.Message)
	}
	// The line breaks within the second part: nothing of it counts.
	broken := io.MultiReader(bytes.NewReader(whole[size:size+1000]), brokenLine{})
	if code, status := sendPart(t, one, digest, broken, size, size, len(whole), sha256.Sum256(whole[size:2*size])); code/100 == 2 {
		t.Fatalf("broken part: %d %s", code, status.Message)
	}
	if code, status := askSource(t, two, digest); code != 404 || offsetOf(status) != fmt.Sprint(size) {
		t.Fatalf("%d, goes on at %q, want 404 and %d", code, offsetOf(status), size)
	}
	if code, status := part(t, two, digest, whole, 0, size); code != 409 || offsetOf(status) != fmt.Sprint(size) {
		t.Errorf("a part again: %d %q, want 409 and where it goes on", code, offsetOf(status))
	}
	if code, status := part(t, two, digest, whole, size, 2*size); code != 202 {
		t.Fatalf("second part: %d %s", code, status.Message)
	}
	if code, status := part(t, one, digest, whole, 2*size, len(whole)); code != 201 {
		t.Fatalf("last part: %d %s", code, status.Message)
	}
	if code, _ := askSource(t, two, digest); code != 200 {
		t.Errorf("the source is not there: %d", code)
	}
	if code, _ := part(t, two, digest, whole, 0, size); code != 200 {
		t.Errorf("a part of what is there: %d, want 200", code)
	}
	if tags := r.tags(t); strings.Contains(strings.Join(tags, " "), partialPrefix) {
		t.Errorf("parts are left behind: %v", tags)
	}
}

type brokenLine struct{}

func (brokenLine) Read([]byte) (int, error) { return 0, errors.New("the line broke") }

func TestRefusedParts(t *testing.T) {
	r := newRegistry(t)
	s := replica(t, r, time.Now)
	whole, digest := gzipped(t, 5<<20)
	other := bytes.Clone(whole)
	other[3<<20]++
	const size = 2 << 20
	cases := []struct {
		reason string
		send   func() (int, metav1.Status)
		code   int
		want   string
	}{
		{"a part in the middle has nothing before it", func() (int, metav1.Status) { return part(t, s, digest, whole, size, 2*size) }, 409, "goes on after 0 of"},
		{"nothing came yet", func() (int, metav1.Status) {
			return sendPart(t, s, digest, nil, 0, 0, len(whole), [32]byte{})
		}, 409, "goes on after 0 of"},
		{"small parts would be many", func() (int, metav1.Status) { return part(t, s, digest, whole, 0, 1000) }, 400, "a part has 1048576 to"},
		{"large parts would take too long", func() (int, metav1.Status) {
			return sendPart(t, s, digest, io.LimitReader(zeros{}, maxPart+1), maxPart+1, 0, maxPart+2, [32]byte{})
		}, 400, "to 16777216 bytes"},
		{"the whole has a limit", func() (int, metav1.Status) {
			return sendPart(t, s, digest, bytes.NewReader(whole[:size]), size, 0, 257<<20, [32]byte{})
		}, 413, "more than the limit"},
		{"no archive", func() (int, metav1.Status) {
			return sendPart(t, s, digest, io.LimitReader(zeros{}, size), size, 0, 2*size, sha256.Sum256(make([]byte, size)))
		}, 400, "not gzip"},
		{"another digest", func() (int, metav1.Status) {
			return sendPart(t, s, digest, bytes.NewReader(whole[:size]), size, 0, len(whole), [32]byte{1})
		}, 400, "as Content-Digest says"},
		{"an honest first part", func() (int, metav1.Status) { return part(t, s, digest, other, 0, size) }, 202, ""},
		{"another size than at first", func() (int, metav1.Status) {
			return sendPart(t, s, digest, bytes.NewReader(whole[size:2*size]), size, size, len(whole)+5, sha256.Sum256(whole[size:2*size]))
		}, 409, "goes on after 2097152 of"},
		{"parts that make another whole are dropped", func() (int, metav1.Status) { return part(t, s, digest, other, size, len(other)) }, 400, "as the path says"},
		{"so it begins anew", func() (int, metav1.Status) { return part(t, s, digest, whole, 0, size) }, 202, ""},
	}
	for _, c := range cases {
		if code, status := c.send(); code != c.code || !strings.Contains(status.Message, c.want) {
			t.Errorf("%s: %d %q, want %d %q", c.reason, code, status.Message, c.code, c.want)
		}
	}
	for _, place := range []string{"bytes", "bytes 0-1", "bytes 1-0/5", "bytes 0-5/5", "bytes -1-2/5", "lines 0-1/5", "bytes 0-1/*", "bytes */0", "bytes 0-1/x"} {
		if _, err := readContentRange(place); err == nil {
			t.Errorf("Content-Range %q was taken", place)
		}
	}
	for _, text := range []string{"", "sha-256=x", "sha-256=:AAAA:", "md5=:AAAA:"} {
		if _, err := readContentDigest(text); err == nil {
			t.Errorf("Content-Digest %q was taken", text)
		}
	}
}

func TestUnfinishedUploadsAreBoundedAndExpire(t *testing.T) {
	r := newRegistry(t)
	now := time.Now()
	s := replica(t, r, func() time.Time { return now })
	begin := func(n int) (int, metav1.Status) {
		whole, _ := gzipped(t, 2<<20)
		first := whole[:minPart]
		return sendPart(t, s, fmt.Sprintf("sha256:%064d", n), bytes.NewReader(first), minPart, 0, 250<<20, sha256.Sum256(first))
	}
	for n := range 4 {
		if code, status := begin(n); code != 202 {
			t.Fatalf("upload %d: %d %s", n, code, status.Message)
		}
	}
	if code, status := begin(4); code != 429 || !strings.Contains(status.Message, `unfinished uploads to namespace "alice"`) {
		t.Errorf("the fifth of 250 MiB: %d %q, want 429", code, status.Message)
	}
	now = now.Add(keepPartial)
	if code, status := begin(4); code != 202 {
		t.Errorf("when the others are given up: %d %s", code, status.Message)
	}
	if code, status := askSource(t, s, fmt.Sprintf("sha256:%064d", 1)); code != 404 || offsetOf(status) != "" {
		t.Errorf("an upload that was given up goes on at %q", offsetOf(status))
	}
	if _, err := r.sweeper(t, now).sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tags := r.tags(t); len(tags) != 1 || tags[0] != partialPrefix+"sha256-"+fmt.Sprintf("%064d", 4) {
		t.Errorf("after the sweep there are %v", tags)
	}
}

// tags are those of the sources of alice.
func (r *testRegistry) tags(t *testing.T) []string {
	t.Helper()
	repository, err := r.store().repository("alice")
	if err != nil {
		t.Fatal(err)
	}
	tags, err := remote.List(repository, r.store().options(t.Context())...)
	if err != nil {
		t.Fatal(err)
	}
	return tags
}
