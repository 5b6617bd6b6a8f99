package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// makeDeb builds a package of the given data member in memory. The control
// member has odd length, so that padding matters.
func makeDeb(member string, data []byte) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.xz", []byte("odd")}, {member, data}} {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", m.name, 0, 0, 0, 0o100644, len(m.data))
		b.Write(m.data)
		if len(m.data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func dataTar(t *testing.T, wrap func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := wrap(&b)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(z)
	for _, h := range []tar.Header{
		{Name: "./usr/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./usr/b", Typeflag: tar.TypeReg, Mode: 0o644, Size: 3},
		{Name: "./usr/a", Typeflag: tar.TypeSymlink, Linkname: "b"},
	} {
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := tw.Write([]byte("abc")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []io.Closer{tw, z} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

type plainWriter struct{ io.Writer }

func (plainWriter) Close() error { return nil }

func TestReadDebKeepsTheOrderInEveryCompression(t *testing.T) {
	for member, wrap := range map[string]func(io.Writer) (io.WriteCloser, error){
		"data.tar":     func(w io.Writer) (io.WriteCloser, error) { return plainWriter{w}, nil },
		"data.tar.gz":  func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"data.tar.xz":  func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
		"data.tar.zst": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	} {
		t.Run(member, func(t *testing.T) {
			var got []string
			err := readDebFrom(bytes.NewReader(makeDeb(member, dataTar(t, wrap))), func(h *tar.Header, r io.Reader) error {
				content, err := io.ReadAll(r)
				got = append(got, h.Name+" "+string(content)+h.Linkname)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"./usr/ ", "./usr/b abc", "./usr/a b"}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadDebRefusesBrokenPackages(t *testing.T) {
	good := makeDeb("data.tar", dataTar(t, func(w io.Writer) (io.WriteCloser, error) { return plainWriter{w}, nil }))
	for reason, in := range map[string]struct {
		data []byte
		want string
	}{
		"empty file":          {nil, "not an ar archive"},
		"another format":      {[]byte("PK\x03\x04 and more"), "not an ar archive"},
		"no data member":      {good[:60], "no data.tar member"},
		"cut in a member":     {good[:8+60+2], "cut short"},
		"unknown compression": {makeDeb("data.tar.br", []byte("x")), "unknown compression"},
		"broken header":       {bytes.Replace(good, []byte("`\n"), []byte("xx"), 1), "broken ar header"},
		"cut in the data":     {good[:len(good)-1500], "unexpected EOF"},
	} {
		err := readDebFrom(bytes.NewReader(in.data), func(_ *tar.Header, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), in.want) {
			t.Errorf("%s: error %v, want %q", reason, err, in.want)
		}
	}
}

func TestParseURILine(t *testing.T) {
	for reason, in := range map[string]struct {
		line string
		want deb
		ok   bool
	}{
		"debian": {
			"'http://deb.debian.org/t.deb' tzdata_2026f-0+deb12u1_all.deb 307832 SHA256:32\n",
			deb{Name: "tzdata", Version: "2026f-0+deb12u1", Sum: "sha256:32", file: "tzdata_2026f-0+deb12u1_all.deb"}, true,
		},
		"epoch": {
			"'http://x' g_4%3a12.2.0-3_amd64.deb 1 SHA512:ab",
			deb{Name: "g", Version: "4:12.2.0-3", Sum: "sha512:ab", file: "g_4%3a12.2.0-3_amd64.deb"}, true,
		},
		"weak sum":   {"'http://x' g_1_amd64.deb 1 MD5Sum:ab", deb{}, false},
		"a sentence": {"Reading package lists...", deb{}, false},
	} {
		got, ok := parseURILine(in.line)
		if ok != in.ok {
			t.Errorf("%s: ok is %v", reason, ok)
		}
		if diff := cmp.Diff(in.want, got, cmp.AllowUnexported(deb{})); diff != "" {
			t.Errorf("%s: %s", reason, diff)
		}
	}
}

func needApt(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no apt-get on this machine")
	}
}

func TestFetchDebsNamesWhatAptDoesNotKnow(t *testing.T) {
	needApt(t)
	_, err := fetchDebs(t.Context(), openTestCache(t), "knit-no-such-package")
	if err == nil || !strings.Contains(err.Error(), "knit-no-such-package") || !strings.Contains(err.Error(), "apt-get update") {
		t.Errorf("error %v", err)
	}
}
