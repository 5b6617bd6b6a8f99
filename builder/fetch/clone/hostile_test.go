package clone

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/gitsource"
)

// entry is one line of a folder that git itself would not write.
type entry struct{ mode, name, hash string }

// plant writes objects behind git's back and makes a commit of them.
func (w work) plant(entries ...entry) {
	w.t.Helper()
	git(w.t, w.dir, "update-ref", "refs/heads/main", w.object("commit",
		"tree "+w.folder(entries...)+"\nauthor a <a@example.com> 1 +0000\ncommitter a <a@example.com> 1 +0000\n\nx\n"))
}

func (w work) folder(entries ...entry) string {
	w.t.Helper()
	var out strings.Builder
	for _, e := range entries {
		raw, err := hex.DecodeString(e.hash)
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %s\x00%s", e.mode, e.name, raw)
	}
	return w.object("tree", out.String())
}

func (w work) file(content string) string { return w.object("blob", content) }

// object stores a loose object as git does, without git's checks.
func (w work) object(kind, content string) string {
	w.t.Helper()
	whole := fmt.Sprintf("%s %d\x00%s", kind, len(content), content)
	sum := sha1.Sum([]byte(whole))
	hash := hex.EncodeToString(sum[:])
	dir := filepath.Join(w.dir, ".git", "objects", hash[:2])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, _ = z.Write([]byte(whole))
	_ = z.Close()
	if err := os.WriteFile(filepath.Join(dir, hash[2:]), out.Bytes(), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return hash
}

func TestHostileTrees(t *testing.T) {
	s := newHTTPSServer(t)
	w := newWork(t, s.root, "repo")
	w.write(map[string]string{"f": "x"}).commit()
	file := w.file("x")
	nested := w.folder(entry{"100644", "f", file})
	for range 70 {
		nested = w.folder(entry{"40000", "d", nested})
	}
	// Every folder holds ten times the same folder: ten levels are 10^10 of them.
	bomb := w.folder()
	for range 10 {
		same := make([]entry, 0, 10)
		for i := range 10 {
			same = append(same, entry{"40000", fmt.Sprint("d", i), bomb})
		}
		bomb = w.folder(same...)
	}
	cases := map[string]struct {
		entries []entry
		kind    error
		words   string
	}{
		"parent":             {[]entry{{"100644", "..", file}}, archive.ErrUnsafe, `".."`},
		"slash":              {[]entry{{"100644", "a/../../b", file}}, archive.ErrUnsafe, "name"},
		"absolute":           {[]entry{{"100644", "/etc/x", file}}, archive.ErrUnsafe, "name"},
		"backslash":          {[]entry{{"100644", `..\x`, file}}, archive.ErrUnsafe, "name"},
		"no name":            {[]entry{{"100644", "", file}}, nil, ""},
		".git":               {[]entry{{"40000", ".git", w.folder(entry{"100644", "config", file})}}, archive.ErrUnsafe, "for git alone"},
		".GIT":               {[]entry{{"100644", ".GiT", file}}, archive.ErrUnsafe, "for git alone"},
		".git below":         {[]entry{{"40000", "sub", w.folder(entry{"100644", ".git", file})}}, archive.ErrUnsafe, "for git alone"},
		".git with dots":     {[]entry{{"100644", ".git. .", file}}, archive.ErrUnsafe, "for git alone"},
		".git as a stream":   {[]entry{{"100644", ".git::$INDEX_ALLOCATION", file}}, archive.ErrUnsafe, "for git alone"},
		"short name of .git": {[]entry{{"40000", "GIT~1", w.folder(entry{"100644", "x", file})}}, archive.ErrUnsafe, "for git alone"},
		".git, invisibly":    {[]entry{{"100644", ".g\u200cit", file}}, archive.ErrUnsafe, "for git alone"},
		"link out":           {[]entry{{"120000", "l", w.file("../x")}}, archive.ErrUnsafe, "outside"},
		"absolute link":      {[]entry{{"120000", "l", w.file("/etc/passwd")}}, archive.ErrUnsafe, "relative"},
		"link, then below it": {[]entry{{"120000", "l", w.file("d")}, {"40000", "l", w.folder(entry{"100644", "x", file})}}, archive.ErrUnsafe,
			"not a folder"},
		"long link":             {[]entry{{"120000", "l", w.file(strings.Repeat("x/", 3000))}}, archive.ErrTooLarge, "bytes"},
		"twice":                 {[]entry{{"100644", "a", file}, {"100644", "a", file}}, archive.ErrUnsafe, "twice"},
		"other case":            {[]entry{{"100644", "A", file}, {"100644", "a", file}}, archive.ErrUnsafe, "only in case"},
		"folder over file":      {[]entry{{"100644", "a", file}, {"40000", "a", w.folder(entry{"100644", "x", file})}}, archive.ErrUnsafe, "not a folder"},
		"unknown mode":          {[]entry{{"060000", "a", file}}, archive.ErrUnsafe, "mode"},
		"folder that is a file": {[]entry{{"40000", "a", file}}, nil, ""},
		"too deep":              {[]entry{{"40000", "a", nested}}, archive.ErrTooLarge, "deep"},
		"a bomb":                {[]entry{{"40000", "a", bomb}}, archive.ErrTooLarge, "more than"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w.plant(c.entries...)
			if c.kind == nil {
				// git refuses to send this; it must only not be taken.
				if _, err := Clone(t.Context(), s.request(t, "repo"), t.TempDir()); err == nil {
					t.Error("it was taken")
				}
				return
			}
			refused(t, s.request(t, "repo"), c.kind, c.words)
		})
	}
}

func TestLimits(t *testing.T) {
	s := newHTTPSServer(t)
	w := newWork(t, s.root, "repo")
	cases := map[string]struct {
		files  map[string]string
		limits archive.Limits
		words  string
	}{
		"large file":     {map[string]string{"a": strings.Repeat("a", 60_000)}, archive.Limits{Compressed: 1 << 20, Total: 1 << 20, File: 50_000, Entries: 10, Depth: 10}, "50000"},
		"large together": {map[string]string{"a": strings.Repeat("a", 40_000), "b": strings.Repeat("b", 40_000)}, archive.Limits{Compressed: 1 << 20, Total: 60_000, File: 50_000, Entries: 10, Depth: 10}, "together"},
		"many files":     {map[string]string{"a": "", "b": "", "c": "", "d": ""}, archive.Limits{Compressed: 1 << 20, Total: 60_000, File: 50_000, Entries: 3, Depth: 10}, "more than 3"},
		"deep":           {map[string]string{"a/b/c/d": ""}, archive.Limits{Compressed: 1 << 20, Total: 60_000, File: 50_000, Entries: 10, Depth: 3}, "deep"},
		"much to send":   {map[string]string{"a": noise(40_000)}, archive.Limits{Compressed: 20_000, Total: 60_000, File: 50_000, Entries: 10, Depth: 10}, "sent more than 20000"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			git(t, w.dir, "checkout", "-q", "--orphan", strings.ReplaceAll(name, " ", "-"))
			_ = exec.Command("git", "-C", w.dir, "rm", "-rqf", ".").Run()
			w.write(c.files).commit()
			r := s.request(t, "repo")
			r.Limits, r.Revision = c.limits, strings.ReplaceAll(name, " ", "-")
			refused(t, r, archive.ErrTooLarge, c.words)
		})
	}
}

func noise(n int) string {
	var b strings.Builder
	for sum := sha1.Sum(nil); b.Len() < n; sum = sha1.Sum(sum[:]) {
		b.Write(sum[:])
	}
	return b.String()[:n]
}

// packOf is a pack that a server could send: objects given by kind, announced
// size, what stands before the content, and content.
type packed struct {
	kind    byte
	size    int64
	before  []byte
	content []byte
}

func packOf(count uint32, objects ...packed) []byte {
	var out bytes.Buffer
	out.WriteString("PACK")
	_ = binary.Write(&out, binary.BigEndian, []uint32{2, count})
	for _, o := range objects {
		size := uint64(o.size)
		first := o.kind<<4 | byte(size&15)
		for size >>= 4; size > 0; size >>= 7 {
			out.WriteByte(first | 0x80)
			first = byte(size & 0x7f)
		}
		out.WriteByte(first)
		out.Write(o.before)
		z := zlib.NewWriter(&out)
		_, _ = z.Write(o.content)
		_ = z.Close()
	}
	sum := sha1.Sum(out.Bytes())
	out.Write(sum[:])
	return out.Bytes()
}

const (
	blobKind, ofsKind, refKind = 3, 6, 7
)

// leb is a size as a difference has it.
func leb(n uint64) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			out = append(out, b|0x80)
			continue
		}
		return append(out, b)
	}
}

func hostilePacks() map[string][]byte {
	zeros := make([]byte, 100_000)
	return map[string][]byte{
		"no pack":             []byte("hello"),
		"many objects":        packOf(1<<31, packed{kind: blobKind}),
		"missing objects":     packOf(2, packed{kind: blobKind, size: 1, content: []byte("a")}),
		"large object":        packOf(1, packed{kind: blobKind, size: 100_000, content: zeros}),
		"lies about its size": packOf(1, packed{kind: blobKind, size: 10, content: zeros}),
		"shorter than said":   packOf(1, packed{kind: blobKind, size: 10, content: zeros[:5]}),
		"huge announcement":   packOf(1, packed{kind: blobKind, size: 1 << 50}),
		"negative":            packOf(1, packed{kind: blobKind, size: -1}),
		"unknown kind":        packOf(1, packed{kind: 5, size: 1, content: []byte("a")}),
		"delta bomb": packOf(2, packed{kind: blobKind, size: 1, content: []byte("a")},
			packed{kind: ofsKind, size: 11, before: []byte{10}, content: append(append(leb(1), leb(1<<40)...), 0x91, 0, 1, 0)[:11]}),
		"delta without sizes": packOf(1, packed{kind: refKind, size: 0, before: make([]byte, 20)}),
		"delta of nothing":    packOf(1, packed{kind: refKind, size: 4, before: make([]byte, 20), content: []byte{1, 1, 1, 'x'}}),
		"delta of itself":     packOf(1, packed{kind: ofsKind, size: 4, before: []byte{0}, content: []byte{1, 1, 1, 'x'}}),
	}
}

func TestHostilePacks(t *testing.T) {
	limits := archive.Limits{Compressed: 1 << 20, Total: 1 << 20, File: 50_000, Entries: 100, Depth: 10}
	for name, raw := range hostilePacks() {
		t.Run(name, func(t *testing.T) {
			c := &cloner{request: Request{Limits: limits}, scratch: t.TempDir()}
			p, err := c.store(bytes.NewReader(raw))
			if err == nil {
				p.close()
				t.Fatal("it was taken")
			}
			if !errors.Is(err, ErrServer) && !errors.Is(err, archive.ErrTooLarge) {
				t.Errorf("error %v", err)
			}
			if left, _ := os.ReadDir(c.scratch); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// FuzzStore looks for a pack that ends the process, or that is taken and cannot
// be read.
func FuzzStore(f *testing.F) {
	for _, raw := range hostilePacks() {
		if len(raw) < 4096 {
			f.Add(raw)
		}
	}
	f.Add(packOf(2, packed{kind: blobKind, size: 3, content: []byte("abc")}, packed{kind: ofsKind, size: 5, before: []byte{13}, content: []byte{3, 4, 0x90, 3, 1}}))
	limits := archive.Limits{Compressed: 1 << 16, Total: 1 << 20, File: 50_000, Entries: 100, Depth: 10}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &cloner{request: Request{Limits: limits}, scratch: t.TempDir()}
		p, err := c.store(bytes.NewReader(raw))
		if err != nil {
			return
		}
		defer p.close()
		objects, err := p.objects.GetAll()
		if err != nil {
			return
		}
		defer objects.Close()
		for {
			o, err := objects.Next()
			if err != nil {
				return
			}
			if o.Size() > limits.File {
				t.Fatalf("an object of %d bytes", o.Size())
			}
			_, _ = p.content(o.Hash(), limits.File)
			_, _ = p.tree(o.Hash())
			_, _ = p.peel(o.Hash())
		}
	})
}

// names is a name server on loopback that answers every question for an IPv4
// address with the next of its addresses; the last one stays.
func names(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			question := buffer[12:n]
			end := bytes.IndexByte(question, 0) + 5
			answer := append([]byte{buffer[0], buffer[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question[:end]...)
			if question[end-3] == 1 { // an A record is wanted
				answer[7] = 1
				answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				answer = append(answer, net.ParseIP(addresses[0]).To4()...)
				if len(addresses) > 1 {
					addresses = addresses[1:]
				}
			}
			_, _ = conn.WriteTo(answer, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// A name may mean a public address while it is looked at and another when it is
// used; only the address that is dialled counts.
func TestANameThatChangesItsMeaning(t *testing.T) {
	s := newHTTPSServer(t)
	reached := false
	s.before = func(http.ResponseWriter, *http.Request) bool { reached = true; return false }
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.URL, "https://"))
	for name, address := range map[string]string{"loopback": "127.0.0.1", "metadata": "169.254.169.254", "office": "10.0.0.1"} {
		t.Run(name, func(t *testing.T) {
			d := newDialer(gitsource.Policy{}, 1<<20)
			d.resolver = names(t, address)
			conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("git.example.com", port))
			if err == nil {
				_ = conn.Close()
			}
			if !errors.Is(err, ErrRefused) {
				t.Errorf("error %v", err)
			}
		})
	}
	if reached {
		t.Error("the server on loopback was reached")
	}
	// The same name is fine where the platform allows the address.
	policy, err := gitsource.ParsePolicy("git.example.com", "127.0.0.1/32")
	if err != nil {
		t.Fatal(err)
	}
	d := newDialer(policy, 1<<20)
	d.resolver = names(t, "127.0.0.1")
	conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("git.example.com", port))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if _, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("other.example.com", port)); !errors.Is(err, ErrRefused) {
		t.Errorf("a host that is not allowed: %v", err)
	}
}

func TestAServerThatNeverEnds(t *testing.T) {
	s := newHTTPSServer(t)
	newWork(t, s.root, "repo").write(map[string]string{"f": "x"}).commit()
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		w.Header().Set("Content-Type", answerType)
		w.(http.Flusher).Flush()
		select {
		case <-stop:
		case <-r.Context().Done():
		}
		return true
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := Clone(ctx, s.request(t, "repo"), t.TempDir()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}
