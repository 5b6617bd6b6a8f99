package images

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// npmRegistry is where packages come from unless the machine's npm is set up
// for another registry by npmRegistryVariable.
const (
	npmRegistry         = "https://registry.npmjs.org"
	npmRegistryVariable = "NPM_CONFIG_REGISTRY"
)

// Bounds on the download of one package.
const (
	npmMaxBytes = 256 << 20
	npmTimeout  = 10 * time.Minute
)

// npmPackage is one version of a package in the npm registry.
type npmPackage struct {
	Name    string
	Version string
	SHA512  string // of the archive, base64, as the registry's metadata has it (dist.integrity)
}

func (p npmPackage) key() string { return p.Name + "@" + p.Version + " " + p.SHA512 }

// fetchNPM returns the path of the package's archive in the cache. What was
// downloaded is compared with the sum in the source, so that the registry need
// not be trusted.
func fetchNPM(ctx context.Context, c *Cache, p npmPackage) (string, error) {
	archive := c.path("npm", hashStrings(p.key())+".tgz")
	unlock, err := c.lock(ctx, archive)
	if err != nil {
		return "", err
	}
	defer unlock()
	if touch(archive) == nil {
		return archive, nil
	}
	ctx, cancel := context.WithTimeout(ctx, npmTimeout)
	defer cancel()
	if err := c.downloadNPM(ctx, p, archive); err != nil {
		return "", fmt.Errorf("download npm package %s %s: %w", p.Name, p.Version, err)
	}
	return archive, nil
}

func (c *Cache) downloadNPM(ctx context.Context, p npmPackage, to string) error {
	address, err := p.address()
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("%w; is the registry reachable? set %s to another one", err, npmRegistryVariable)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s; set %s to a registry that has it", address, answer.Status, npmRegistryVariable)
	}
	part, err := os.CreateTemp(c.path("tmp"), "npm-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part.Name()) }()
	sum := sha512.New()
	n, err := io.Copy(io.MultiWriter(part, sum), io.LimitReader(answer.Body, npmMaxBytes+1))
	if err := errors.Join(err, part.Close()); err != nil {
		return err
	}
	if n > npmMaxBytes {
		return fmt.Errorf("%s has more than %d bytes", address, npmMaxBytes)
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != p.SHA512 {
		return fmt.Errorf("%s has the sha512 %s, want %s", address, got, p.SHA512)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.Rename(part.Name(), to)
}

// address is where the registry keeps the archive
// (https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md#dist).
func (p npmPackage) address() (string, error) {
	registry := os.Getenv(npmRegistryVariable)
	if registry == "" {
		registry = npmRegistry
	}
	base, err := url.Parse(registry)
	if err != nil || base.Host == "" {
		return "", fmt.Errorf("%s=%q is no URL", npmRegistryVariable, registry)
	}
	return base.JoinPath(p.Name, "-", path.Base(p.Name)+"-"+p.Version+".tgz").String(), nil
}

// readNPM calls each for every regular file of the package, in the order of the
// archive, with its name within the package. The reader is valid until each
// returns.
func readNPM(archive string, each func(name string, hdr *tar.Header, r io.Reader) error) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	plain, err := gzip.NewReader(bufio.NewReaderSize(file, 1<<16))
	if err != nil {
		return fmt.Errorf("read npm package %s: %w", archive, err)
	}
	entries := tar.NewReader(plain)
	for {
		hdr, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read npm package %s: %w", archive, err)
		}
		// Everything lies in one folder, mostly named "package".
		_, name, found := strings.Cut(path.Clean(hdr.Name), "/")
		if hdr.Typeflag != tar.TypeReg || !found {
			continue
		}
		if err := each(name, hdr, entries); err != nil {
			return err
		}
	}
}
