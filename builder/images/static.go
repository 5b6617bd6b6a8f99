package images

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// NonRoot is the user and group id of programs in Knit's images.
const NonRoot = "65532"

const certificatesPath = "/etc/ssl/certs/ca-certificates.crt"

// Static returns the smallest base: CA certificates, tzdata, passwd and group
// (root, nobody, nonroot 65532), nsswitch.conf, /home/nonroot and /tmp. There is no
// shell and no C library in it.
func Static(ctx context.Context, c *Cache) (v1.Image, error) {
	debs, err := fetchDebs(ctx, c, "ca-certificates", "tzdata")
	if err != nil {
		return nil, fmt.Errorf("make static base image: %w", err)
	}
	key := []string{"static/1"}
	for _, d := range debs {
		key = append(key, d.key())
	}
	layer, err := c.layer(ctx, strings.Join(key, " "), gzipped, func(w *layerWriter) error {
		return writeStatic(w, debs[0].Path, debs[1].Path)
	})
	if err != nil {
		return nil, fmt.Errorf("make static base image: %w", err)
	}
	return assemble(emptyImage(), v1.Config{
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=" + certificatesPath},
		User:       NonRoot + ":" + NonRoot,
		WorkingDir: "/home/nonroot",
	}, layer)
}

// emptyImage is an OCI image without layers for this machine's architecture.
func emptyImage() v1.Image {
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	return mutate.ConfigMediaType(img, types.OCIConfigJSON)
}

// assemble puts layers on the base and sets the configuration.
func assemble(base v1.Image, config v1.Config, layers ...v1.Layer) (v1.Image, error) {
	adds := make([]mutate.Addendum, 0, len(layers))
	for _, l := range layers {
		mediaType, err := l.MediaType()
		if err != nil {
			return nil, err
		}
		adds = append(adds, mutate.Addendum{Layer: l, MediaType: mediaType, History: v1.History{CreatedBy: "knit"}})
	}
	img, err := mutate.Append(base, adds...)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", runtime.GOARCH, config
	return mutate.ConfigFile(img, file)
}

// accounts are the users of every base.
const (
	passwd = "root:x:0:0:root:/root:/sbin/nologin\n" +
		"nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n" +
		"nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	group = "root:x:0:\n" +
		"nobody:x:65534:\n" +
		"nonroot:x:65532:\n"
)

func writeStatic(w *layerWriter, certificates, tzdata string) error {
	for _, d := range []tar.Header{
		{Name: "root", Mode: 0o700},
		{Name: "home/nonroot", Mode: 0o700, Uid: 65532, Gid: 65532},
		{Name: "tmp", Mode: 0o1777},
		{Name: "var/tmp", Mode: 0o1777},
	} {
		d.Typeflag = tar.TypeDir
		if err := w.add(d, nil); err != nil {
			return err
		}
	}
	bundle, err := certificateBundle(certificates)
	if err != nil {
		return err
	}
	for _, f := range []struct{ name, content string }{
		{"etc/passwd", passwd},
		{"etc/group", group},
		{"etc/nsswitch.conf", "hosts: files dns\n"},
		{certificatesPath, bundle},
	} {
		if err := w.file(f.name, 0o644, f.content); err != nil {
			return err
		}
	}
	return writeZones(w, tzdata)
}

// certificateBundle joins the certificates of the package. Only this folder
// counts: the package also ships a dummy example which makes OpenSSL reject
// the whole bundle.
func certificateBundle(deb string) (string, error) {
	certs := map[string]string{}
	err := readDeb(deb, func(hdr *tar.Header, r io.Reader) error {
		name := strings.TrimPrefix(hdr.Name, ".")
		if !strings.HasPrefix(name, "/usr/share/ca-certificates/") || !strings.HasSuffix(name, ".crt") || hdr.Typeflag != tar.TypeReg {
			return nil
		}
		pem, err := io.ReadAll(io.LimitReader(r, 1<<20))
		certs[name] = strings.TrimRight(string(pem), "\n") + "\n"
		return err
	})
	if err != nil {
		return "", err
	}
	if len(certs) == 0 {
		return "", fmt.Errorf("no certificate in %s", deb)
	}
	names := make([]string, 0, len(certs))
	for name := range certs {
		names = append(names, name)
	}
	slices.Sort(names)
	var bundle strings.Builder
	for _, name := range names {
		bundle.WriteString(certs[name])
	}
	return bundle.String(), nil
}

// writeZones copies the time zones. The posix/ and right/ trees repeat all of
// them for programs that this base does not hold.
func writeZones(w *layerWriter, deb string) error {
	const root = "/usr/share/zoneinfo/"
	return readDeb(deb, func(hdr *tar.Header, r io.Reader) error {
		name := strings.TrimPrefix(hdr.Name, ".")
		rest, ok := strings.CutPrefix(name, root)
		if !ok || rest == "" || strings.HasPrefix(rest, "posix/") || strings.HasPrefix(rest, "right/") {
			return nil
		}
		switch hdr.Typeflag {
		case tar.TypeDir, tar.TypeReg, tar.TypeSymlink, tar.TypeLink:
			entry := *hdr
			entry.Name = name
			return w.add(entry, r)
		}
		return nil
	})
}
