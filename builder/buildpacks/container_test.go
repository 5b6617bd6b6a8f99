package buildpacks_test

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"golang.org/x/sys/unix"
)

// container is a program run the way a restricted pod runs it: its own mount,
// process, IPC and host name namespaces, a read-only root, an unprivileged
// user, no capability and no new privileges. Mounts live in its own namespace
// and vanish with it, so nothing can be left behind.
type container struct {
	Root    string           // unpacked image
	Volumes map[string]mount // by path in the container
	Env     []string
	User    int
	Dir     string
	Args    []string
}

// mount is a folder or file of this machine in a container.
type mount struct {
	From     string
	ReadOnly bool
}

// containerMode makes the test binary the first program in the container.
const containerMode = "KNIT_TEST_CONTAINER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(containerMode); spec != "" {
		fmt.Fprintln(os.Stderr, "start container:", enter(spec))
		os.Exit(125)
	}
	os.Exit(m.Run())
}

// command prepares the container; offline gives it a network without any device up.
func (c container) command(t *testing.T, offline bool) *exec.Cmd {
	t.Helper()
	spec, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{containerMode + "=" + string(spec)}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if offline {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	}
	return cmd
}

// run waits for the program and returns what it printed.
func (c container) run(t *testing.T, offline bool) (string, error) {
	t.Helper()
	out, err := c.command(t, offline).CombinedOutput()
	return string(out), err
}

// enter builds the container around this process and becomes its program.
func enter(spec string) error {
	var c container
	if err := json.Unmarshal([]byte(spec), &c); err != nil {
		return err
	}
	if err := c.mount(); err != nil {
		return err
	}
	if err := errors.Join(unix.Chroot(c.Root), unix.Chdir(c.Dir)); err != nil {
		return fmt.Errorf("enter %s: %w", c.Root, err)
	}
	if err := dropPrivileges(c.User); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", c.Args[0], unix.Exec(c.Args[0], c.Args, c.Env))
}

func (c container) mount() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := bind(c.Root, c.Root, true); err != nil {
		return err
	}
	for _, device := range []string{"null", "zero", "random", "urandom"} {
		if err := bind("/dev/"+device, filepath.Join(c.Root, "dev", device), false); err != nil {
			return err
		}
	}
	for _, to := range slices.Sorted(maps.Keys(c.Volumes)) { // a folder before what lies in it
		if err := bind(c.Volumes[to].From, filepath.Join(c.Root, to), c.Volumes[to].ReadOnly); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", filepath.Join(c.Root, "proc"), "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

func bind(from, to string, readOnly bool) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, to, err)
	}
	if !readOnly {
		return nil
	}
	if err := unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", to, err)
	}
	return nil
}

// dropPrivileges leaves an id without a name, groups or capabilities. The
// bounding set of this thread is emptied first; exec takes place on it.
func dropPrivileges(user int) error {
	for capability := uintptr(0); capability <= unix.CAP_LAST_CAP; capability++ {
		// A capability that this machine does not have is not there to drop.
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no new privileges: %w", err)
	}
	return errors.Join(syscall.Setgroups(nil), syscall.Setgid(user), syscall.Setuid(user))
}

// unpack writes an image to disk with its owners, and the folders that a
// container engine adds.
func unpack(t *testing.T, img v1.Image, volumes ...string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	flat := mutate.Extract(img)
	defer func() { _ = flat.Close() }()
	entries := tar.NewReader(flat)
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = writeEntry(filepath.Join(root, header.Name), header, entries)
		}
		if err != nil {
			t.Fatalf("unpack image: %v", err)
		}
	}
	for _, name := range append([]string{"proc", "dev", "tmp"}, volumes...) {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, device := range []string{"null", "zero", "random", "urandom"} {
		if err := os.WriteFile(filepath.Join(root, "dev", device), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func writeEntry(name string, header *tar.Header, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeDir:
		if err := os.MkdirAll(name, 0o755); err != nil {
			return err
		}
	case tar.TypeSymlink:
		return os.Symlink(header.Linkname, name)
	case tar.TypeLink:
		return os.Link(filepath.Join(strings.TrimSuffix(name, header.Name), header.Linkname), name)
	case tar.TypeReg:
		file, err := os.Create(name)
		if err != nil {
			return err
		}
		if _, err := io.Copy(file, content); err != nil {
			return errors.Join(err, file.Close())
		}
		if err := file.Close(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s has the unexpected type %q", header.Name, header.Typeflag)
	}
	// The order matters: chown clears the set-id bits.
	return errors.Join(os.Chown(name, header.Uid, header.Gid), os.Chmod(name, header.FileInfo().Mode()))
}

// configOf is the image's user and environment.
func configOf(t *testing.T, img v1.Image) (user int, config v1.Config) {
	t.Helper()
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(file.Config.User, ":")
	if user, err = strconv.Atoi(id); err != nil {
		t.Fatalf("the image's user %q has no number", file.Config.User)
	}
	return user, file.Config
}
