package images

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	golang "github.com/knit-dev/knit/runtime/lang/go"
)

// writeSDK writes Knit's Go SDK below dir in the form of a module proxy
// (https://go.dev/ref/mod#goproxy-protocol). The same files give the same
// archive, and so the same sum in a go.sum.
func writeSDK(dir string) error {
	sdk, err := golang.LoadSDK()
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	if err := modzip.Create(&archive, module.Version{Path: sdk.Path, Version: sdk.Version}, zipFiles(sdk.Files)); err != nil {
		return fmt.Errorf("pack %s %s: %w", sdk.Path, sdk.Version, err)
	}
	info, err := json.Marshal(map[string]string{"Version": sdk.Version})
	if err != nil {
		return err
	}
	versions := filepath.Join(dir, filepath.FromSlash(sdk.Path), "@v")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		return err
	}
	for ending, content := range map[string][]byte{".info": info, ".mod": sdk.Files["go.mod"], ".zip": archive.Bytes()} {
		if err := os.WriteFile(filepath.Join(versions, sdk.Version+ending), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func zipFiles(files map[string][]byte) []modzip.File {
	var all []modzip.File
	for name, content := range files {
		all = append(all, memoryFile{name, content})
	}
	slices.SortFunc(all, func(a, b modzip.File) int { return strings.Compare(a.Path(), b.Path()) })
	return all
}

// memoryFile is a file for the archive of a module.
type memoryFile struct {
	name    string
	content []byte
}

func (f memoryFile) Path() string                { return f.name }
func (f memoryFile) Lstat() (fs.FileInfo, error) { return memoryInfo{f}, nil }
func (f memoryFile) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(f.content)), nil
}

type memoryInfo struct{ memoryFile }

func (i memoryInfo) Name() string     { return path.Base(i.name) }
func (i memoryInfo) Size() int64      { return int64(len(i.content)) }
func (memoryInfo) Mode() fs.FileMode  { return 0o644 }
func (memoryInfo) ModTime() time.Time { return time.Time{} }
func (memoryInfo) IsDir() bool        { return false }
func (memoryInfo) Sys() any           { return nil }
