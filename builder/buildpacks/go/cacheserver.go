package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// cacheMode is the argument by which the Go tool starts this program as its
// build cache: <program> -cache <image's cache> <layer>.
const cacheMode = "-cache"

// The Go tool's protocol for a cache program (go doc
// cmd/go/internal/cacheprog): JSON requests on standard input, the body of a
// put after its request as a base64 string, JSON answers on standard output.
type cacheRequest struct {
	ID                 int64
	Command            string
	ActionID, OutputID []byte
	BodySize           int64
}

type cacheResponse struct {
	ID            int64
	Err           string     `json:",omitempty"`
	KnownCommands []string   `json:",omitempty"`
	Miss          bool       `json:",omitempty"`
	OutputID      []byte     `json:",omitempty"`
	Size          int64      `json:",omitempty"`
	Time          *time.Time `json:",omitempty"`
	DiskPath      string     `json:",omitempty"`
}

// cacheServer lays a small writable cache over the large read-only one of the
// build image. Go's own cache is one writable folder; filling that from the
// image took longer than compiling the function.
type cacheServer struct {
	seed string // a Go build cache: ab/abcd…-a and ab/abcd…-d
	own  string // the same files without the folders
	used map[string]bool
}

// serveCache answers until the Go tool closes the conversation. Then own holds
// what this build used and seed lacks, and so it cannot grow from build to build.
func serveCache(seed, own string, in io.Reader, out io.Writer) error {
	if err := os.MkdirAll(own, 0o755); err != nil {
		return err
	}
	server := cacheServer{seed: seed, own: own, used: map[string]bool{}}
	requests := json.NewDecoder(bufio.NewReaderSize(in, 1<<20))
	answers := json.NewEncoder(out)
	if err := answers.Encode(cacheResponse{KnownCommands: []string{"get", "put", "close"}}); err != nil {
		return err
	}
	for {
		var request cacheRequest
		if err := requests.Decode(&request); errors.Is(err, io.EOF) {
			return nil // the Go tool was killed; keep everything
		} else if err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		answer, err := server.answer(request, requests)
		if err != nil {
			return err
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
		if request.Command == "close" {
			return nil
		}
	}
}

// answer does one request. Its error ends the conversation; what concerns one
// entry only is in the answer.
func (s cacheServer) answer(request cacheRequest, body *json.Decoder) (cacheResponse, error) {
	switch request.Command {
	case "get":
		return s.get(request), nil
	case "put":
		var content []byte
		if request.BodySize > 0 {
			if err := body.Decode(&content); err != nil {
				return cacheResponse{}, fmt.Errorf("read body: %w", err)
			}
		}
		return s.put(request, content), nil
	case "close":
		return cacheResponse{ID: request.ID}, s.dropUnused()
	}
	return cacheResponse{ID: request.ID, Err: "unknown command " + request.Command}, nil
}

func (s cacheServer) get(request cacheRequest) cacheResponse {
	action := fmt.Sprintf("%x-a", request.ActionID)
	for _, place := range []func(string) string{s.inOwn, s.inSeed} {
		output, size, ok := readEntry(place(action))
		if !ok {
			continue
		}
		name := fmt.Sprintf("%x-d", output)
		path := place(name)
		if info, err := os.Stat(path); err != nil || info.Size() != size {
			continue
		}
		s.used[action], s.used[name] = true, true
		return cacheResponse{ID: request.ID, OutputID: output, Size: size, DiskPath: path}
	}
	return cacheResponse{ID: request.ID, Miss: true}
}

func (s cacheServer) put(request cacheRequest, content []byte) cacheResponse {
	action, name := fmt.Sprintf("%x-a", request.ActionID), fmt.Sprintf("%x-d", request.OutputID)
	entry := fmt.Sprintf(entryFormat, request.ActionID, request.OutputID, len(content))
	path := s.inOwn(name)
	err := errors.Join(os.WriteFile(path, content, 0o644), os.WriteFile(s.inOwn(action), []byte(entry), 0o644))
	if err != nil {
		return cacheResponse{ID: request.ID, Err: err.Error()}
	}
	s.used[action], s.used[name] = true, true
	return cacheResponse{ID: request.ID, DiskPath: path}
}

func (s cacheServer) inOwn(name string) string  { return filepath.Join(s.own, name) }
func (s cacheServer) inSeed(name string) string { return filepath.Join(s.seed, name[:2], name) }

// dropUnused removes entries of earlier builds that this one had no use for.
func (s cacheServer) dropUnused() error {
	entries, err := os.ReadDir(s.own)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if s.used[entry.Name()] {
			continue
		}
		if err := os.Remove(s.inOwn(entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// entryFormat is the first part of an entry of Go's own cache, in whose form
// the seed is; the time that follows there is of no use here.
const entryFormat = "v1 %x %x %20d"

// readEntry reads the output's id and size; false for what is missing or damaged.
func readEntry(path string) (output []byte, size int64, ok bool) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, false
	}
	var version string
	var action []byte
	if _, err := fmt.Sscanf(string(content), "%s %x %x %d", &version, &action, &output, &size); err != nil || version != "v1" {
		return nil, 0, false
	}
	return output, size, len(output) > 0
}
