package daemon

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// echoVariable makes the test binary a program that repeats its input.
const echoVariable = "KNIT_TEST_ECHO"

func TestMain(m *testing.M) {
	if os.Getenv(echoVariable) != "" {
		_, err := io.Copy(os.Stdout, os.Stdin)
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestCodeOfAStartedProgramIsPagedOut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("run as root: another process' pages are touched")
	}
	cmd := exec.Command(copyOfTestBinary(t))
	cmd.Env = append(os.Environ(), echoVariable+"=1")
	cmd.Stderr = os.Stderr
	ask, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(output)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	answer := func(question string) {
		t.Helper()
		if _, err := io.WriteString(ask, question); err != nil {
			t.Fatal(err)
		}
		if got, err := answers.ReadString('\n'); got != question || err != nil {
			t.Fatalf("the program answered %q, %v", got, err)
		}
	}
	answer("started?\n")
	pid := cmd.Process.Pid
	before := waitForFilePages(t, pid)
	if err := pageOutCode(pid); err != nil {
		t.Fatal(err)
	}
	if after := filePages(t, pid); after > before/2 {
		t.Errorf("%d KiB of the file are in memory, before it were %d KiB", after, before)
	}
	answer("still alive?\n")
}

func TestPageOutOfAProcessThatIsGone(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := pageOutCode(cmd.Process.Pid); err == nil {
		t.Error("no error")
	}
}

func TestProgramsAreReleasedOnceAndForgotten(t *testing.T) {
	begin := time.Now()
	p := programs{}
	const gone = 1 << 30 // beyond any process id
	p.release([]int{gone}, begin)
	p.release([]int{gone}, begin.Add(startTime/2))
	if p[gone].released {
		t.Error("released while it starts")
	}
	p.release([]int{gone}, begin.Add(startTime))
	if !p[gone].released {
		t.Error("not released after its start")
	}
	p.release(nil, begin.Add(2*startTime))
	if len(p) != 0 {
		t.Errorf("a process that ended is remembered: %v", p)
	}
}

// copyOfTestBinary is a file that only one process maps: shared pages stay.
func copyOfTestBinary(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	name := t.TempDir() + "/program"
	if err := os.WriteFile(name, content, 0o755); err != nil {
		t.Fatal(err)
	}
	// A dirty page cannot be taken from memory before it is on disk.
	if err := exec.Command("sync", name).Run(); err != nil {
		t.Fatal(err)
	}
	return name
}

// waitForFilePages waits until the program has mapped what it needs.
func waitForFilePages(t *testing.T, pid int) int {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for last := 0; time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		now := filePages(t, pid)
		if now > 1024 && now == last {
			return now
		}
		last = now
	}
	t.Fatal("the program does not come to rest")
	return 0
}

// filePages is how much of mapped files is resident, in KiB.
func filePages(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "RssFile:"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no RssFile")
	return 0
}
