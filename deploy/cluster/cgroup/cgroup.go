// Package cgroup makes, empties and removes the control group below which all
// pods of one instance run, on cgroup v1 (one hierarchy per controller) and v2.
package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const mountpoint = "/sys/fs/cgroup"

// checkName keeps every function of this package below its own group: an empty
// name would be the root, with all processes of the machine.
func checkName(name string) error {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return fmt.Errorf("%q is not the name of a control group", name)
	}
	return nil
}

// Create makes the group in every hierarchy. The name is one path element.
func Create(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	roots, v2, err := hierarchies()
	if err != nil {
		return err
	}
	if v2 {
		if err := delegate(); err != nil {
			return err
		}
	}
	for _, root := range roots {
		dir := filepath.Join(root, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make control group: %w", err)
		}
		if err := inheritCPUSet(root, dir); err != nil {
			return err
		}
	}
	return nil
}

// Processes lists the processes in the group and below.
func Processes(name string) []int {
	roots, _, err := hierarchies()
	if err != nil || checkName(name) != nil {
		return nil
	}
	seen := map[int]bool{}
	var pids []int
	for _, root := range roots {
		_ = filepath.WalkDir(filepath.Join(root, name), func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil
			}
			for _, pid := range members(path) {
				if !seen[pid] {
					seen[pid] = true
					pids = append(pids, pid)
				}
			}
			return nil
		})
	}
	return pids
}

// Terminate ends every process of the group: first politely, after grace by force.
func Terminate(name string, grace time.Duration) error {
	if err := checkName(name); err != nil {
		return err
	}
	signalAll(name, syscall.SIGTERM)
	deadline := time.Now().Add(grace)
	for len(Processes(name)) > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	deadline = time.Now().Add(10 * time.Second)
	for left := Processes(name); len(left) > 0; left = Processes(name) {
		if time.Now().After(deadline) {
			return fmt.Errorf("control group %s: processes %v do not end even by SIGKILL", name, left)
		}
		signalAll(name, syscall.SIGKILL)
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// Remove deletes the empty group from every hierarchy.
func Remove(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	roots, _, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		errs = append(errs, removeTree(filepath.Join(root, name)))
	}
	return errors.Join(errs...)
}

func signalAll(name string, s syscall.Signal) {
	for _, pid := range Processes(name) {
		_ = syscall.Kill(pid, s) // it may have ended meanwhile
	}
}

// hierarchies returns the folders in which a group must be made.
func hierarchies() (roots []string, v2 bool, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(mountpoint, &st); err != nil {
		return nil, false, fmt.Errorf("find control groups: %w; mount them at %s", err, mountpoint)
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		return []string{mountpoint}, true, nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, false, err
	}
	for line := range strings.Lines(string(mounts)) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		// On a hybrid machine runc also makes groups in the v2 hierarchy beside v1's.
		if !ok || len(fields) < 5 || !strings.HasPrefix(after, "cgroup") {
			continue
		}
		roots = append(roots, fields[4])
	}
	if len(roots) == 0 {
		return nil, false, fmt.Errorf("find control groups: no hierarchy is mounted below %s", mountpoint)
	}
	return roots, false, nil
}

// delegate lets children of the v2 root use every controller.
func delegate() error {
	available, err := os.ReadFile(filepath.Join(mountpoint, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("read control group controllers: %w", err)
	}
	for _, c := range strings.Fields(string(available)) {
		err := os.WriteFile(filepath.Join(mountpoint, "cgroup.subtree_control"), []byte("+"+c), 0o644)
		if err != nil && (c == "memory" || c == "cpu" || c == "pids") {
			return fmt.Errorf("enable control group controller %s: %w", c, err)
		}
	}
	return nil
}

// inheritCPUSet copies the parent's processors: a v1 cpuset group starts with
// none and then takes no process.
func inheritCPUSet(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || len(bytes.TrimSpace(own)) > 0 {
			continue
		}
		value, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil || len(bytes.TrimSpace(value)) == 0 {
			continue // v2, where an empty file means all
		}
		if err := os.WriteFile(filepath.Join(dir, file), bytes.TrimSpace(value), 0o644); err != nil {
			return fmt.Errorf("set %s of control group: %w", file, err)
		}
	}
	return nil
}

func members(dir string) []int {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for _, f := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	// The kernel lets go of a group a moment after its last process.
	for range 50 {
		if err = os.Remove(dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("remove control group: %w", err)
}
