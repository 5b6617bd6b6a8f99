package buildpacks_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/knit-dev/knit/builder/buildpacks"
	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/builder/images/registrytest"
)

// engineMode makes the test binary run its tests where the engine is; its value
// names the engine's control group.
const engineMode = "KNIT_TEST_ENGINE"

// TestWithAnEngine runs the tests of builds with an engine in namespaces of
// their own: mounts, network and processes of the engine end with them, and it
// touches neither the machine's firewall nor its interfaces.
func TestWithAnEngine(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the engine runs in namespaces of its own: needs root")
	}
	if os.Getenv(engineMode) != "" {
		t.Run("builds as the cluster does", testPack)
		return
	}
	warm(t)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^TestWithAnEngine$", "-test.v")
	group := fmt.Sprintf("knit-test-%d", time.Now().UnixNano())
	cmd.Env = append(os.Environ(), engineMode+"="+group)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	removeGroups(t, group)
	t.Logf("in the engine's namespaces:\n%s", out)
	if err != nil {
		t.Error(err)
	}
}

// warm makes what the builder is made of while there is still a network.
func warm(t *testing.T) {
	t.Helper()
	cache, module := cacheAndModule(t)
	r := registrytest.Start(t)
	if _, err := buildpacks.Create(t.Context(), buildpacks.Options{Module: module, Cache: cache, Registry: r.Registry}); err != nil {
		t.Fatal(err)
	}
}

func cacheAndModule(t *testing.T) (*images.Cache, string) {
	t.Helper()
	cache, err := images.OpenCache(registrytest.CacheDir())
	if err != nil {
		t.Fatal(err)
	}
	module, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return cache, module
}

// startEngine runs Debian's dockerd, without a bridge and without rules, until
// the test ends.
func startEngine(t *testing.T) buildpacks.Engine {
	t.Helper()
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""),
	); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("ip link set lo up: %v: %s", err, out)
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "docker.sock")
	var log bytes.Buffer
	daemon := exec.Command("dockerd", "-H", "unix://"+socket, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false", "--cgroup-parent", "/"+os.Getenv(engineMode))
	daemon.Stdout, daemon.Stderr = &log, &log
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := daemon.Start(); err != nil {
		t.Fatalf("start dockerd (package docker.io, see TEST_PACKAGES in the Makefile): %v", err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
		_ = unix.Unmount(filepath.Join(dir, "exec", "netns", "default"), unix.MNT_DETACH) // dockerd leaves it
		if t.Failed() {
			t.Logf("dockerd said:\n%s", log.String())
		}
	})
	var engine buildpacks.Engine
	var found error
	deadline := time.Now().Add(30 * time.Second)
	for engine, found = buildpacks.FindEngine(t.Context(), "unix://"+socket); found != nil; engine, found = buildpacks.FindEngine(t.Context(), "unix://"+socket) {
		if time.Now().After(deadline) {
			t.Fatalf("dockerd does not answer: %v\n%s", found, log.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
	return engine
}

// removeGroups removes the engine's control groups, which outlive namespaces.
// The kernel keeps one for a moment after its last process.
func removeGroups(t *testing.T, name string) {
	t.Helper()
	roots, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range append(roots, "/sys/fs/cgroup/"+name) {
		waitFor(t, "the end of the control group "+root, func() bool {
			var folders []string
			_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					folders = append(folders, path)
				}
				return nil
			})
			for _, folder := range slices.Backward(folders) {
				_ = os.Remove(folder)
			}
			_, err := os.Stat(root)
			return os.IsNotExist(err)
		})
	}
}

func TestFindEngine(t *testing.T) {
	for name, c := range map[string]struct {
		hosts []string
		want  string
	}{
		"nowhere":              {nil, "no Docker or Podman engine"},
		"a socket of nobody":   {[]string{"unix:///no/such.sock"}, "/no/such.sock"},
		"an engine far away":   {[]string{"tcp://192.0.2.1:2375"}, "not a unix:// socket"},
		"something else there": {[]string{"unix:///etc/hostname"}, "/etc/hostname"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := buildpacks.FindEngine(t.Context(), c.hosts...); !errors.Is(err, buildpacks.ErrNoEngine) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
