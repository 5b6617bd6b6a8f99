package images

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/buildpacks/lifecycle/api"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
)

// LifecycleImage is Static with the programs of an archive that Lifecycle has
// made: the image in which pack runs the phases that hold a registry's login,
// apart from those of the builder.
func LifecycleImage(ctx context.Context, c *Cache, archive string) (v1.Image, error) {
	base, err := Static(ctx, c)
	if err != nil {
		return nil, err
	}
	layer, err := c.layer(ctx, "lifecycle image/1 "+archive, gzipped, func(w *layerWriter) error { return unpackLifecycle(w, archive) })
	if err != nil {
		return nil, fmt.Errorf("make lifecycle image: %w", err)
	}
	file, err := base.ConfigFile()
	if err != nil {
		return nil, err
	}
	apis, err := json.Marshal(map[string]any{
		"buildpack": map[string]any{"deprecated": versions(api.Buildpack.Deprecated), "supported": versions(api.Buildpack.Supported)},
		"platform":  map[string]any{"deprecated": versions(api.Platform.Deprecated), "supported": versions(api.Platform.Supported)},
	})
	if err != nil {
		return nil, err
	}
	config := *file.Config.DeepCopy()
	config.WorkingDir, config.Labels = "/layers", map[string]string{"io.buildpacks.lifecycle.apis": string(apis)}
	return assemble(base, config, layer)
}

func versions(list api.List) []string {
	names := []string{}
	for _, v := range list {
		names = append(names, v.String())
	}
	return names
}

// unpackLifecycle copies the folder lifecycle/ of the archive to /cnb/lifecycle.
func unpackLifecycle(w *layerWriter, archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	for entries := tar.NewReader(unpacked); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !strings.HasPrefix(header.Name, "lifecycle/") {
			continue
		}
		header.Name = "cnb/" + header.Name
		if err := w.add(*header, entries); err != nil {
			return err
		}
	}
}
