package images

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// deb is a Debian package file in the cache.
type deb struct {
	Name    string // package name, e.g. "tzdata"
	Version string
	Sum     string // algorithm:hex, from apt's signed index
	Path    string // file on disk
	file    string // name in the archive
}

// key names the package's exact content, for the key of a layer made from it.
func (d deb) key() string { return d.Name + "=" + d.Version + " " + d.Sum }

// fetchDebs returns the packages in the order of the names, in the version
// that this machine's apt would install, without installing them and without
// their dependencies. Sums come from apt's signed index; a package that is in
// the cache is not downloaded again.
//
// apt's package lists are missing on a fresh machine and point to versions that
// are gone on an old one: when apt fails and may be told to, it is brought up
// to date once.
func fetchDebs(ctx context.Context, c *Cache, names ...string) ([]deb, error) {
	debs, err := fetchKnownDebs(ctx, c, names...)
	if err == nil || os.Geteuid() != 0 || ctx.Err() != nil {
		return debs, err
	}
	if _, updateErr := apt(ctx, "", "update"); updateErr != nil {
		return nil, errors.Join(err, updateErr)
	}
	return fetchKnownDebs(ctx, c, names...)
}

// fetchKnownDebs is fetchDebs with the package lists as they are.
func fetchKnownDebs(ctx context.Context, c *Cache, names ...string) ([]deb, error) {
	debs, err := resolveDebs(ctx, c, names)
	if err != nil {
		return nil, err
	}
	if len(missingDebs(debs)) == 0 {
		return debs, nil
	}
	unlock, err := c.lock(ctx, "debs")
	if err != nil {
		return nil, err
	}
	defer unlock()
	missing := missingDebs(debs)
	if len(missing) == 0 {
		return debs, nil
	}
	dir, err := c.tempDir("debs-")
	if err != nil {
		return nil, fmt.Errorf("download Debian packages: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	args := []string{"download"}
	for _, d := range missing {
		args = append(args, d.Name+"="+d.Version)
	}
	if _, err := apt(ctx, dir, args...); err != nil {
		return nil, err
	}
	for _, d := range missing {
		if err := checkDeb(filepath.Join(dir, d.file), d.Sum); err != nil {
			return nil, fmt.Errorf("Debian package %s: %w; run `apt-get update` and try again", d.Name, err)
		}
		if err := os.Rename(filepath.Join(dir, d.file), d.Path); err != nil {
			return nil, fmt.Errorf("store Debian package %s in image cache: %w", d.Name, err)
		}
	}
	return debs, nil
}

func missingDebs(debs []deb) []deb {
	var missing []deb
	for _, d := range debs {
		if touch(d.Path) != nil {
			missing = append(missing, d)
		}
	}
	return missing
}

// resolveDebs asks apt which file each name stands for.
func resolveDebs(ctx context.Context, c *Cache, names []string) ([]deb, error) {
	out, err := apt(ctx, "", append([]string{"download", "--print-uris"}, names...)...)
	if err != nil {
		return nil, err
	}
	found := map[string]deb{}
	for line := range strings.Lines(out) {
		if d, ok := parseURILine(line); ok {
			d.Path = c.path("debs", strings.Replace(d.Sum, ":", "-", 1))
			found[d.Name] = d
		}
	}
	debs := make([]deb, 0, len(names))
	for _, name := range names {
		d, ok := found[name]
		if !ok {
			return nil, fmt.Errorf("apt knows no checksummed Debian package %q; run `apt-get update`", name)
		}
		debs = append(debs, d)
	}
	return debs, nil
}

// parseURILine reads `'uri' name_version_arch.deb size SHA256:hex`. apt writes
// an epoch's colon as %3a in the file name.
func parseURILine(line string) (deb, bool) {
	fields := strings.Fields(line)
	if len(fields) != 4 {
		return deb{}, false
	}
	parts := strings.Split(fields[1], "_")
	algo, sum, ok := strings.Cut(fields[3], ":")
	if !ok || len(parts) != 3 || sumHash(strings.ToLower(algo)) == nil {
		return deb{}, false
	}
	version := strings.ReplaceAll(parts[1], "%3a", ":")
	return deb{Name: parts[0], Version: version, Sum: strings.ToLower(algo) + ":" + sum, file: fields[1]}, true
}

func sumHash(algo string) hash.Hash {
	switch algo {
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return nil
}

func checkDeb(path, sum string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	algo, want, _ := strings.Cut(sum, ":")
	h := sumHash(algo)
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%s is %s, apt's index says %s", algo, got, want)
	}
	return nil
}

func apt(ctx context.Context, dir string, args ...string) (string, error) {
	// The download runs in a folder that only this user can write; apt would
	// otherwise warn about its own sandbox user.
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-o", "APT::Sandbox::User="}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("apt-get is not on PATH: bases are made from Debian packages; run on Debian or Ubuntu")
	}
	if err != nil {
		return "", fmt.Errorf("apt-get %s: %w: %s; run `apt-get update` and try again",
			strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// readDeb calls each for every entry of the package's files, in the order of
// the archive. The reader is valid until each returns.
func readDeb(path string, each func(*tar.Header, io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := readDebFrom(bufio.NewReaderSize(f, 1<<16), each); err != nil {
		return fmt.Errorf("read Debian package %s: %w", path, err)
	}
	return nil
}

func readDebFrom(r io.Reader, each func(*tar.Header, io.Reader) error) error {
	name, data, err := debData(r)
	if err != nil {
		return err
	}
	plain, err := decompressor(name, data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = plain.Close() }()
	tr := tar.NewReader(plain)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := each(hdr, tr); err != nil {
			return err
		}
	}
}

// debData finds the data.tar member of the ar archive (deb(5), ar(5)): a
// magic line, then members with a 60-byte header, padded to even length.
func debData(r io.Reader) (string, io.Reader, error) {
	magic := make([]byte, 8)
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != "!<arch>\n" {
		return "", nil, errors.New("not an ar archive")
	}
	for {
		var hdr [60]byte
		if _, err := io.ReadFull(r, hdr[:]); err != nil {
			return "", nil, fmt.Errorf("no data.tar member: %w", err)
		}
		name := strings.TrimSuffix(strings.TrimSpace(string(hdr[:16])), "/")
		size, err := strconv.ParseInt(strings.TrimSpace(string(hdr[48:58])), 10, 64)
		if err != nil || size < 0 || string(hdr[58:]) != "`\n" {
			return "", nil, fmt.Errorf("broken ar header of member %q", name)
		}
		if strings.HasPrefix(name, "data.tar") {
			return name, io.LimitReader(r, size), nil
		}
		if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil {
			return "", nil, fmt.Errorf("member %q is cut short: %w", name, err)
		}
	}
}

func decompressor(name string, r io.Reader) (io.ReadCloser, error) {
	switch strings.TrimPrefix(name, "data.tar") {
	case "":
		return io.NopCloser(r), nil
	case ".xz":
		x, err := xz.NewReader(r)
		return io.NopCloser(x), err
	case ".zst":
		z, err := zstd.NewReader(r)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case ".gz":
		return gzip.NewReader(r)
	}
	return nil, errors.New("unknown compression")
}
