package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// plantLink makes a symbolic link in place of whatever lies there:
// "/layers/x=/target".
func plantLink(what string) error {
	path, target, _ := strings.Cut(what, "=")
	return errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path))
}

// plantFile writes a file: "/layers/group.toml=content", where ";" is a line break.
func plantFile(what string) error {
	path, content, _ := strings.Cut(what, "=")
	content = strings.ReplaceAll(content, ";", "\n")
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644))
}

// setLabel asks for a label of the image: "key=value".
func setLabel(what string) error {
	key, value, _ := strings.Cut(what, "=")
	file, err := os.OpenFile(filepath.Join(os.Getenv("CNB_LAYERS_DIR"), "launch.toml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "[[labels]]\n  key = %q\n  value = %q\n", key, value)
	return errors.Join(err, file.Close())
}

// plantExtended leaves an image where the lifecycle by itself looks for the
// layers of image extensions: a program of root's with the set-user-id bit.
func plantExtended(string) error {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	content := []byte("program")
	header := &tar.Header{Typeflag: tar.TypeReg, Name: "bin/become-root", Mode: 0o4755, Size: int64(len(content))}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	sum := func(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{},"history":[{"created_by":"x"}],"rootfs":{"type":"layers","diff_ids":[%q]}}`, sum(layer.Bytes()))
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":%d,"digest":%q},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":%d,"digest":%q}]}`,
		len(config), sum(config), layer.Len(), sum(layer.Bytes()))
	index := fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":%d,"digest":%q}]}`, len(manifest), sum(manifest))
	root := filepath.Join("/layers/extended/run", sum(config))
	blobs := filepath.Join(root, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	files := map[string][]byte{filepath.Join(root, "index.json"): index, filepath.Join(root, "oci-layout"): []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	for _, blob := range [][]byte{layer.Bytes(), config, manifest} {
		files[filepath.Join(blobs, strings.TrimPrefix(sum(blob), "sha256:"))] = blob
	}
	for path, blob := range files {
		if err := os.WriteFile(path, blob, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// plantSparse leaves a file of a tebibyte that takes no disk until it is packed.
func plantSparse(string) error {
	path := filepath.Join(os.Getenv("CNB_LAYERS_DIR"), "function", "sparse")
	return errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 1<<40))
}

// forgeMessage writes the report of another image where the phase's own
// message for the controller goes.
func forgeMessage(digest string) error {
	return os.WriteFile("/dev/termination-log", fmt.Appendf(nil, "[image]\n  digest = \"sha256:%s\"\n", digest), 0o644)
}

// fillCache leaves a layer that the next build gets back before its own start.
func fillCache(content string) error {
	layers := os.Getenv("CNB_LAYERS_DIR")
	dir := filepath.Join(layers, "kept")
	return errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "analyzed.toml"), []byte(strings.ReplaceAll(content, ";", "\n")), 0o644),
		os.WriteFile(filepath.Join(layers, "kept.toml"), []byte("[types]\n  cache = true\n"), 0o644),
	)
}
