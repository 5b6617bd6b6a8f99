package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// echoServer is a running program on the first core.
type echoServer struct {
	program echoProgram
	cmd     *exec.Cmd
	output  *os.File
	address string
	answer  answer // what it answers, once and for all
}

// startEcho starts a program and learns its answer from the first event.
func startEcho(ctx context.Context, p echoProgram) (*echoServer, error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &echoServer{program: p, address: free.Addr().String()}
	if err := free.Close(); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(s.address)
	s.cmd = exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	s.cmd.Dir = p.dir
	s.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "PORT=" + port, "NODE_ENV=production",
		"K_SERVICE=echo", "K_CONFIGURATION=echo", "K_REVISION=echo-00001"}, p.env...) // as Knative has it
	if s.output, err = os.CreateTemp("", "knit-bench-echo-"); err != nil {
		return nil, err
	}
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if err := onCore(0, s.cmd.Start); err != nil {
		return nil, errors.Join(err, os.Remove(s.output.Name()))
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		s.answer, err = learn(s.address, p.check)
		if err == nil {
			return s, nil
		}
		if errors.Is(err, errAnswer) || time.Now().After(deadline) {
			said, _ := os.ReadFile(s.output.Name())
			s.stop()
			return nil, fmt.Errorf("%s: %w\n%s", p.args[0], err, said)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			s.stop()
			return nil, err
		}
	}
}

func (s *echoServer) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = s.output.Close()
	_ = os.Remove(s.output.Name())
}

// cpu is the processor time that the server has used.
func (s *echoServer) cpu() (time.Duration, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(s.cmd.Process.Pid) + "/stat")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	var ticks int64
	for _, k := range []int{11, 12} { // utime and stime, proc(5) 14 and 15
		n, err := strconv.ParseInt(string(fields[k]), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil
}

// onCore runs start on one core; what it starts inherits that.
func onCore(core int, start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	only.Set(core)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return err
	}
	return errors.Join(start(), unix.SchedSetaffinity(0, &before))
}

// senderOnCore keeps this process on one core, with no more threads and
// collections than it needs, until release.
func senderOnCore(core int) (release func(), err error) {
	var all, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, err
	}
	only.Set(core)
	if err := everyThread(&only); err != nil {
		return nil, err
	}
	threads, percent := runtime.GOMAXPROCS(1), debug.SetGCPercent(400)
	return func() {
		runtime.GOMAXPROCS(threads)
		debug.SetGCPercent(percent)
		_ = everyThread(&all)
	}, nil
}

func everyThread(set *unix.CPUSet) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, set); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("pin thread %d: %w", id, err)
		}
	}
	return nil
}
