package images

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// cppPackages are the Debian packages of the C and C++ libraries that Node is
// linked with. Their versions are older than any Node asks for; the interfaces
// are stable.
var cppPackages = []string{"libc6", "libgcc-s1", "libstdc++6"}

// cppLibraries are the files of those packages that programs load, by the part
// of the name before ".so". Character set tables and programs stay out.
var cppLibraries = []string{
	"ld-linux-x86-64", "ld-linux-aarch64",
	"libc", "libm", "libdl", "libpthread", "librt", "libresolv", "libutil", "libanl", "libnss_dns", "libnss_files",
	"libgcc_s", "libstdc++",
}

// cppLayer holds the libraries in /lib and the loader where programs name it.
func cppLayer(ctx context.Context, c *Cache) (v1.Layer, error) {
	debs, err := fetchDebs(ctx, c, cppPackages...)
	if err != nil {
		return nil, err
	}
	key := []string{"cpp/1"}
	for _, d := range debs {
		key = append(key, d.key())
	}
	return c.layer(ctx, strings.Join(key, " "), gzipped, func(w *layerWriter) error {
		for _, d := range debs {
			before := len(w.seen)
			if err := writeLibraries(w, d.Path); err != nil {
				return err
			}
			if len(w.seen) == before {
				return fmt.Errorf("no library in the Debian package %s", d.Name)
			}
		}
		return nil
	})
}

// writeLibraries copies what cppLibraries names. Some releases of Debian have
// the files below /usr, where the base has no links to them: all go to /lib.
func writeLibraries(w *layerWriter, deb string) error {
	return readDeb(deb, func(hdr *tar.Header, r io.Reader) error {
		name := path.Clean("/" + hdr.Name)
		short, _, isLibrary := strings.Cut(path.Base(name), ".so")
		if !isLibrary || !slices.Contains(cppLibraries, short) {
			return nil
		}
		if hdr.Typeflag != tar.TypeReg && hdr.Typeflag != tar.TypeSymlink {
			return nil
		}
		rest, ours := strings.CutPrefix(strings.TrimPrefix(name, "/usr"), "/lib")
		if !ours || strings.Contains(rest, "/gconv/") || strings.HasSuffix(name, ".py") {
			return nil
		}
		entry := *hdr
		entry.Name = "/lib" + rest
		entry.Linkname = strings.TrimPrefix(hdr.Linkname, "/usr")
		return w.add(entry, r)
	})
}
