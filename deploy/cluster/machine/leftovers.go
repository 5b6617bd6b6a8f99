package machine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/knit-dev/knit/deploy/cluster/cgroup"
	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// podGrace is how long containers may take to end when the cluster stops.
const podGrace = 2 * time.Second

// StopContainers ends every container, shim and orphaned containerd of the
// instance and takes their mounts away, as a shutdown of a machine would.
// containerd finds dead containers when it starts again; images stay.
func StopContainers(i instance.Instance) error {
	errs := []error{cgroup.Terminate(i.Name, podGrace)}
	for _, pid := range Processes(i) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("end process %d: %w", pid, err))
		}
	}
	for range 250 {
		if len(Processes(i)) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	errs = append(errs, Unmount(i))
	return errors.Join(errs...)
}

// Processes lists containerd and its shims, by the instance's own paths in their arguments.
func Processes(i instance.Instance) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue
		}
		args := bytes.Split(line, []byte{0})
		if strings.HasPrefix(filepath.Base(string(args[0])), "containerd") && ours(args, i) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func ours(args [][]byte, i instance.Instance) bool {
	for _, a := range args[1:] {
		if s := string(a); s == i.ContainerdSocket() || s == i.Path("containerd", "config.toml") {
			return true
		}
	}
	return false
}

// Mounts lists what is mounted below the instance's folders, deepest first.
func Mounts(i instance.Instance) ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		at := unescape(fields[4])
		if strings.HasPrefix(at, i.StateDir+"/") || strings.HasPrefix(at, i.RunDir()+"/") {
			mounts = append(mounts, at)
		}
	}
	sort.Slice(mounts, func(a, b int) bool { return len(mounts[a]) > len(mounts[b]) })
	return mounts, nil
}

// Unmount detaches every mount below the instance's folders.
func Unmount(i instance.Instance) error {
	mounts, err := Mounts(i)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range mounts {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m, err))
		}
	}
	return errors.Join(errs...)
}

// unescape undoes the octal escapes of /proc/*/mountinfo (proc(5)).
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// RemoveRunFiles deletes sockets and run-time state of a stopped instance; the
// locks stay, because the caller holds one.
func RemoveRunFiles(i instance.Instance) error {
	entries, err := os.ReadDir(i.RunDir())
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".lock" {
			errs = append(errs, os.RemoveAll(filepath.Join(i.RunDir(), e.Name())))
		}
	}
	return errors.Join(errs...)
}

// kubeletFolders are paths outside the state folder that the kubelet's code has fixed.
var kubeletFolders = []string{"/var/lib/kubelet/device-plugins", "/var/lib/kubelet/pod-resources", "/var/lib/kubelet"}

// containerLogs is where the kubelet links each container's log file.
const containerLogs = "/var/log/containers"

// RemoveFiles deletes the instance's folders, and what the kubelet wrote
// outside of them as far as it is this instance's or nobody's.
func RemoveFiles(i instance.Instance) error {
	errs := []error{Restore(i)}
	removeLogLinks(i)
	_ = os.Remove(containerLogs) // only when empty
	for _, dir := range kubeletFolders {
		_ = os.Remove(filepath.Join(dir, "kubelet_internal_checkpoint"))
		_ = os.Remove(filepath.Join(dir, "kubelet.sock"))
		_ = os.Remove(filepath.Join(dir, "DEPRECATION"))
		_ = os.Remove(dir) // only when empty: another kubelet's files stay
	}
	errs = append(errs, RemoveRunFiles(i))
	if err := os.RemoveAll(i.StateDir); err != nil {
		errs = append(errs, fmt.Errorf("remove %s: %w", i.StateDir, err))
	}
	return errors.Join(errs...)
}

func removeLogLinks(i instance.Instance) {
	links, err := os.ReadDir(containerLogs)
	if err != nil {
		return
	}
	for _, l := range links {
		path := filepath.Join(containerLogs, l.Name())
		if to, err := os.Readlink(path); err == nil && strings.HasPrefix(to, i.StateDir+"/") {
			_ = os.Remove(path)
		}
	}
}
