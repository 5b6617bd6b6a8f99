package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/buildpacks/lifecycle/api"
	"github.com/klauspost/compress/gzip"
)

const lifecycleModule = "github.com/buildpacks/lifecycle"

// phases are the names under which the lifecycle's one program is called.
var phases = []string{"analyzer", "builder", "creator", "detector", "exporter", "extender", "rebaser", "restorer"}

// Lifecycle builds the buildpacks lifecycle in the version that the module in
// dir requires, packs it the way a release of it is packed and returns the
// path of the .tgz in the cache, for pack's builder configuration.
func Lifecycle(ctx context.Context, c *Cache, dir string) (string, error) {
	f, err := openFolder(ctx, dir)
	if err != nil {
		return "", err
	}
	version, err := f.goTool(ctx, "list", "-m", "-f", "{{.Version}}", lifecycleModule)
	if err != nil {
		return "", fmt.Errorf("build the buildpacks lifecycle: %w", err)
	}
	version = strings.TrimPrefix(strings.TrimSpace(version), "v")
	archive := c.path("bin", "lifecycle-"+hashStrings("lifecycle/1", version, f.sums)+".tgz")
	unlock, err := c.lock(ctx, archive)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := touch(archive); err == nil {
		return archive, nil
	}
	if err := f.buildLifecycle(ctx, c, version, archive); err != nil {
		return "", fmt.Errorf("build the buildpacks lifecycle %s: %w", version, err)
	}
	return archive, nil
}

func (f *folder) buildLifecycle(ctx context.Context, c *Cache, version, archive string) error {
	dir, err := c.tempDir("lifecycle-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := f.goTool(ctx, "build", "-ldflags", ldFlags+" -X "+lifecycleModule+"/cmd.Version="+version,
		"-o", dir+string(filepath.Separator), lifecycleModule+"/cmd/lifecycle", lifecycleModule+"/cmd/launcher"); err != nil {
		return err
	}
	packed := filepath.Join(dir, "lifecycle.tgz")
	if err := packLifecycle(packed, dir, version); err != nil {
		return err
	}
	return os.Rename(packed, archive)
}

// packLifecycle writes lifecycle.toml and the folder lifecycle/.
func packLifecycle(to, binaries, version string) (err error) {
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	compressed := gzip.NewWriter(file)
	w := tar.NewWriter(compressed)
	descriptor := lifecycleDescriptor(version)
	if err := writeEntry(w, tar.Header{Name: "lifecycle.toml", Mode: 0o644, Size: int64(len(descriptor))}, strings.NewReader(descriptor)); err != nil {
		return err
	}
	if err := writeEntry(w, tar.Header{Typeflag: tar.TypeDir, Name: "lifecycle/", Mode: 0o755}, nil); err != nil {
		return err
	}
	for _, name := range []string{"lifecycle", "launcher"} {
		if err := writeProgram(w, "lifecycle/"+name, filepath.Join(binaries, name)); err != nil {
			return err
		}
	}
	for _, phase := range phases {
		if err := writeEntry(w, tar.Header{Typeflag: tar.TypeSymlink, Name: "lifecycle/" + phase, Linkname: "lifecycle", Mode: 0o777}, nil); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), compressed.Close())
}

func writeProgram(w *tar.Writer, name, from string) error {
	program, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = program.Close() }()
	info, err := program.Stat()
	if err != nil {
		return err
	}
	return writeEntry(w, tar.Header{Name: name, Mode: 0o755, Size: info.Size()}, program)
}

func writeEntry(w *tar.Writer, header tar.Header, content io.Reader) error {
	header.ModTime = time.Unix(0, 0)
	if err := w.WriteHeader(&header); err != nil {
		return err
	}
	if content == nil {
		return nil
	}
	_, err := io.Copy(w, content)
	return err
}

// lifecycleDescriptor says which APIs this lifecycle speaks
// (https://github.com/buildpacks/spec/blob/platform/0.14/platform.md#lifecycle-descriptor).
// The tables api and lifecycle.version are what pack has always read.
func lifecycleDescriptor(version string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("[apis.buildpack]\n  deprecated = %s\n  supported = %s", api.Buildpack.Deprecated, api.Buildpack.Supported)
	line("[apis.platform]\n  deprecated = %s\n  supported = %s", api.Platform.Deprecated, api.Platform.Supported)
	line("[api]\n  platform = %q\n  buildpack = %q", api.Platform.Supported[0], api.Buildpack.Supported[0])
	line("[lifecycle]\n  version = %q", version)
	return b.String()
}
