package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// talk plays the Go tool: it sends requests and returns the answers by ID.
func talk(t *testing.T, seed, own string, requests ...string) map[int64]cacheResponse {
	t.Helper()
	var out bytes.Buffer
	if err := serveCache(seed, own, strings.NewReader(strings.Join(requests, "\n")), &out); err != nil {
		t.Fatal(err)
	}
	answers := map[int64]cacheResponse{}
	decoder := json.NewDecoder(&out)
	for decoder.More() {
		var answer cacheResponse
		if err := decoder.Decode(&answer); err != nil {
			t.Fatal(err)
		}
		answers[answer.ID] = answer
	}
	return answers
}

func ask(id int64, command, action, output, body string) string {
	encode := base64.StdEncoding.EncodeToString
	line := fmt.Sprintf(`{"ID":%d,"Command":%q,"ActionID":%q,"OutputID":%q,"BodySize":%d}`,
		id, command, encode([]byte(action)), encode([]byte(output)), len(body))
	if body != "" {
		line += "\n\n\"" + encode([]byte(body)) + "\""
	}
	return line
}

// seedWith writes a cache in the form of Go's own.
func seedWith(t *testing.T, action, output, content string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		fmt.Sprintf("%x-a", action): fmt.Sprintf("v1 %x %x %20d %20d\n", action, output, len(content), 1234567890),
		fmt.Sprintf("%x-d", output): content,
	} {
		if err := os.MkdirAll(filepath.Join(dir, name[:2]), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name[:2], name), []byte(text), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCacheServer(t *testing.T) {
	seed, own := seedWith(t, "std", "stdout", "compiled std"), filepath.Join(t.TempDir(), "own")
	answers := talk(t, seed, own,
		ask(1, "get", "std", "", ""),
		ask(2, "get", "mine", "", ""),
		ask(3, "put", "mine", "mineout", "my package"),
		ask(4, "get", "mine", "", ""),
		ask(5, "put", "empty", "emptyout", ""),
		ask(6, "get", "empty", "", ""),
		ask(7, "sing", "", "", ""),
		ask(8, "close", "", "", ""),
	)
	want := map[int64]cacheResponse{
		0: {KnownCommands: []string{"get", "put", "close"}},
		1: {ID: 1, OutputID: []byte("stdout"), Size: 12, DiskPath: filepath.Join(seed, "73", fmt.Sprintf("%x-d", "stdout"))},
		2: {ID: 2, Miss: true},
		3: {ID: 3, DiskPath: filepath.Join(own, fmt.Sprintf("%x-d", "mineout"))},
		4: {ID: 4, OutputID: []byte("mineout"), Size: 10, DiskPath: filepath.Join(own, fmt.Sprintf("%x-d", "mineout"))},
		5: {ID: 5, DiskPath: filepath.Join(own, fmt.Sprintf("%x-d", "emptyout"))},
		6: {ID: 6, OutputID: []byte("emptyout"), DiskPath: filepath.Join(own, fmt.Sprintf("%x-d", "emptyout"))},
		7: {ID: 7, Err: "unknown command sing"},
		8: {ID: 8},
	}
	if diff := cmp.Diff(want, answers); diff != "" {
		t.Error(diff)
	}
	if content, err := os.ReadFile(answers[4].DiskPath); err != nil || string(content) != "my package" {
		t.Errorf("stored %q (%v)", content, err)
	}
}

func TestCacheServerKeepsOnlyWhatTheBuildUsed(t *testing.T) {
	seed, own := t.TempDir(), t.TempDir()
	talk(t, seed, own, ask(1, "put", "old", "oldout", "x"), ask(2, "put", "same", "sameout", "y"), ask(3, "close", "", "", ""))
	talk(t, seed, own, ask(1, "get", "same", "", ""), ask(2, "put", "new", "newout", "z"), ask(3, "close", "", "", ""))
	entries, err := os.ReadDir(own)
	if err != nil {
		t.Fatal(err)
	}
	var have, want []string
	for _, entry := range entries {
		have = append(have, entry.Name())
	}
	for _, name := range []string{"same", "new"} {
		want = append(want, fmt.Sprintf("%x-a", name), fmt.Sprintf("%x-d", name+"out"))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}

func TestCacheServerMissesWhatIsDamaged(t *testing.T) {
	cases := map[string]func(action, output string) error{
		"an output that is gone":      func(_, output string) error { return os.Remove(output) },
		"an output that is cut short": func(_, output string) error { return os.WriteFile(output, nil, 0o644) },
		"an entry that is cut short":  func(action, _ string) error { return os.WriteFile(action, []byte("v1 61"), 0o644) },
		"an entry of another version": func(action, _ string) error { return os.WriteFile(action, []byte("v2 61 62 1"), 0o644) },
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			own := t.TempDir()
			talk(t, t.TempDir(), own, ask(1, "put", "a", "out", "content"))
			if err := damage(filepath.Join(own, "61-a"), filepath.Join(own, "6f7574-d")); err != nil {
				t.Fatal(err)
			}
			if answer := talk(t, t.TempDir(), own, ask(1, "get", "a", "", ""))[1]; !answer.Miss {
				t.Errorf("got %+v, want a miss", answer)
			}
		})
	}
}
