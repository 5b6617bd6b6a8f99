//go:build e2e

// Package faults holds the tests of what goes wrong around a cluster: bad
// settings, a machine that lacks something, interrupts and kills. They run the
// real program on a cluster of their own and check that each message says what
// to do and that nothing is left behind.
package faults

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/knit-dev/knit/deploy/cluster/cgroup"
	"github.com/knit-dev/knit/deploy/cluster/instance"
	"github.com/knit-dev/knit/deploy/cluster/machine"
	"github.com/knit-dev/knit/deploy/cluster/network"
)

const (
	name        = "knit-fault"
	gatewayPort = "18081"
	patience    = 3 * time.Minute
)

func program(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("KNIT_BIN")
	if bin == "" {
		t.Fatal("KNIT_BIN is not set; run these tests with: make test")
	}
	return filepath.Join(bin, "knit-cluster")
}

// cluster is a test's own instance: nothing of it may be left at the end.
type cluster struct {
	instance.Instance
	t *testing.T
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	i := instance.Default()
	i.Name, i.StateDir = name, filepath.Join(t.TempDir(), "state")
	c := &cluster{Instance: i, t: t}
	t.Cleanup(func() {
		_, _ = c.run("delete")
		c.assertNothingLeft()
	})
	return c
}

func (c *cluster) upArgs(more ...string) []string {
	return append([]string{"up", "--name", name, "--gateway-port", gatewayPort,
		"--pod-cidr", "100.66.0.0/16", "--service-cidr", "100.67.0.0/16", "--knative=false"}, more...)
}

func (c *cluster) command(args ...string) *exec.Cmd {
	args = append(args[:1:1], append([]string{"--state-dir", c.StateDir}, args[1:]...)...)
	return exec.Command(program(c.t), args...)
}

func (c *cluster) run(args ...string) (string, error) {
	out, err := c.command(args...).CombinedOutput()
	return string(out), err
}

func (c *cluster) up(more ...string) {
	c.t.Helper()
	if out, err := c.run(c.upArgs(more...)...); err != nil {
		c.t.Fatalf("up: %v\n%s", err, out)
	}
}

// refuses runs up and wants it to fail with the hint.
func (c *cluster) refuses(hint string, more ...string) {
	c.t.Helper()
	out, err := c.run(c.upArgs(more...)...)
	if err == nil || !strings.Contains(out, hint) {
		c.t.Errorf("up ended with %v and said %q, want a failure that says %q", err, out, hint)
	}
}

// assertNothingLeft looks for everything that a cluster makes.
func (c *cluster) assertNothingLeft() {
	c.t.Helper()
	i := c.Instance
	if pids := append(cgroup.Processes(i.Name), machine.Processes(i)...); len(pids) > 0 {
		c.t.Errorf("processes are left: %v", pids)
	}
	if mounts, err := machine.Mounts(i); err != nil || len(mounts) > 0 {
		c.t.Errorf("mounts are left: %v %v", mounts, err)
	}
	if network.Exists(i) {
		c.t.Errorf("network namespace %s is left", i.Name)
	}
	if _, err := netlink.LinkByName(i.HostDevice()); err == nil {
		c.t.Errorf("device %s is left", i.HostDevice())
	}
	if out, _ := exec.Command("nft", "list", "tables").Output(); bytes.Contains(out, []byte(" "+i.Name+"\n")) {
		c.t.Errorf("firewall table is left: %s", out)
	}
	for _, dir := range []string{i.StateDir, i.RunDir()} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			c.t.Errorf("folder %s is left (%v)", dir, err)
		}
	}
	if groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + i.Name); len(groups) > 0 {
		c.t.Errorf("control groups are left: %v", groups)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		c.t.Error(err)
	}
	for _, r := range routes {
		if r.Dst != nil && (strings.HasPrefix(r.Dst.String(), "100.66.") || strings.HasPrefix(r.Dst.String(), "100.67.")) {
			c.t.Errorf("route is left: %v", r)
		}
	}
}

func TestUpNeedsRoot(t *testing.T) {
	// The program and its folder must be readable for another user.
	exe := filepath.Join(os.TempDir(), "knit-cluster-"+filepath.Base(t.TempDir()))
	data, err := os.ReadFile(program(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(exe, data, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(exe)
	cmd := exec.Command(exe, "up", "--state-dir", "/tmp/knit-not-root")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "sudo") {
		t.Errorf("up as nobody ended with %v and said %q, want a failure that names sudo", err, out)
	}
}

func TestMissingPackageIsNamed(t *testing.T) {
	c := newCluster(t)
	path := t.TempDir() // only what up itself needs to get there
	for _, p := range []string{"go", "mount", "ip", "nft", "modprobe"} {
		if full, err := exec.LookPath(p); err == nil {
			if err := os.Symlink(full, filepath.Join(path, p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := c.command(c.upArgs()...)
	cmd.Env = append(os.Environ(), "PATH="+path)
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"apt-get install", "containerd", "runc"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("up without containerd ended with %v and said %q, want %q in it", err, out, want)
		}
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	c := newCluster(t)
	l, err := net.Listen("tcp", "127.0.0.1:"+gatewayPort)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c.refuses("--gateway-port")
}

func TestTakenAddressRangeIsNamed(t *testing.T) {
	c := newCluster(t)
	la := netlink.NewLinkAttrs()
	la.Name = "knit-taken0"
	device := &netlink.Bridge{LinkAttrs: la}
	if err := netlink.LinkAdd(device); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = netlink.LinkDel(device) }()
	addr, err := netlink.ParseAddr("100.66.7.1/24")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(netlink.AddrAdd(device, addr), netlink.LinkSetUp(device)); err != nil {
		t.Fatal(err)
	}
	c.refuses("--pod-cidr")
}

func TestSmallDiskIsRefused(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Unmount(dir, 0) }()
	c.StateDir = filepath.Join(dir, "state")
	c.refuses("make room")
}

func TestBadSettingsAreRefused(t *testing.T) {
	for flag, args := range map[string][]string{
		"--name":         {"--name", "Not a name"},
		"--pod-cidr":     {"--pod-cidr", "198.18.0.0/30"},
		"--gateway-port": {"--gateway-port", "70000"},
		"overlap":        {"--service-cidr", "100.66.0.0/16"},
	} {
		t.Run(flag, func(t *testing.T) { newCluster(t).refuses(flag, args...) })
	}
}

func TestFolderOfSomebodyElseIsNotTaken(t *testing.T) {
	c := newCluster(t)
	file := filepath.Join(c.StateDir, "thesis.txt")
	if err := errors.Join(os.MkdirAll(c.StateDir, 0o700), os.WriteFile(file, []byte("years"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c.refuses("--state-dir")
	if out, err := c.run("delete"); err != nil {
		t.Errorf("delete: %v\n%s", err, out)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a file that is not the cluster's is gone: %v", err)
	}
	if err := os.RemoveAll(c.StateDir); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenStateCanBeDeletedByName(t *testing.T) {
	c := newCluster(t)
	for _, content := range []string{"{", "{}", `{"name": "../.."}`} {
		if err := errors.Join(os.MkdirAll(c.StateDir, 0o700), os.WriteFile(c.Path("instance.json"), []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
		out, err := c.run("delete")
		if err == nil || !strings.Contains(out, "--name") {
			t.Errorf("delete with %s ended with %v and said %q, want the next step", content, err, out)
		}
		if out, err := c.run("delete", "--name", name); err != nil {
			t.Errorf("delete by name: %v\n%s", err, out)
		}
	}
}

func TestStateOfAnotherVersionIsRefusedAndCanBeDeleted(t *testing.T) {
	c := newCluster(t)
	i := c.Instance
	i.Version = instance.Version + 1
	if err := errors.Join(os.MkdirAll(i.StateDir, 0o700), i.Save()); err != nil {
		t.Fatal(err)
	}
	c.refuses("knit cluster delete")
	if out, err := c.run("delete"); err != nil {
		t.Errorf("delete of another version: %v\n%s", err, out)
	}
}

func TestInterruptAtEveryStepLeavesNothing(t *testing.T) {
	for step := range 6 {
		t.Run(fmt.Sprintf("after %d steps", step), func(t *testing.T) {
			c := newCluster(t)
			cmd := c.command(c.upArgs()...)
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := 0
			interrupt := func() { _ = cmd.Process.Signal(syscall.SIGINT) }
			if step == 0 {
				interrupt()
			}
			lines := bufio.NewScanner(stderr)
			for lines.Scan() {
				if strings.HasPrefix(lines.Text(), "ok ") {
					if done++; done == step {
						interrupt()
					}
				}
			}
			err = cmd.Wait()
			// A signal that arrives in the very last step may come too late.
			if err == nil && done < step {
				t.Error("up succeeded though it was interrupted")
			}
			if err == nil {
				if out, err := c.run("delete"); err != nil {
					t.Errorf("delete: %v\n%s", err, out)
				}
			}
			c.assertNothingLeft()
		})
	}
}

func TestKillsLoseNothing(t *testing.T) {
	c := newCluster(t)
	c.up()
	client := c.client()
	ctx := t.Context()
	write := func(name string) {
		t.Helper()
		deadline := time.Now().Add(patience)
		for {
			_, err := client.CoreV1().ConfigMaps("default").Create(ctx, configMap(name), metav1.CreateOptions{})
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("write %s: %v", name, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	write("before")

	t.Run("a second up on the same folder changes nothing", func(t *testing.T) {
		daemon := c.Holder("daemon")
		c.up()
		if again := c.Holder("daemon"); again != daemon {
			t.Errorf("the daemon was process %d and is %d", daemon, again)
		}
	})
	t.Run("a second command on the same folder is refused", func(t *testing.T) {
		lock, err := c.Acquire("command")
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Release()
		c.refuses("is in use by process")
	})
	t.Run("containerd killed", func(t *testing.T) {
		for _, pid := range containerdOf(c.Instance) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		c.waitReady()
	})
	t.Run("daemon killed under load", func(t *testing.T) {
		loading, stop := context.WithCancel(ctx)
		acknowledged := make(chan int, 1)
		go func() {
			n := 0
			for loading.Err() == nil {
				if _, err := client.CoreV1().ConfigMaps("default").Create(loading, configMap(fmt.Sprintf("load-%d", n)), metav1.CreateOptions{}); err != nil {
					break
				}
				n++
			}
			acknowledged <- n
		}()
		time.Sleep(2 * time.Second) // some writes are under way
		if err := syscall.Kill(c.Holder("daemon"), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		n := <-acknowledged
		stop()
		c.up()
		list, err := client.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		for _, m := range list.Items {
			have[m.Name] = true
		}
		for k := range n {
			if !have[fmt.Sprintf("load-%d", k)] {
				t.Fatalf("write %d of %d was acknowledged and is lost", k, n)
			}
		}
		if n == 0 || !have["before"] {
			t.Errorf("%d writes under load, earlier object kept: %v", n, have["before"])
		}
	})
	t.Run("down and up", func(t *testing.T) {
		if out, err := c.run("down"); err != nil {
			t.Fatalf("down: %v\n%s", err, out)
		}
		if out, err := c.run("status"); exitCode(err) != 3 {
			t.Errorf("status of a stopped cluster ended with %v: %s", err, out)
		}
		c.up()
		if _, err := client.CoreV1().ConfigMaps("default").Get(ctx, "before", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("ranges cannot change", func(t *testing.T) {
		c.refuses("knit cluster delete", "--pod-cidr", "100.68.0.0/16")
	})
	t.Run("nobody without a certificate gets in", func(t *testing.T) {
		config := c.config()
		config.CertData, config.KeyData = nil, nil
		anonymous, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := anonymous.CoreV1().Namespaces().List(ctx, metav1.ListOptions{}); err == nil {
			t.Error("an anonymous client could list namespaces")
		}
	})
	t.Run("listens on loopback and the bridge only", c.listensLocally)
}
