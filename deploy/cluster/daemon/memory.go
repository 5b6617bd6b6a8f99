package daemon

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/knit-dev/knit/deploy/cluster/cgroup"
)

// All components share one heap, and on a laptop it is idle most of the time:
// give back often what is not used. A small gcPercent instead would keep memory
// as low, but collect so often that requests and starts of pods wait for it.
const (
	gcPercent   = 70
	returnEvery = 10 * time.Second
)

// startTime is when a program has most likely done for the last time what it
// does only at its start.
const startTime = 30 * time.Second

// keepMemorySmall returns memory until ctx ends: this process' free heap again
// and again, and the code that programs ran only at their start, once.
func keepMemorySmall(ctx context.Context, name string) {
	debug.SetGCPercent(gcPercent)
	go func() {
		tick := time.NewTicker(returnEvery)
		defer tick.Stop()
		programs := programs{}
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				debug.FreeOSMemory()
				programs.release(append(cgroup.Processes(name), os.Getpid()), now)
			}
		}
	}()
}

// programs are the processes seen so far, by id: since when, and whether their
// start-up code was given back.
type programs map[int]program

type program struct {
	since    time.Time
	released bool
}

// release gives back the start-up code of those processes that run long enough.
// A program that cannot be looked at is left as it is: this saves memory,
// nothing depends on it.
func (p programs) release(pids []int, now time.Time) {
	alive := make(map[int]bool, len(pids))
	for _, pid := range pids {
		alive[pid] = true
		seen, known := p[pid]
		switch {
		case !known:
			p[pid] = program{since: now}
		case !seen.released && now.Sub(seen.since) >= startTime:
			p[pid] = program{since: seen.since, released: true}
			if pid == os.Getpid() || platformProgram(pid) {
				_ = pageOutCode(pid)
			}
		}
	}
	for pid := range p {
		if !alive[pid] {
			delete(p, pid)
		}
	}
}

// platformProgram tells the commands of Knative and Knit, whose images hold
// them in /app, from users' functions and the queue-proxies beside those:
// nothing that answers a user's request is slowed down.
func platformProgram(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && path.Dir(exe) == "/app" && path.Base(exe) != "queue"
}

// pageOutCode takes the pages of a process' executable file from memory. What
// it still needs, about half of the file for a Go controller, comes back from
// the file at the next touch.
func pageOutCode(pid int) error {
	ranges, err := codeRanges(pid)
	if err != nil || len(ranges) == 0 {
		return err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	_, _, errno := unix.Syscall6(unix.SYS_PROCESS_MADVISE, uintptr(fd),
		uintptr(unsafe.Pointer(&ranges[0])), uintptr(len(ranges)), unix.MADV_PAGEOUT, 0, 0)
	if errno != 0 {
		return fmt.Errorf("page out the code of process %d: %w", pid, errno)
	}
	return nil
}

// addressRange is a struct iovec of another process: its base is an address
// over there, never a pointer of this one.
type addressRange struct{ base, length uintptr }

// codeRanges are the read-only mappings of a process' own executable.
func codeRanges(pid int) ([]addressRange, error) {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return nil, fmt.Errorf("find the program of process %d: %w", pid, err)
	}
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, fmt.Errorf("read the mappings of process %d: %w", pid, err)
	}
	defer func() { _ = maps.Close() }()
	var ranges []addressRange
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		// "00400000-04781000 r-xp 00000000 fe:00 1234 /path"
		fields := strings.Fields(lines.Text())
		if len(fields) != 6 || fields[5] != exe || strings.Contains(fields[1], "w") {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		begin, errBegin := strconv.ParseUint(from, 16, 64)
		end, errEnd := strconv.ParseUint(to, 16, 64)
		if errBegin == nil && errEnd == nil && end > begin {
			ranges = append(ranges, addressRange{base: uintptr(begin), length: uintptr(end - begin)})
		}
	}
	return ranges, nil
}
