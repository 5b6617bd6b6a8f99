package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// raise tries every way to more rights than a build has.
func raise(string) error {
	runtime.LockOSThread() // some of it is about one thread
	// Tracing its own parent is no gain: the same user in the same container.
	for name, try := range map[string]func() error{
		"to become root":          func() error { return unix.Setresuid(0, 0, 0) },
		"to join root's group":    func() error { return unix.Setresgid(0, 0, 0) },
		"to set groups":           func() error { return unix.Setgroups([]int{0}) },
		"a user namespace":        func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"a mount namespace":       func() error { return unix.Unshare(unix.CLONE_NEWNS) },
		"a network namespace":     func() error { return unix.Unshare(unix.CLONE_NEWNET) },
		"to mount":                func() error { return unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "") },
		"to change its root":      func() error { return unix.Chroot("/tmp") },
		"to make a device":        func() error { return unix.Mknod("/tmp/mem", unix.S_IFCHR|0o666, 1<<8|1) },
		"to open a raw socket":    func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP); return err },
		"to open a packet socket": func() error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); return err },
		"to set the host name":    func() error { return unix.Sethostname([]byte("mine")) },
		"to read the kernel log":  func() error { _, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, make([]byte, 64)); return err },
		"to load a program into the kernel": func() error {
			_, _, err := unix.Syscall(unix.SYS_BPF, 0, 0, 0)
			return errno(err, unix.EINVAL)
		},
		"to use keys of the kernel":           func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); return err },
		"to lower its priority below others'": func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -10) },
		"a capability": func() error {
			return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_ADMIN, 0, 0)
		},
		"another user by a set-user-id file": becomeOther,
	} {
		if try() == nil {
			found("a way %s", name)
		}
	}
	checkStatus()
	writeOutside()
	return nil
}

// errno is nil only when a call was let through to where it looks at its
// arguments: answered with the error that wrong arguments give.
func errno(err, through syscall.Errno) error {
	if err == through {
		return nil
	}
	return err
}

// becomeOther runs a copy of a program with the set-user-id bit.
func becomeOther() error {
	copied := "/tmp/id"
	content, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	if err := os.WriteFile(copied, content, 0o755); err != nil {
		return err
	}
	if err := os.Chown(copied, 0, 0); err == nil {
		found("a way to give a file to root")
	}
	if err := os.Chmod(copied, os.ModeSetuid|0o755); err != nil {
		return err
	}
	out, err := exec.Command(copied, "id", "-u").Output()
	if err == nil && strings.TrimSpace(string(out)) != fmt.Sprint(os.Getuid()) {
		return nil
	}
	return fmt.Errorf("still the user %s", out)
}

// checkStatus reads what the kernel says of this process.
func checkStatus() {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		found("no /proc/self/status: %v", err)
		return
	}
	for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !bytes.Contains(status, []byte(want)) {
			found("a process without %q", want)
		}
	}
	if os.Getuid() == 0 || os.Getgid() == 0 {
		found("itself as root")
	}
}

// writeOutside writes where only the platform may.
func writeOutside() {
	for _, folder := range []string{
		"/", "/etc", "/bin", "/usr", "/cnb", "/cnb/lifecycle", "/cnb/buildpacks", "/analyzed", "/knit", "/platform", "/platform/env", "/var", "/home", "/root", "/opt",
		"/proc", "/sys", "/sys/fs/cgroup", "/dev", "/run",
	} {
		file := filepath.Join(folder, "hostile")
		if err := os.WriteFile(file, nil, 0o644); err == nil {
			found("a way to write %s", file)
		}
	}
	for _, file := range []string{
		"/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc/passwd", "/analyzed/analyzed.toml", "/knit/phase", "/cnb/order.toml", "/cnb/lifecycle/lifecycle",
		"/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper",
	} {
		if opened, err := os.OpenFile(file, os.O_WRONLY, 0); err == nil {
			opened.Close()
			found("a way to change %s", file)
		}
	}
	for _, pair := range [][2]string{{"/analyzed/analyzed.toml", "/analyzed/old"}, {"/workspace", "/workspace2"}, {"/layers", "/layers2"}} {
		if err := os.Rename(pair[0], pair[1]); err == nil {
			found("a way to move %s", pair[0])
		}
	}
}
