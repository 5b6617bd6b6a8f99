package instance

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Lock is an exclusive hold on a state folder. It ends with the process, however it ends.
type Lock struct{ file *os.File }

// Acquire takes the lock file with the given name in the run folder, or says
// which process holds it. The file may be passed to a child by File.
func (i Instance) Acquire(name string) (*Lock, error) {
	if err := os.MkdirAll(i.RunDir(), 0o700); err != nil {
		return nil, fmt.Errorf("make run folder: %w", err)
	}
	path := i.lockPath(name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid := i.Holder(name)
		f.Close()
		return nil, fmt.Errorf("cluster %q is in use by process %d (%s is locked): wait for it, or see: knit cluster status", i.Name, pid, path)
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, fmt.Errorf("write lock: %w", err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("write lock: %w", err)
	}
	return &Lock{file: f}, nil
}

// Release gives the lock back.
func (l *Lock) Release() { l.file.Close() }

// RemoveLocks removes the run folder when nothing but unused locks is in it.
func (i Instance) RemoveLocks() {
	if i.Holder("daemon") != 0 || i.Holder("command") != 0 {
		return
	}
	entries, err := os.ReadDir(i.RunDir())
	if err != nil {
		return
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".lock" {
			return
		}
	}
	_ = os.RemoveAll(i.RunDir())
	_ = os.Remove(filepath.Dir(i.RunDir())) // only when it is empty
}

// Holder returns the process that holds the named lock, or 0 when nobody does.
func (i Instance) Holder(name string) int {
	f, err := os.Open(i.lockPath(name))
	if err != nil {
		return 0
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return 0
	}
	data, err := os.ReadFile(i.lockPath(name))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return -1
	}
	return pid
}

func (i Instance) lockPath(name string) string { return i.RunDir() + "/" + name + ".lock" }
