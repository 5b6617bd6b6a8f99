package registry

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// The disk is a small tmpfs. It is mounted by a second run of this test in a
// mount namespace of its own, so that it is gone with that process, whatever
// happens.
func TestAFullDiskIsSaidClearlyAndLosesNothing(t *testing.T) {
	const inside = "KNIT_TEST_MOUNT_NAMESPACE"
	if os.Getenv(inside) == "" {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		again.Env = append(os.Environ(), inside+"=1")
		again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if out, err := again.CombinedOutput(); err != nil {
			t.Fatalf("%v (this test needs root)\n%s", err, out)
		}
		return
	}
	root := t.TempDir()
	if err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })

	h := serve(t, root)
	kept := image(t, 2)
	h.push(t, "app:v1", kept)
	large, err := mutate.AppendLayers(empty.Image, newNoise(t, 2, 16<<20))
	if err != nil {
		t.Fatal(err)
	}
	err = remote.Write(h.ref(t, "app:v1"), large, h.options(t)...)
	if err == nil || !strings.Contains(err.Error(), "disk is full") || !strings.Contains(err.Error(), root) {
		t.Errorf("the error does not say that the disk is full, and where: %v", err)
	}
	if free := free(t, root); free < 6<<20 {
		t.Errorf("the failed push left only %d KiB free", free>>10)
	}
	if got := digestOf(t, h.mustPull(t, "app:v1")); got != digestOf(t, kept) {
		t.Errorf("the tag names %s", got)
	}

	// Not a byte free: what is there is not replaced by a part of something.
	stuff(t, root)
	const link = "/docker/registry/v2/repositories/app/_manifests/tags/v1/current/link"
	if err := h.disk.PutContent(t.Context(), link, make([]byte, 16<<10)); !isFull(err) {
		t.Errorf("a file was written to a full disk: %v", err)
	}
	other := mutate.Annotations(kept, map[string]string{"x": "y"}).(v1.Image)
	if err := remote.Write(h.ref(t, "app:v1"), other, h.options(t)...); err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("the error does not say that the disk is full: %v", err)
	}
	if got := digestOf(t, h.mustPull(t, "app:v1")); got != digestOf(t, kept) {
		t.Errorf("the tag names %s", got)
	}
	if err := os.Remove(root + "/stuff"); err != nil {
		t.Fatal(err)
	}
	h.push(t, "app:v2", image(t, 3))
	h.collect(t)
	h.mustPull(t, "app:v2")
}

func stuff(t *testing.T, root string) {
	t.Helper()
	f, err := os.Create(root + "/stuff")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

func free(t *testing.T, dir string) uint64 {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	return fs.Bavail * uint64(fs.Bsize)
}
