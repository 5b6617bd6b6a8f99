package buildpacks_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// difference says in what two images differ: configuration, then the entries
// of layers.
func difference(t *testing.T, a, b v1.Image) string {
	t.Helper()
	left, right := describe(t, a), describe(t, b)
	return cmp.Diff(left, right)
}

type description struct {
	Config *v1.ConfigFile
	Types  []string
	Layers [][]string
}

func describe(t *testing.T, img v1.Image) description {
	t.Helper()
	config, err1 := img.ConfigFile()
	manifest, err2 := img.Manifest()
	layers, err3 := img.Layers()
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	d := description{Config: config, Types: []string{string(manifest.MediaType), string(manifest.Config.MediaType)}}
	for i, layer := range layers {
		entries := []string{string(manifest.Layers[i].MediaType)}
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		reader := tar.NewReader(content)
		for {
			header, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, fmt.Sprintf("%s %v %d:%d %d %s %s", header.Name, header.FileInfo().Mode(), header.Uid, header.Gid, header.Size, header.ModTime.UTC(), header.Linkname))
		}
		_ = content.Close()
		d.Layers = append(d.Layers, entries)
	}
	return d
}
