// Package machine is about the machine that a cluster runs on: whether it can
// run one, the kernel settings that must be raised, and what a cluster leaves
// behind when its processes are gone. What it changes, it writes down and restores.
package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/knit-dev/knit/deploy/cluster/containerd"
	"github.com/knit-dev/knit/deploy/cluster/instance"
	"github.com/knit-dev/knit/deploy/cluster/network"
)

// minimumFree is the disk space, in bytes, below which no cluster is started:
// images, etcd and containers need it, and a full disk corrupts all three.
const minimumFree = 3 << 30

// programs are what the cluster calls, with the Debian package that has it.
var programs = map[string]string{
	"containerd": "containerd", "ctr": "containerd", "containerd-shim-runc-v2": "containerd",
	"runc": "runc", "nft": "nftables", "ip": "iproute2", "mount": "mount",
}

// ErrNotRoot says that the caller lacks the rights to make a cluster.
var ErrNotRoot = errors.New("root is needed to make network namespaces, mounts and containers: run it again with sudo")

// Check reports everything that keeps this machine from running the instance,
// each with what to do about it.
func Check(ctx context.Context, i instance.Instance) error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	return errors.Join(checkPrograms(), checkKernel(ctx), checkDisk(i), network.Conflict(i))
}

func checkPrograms() error {
	missing := map[string]bool{}
	for program, pkg := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missing[pkg] = true
		}
	}
	if containerd.FindPlugins() == "" {
		missing["containernetworking-plugins"] = true
	}
	if len(missing) == 0 {
		return nil
	}
	var names []string
	for n := range missing {
		names = append(names, n)
	}
	return fmt.Errorf("packages are missing: install them with: apt-get install -y --no-install-recommends %s", strings.Join(names, " "))
}

// checkKernel loads and tests what the kernel must be able to do.
func checkKernel(ctx context.Context) error {
	var errs []error
	for module, probe := range map[string]string{
		"overlay":      "/proc/filesystems",
		"br_netfilter": "/proc/sys/net/bridge/bridge-nf-call-iptables",
	} {
		if kernelHas(module, probe) {
			continue
		}
		out, err := exec.CommandContext(ctx, "modprobe", module).CombinedOutput()
		if err != nil || !kernelHas(module, probe) {
			errs = append(errs, fmt.Errorf("the kernel lacks %s (modprobe: %v %s): use a kernel that has it", module, err, strings.TrimSpace(string(out))))
		}
	}
	if out, err := exec.CommandContext(ctx, "nft", "list", "tables").CombinedOutput(); err != nil {
		errs = append(errs, fmt.Errorf("the kernel lacks nftables (%v: %s): use a kernel with CONFIG_NF_TABLES", err, strings.TrimSpace(string(out))))
	}
	return errors.Join(errs...)
}

func kernelHas(module, probe string) bool {
	if module != "overlay" {
		_, err := os.Stat(probe)
		return err == nil
	}
	data, err := os.ReadFile(probe)
	return err == nil && strings.Contains(string(data), "\t"+module+"\n")
}

func checkDisk(i instance.Instance) error {
	for _, dir := range []string{i.StateDir, i.CacheDir} {
		at := dir
		var st unix.Statfs_t
		for unix.Statfs(at, &st) != nil && at != "/" {
			at = filepath.Dir(at)
		}
		free := st.Bavail * uint64(st.Bsize)
		if free < minimumFree {
			return fmt.Errorf("disk of %s has %d MiB free, at least %d MiB are needed: make room, or choose another disk with --state-dir and --cache-dir",
				dir, free>>20, uint64(minimumFree)>>20)
		}
	}
	return nil
}

// ListenGateway opens the gateway's socket on the machine's loopback address.
func ListenGateway(i instance.Instance) (*net.TCPListener, error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", i.HostPort))
	if err != nil {
		return nil, fmt.Errorf("port %d of 127.0.0.1 is taken (%w): stop what uses it, or choose another with --gateway-port", i.HostPort, err)
	}
	return l.(*net.TCPListener), nil
}
